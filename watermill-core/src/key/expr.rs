//! Expressions over the fields of a record, and how they are evaluated and printed.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use super::{KeyExpr, KeyFault, KeyValue, Place, Shown};
use crate::record::StreamRecord;

/// A field of a record as an expression: `RobotLocation::fields().time`.
///
/// It can be a key as it is, and a part of larger expressions: `+ - * / %`, unary `-`, [`div_euclid`](Field::div_euclid),
/// [`rem_euclid`](Field::rem_euclid) and [`map`](Field::map) work on it. A field that is a record itself leads on to
/// its own fields: `Robot::fields().pose.x`.
///
/// It is a name, not a value: copying it costs nothing.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::KeyExpr;
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Robot { name: String, pose: Pose }
/// #[derive(StreamRecord)]
/// struct Pose { x: f64 }
///
/// let robot = Robot { name: "Ada".to_owned(), pose: Pose { x: 1.5 } };
/// // Text is borrowed from the record.
/// assert_eq!(Robot::fields().name.key(&robot)?.as_deref(), Some("Ada"));
/// assert_eq!((Robot::fields().pose.x * 2.0).to_string(), "pose.x * 2.0");
/// # Ok::<(), watermill_core::key::KeyFault>(())
/// ```
pub struct Field<P>(PhantomData<fn() -> P>);

impl<P> Field<P> {
    /// The field at the place `P`; written by the derive.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill_core::key::{Field, Place};
    /// # use watermill_core::record::StreamRecord;
    /// # use watermill_derive::StreamRecord;
    /// /// The path of a field of which only the type is known.
    /// fn path<P: Place>() -> String {
    ///     Field::<P>::new().to_string()
    /// }
    ///
    /// fn path_of<P: Place>(_: Field<P>) -> String {
    ///     path::<P>()
    /// }
    ///
    /// #[derive(StreamRecord)]
    /// struct Robot { time: i64 }
    /// assert_eq!(path_of(Robot::fields().time), "time");
    /// ```
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P> Default for Field<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Clone for Field<P> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Field<P> {}

/// The fields below a field that is a record itself.
impl<P: Place> Deref for Field<P>
where
    P::Value: StreamRecord,
{
    type Target = <P::Value as StreamRecord>::Fields<P>;

    fn deref(&self) -> &Self::Target {
        P::Value::fields_below::<P>()
    }
}

/// What an [`Expr`] yields: a value in the record, or one that was computed.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Evaluated, Expr};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Reading { time: i64 }
///
/// let reading = Reading { time: 90 };
/// assert!(matches!(Reading::fields().time.eval(&reading)?, Evaluated::Borrowed(90)));
/// assert!(matches!((Reading::fields().time / 60).eval(&reading)?, Evaluated::Owned(1)));
/// # Ok::<(), watermill_core::key::KeyFault>(())
/// ```
#[derive(Debug)]
pub enum Evaluated<'a, V> {
    /// Stands in the record, or in the expression.
    Borrowed(&'a V),
    /// Was computed.
    Owned(V),
}

impl<V> AsRef<V> for Evaluated<'_, V> {
    #[inline]
    fn as_ref(&self) -> &V {
        match self {
            Evaluated::Borrowed(value) => value,
            Evaluated::Owned(value) => value,
        }
    }
}

/// How tightly an expression holds together, as in Rust.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Expr, Rank};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Reading { time: i64 }
///
/// let sum = Reading::fields().time + 45;
/// assert!(sum.rank() == Rank::Sum && Rank::Sum < Rank::Product);
/// // Hence the parentheses.
/// assert_eq!((sum / 60).to_string(), "(time + 45) / 60");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// `a + b`, `a - b`.
    Sum,
    /// `a * b`, `a / b`, `a % b`.
    Product,
    /// `-a`.
    Sign,
    /// A field, a positive constant, a method call.
    Atom,
}

/// A node of an expression over the fields of one record.
///
/// Written by the operators of [`Field`] and [`Computed`]; nobody else needs to implement it.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Expr, KeyFault};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// /// The sum of an expression over some records.
/// fn total<E: Expr<Value = i64>>(expr: E, records: &[E::Record]) -> Result<i64, KeyFault> {
///     records.iter().map(|record| Ok(*expr.eval(record)?.as_ref())).sum()
/// }
///
/// #[derive(StreamRecord)]
/// struct Line { cents: i64, count: i64 }
///
/// let lines = [Line { cents: 20, count: 3 }, Line { cents: 50, count: 1 }];
/// assert_eq!(total(Line::fields().cents * Line::fields().count, &lines), Ok(110));
/// ```
pub trait Expr: Send + Sync + 'static {
    /// The record whose fields the expression is over.
    type Record: 'static;
    /// What it yields.
    type Value: 'static;

    /// The value for `record`.
    ///
    /// # Errors
    /// When the arithmetic overflows or divides by zero.
    fn eval<'a>(&'a self, record: &'a Self::Record) -> Result<Evaluated<'a, Self::Value>, KeyFault>;

    /// How tightly the printed expression holds together.
    fn rank(&self) -> Rank;

    /// Writes the expression without parentheses around it.
    ///
    /// # Errors
    /// As the formatter says.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// As [`write`](Expr::write), without constants that are added at the end: they do not matter to the order.
    #[doc(hidden)]
    fn write_order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }

    /// Whether it is the same for every record.
    #[doc(hidden)]
    fn is_constant(&self) -> bool {
        false
    }
}

impl<P: Place> Expr for Field<P> {
    type Record = P::Record;
    type Value = P::Value;

    #[inline]
    fn eval<'a>(&'a self, record: &'a P::Record) -> Result<Evaluated<'a, P::Value>, KeyFault> {
        Ok(Evaluated::Borrowed(P::get(record)))
    }

    fn rank(&self) -> Rank {
        Rank::Atom
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        P::write_path(f)
    }
}

/// An expression that is more than a field: `RobotLocation::fields().time + 10`.
///
/// Takes part in larger expressions as [`Field`] does.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::KeyExpr;
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Flight { time: i64 }
///
/// // As a field, it can be used several times.
/// let ready = Flight::fields().time + 45;
/// let hour = ready / 60;
/// let flight = Flight { time: 100 };
/// assert_eq!((ready.key(&flight), hour.key(&flight)), (Ok(Some(145)), Ok(Some(2))));
/// ```
#[derive(Clone, Copy)]
pub struct Computed<N>(pub(super) N);

impl<N: Expr> Expr for Computed<N> {
    type Record = N::Record;
    type Value = N::Value;

    #[inline]
    fn eval<'a>(&'a self, record: &'a N::Record) -> Result<Evaluated<'a, N::Value>, KeyFault> {
        self.0.eval(record)
    }

    fn rank(&self) -> Rank {
        self.0.rank()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f)
    }

    fn write_order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_order(f)
    }

    fn is_constant(&self) -> bool {
        self.0.is_constant()
    }
}

/// A constant within an expression over `R`.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Binary, Computed, Field, Literal, Place, Times};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// type Seconds<P> = Computed<Binary<Times, Literal<<P as Place>::Record, i64>, Field<P>>>;
///
/// fn seconds<P: Place<Value = i64>>(minutes: Field<P>) -> Seconds<P> {
///     60 * minutes
/// }
///
/// #[derive(StreamRecord)]
/// struct Flight { minute: i64 }
///
/// assert_eq!(seconds(Flight::fields().minute).to_string(), "60 * minute");
/// ```
pub struct Literal<R, V> {
    value: V,
    of: PhantomData<fn() -> R>,
}

impl<R, V> Literal<R, V> {
    #[inline]
    pub(super) fn new(value: V) -> Self {
        Self { value, of: PhantomData }
    }
}

impl<R, V: Clone> Clone for Literal<R, V> {
    fn clone(&self) -> Self {
        Self::new(self.value.clone())
    }
}

impl<R, V: Copy> Copy for Literal<R, V> {}

impl<R: 'static, V: Shown + Send + Sync + 'static> Expr for Literal<R, V> {
    type Record = R;
    type Value = V;

    #[inline]
    fn eval<'a>(&'a self, _: &'a R) -> Result<Evaluated<'a, V>, KeyFault> {
        Ok(Evaluated::Borrowed(&self.value))
    }

    fn rank(&self) -> Rank {
        self.value.rank()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.show(f)
    }

    fn is_constant(&self) -> bool {
        true
    }
}

/// `inner.map(..)`: what a function of the user's makes of a value.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Computed, Field, KeyExpr, Mapped, Place};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// fn length<P: Place<Value = String>>(text: Field<P>) -> Computed<Mapped<Field<P>, fn(&String) -> usize>> {
///     text.map(String::len)
/// }
///
/// #[derive(StreamRecord)]
/// struct Airport { code: String }
///
/// let key = length(Airport::fields().code);
/// assert_eq!(key.key(&Airport { code: "ORD".to_owned() }), Ok(Some(3)));
/// assert_eq!(key.to_string(), "code.map(..)");
/// ```
#[derive(Clone, Copy)]
pub struct Mapped<A, F> {
    pub(super) inner: A,
    pub(super) function: F,
}

impl<A, F, K> Expr for Mapped<A, F>
where
    A: Expr,
    F: Fn(&A::Value) -> K + Send + Sync + 'static,
    K: 'static,
{
    type Record = A::Record;
    type Value = K;

    #[inline]
    fn eval<'a>(&'a self, record: &'a A::Record) -> Result<Evaluated<'a, K>, KeyFault> {
        Ok(Evaluated::Owned((self.function)(self.inner.eval(record)?.as_ref())))
    }

    fn rank(&self) -> Rank {
        Rank::Atom
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(&self.inner, Rank::Atom, f)?;
        f.write_str(".map(..)")
    }
}

/// Writes `expr`, in parentheses if it holds together less tightly than `least`.
pub(super) fn write_at(expr: &impl Expr, least: Rank, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if expr.rank() < least {
        f.write_str("(")?;
        expr.write(f)?;
        f.write_str(")")
    } else {
        expr.write(f)
    }
}

/// The right side of an operator in an expression over `R` whose left side is a `V`.
///
/// Implemented by expressions over the same record, by numbers of the left side's own type, and, beside dates, by
/// the durations of their crate.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Arith, Binary, Computed, Expr, Field, Operand, Place, Plus};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// /// Moves a key by a constant or by another field of the record.
/// fn moved<P: Place, D>(key: Field<P>, by: D) -> Computed<Binary<Plus, Field<P>, D::Expr>>
/// where
///     D: Operand<P::Record, P::Value>,
///     P::Value: Arith<Plus, <D::Expr as Expr>::Value>,
/// {
///     key + by
/// }
///
/// #[derive(StreamRecord)]
/// struct Flight { time: i64, delay: i64 }
///
/// assert_eq!(moved(Flight::fields().time, 45).to_string(), "time + 45");
/// assert_eq!(moved(Flight::fields().time, Flight::fields().delay).to_string(), "time + delay");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be combined with a `{V}` of `{R}`",
    label = "neither a constant that fits `{V}` nor an expression over `{R}`",
    note = "numbers take constants of their own type, dates take durations of their own crate, and both take expressions over the same record",
    note = "for anything else use `.map(|value| ..)` or a closure `|r: &{R}| ..`"
)]
pub trait Operand<R, V> {
    /// The operand as a node of the expression.
    type Expr: Expr<Record = R>;

    /// The operand as a node of the expression.
    fn into_expr(self) -> Self::Expr;
}

/// What [`Field`] and [`Computed`] have in common.
macro_rules! expression {
    ($type:ident<$param:ident: $bound:ident>) => {
        impl<$param: $bound> KeyExpr<$param::Record> for $type<$param>
        where
            $param::Value: KeyValue,
        {
            type Value = $param::Value;

            #[inline]
            fn key<'a>(
                &'a self,
                record: &'a $param::Record,
            ) -> Result<Option<<$param::Value as KeyValue>::View<'a>>, KeyFault> {
                match self.eval(record)? {
                    Evaluated::Borrowed(value) => value.view(),
                    Evaluated::Owned(value) => value.into_view(),
                }
            }

            fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.write(f)
            }

            fn order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.write_order(f)
            }
        }

        impl<$param: $bound, V> Operand<$param::Record, V> for $type<$param> {
            type Expr = Self;

            #[inline]
            fn into_expr(self) -> Self {
                self
            }
        }

        impl<$param: $bound> fmt::Display for $type<$param> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.write(f)
            }
        }

        impl<$param: $bound> fmt::Debug for $type<$param> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.write(f)
            }
        }

        impl<$param: $bound> $type<$param> {
            /// What `function` makes of the value: `fields().name.map(|name| name.len())`.
            ///
            /// The function sees the value in the record; nothing is copied for it.
            ///
            /// ```
            /// # extern crate watermill_core as watermill;
            /// # use watermill_core::{key::KeyExpr, record::StreamRecord};
            /// # use watermill_derive::StreamRecord;
            /// #[derive(StreamRecord)]
            /// struct Airport { code: String }
            ///
            /// let initial = Airport::fields().code.map(|code| code.chars().next());
            /// assert_eq!(initial.key(&Airport { code: "ORD".to_owned() }), Ok(Some('O')));
            /// // Nothing matches it, since `None` matches nothing.
            /// assert_eq!(initial.key(&Airport { code: String::new() }), Ok(None));
            /// ```
            #[inline]
            pub fn map<F, K>(self, function: F) -> Computed<Mapped<Self, F>>
            where
                F: Fn(&$param::Value) -> K + Send + Sync + 'static,
                K: KeyValue,
            {
                Computed(Mapped { inner: self, function })
            }
        }
    };
}

expression! { Field<P: Place> }
expression! { Computed<N: Expr> }
