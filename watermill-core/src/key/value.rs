//! Which types can be keys, and how they are compared.

use std::fmt;
use std::hash::Hash;

use super::{KeyExpr, KeyFault};

/// A type that can be a key: it has one total order.
///
/// Implemented for the integers, floats (NaN is refused, -0.0 equals 0.0), `bool`, `char`, `String`, dates, `Option`
/// (`None` matches nothing) and tuples; `#[derive(StreamKey)]` adds the user's own ordered types, and
/// [`Ordered`](super::Ordered) those of other crates.
///
/// A closure cannot return a key that borrows from the record; use the field itself (`fields().name`), which does.
/// Whoever implements this by hand writes `Self::View<'a>` in [`into_view`](KeyValue::into_view), also where the view
/// borrows nothing.
///
/// ```
/// use std::cmp::Reverse;
/// use watermill_core::key::{KeyFault, KeyValue};
///
/// /// A rank in a list: the best one has the highest number and comes first.
/// struct Points(u32);
///
/// impl KeyValue for Points {
///     type View<'a> = Reverse<u32>;
///
///     fn view(&self) -> Result<Option<Reverse<u32>>, KeyFault> {
///         Ok(Some(Reverse(self.0)))
///     }
///
///     fn into_view<'a>(self) -> Result<Option<Self::View<'a>>, KeyFault> {
///         self.view()
///     }
///
///     fn detach(view: &Reverse<u32>) -> Self {
///         Self(view.0)
///     }
/// }
///
/// assert!(Points(70).view()? < Points(60).view()?);
/// # Ok::<(), KeyFault>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "cannot be a key",
    note = "keys are integers, floats, `bool`, `char`, `String`, dates, `Option`s and tuples of these",
    note = "for a type of your own: `#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, StreamKey)]`"
)]
pub trait KeyValue: Sized + Send + Sync + 'static {
    /// The form that is compared: the value itself where it is small, borrowed from the record where it is not.
    type View<'a>: Ord + Hash + Clone + fmt::Debug;

    /// This value, ready to be compared; `None` matches nothing.
    ///
    /// # Errors
    /// When the value has no place in the order: NaN.
    fn view(&self) -> Result<Option<Self::View<'_>>, KeyFault>;

    /// As [`view`](KeyValue::view), of a value that was computed and is not kept anywhere.
    ///
    /// # Errors
    /// When the value has no place in the order: NaN.
    fn into_view<'a>(self) -> Result<Option<Self::View<'a>>, KeyFault>;

    /// The value behind a view, to be kept when the record goes.
    fn detach(view: &Self::View<'_>) -> Self;
}

/// A key moved by an offset: where the bounds of an interval join (`within(lower..=upper)`) lie.
///
/// ```
/// use watermill_core::key::{KeyOffset, Shifted};
///
/// // The bounds of `within(-5..=5)` around a key.
/// assert_eq!(i8::shift(&2, &-5), Shifted::At(-3));
/// assert_eq!(i8::shift(&-125, &-5), Shifted::BelowAll);
/// assert!(Shifted::BelowAll < Shifted::At(i8::MIN) && Shifted::At(i8::MAX) < Shifted::AboveAll);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shifted<V> {
    /// Below every value of the type: the exact result is too small for it.
    BelowAll,
    /// An ordinary value.
    At(V),
    /// Above every value of the type: the exact result is too large for it.
    AboveAll,
}

/// A key type to which offsets of type `D` can be added: what `within` and `tolerance` ask of a key.
///
/// Integers and floats take offsets of their own type, dates the durations of their own crate; jiff's civil dates take its
/// `Span`s too. `SystemTime` takes std's `Duration`, which is never negative: to look back, move the other key.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use watermill_core::key::{KeyOffset, Shifted};
///
/// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(43_200);
/// let later = SystemTime::shift(&noon, &Duration::from_secs(60));
/// assert_eq!(later, Shifted::At(noon + Duration::from_secs(60)));
/// assert_eq!(u8::shift(&250, &10), Shifted::AboveAll);
/// ```
#[diagnostic::on_unimplemented(
    message = "an offset of type `{D}` cannot be added to a key of type `{Self}`",
    label = "`{D}` is no offset of `{Self}`",
    note = "integers and floats take offsets of their own type, dates take durations of their own crate"
)]
pub trait KeyOffset<D>: KeyValue {
    /// `view` plus `offset`. Never wraps: what leaves the range of the type lies below or above all of it.
    fn shift<'a>(view: &Self::View<'a>, offset: &D) -> Shifted<Self::View<'a>>;
}

/// The type of a join's right key: that of its left key.
///
/// Every key type is the same as itself and no other; being a trait, it lets the compiler say so in words.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{KeyExpr, SameKey};
/// use watermill_core::prelude::*;
/// # use watermill_derive::StreamRecord;
///
/// /// A left join by any two keys of one type.
/// fn keep_all<L, R, A, B>(left: A, right: B) -> JoinWith<L, R, A::Value>
/// where
///     L: StreamRecord,
///     R: StreamRecord,
///     A: KeyExpr<L>,
///     B: KeyExpr<R>,
///     B::Value: SameKey<A::Value>,
/// {
///     JoinWith::new(left, right).left()
/// }
///
/// # #[derive(StreamRecord)] struct Order { id: u32 }
/// # #[derive(StreamRecord)] struct Price { id: u32 }
/// let mill = Mill::new(|_: &Order, _: &Joined<Order, Price>| ())
///     .join(keep_all(Order::fields().id, Price::fields().id));
/// assert!(mill.explain()?.contains("Price: left, id = id"));
/// # Ok::<(), watermill_core::BuildError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "the two keys of a join differ: the left one is `{V}`, the right one is `{Self}`",
    label = "this key is `{Self}`, the left one is `{V}`",
    note = "both keys of a join must be of one type: change a field, or convert one key: `fields().time.map(|time| i64::from(*time))`"
)]
pub trait SameKey<V: KeyValue>: KeyValue {
    /// The expression as one whose values are `V`.
    #[doc(hidden)]
    fn same<R, E: KeyExpr<R, Value = Self>>(expr: E) -> impl KeyExpr<R, Value = V>;
}

impl<V: KeyValue> SameKey<V> for V {
    fn same<R, E: KeyExpr<R, Value = V>>(expr: E) -> impl KeyExpr<R, Value = V> {
        expr
    }
}
