//! Floats as keys: a total order without NaN.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::{KeyFault, KeyOffset, KeyValue, Shifted};

/// A float that is not NaN, ordered as numbers are: the [view](KeyValue::View) of `f32` and `f64`.
///
/// There is one zero: -0.0 became 0.0. The infinities are ordinary, the least and the greatest.
///
/// ```
/// use watermill_core::key::{Float, KeyFault, KeyValue};
///
/// assert_eq!((-0.0_f64).view(), 0.0_f64.view());
/// assert!(1.5_f64.view()? < f64::INFINITY.view()?);
/// assert_eq!(f64::NAN.view(), Err(KeyFault::NotANumber));
/// # Ok::<(), KeyFault>(())
/// ```
#[derive(Clone, Copy)]
pub struct Float<T>(T);

impl<T: Copy> Float<T> {
    /// The float.
    ///
    /// ```
    /// # use watermill_core::key::Float;
    /// assert_eq!(Float::<f64>::new(1.5).map(Float::get), Some(1.5));
    /// ```
    #[inline]
    #[must_use]
    pub fn get(self) -> T {
        self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Float<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! float_key {
    ($($type:ident)+) => {$(
        impl Float<$type> {
            /// `value` as a part of the order; `None` if it is NaN.
            ///
            /// ```
            /// # use watermill_core::key::Float;
            /// assert!(Float::<f64>::new(0.5) < Float::<f64>::new(2.0));
            /// assert!(Float::<f64>::new(f64::NAN).is_none());
            /// ```
            #[inline]
            #[must_use]
            pub fn new(value: $type) -> Option<Self> {
                // Adding 0.0 turns -0.0 into 0.0 and leaves all else alone.
                if value.is_nan() { None } else { Some(Self(value + 0.0)) }
            }
        }

        // The comparisons are those of the float: with no NaN and one zero, they are total.
        impl PartialEq for Float<$type> {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl Eq for Float<$type> {}

        impl PartialOrd for Float<$type> {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }

            #[inline]
            fn lt(&self, other: &Self) -> bool {
                self.0 < other.0
            }

            #[inline]
            fn le(&self, other: &Self) -> bool {
                self.0 <= other.0
            }

            #[inline]
            fn gt(&self, other: &Self) -> bool {
                self.0 > other.0
            }

            #[inline]
            fn ge(&self, other: &Self) -> bool {
                self.0 >= other.0
            }
        }

        impl Ord for Float<$type> {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.total_cmp(&other.0)
            }
        }

        impl Hash for Float<$type> {
            #[inline]
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.to_bits().hash(state);
            }
        }

        impl KeyValue for $type {
            type View<'a> = Float<$type>;

            #[inline]
            fn view(&self) -> Result<Option<Float<$type>>, KeyFault> {
                Float::<$type>::new(*self).map(Some).ok_or(KeyFault::NotANumber)
            }

            #[inline]
            fn into_view<'a>(self) -> Result<Option<Self::View<'a>>, KeyFault> {
                self.view()
            }

            #[inline]
            fn detach(view: &Float<$type>) -> Self {
                view.0
            }
        }

        /// As floats are added: a sum too large for a finite float lies at infinity.
        ///
        /// An infinite offset is no bound at all: it wins even over an opposite infinite key. A NaN offset lies
        /// nowhere; it is put above all, and whoever takes offsets from a user should refuse it before.
        impl KeyOffset<$type> for $type {
            #[inline]
            fn shift<'a>(view: &Self::View<'a>, offset: &$type) -> Shifted<Self::View<'a>> {
                let sum = if offset.is_infinite() { *offset } else { view.0 + *offset };
                Float::<$type>::new(sum).map_or(Shifted::AboveAll, Shifted::At)
            }
        }
    )+};
}

float_key! { f32 f64 }
