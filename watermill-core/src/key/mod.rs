//! Keys: what joins and windows compare.
//!
//! A key is computed from a record by a [`KeyExpr`]: an expression over the record's fields
//! (`Flight::fields().time + 45`), a tuple of such expressions, or any closure `Fn(&R) -> K`. What it yields is a
//! [`KeyValue`], which says how the value is compared: one total order per type.
//!
//! ```
//! # extern crate watermill_core as watermill;
//! use watermill_core::key::{KeyExpr, KeyFault, describe};
//! use watermill_core::record::StreamRecord;
//! use watermill_derive::StreamRecord;
//!
//! #[derive(StreamRecord)]
//! struct Flight { time: i64, gate: Gate }
//!
//! #[derive(StreamRecord)]
//! struct Gate { hall: String, number: u16 }
//!
//! let flight = Flight { time: 100, gate: Gate { hall: "A".into(), number: 7 } };
//!
//! // Rust's own operators, precedence and parentheses; constants take the type of the field.
//! let hour = (Flight::fields().time + 45) / 60;
//! assert_eq!(hour.key(&flight), Ok(Some(2)));
//! assert_eq!(hour.to_string(), "(time + 45) / 60");
//!
//! // Fields of fields, tuples, functions of the user's. Text is compared where it stands.
//! let gate = (Flight::fields().gate.hall, Flight::fields().gate.number.map(|n| n % 2 == 0));
//! assert_eq!(gate.key(&flight), Ok(Some(("A".into(), false))));
//! assert_eq!(describe(&gate), "(gate.hall, gate.number.map(..))");
//!
//! // Closures can be used wherever expressions can.
//! let closure = |flight: &Flight| flight.time + 45;
//! assert_eq!(closure.key(&flight), Ok(Some(145)));
//! assert_eq!(describe(&closure), "|Flight| ..");
//!
//! // Arithmetic is checked: a record that leaves the range has no key.
//! let late = Flight { time: i64::MAX, ..flight };
//! let fault = hour.key(&late).unwrap_err();
//! assert_eq!(fault.to_string(), "`9223372036854775807 + 45` leaves the range of `i64`");
//! ```
//!
//! # Numbers and dates
//!
//! `+ - * / %`, unary `-`, `div_euclid` and `rem_euclid` work on integers and floats, with a constant or an expression of
//! the same type on either side. Overflow and division by zero are a [`KeyFault`]. Floats become infinite instead, and
//! NaN is a fault when it becomes a key.
//!
//! Dates take the durations of their own crate by `+` and `-`: std's `SystemTime`, and those of chrono, time and jiff
//! behind the features of these names. Dates without a time of day move by whole days: what the duration has beyond
//! them is cut off. A time of day does not go round the clock: that is an overflow.
//!
//! An `Option` of any of them can be calculated with as well; `None` stays `None`, which matches nothing.
//!
//! # How closures and expressions can both be keys
//!
//! `impl<R, K, F: Fn(&R) -> K> KeyExpr<R> for F` is for every type there is, or so it looks; next to it, an impl for
//! [`Field`] or for a tuple ought to overlap. It does not, because [`Fn`] is a *fundamental* trait: adding an impl of it to a
//! type is a breaking change by definition, so the compiler may take "`Field<P>` is no function" for a fact, and
//! does. Since a closure's type implements `Fn` for one record only, `R` need not be named: it follows from
//! `|robot: &Robot| ..`.
//!
//! # How an expression is made
//!
//! The derive writes a type for each field that says where it stands, a [`Place`], and puts a [`Field`] of it into the
//! struct that `fields()` returns. `Field` and [`Computed`] implement the operators: each makes a new `Computed` around a node
//! ([`Binary`], [`Negated`], [`Mapped`]), so that the whole expression is one type without pointers, and evaluating it
//! is the plain arithmetic. What may stand to the right of an operator is an [`Operand`], what an operator does to two
//! values is their [`Arith`]. Because the left side is known when the compiler comes to the right one, and of the
//! numbers only the same type is an operand, `time + 10` needs no suffix.

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
mod windows;

pub use arith::{
    Arith, ArithFault, Binary, DivEuclid, Divided, Minus, Negate, Negated, Operation, Plus, RemEuclid,
    Remainder, Shown, Times,
};
pub use compound::Ordered;
pub use expr::{Computed, Evaluated, Expr, Field, Literal, Mapped, Operand, Rank};
pub use float::Float;
pub use value::{KeyOffset, KeyValue, SameKey, Shifted};
pub use windows::WindowKey;

use std::fmt;

/// A place inside a record that is known at compile time: a field, or a field of a field.
///
/// Written by `#[derive(StreamRecord)]`; nobody else needs to implement it.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Field, Place};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Robot { pose: Pose }
/// #[derive(StreamRecord)]
/// struct Pose { x: f64 }
///
/// /// Reads the field that an expression names.
/// fn value_of<P: Place>(_: Field<P>, record: &P::Record) -> &P::Value {
///     P::get(record)
/// }
///
/// let robot = Robot { pose: Pose { x: 1.5 } };
/// assert_eq!(*value_of(Robot::fields().pose.x, &robot), 1.5);
/// ```
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
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{KeyExpr, KeyFault};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Trip { metres: i64, seconds: i64, cost: f64 }
///
/// let trip = Trip { metres: 900, seconds: 0, cost: f64::NAN };
/// let fault = (Trip::fields().metres / Trip::fields().seconds).key(&trip).unwrap_err();
/// assert_eq!(fault.to_string(), "`900 / 0` divides by zero");
/// assert!(matches!(fault, KeyFault::DivisionByZero { .. }));
/// assert_eq!(Trip::fields().cost.key(&trip), Err(KeyFault::NotANumber));
/// ```
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
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::KeyExpr;
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Flight { day: u32, minute: u32 }
///
/// /// Whether a join by this key could read the records in their order.
/// fn never_goes_down<R, E: KeyExpr<R>>(records: &[R], key: E) -> bool {
///     records.is_sorted_by_key(|record| key.key(record).ok().flatten())
/// }
///
/// let flights = [(1, 900), (1, 905), (2, 10)].map(|(day, minute)| Flight { day, minute });
/// assert!(!never_goes_down(&flights, Flight::fields().minute));
/// assert!(never_goes_down(&flights, (Flight::fields().day, Flight::fields().minute)));
/// assert!(never_goes_down(&flights, |flight: &Flight| flight.day * 1440 + flight.minute));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key of a record",
    label = "cannot be a key of a record",
    note = "a key is an expression over the record's fields (`Flight::fields().time + 10`), a tuple of such expressions, or a closure `|flight: &Flight| ..` that returns a key value",
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

    /// Writes the expression without what does not matter to the order of its values: `time` for `time + 10`.
    #[doc(hidden)]
    fn order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)
    }
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
