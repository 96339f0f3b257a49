//! The arithmetic of numbers and of std's times.

use std::ops;
use std::time::{Duration, SystemTime};

use super::expr::Literal;
use super::{
    Arith, ArithFault, Binary, Computed, DivEuclid, Divided, Expr, Field, Minus, Negate, Place, Plus,
    RemEuclid, Remainder, Shown, Times,
};

/// [`Operand`](super::Operand) for constants: which values they may stand beside. Those values may be `Option`s too,
/// and so may be what takes the constant's place: `None` beside anything is `None`.
macro_rules! constant {
    ($($constant:ty => $value:ty $([$($generics:tt)*])?;)+) => {$(
        impl<R: 'static $(, $($generics)*)?> $crate::key::Operand<R, $value> for $constant {
            type Expr = $crate::key::Literal<R, $constant>;

            #[inline]
            fn into_expr(self) -> Self::Expr {
                $crate::key::Literal::new(self)
            }
        }

        impl<R: 'static $(, $($generics)*)?> $crate::key::Operand<R, Option<$value>> for $constant {
            type Expr = $crate::key::Literal<R, $constant>;

            #[inline]
            fn into_expr(self) -> Self::Expr {
                $crate::key::Literal::new(self)
            }
        }

        impl<O $(, $($generics)*)?> $crate::key::Arith<O, $constant> for Option<$value>
        where
            $value: $crate::key::Arith<O, $constant>,
        {
            #[inline]
            fn apply(&self, by: &$constant) -> Result<Self, $crate::key::ArithFault> {
                self.as_ref().map(|value| value.apply(by)).transpose()
            }
        }

        impl<O $(, $($generics)*)?> $crate::key::Arith<O, Option<$constant>> for Option<$value>
        where
            $value: $crate::key::Arith<O, $constant>,
        {
            #[inline]
            fn apply(&self, by: &Option<$constant>) -> Result<Self, $crate::key::ArithFault> {
                match (self, by) {
                    (Some(value), Some(by)) => value.apply(by).map(Some),
                    _ => Ok(None),
                }
            }
        }
    )+};
}

/// [`Arith`] by methods that return an `Option`, `None` being an overflow.
macro_rules! arith_by_checked {
    ($($type:ty: $operation:ident<$by:ty> = $method:ident;)+) => {$(
        impl $crate::key::Arith<$crate::key::$operation, $by> for $type {
            #[inline]
            fn apply(&self, by: &$by) -> Result<Self, $crate::key::ArithFault> {
                self.$method(*by).ok_or($crate::key::ArithFault::Overflow)
            }
        }
    )+};
}

#[cfg(any(feature = "chrono", feature = "time", feature = "jiff"))]
pub(super) use {arith_by_checked, constant};

/// What integers and floats have in common: constants on either side, and two `Option`s.
macro_rules! number {
    ($($type:ident)+) => {$(
        impl Shown for $type {}

        constant! { $type => $type; }

        constant_on_the_left! { $type Add add Plus }
        constant_on_the_left! { $type Sub sub Minus }
        constant_on_the_left! { $type Mul mul Times }
        constant_on_the_left! { $type Div div Divided }
        constant_on_the_left! { $type Rem rem Remainder }
    )+};
}

macro_rules! constant_on_the_left {
    ($type:ident $trait:ident $method:ident $operation:ident) => {
        impl<P: Place<Value = $type>> ops::$trait<Field<P>> for $type {
            type Output = Computed<Binary<$operation, Literal<P::Record, $type>, Field<P>>>;

            #[inline]
            fn $method(self, by: Field<P>) -> Self::Output {
                Binary::new(Literal::new(self), by)
            }
        }

        impl<N: Expr<Value = $type>> ops::$trait<Computed<N>> for $type {
            type Output = Computed<Binary<$operation, Literal<N::Record, $type>, Computed<N>>>;

            #[inline]
            fn $method(self, by: Computed<N>) -> Self::Output {
                Binary::new(Literal::new(self), by)
            }
        }
    };
}

macro_rules! integer {
    ($($type:ident)+) => {$(
        number! { $type }

        arith_by_checked! {
            $type: Plus<$type> = checked_add;
            $type: Minus<$type> = checked_sub;
            $type: Times<$type> = checked_mul;
        }

        integer_division! { $type Divided checked_div }
        integer_division! { $type Remainder checked_rem }
        integer_division! { $type DivEuclid checked_div_euclid }
        integer_division! { $type RemEuclid checked_rem_euclid }
    )+};
}

macro_rules! integer_division {
    ($type:ident $operation:ident $method:ident) => {
        impl Arith<$operation> for $type {
            #[inline]
            fn apply(&self, by: &$type) -> Result<Self, ArithFault> {
                match self.$method(*by) {
                    Some(value) => Ok(value),
                    None if *by == 0 => Err(ArithFault::DivisionByZero),
                    None => Err(ArithFault::Overflow),
                }
            }
        }
    };
}

macro_rules! signed {
    ($($type:ident)+) => {$(
        impl Negate for $type {
            #[inline]
            fn negate(&self) -> Result<Self, ArithFault> {
                self.checked_neg().ok_or(ArithFault::Overflow)
            }
        }
    )+};
}

/// Floats go to infinity where integers fault; a NaN is caught when the result becomes a key.
macro_rules! float {
    ($($type:ident)+) => {$(
        number! { $type }

        float_arith! { $type Plus |a, b| a + b }
        float_arith! { $type Minus |a, b| a - b }
        float_arith! { $type Times |a, b| a * b }
        float_arith! { $type Divided |a, b| a / b }
        float_arith! { $type Remainder |a, b| a % b }
        float_arith! { $type DivEuclid |a, b| a.div_euclid(b) }
        float_arith! { $type RemEuclid |a, b| a.rem_euclid(b) }

        impl Negate for $type {
            #[inline]
            fn negate(&self) -> Result<Self, ArithFault> {
                Ok(-*self)
            }
        }
    )+};
}

macro_rules! float_arith {
    ($type:ident $operation:ident |$a:ident, $b:ident| $result:expr) => {
        impl Arith<$operation> for $type {
            #[inline]
            fn apply(&self, by: &$type) -> Result<Self, ArithFault> {
                let ($a, $b) = (*self, *by);
                Ok($result)
            }
        }
    };
}

integer! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }
signed! { i8 i16 i32 i64 i128 isize }
float! { f32 f64 }

impl Shown for Duration {}
impl Shown for SystemTime {}

constant! {
    Duration => Duration;
    Duration => SystemTime;
}

arith_by_checked! {
    Duration: Plus<Duration> = checked_add;
    Duration: Minus<Duration> = checked_sub;
    SystemTime: Plus<Duration> = checked_add;
    SystemTime: Minus<Duration> = checked_sub;
}
