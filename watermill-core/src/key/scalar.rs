//! Small key types that are their own view: integers, `bool`, `char`, addresses, std's times.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use super::{KeyFault, KeyOffset, KeyValue, Shifted};

/// [`KeyValue`] for a `Copy` type with a total order of its own.
macro_rules! key_by_value {
    ($($(#[$meta:meta])* $type:ty),+ $(,)?) => {$(
        $(#[$meta])*
        impl $crate::key::KeyValue for $type {
            type View<'a> = $type;

            #[inline]
            fn view(&self) -> Result<Option<$type>, $crate::key::KeyFault> {
                Ok(Some(*self))
            }

            #[inline]
            fn into_view<'a>(self) -> Result<Option<Self::View<'a>>, $crate::key::KeyFault> {
                Ok(Some(self))
            }

            #[inline]
            fn detach(view: &$type) -> Self {
                *view
            }
        }
    )+};
}

#[cfg(any(feature = "chrono", feature = "time", feature = "jiff"))]
pub(super) use key_by_value;

/// [`KeyOffset`] for a `Copy` type whose `checked_add` takes the offset. The offset's sign says which end was left.
macro_rules! offset_by_checked_add {
    ($($type:ty, $offset:ty, |$by:ident| $below:expr;)+) => {$(
        impl $crate::key::KeyOffset<$offset> for $type {
            #[inline]
            fn shift<'a>(view: &Self::View<'a>, $by: &$offset) -> $crate::key::Shifted<Self::View<'a>> {
                match view.checked_add(*$by) {
                    Some(moved) => $crate::key::Shifted::At(moved),
                    None if $below => $crate::key::Shifted::BelowAll,
                    None => $crate::key::Shifted::AboveAll,
                }
            }
        }
    )+};
}

#[cfg(feature = "time")]
pub(super) use offset_by_checked_add;

key_by_value! {
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, bool, char, Duration, SystemTime, IpAddr, Ipv4Addr,
    Ipv6Addr,
}

offset_by_checked_add! {
    i8, i8, |by| *by < 0;
    i16, i16, |by| *by < 0;
    i32, i32, |by| *by < 0;
    i64, i64, |by| *by < 0;
    i128, i128, |by| *by < 0;
    isize, isize, |by| *by < 0;
    u8, u8, |by| false;
    u16, u16, |by| false;
    u32, u32, |by| false;
    u64, u64, |by| false;
    u128, u128, |by| false;
    usize, usize, |by| false;
    Duration, Duration, |by| false;
    SystemTime, Duration, |by| false;
}

impl KeyValue for &'static str {
    type View<'a> = &'static str;

    #[inline]
    fn view(&self) -> Result<Option<&'static str>, KeyFault> {
        Ok(Some(self))
    }

    #[inline]
    fn into_view<'a>(self) -> Result<Option<Self::View<'a>>, KeyFault> {
        Ok(Some(self))
    }

    #[inline]
    fn detach(view: &&'static str) -> Self {
        view
    }
}

impl<T: KeyOffset<D>, D> KeyOffset<D> for Option<T> {
    #[inline]
    fn shift<'a>(view: &Self::View<'a>, offset: &D) -> Shifted<Self::View<'a>> {
        T::shift(view, offset)
    }
}
