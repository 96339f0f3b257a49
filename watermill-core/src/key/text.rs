//! Text and bytes as keys: compared in the record, without a copy.

use std::borrow::Cow;
use std::sync::Arc;

use super::{KeyFault, KeyValue};

macro_rules! key_by_borrow {
    ($($type:ty => $view:ty),+ $(,)?) => {$(
        impl KeyValue for $type {
            type View<'a> = Cow<'a, $view>;

            #[inline]
            fn view(&self) -> Result<Option<Cow<'_, $view>>, KeyFault> {
                Ok(Some(Cow::Borrowed(self)))
            }

            #[inline]
            fn into_view<'a>(self) -> Result<Option<Cow<'a, $view>>, KeyFault> {
                Ok(Some(Cow::Owned((*self).to_owned())))
            }

            #[inline]
            fn detach(view: &Cow<'_, $view>) -> Self {
                Self::from(&**view)
            }
        }
    )+};
}

key_by_borrow! { Box<str> => str, Arc<str> => str, Box<[u8]> => [u8], Arc<[u8]> => [u8] }

macro_rules! key_by_cow {
    ($($type:ty => $view:ty),+ $(,)?) => {$(
        impl KeyValue for $type {
            type View<'a> = Cow<'a, $view>;

            #[inline]
            fn view(&self) -> Result<Option<Cow<'_, $view>>, KeyFault> {
                Ok(Some(Cow::Borrowed(self)))
            }

            #[inline]
            fn into_view<'a>(self) -> Result<Option<Cow<'a, $view>>, KeyFault> {
                Ok(Some(Cow::Owned(self)))
            }

            #[inline]
            fn detach(view: &Cow<'_, $view>) -> Self {
                Self::from(&**view)
            }
        }
    )+};
}

key_by_cow! { String => str, Vec<u8> => [u8] }
