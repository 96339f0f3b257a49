//! Keys made of keys: `Option`, tuples, and foreign types by [`Ordered`].

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;

use super::{KeyFault, KeyValue};

/// `None` matches nothing, not even another `None`.
impl<T: KeyValue> KeyValue for Option<T> {
    type View<'a> = T::View<'a>;

    #[inline]
    fn view(&self) -> Result<Option<T::View<'_>>, KeyFault> {
        self.as_ref().map_or(Ok(None), T::view)
    }

    #[inline]
    fn into_view<'a>(self) -> Result<Option<T::View<'a>>, KeyFault> {
        self.map_or(Ok(None), T::into_view)
    }

    #[inline]
    fn detach(view: &T::View<'_>) -> Self {
        Some(T::detach(view))
    }
}

macro_rules! tuple_key {
    ($($part:ident $view:ident),+) => {
        /// Ordered by the first part, then by the next. One part that is `None` makes the whole match nothing.
        impl<$($part: KeyValue),+> KeyValue for ($($part,)+) {
            type View<'a> = ($($part::View<'a>,)+);

            #[inline]
            fn view(&self) -> Result<Option<Self::View<'_>>, KeyFault> {
                #[allow(non_snake_case)]
                let ($($part,)+) = self;
                // All parts are looked at, so that a NaN behind a `None` is not overlooked.
                match ($($part.view()?,)+) {
                    ($(Some($view),)+) => Ok(Some(($($view,)+))),
                    _ => Ok(None),
                }
            }

            #[inline]
            fn into_view<'a>(self) -> Result<Option<Self::View<'a>>, KeyFault> {
                #[allow(non_snake_case)]
                let ($($part,)+) = self;
                match ($($part.into_view()?,)+) {
                    ($(Some($view),)+) => Ok(Some(($($view,)+))),
                    _ => Ok(None),
                }
            }

            #[inline]
            fn detach(view: &Self::View<'_>) -> Self {
                let ($($view,)+) = view;
                ($($part::detach($view),)+)
            }
        }
    };
}

tuple_key! { A a }
tuple_key! { A a, B b }
tuple_key! { A a, B b, C c }
tuple_key! { A a, B b, C c, D d }
tuple_key! { A a, B b, C c, D d, E e }
tuple_key! { A a, B b, C c, D d, E e, F f }

/// Makes a key of any ordered type, such as one of another crate.
///
/// For a type of your own, `#[derive(StreamKey)]` does without the wrapper.
///
/// ```
/// use std::num::NonZeroU32;
/// use watermill_core::key::{KeyValue, Ordered};
///
/// # #[derive(Clone)]
/// struct Machine { id: NonZeroU32 }
///
/// let key = |machine: &Machine| Ordered(machine.id);
/// # fn is_key<R, E: watermill_core::key::KeyExpr<R>>(_: E) {}
/// # is_key(key);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordered<T>(pub T);

impl<T> KeyValue for Ordered<T>
where
    T: Ord + Hash + Clone + fmt::Debug + Send + Sync + 'static,
{
    type View<'a> = Cow<'a, Self>;

    #[inline]
    fn view(&self) -> Result<Option<Cow<'_, Self>>, KeyFault> {
        Ok(Some(Cow::Borrowed(self)))
    }

    #[inline]
    fn into_view<'a>(self) -> Result<Option<Cow<'a, Self>>, KeyFault> {
        Ok(Some(Cow::Owned(self)))
    }

    #[inline]
    fn detach(view: &Cow<'_, Self>) -> Self {
        view.clone().into_owned()
    }
}
