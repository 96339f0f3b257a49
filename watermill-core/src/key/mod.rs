//! Keys: what joins and windows compare.
//!
//! A key is computed from a record by a [`KeyExpr`]: an expression over the record's fields
//! (`Flight::fields().time + 45`), a tuple of such expressions, or any closure `Fn(&R) -> K`. What it yields is a
//! [`KeyValue`], which says how the value is compared: one total order per type.

mod arith;
mod closure;
mod compound;
mod dates;
mod expr;
mod float;
mod number;
mod scalar;
mod text;
mod value;

pub use arith::{
    Arith, ArithFault, Binary, DivEuclid, Divided, Minus, Negate, Negated, Operation, Plus, RemEuclid,
    Remainder, Shown, Times,
};
pub use compound::Ordered;
pub use expr::{Computed, Evaluated, Expr, Field, Literal, Mapped, Operand, Rank};
pub use float::Float;
pub use value::{KeyOffset, KeyValue, Shifted};

use std::fmt;

/// A place inside a record that is known at compile time: a field, or a field of a field.
///
/// Written by `#[derive(StreamRecord)]`; nobody else needs to implement it.
pub trait Place: 'static {
    /// The record the place is in.
    type Record: 'static;
    /// What stands there.
    type Value: 'static;

    /// The value at this place of `record`.
    fn get(record: &Self::Record) -> &Self::Value;

    /// Writes the path from the record to this place: `pose.x`. Nothing for the whole record.
    ///
    /// # Errors
    /// As the formatter says.
    fn write_path(f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// Why a record has no usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// The key, or a part of it, is NaN, which has no place in an order.
    #[error("the key is NaN, which has no place in an order")]
    NotANumber,
    /// The arithmetic left the range of the type.
    #[error("`{expression}` leaves the range of `{type_name}`")]
    Overflow {
        /// The expression with the values that were in it: `9223372036854775807 + 10`.
        expression: String,
        /// The type whose range was left.
        type_name: &'static str,
    },
    /// A division or a remainder by zero.
    #[error("`{expression}` divides by zero")]
    DivisionByZero {
        /// The expression with the values that were in it.
        expression: String,
    },
}

/// Computes a key from a record.
///
/// Implemented by field expressions, by tuples of key expressions and by closures `Fn(&R) -> K`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key of `{R}`",
    label = "not a key of `{R}`",
    note = "a key is an expression over the record's fields (`{R}::fields().time + 10`), a tuple of such expressions, or a closure `|r: &{R}| ..` that returns a key value",
    note = "the field or the result must be a key value: an integer, a float, a `String`, a date, ..; `#[derive(StreamKey)]` makes one of a type of your own"
)]
pub trait KeyExpr<R>: Send + Sync + 'static {
    /// The type of the key.
    type Value: KeyValue;

    /// The key of `record`, borrowed from it where that saves an allocation; `None` matches nothing.
    ///
    /// # Errors
    /// When the record has no usable key.
    fn key<'a>(&'a self, record: &'a R) -> Result<Option<<Self::Value as KeyValue>::View<'a>>, KeyFault>;

    /// Writes the expression as `explain()` shows it.
    ///
    /// # Errors
    /// As the formatter says.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// The expression as `explain()` shows it.
///
/// ```
/// use watermill_core::key::describe;
///
/// assert_eq!(describe(&(|text: &String| text.len())), "|String| ..");
/// ```
#[must_use]
pub fn describe<R>(expr: &impl KeyExpr<R>) -> String {
    written(|f| expr.describe(f)).to_string()
}

/// A [`fmt::Display`] that does what `write` does.
pub(crate) fn written<F>(write: F) -> impl fmt::Display
where
    F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
{
    struct Written<F>(F);

    impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Written<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (self.0)(f)
        }
    }

    Written(write)
}
