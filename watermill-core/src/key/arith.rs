//! Checked arithmetic in expressions.
//!
//! An operator makes a [`Binary`] node of its two sides. What the node does is said by two traits: an [`Operation`]
//! (a marker such as [`Plus`]) knows its sign and rank, [`Arith`] what it does to two values. All of it is known to
//! the compiler, so an expression becomes plain arithmetic.

use std::fmt;
use std::marker::PhantomData;
use std::ops;

use super::expr::write_at;
use super::{Computed, Evaluated, Expr, Field, KeyFault, Operand, Place, Rank, written};

/// How a value looks within an expression.
///
/// It is how a constant is printed, and what a message shows of the values. The default is the `Debug` form.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Rank, Shown};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Reading { celsius: i64 }
///
/// assert_eq!((8_i64.rank(), (-8_i64).rank()), (Rank::Atom, Rank::Sign));
/// assert_eq!((Reading::fields().celsius * -8).to_string(), "celsius * -8");
/// ```
pub trait Shown: fmt::Debug {
    /// Writes the value.
    ///
    /// # Errors
    /// As the formatter says.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }

    /// A value with a sign holds together less tightly than one without.
    fn rank(&self) -> Rank {
        if written(|f| self.show(f)).to_string().starts_with('-') { Rank::Sign } else { Rank::Atom }
    }
}

impl<T: Shown> Shown for Option<T> {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(value) => value.show(f),
            None => f.write_str("None"),
        }
    }
}

/// Why two values have no result.
///
/// ```
/// use watermill_core::key::{Arith, ArithFault, Divided, Plus};
///
/// assert_eq!(Arith::<Plus>::apply(&250_u8, &8), Err(ArithFault::Overflow));
/// assert_eq!(Arith::<Divided>::apply(&250_u8, &0), Err(ArithFault::DivisionByZero));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithFault {
    /// It is outside of the range of the type.
    Overflow,
    /// The divisor is zero.
    DivisionByZero,
}

/// A value that the operation `O` can be applied to, with a `D` on the right.
///
/// A type of one's own that implements it can be calculated with in expressions:
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Arith, ArithFault, KeyExpr, Plus, Shown};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::{StreamKey, StreamRecord};
///
/// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, StreamKey)]
/// struct Tick(u32);
///
/// impl Shown for Tick {}
/// impl Arith<Plus> for Tick {
///     fn apply(&self, by: &Tick) -> Result<Self, ArithFault> {
///         self.0.checked_add(by.0).map(Tick).ok_or(ArithFault::Overflow)
///     }
/// }
///
/// #[derive(StreamRecord)]
/// struct Note { start: Tick, length: Tick }
///
/// let end = Note::fields().start + Note::fields().length;
/// let key = end.key(&Note { start: Tick(8), length: Tick(2) })?;
/// assert_eq!(key.as_deref(), Some(&Tick(10)));
/// # Ok::<(), watermill_core::key::KeyFault>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "no `{O}` of a `{Self}` and a `{D}` in key expressions",
    label = "not possible with a `{D}` on the right",
    note = "numbers combine with numbers of their own type, dates take durations of their own crate by `+` and `-`",
    note = "for anything else use `.map(|value| ..)` or a closure"
)]
pub trait Arith<O, D = Self>: Shown + Sized {
    /// The result.
    ///
    /// # Errors
    /// When there is none within the type.
    fn apply(&self, by: &D) -> Result<Self, ArithFault>;
}

/// A value with a negative.
///
/// ```
/// use watermill_core::key::{ArithFault, Negate};
///
/// assert_eq!(45_i64.negate(), Ok(-45));
/// assert_eq!(i64::MIN.negate(), Err(ArithFault::Overflow));
/// ```
#[diagnostic::on_unimplemented(message = "a `{Self}` cannot be negated", label = "`-` needs a signed number")]
pub trait Negate: Shown + Sized {
    /// The negative.
    ///
    /// # Errors
    /// When there is none within the type: `-i64::MIN`.
    fn negate(&self) -> Result<Self, ArithFault>;
}

impl<T: Negate> Negate for Option<T> {
    #[inline]
    fn negate(&self) -> Result<Self, ArithFault> {
        self.as_ref().map(T::negate).transpose()
    }
}

/// An operation of two sides.
///
/// ```
/// use watermill_core::key::{DivEuclid, Operation, Plus, Times};
///
/// assert_eq!((Plus::SIGN, Times::SIGN, DivEuclid::SIGN), ("+", "*", "div_euclid"));
/// assert!(Plus::RANK < Times::RANK);
/// ```
pub trait Operation: 'static {
    /// How it is written between its sides, or as a method: `+`, `div_euclid`.
    const SIGN: &'static str;
    /// How tightly it holds together.
    const RANK: Rank;
}

macro_rules! operations {
    ($($(#[$meta:meta])* $name:ident $sign:literal $rank:ident;)+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}

        impl Operation for $name {
            const SIGN: &'static str = $sign;
            const RANK: Rank = Rank::$rank;
        }
    )+};
}

operations! {
    /// `a + b`
    Plus "+" Sum;
    /// `a - b`
    Minus "-" Sum;
    /// `a * b`
    Times "*" Product;
    /// `a / b`
    Divided "/" Product;
    /// `a % b`
    Remainder "%" Product;
    /// `a.div_euclid(b)`
    DivEuclid "div_euclid" Atom;
    /// `a.rem_euclid(b)`
    RemEuclid "rem_euclid" Atom;
}

/// `left O right`.
///
/// What the operators make, within a [`Computed`]; its name is needed to return an expression.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Binary, Computed, Field, Literal, Place, Plus};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// type Later<P> = Computed<Binary<Plus, Field<P>, Literal<<P as Place>::Record, i64>>>;
///
/// fn later<P: Place<Value = i64>>(field: Field<P>) -> Later<P> {
///     field + 45
/// }
///
/// #[derive(StreamRecord)]
/// struct Flight { time: i64 }
///
/// assert_eq!(later(Flight::fields().time).to_string(), "time + 45");
/// ```
pub struct Binary<O, A, B> {
    left: A,
    right: B,
    operation: PhantomData<fn() -> O>,
}

impl<O, A: Clone, B: Clone> Clone for Binary<O, A, B> {
    fn clone(&self) -> Self {
        Self { left: self.left.clone(), right: self.right.clone(), operation: PhantomData }
    }
}

impl<O, A: Copy, B: Copy> Copy for Binary<O, A, B> {}

impl<O, A, B> Binary<O, A, B> {
    #[inline]
    pub(super) fn new(left: A, right: B) -> Computed<Self> {
        Computed(Self { left, right, operation: PhantomData })
    }
}

impl<O, A, B> Binary<O, A, B>
where
    O: Operation,
    A: Expr,
    B: Expr<Record = A::Record>,
    A::Value: Arith<O, B::Value>,
    B::Value: Shown,
{
    /// Why there is no result for `record`.
    ///
    /// Evaluates both sides again: if the values were handed over, they would have to be in memory each time.
    #[cold]
    #[inline(never)]
    fn fault(&self, record: &A::Record, cause: ArithFault) -> KeyFault {
        let (left, right) = match (self.left.eval(record), self.right.eval(record)) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(fault), _) | (_, Err(fault)) => return fault,
        };
        let expression = written(|f| {
            write_binary::<O>(
                f,
                |least, f| show_at(left.as_ref(), least, f),
                |least, f| show_at(right.as_ref(), least, f),
            )
        });
        key_fault::<A::Value>(expression.to_string(), cause)
    }
}

impl<O, A, B> Expr for Binary<O, A, B>
where
    O: Operation,
    A: Expr,
    B: Expr<Record = A::Record>,
    A::Value: Arith<O, B::Value>,
    B::Value: Shown,
{
    type Record = A::Record;
    type Value = A::Value;

    #[inline]
    fn eval<'a>(&'a self, record: &'a A::Record) -> Result<Evaluated<'a, A::Value>, KeyFault> {
        let left = self.left.eval(record)?;
        let right = self.right.eval(record)?;
        match left.as_ref().apply(right.as_ref()) {
            Ok(value) => Ok(Evaluated::Owned(value)),
            Err(cause) => Err(self.fault(record, cause)),
        }
    }

    fn rank(&self) -> Rank {
        O::RANK
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_binary::<O>(
            f,
            |least, f| write_at(&self.left, least, f),
            |least, f| write_at(&self.right, least, f),
        )
    }

    fn write_order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moves = matches!(O::SIGN, "+" | "-") && self.right.is_constant();
        if moves { self.left.write_order(f) } else { self.write(f) }
    }
}

/// Writes the operation `O` of two sides, which are told how tightly they must hold together.
fn write_binary<O: Operation>(
    f: &mut fmt::Formatter<'_>,
    left: impl Fn(Rank, &mut fmt::Formatter<'_>) -> fmt::Result,
    right: impl Fn(Rank, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    left(O::RANK, f)?;
    if O::RANK == Rank::Atom {
        write!(f, ".{}(", O::SIGN)?;
        right(Rank::Sum, f)?;
        return f.write_str(")");
    }
    write!(f, " {} ", O::SIGN)?;
    // Operators of one rank group to the left: the right side needs a higher one.
    right(if O::RANK == Rank::Sum { Rank::Product } else { Rank::Sign }, f)
}

fn show_at(value: &impl Shown, least: Rank, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if value.rank() < least {
        f.write_str("(")?;
        value.show(f)?;
        f.write_str(")")
    } else {
        value.show(f)
    }
}

fn key_fault<V>(expression: String, cause: ArithFault) -> KeyFault {
    match cause {
        ArithFault::Overflow => KeyFault::Overflow { expression, type_name: bare_type_name::<V>() },
        ArithFault::DivisionByZero => KeyFault::DivisionByZero { expression },
    }
}

/// The name of `V` without its path and parameters: `i64`, `DateTime`.
fn bare_type_name<V>() -> &'static str {
    let full = std::any::type_name::<V>();
    let full = full.strip_prefix("core::option::Option<").unwrap_or(full);
    let path = full.split(['<', '>']).next().unwrap_or(full);
    path.rsplit("::").next().unwrap_or(path)
}

/// `-inner`.
///
/// The key of a stream that is sorted downwards goes up when it is negated.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Computed, Field, KeyExpr, Negated, Place};
/// # use watermill_core::record::StreamRecord;
/// # use watermill_derive::StreamRecord;
///
/// fn downwards<P: Place<Value = i64>>(field: Field<P>) -> Computed<Negated<Field<P>>> {
///     -field
/// }
///
/// #[derive(StreamRecord)]
/// struct Score { points: i64 }
///
/// let key = downwards(Score::fields().points);
/// assert!(key.key(&Score { points: 70 })? < key.key(&Score { points: 60 })?);
/// # Ok::<(), watermill_core::key::KeyFault>(())
/// ```
#[derive(Clone, Copy)]
pub struct Negated<A>(A);

impl<A: Expr> Negated<A>
where
    A::Value: Negate,
{
    /// Why there is no result for `record`.
    #[cold]
    #[inline(never)]
    fn fault(&self, record: &A::Record, cause: ArithFault) -> KeyFault {
        let inner = match self.0.eval(record) {
            Ok(inner) => inner,
            Err(fault) => return fault,
        };
        let expression = written(|f| {
            f.write_str("-")?;
            show_at(inner.as_ref(), Rank::Atom, f)
        });
        key_fault::<A::Value>(expression.to_string(), cause)
    }
}

impl<A: Expr> Expr for Negated<A>
where
    A::Value: Negate,
{
    type Record = A::Record;
    type Value = A::Value;

    #[inline]
    fn eval<'a>(&'a self, record: &'a A::Record) -> Result<Evaluated<'a, A::Value>, KeyFault> {
        let inner = self.0.eval(record)?;
        match inner.as_ref().negate() {
            Ok(value) => Ok(Evaluated::Owned(value)),
            Err(cause) => Err(self.fault(record, cause)),
        }
    }

    fn rank(&self) -> Rank {
        Rank::Sign
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("-")?;
        write_at(&self.0, Rank::Sign, f)
    }
}

macro_rules! operators {
    ($type:ident<$param:ident: $bound:ident> $($trait:ident $method:ident $operation:ident;)+) => {
        $(
            impl<$param: $bound, Rhs> ops::$trait<Rhs> for $type<$param>
            where
                Rhs: Operand<$param::Record, $param::Value>,
                $param::Value: Arith<$operation, <Rhs::Expr as Expr>::Value>,
            {
                type Output = Computed<Binary<$operation, Self, Rhs::Expr>>;

                #[inline]
                fn $method(self, by: Rhs) -> Self::Output {
                    Binary::new(self, by.into_expr())
                }
            }
        )+

        impl<$param: $bound> ops::Neg for $type<$param>
        where
            $param::Value: Negate,
        {
            type Output = Computed<Negated<Self>>;

            #[inline]
            fn neg(self) -> Self::Output {
                Computed(Negated(self))
            }
        }

        impl<$param: $bound> $type<$param> {
            /// The quotient, rounded so that the remainder is never negative: which of the intervals of length
            /// `by` a value lies in, below zero too.
            ///
            /// ```
            /// # extern crate watermill_core as watermill;
            /// # use watermill_core::{key::KeyExpr, record::StreamRecord};
            /// # use watermill_derive::StreamRecord;
            /// #[derive(StreamRecord)]
            /// struct Reading { second: i64 }
            ///
            /// let minute = Reading::fields().second.div_euclid(60);
            /// assert_eq!(minute.key(&Reading { second: 59 }), Ok(Some(0)));
            /// assert_eq!(minute.key(&Reading { second: -1 }), Ok(Some(-1)));
            /// ```
            #[inline]
            pub fn div_euclid<Rhs>(self, by: Rhs) -> Computed<Binary<DivEuclid, Self, Rhs::Expr>>
            where
                Rhs: Operand<$param::Record, $param::Value>,
                $param::Value: Arith<DivEuclid, <Rhs::Expr as Expr>::Value>,
            {
                Binary::new(self, by.into_expr())
            }

            /// The remainder, never negative: where in its interval of length `by` a value lies.
            ///
            /// ```
            /// # extern crate watermill_core as watermill;
            /// # use watermill_core::{key::KeyExpr, record::StreamRecord};
            /// # use watermill_derive::StreamRecord;
            /// #[derive(StreamRecord)]
            /// struct Reading { second: i64 }
            ///
            /// let within_minute = Reading::fields().second.rem_euclid(60);
            /// assert_eq!(within_minute.key(&Reading { second: 61 }), Ok(Some(1)));
            /// assert_eq!(within_minute.key(&Reading { second: -1 }), Ok(Some(59)));
            /// ```
            #[inline]
            pub fn rem_euclid<Rhs>(self, by: Rhs) -> Computed<Binary<RemEuclid, Self, Rhs::Expr>>
            where
                Rhs: Operand<$param::Record, $param::Value>,
                $param::Value: Arith<RemEuclid, <Rhs::Expr as Expr>::Value>,
            {
                Binary::new(self, by.into_expr())
            }
        }
    };
}

macro_rules! operators_of {
    ($($type:ident<$param:ident: $bound:ident>)+) => {$(
        operators! {
            $type<$param: $bound>
            Add add Plus;
            Sub sub Minus;
            Mul mul Times;
            Div div Divided;
            Rem rem Remainder;
        }
    )+};
}

operators_of! { Field<P: Place> Computed<N: Expr> }
