//! The types of the crate `chrono`.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};

use crate::key::number::{arith_by_checked, constant};
use crate::key::scalar::key_by_value;
use crate::key::{Arith, ArithFault, KeyFault, KeyOffset, KeyValue, Minus, Plus, Shifted, Shown};

key_by_value! { NaiveDate, NaiveTime, NaiveDateTime, TimeDelta }

/// Ordered by the instant: the same instant in another time zone is an equal key.
impl<Tz> KeyValue for DateTime<Tz>
where
    Tz: TimeZone<Offset: Send + Sync> + 'static,
{
    type View<'a> = Self;

    #[inline]
    fn view(&self) -> Result<Option<Self>, KeyFault> {
        Ok(Some(self.clone()))
    }

    #[inline]
    fn into_view<'a>(self) -> Result<Option<Self::View<'a>>, KeyFault> {
        Ok(Some(self))
    }

    #[inline]
    fn detach(view: &Self) -> Self {
        view.clone()
    }
}

constant! {
    TimeDelta => NaiveDate;
    TimeDelta => NaiveTime;
    TimeDelta => NaiveDateTime;
    TimeDelta => TimeDelta;
    TimeDelta => DateTime<Tz> [Tz: TimeZone + 'static];
}

arith_by_checked! {
    NaiveDate: Plus<TimeDelta> = checked_add_signed;
    NaiveDate: Minus<TimeDelta> = checked_sub_signed;
    NaiveDateTime: Plus<TimeDelta> = checked_add_signed;
    NaiveDateTime: Minus<TimeDelta> = checked_sub_signed;
}

impl<Tz: TimeZone> Arith<Plus, TimeDelta> for DateTime<Tz> {
    #[inline]
    fn apply(&self, by: &TimeDelta) -> Result<Self, ArithFault> {
        self.clone().checked_add_signed(*by).ok_or(ArithFault::Overflow)
    }
}

impl<Tz: TimeZone> Arith<Minus, TimeDelta> for DateTime<Tz> {
    #[inline]
    fn apply(&self, by: &TimeDelta) -> Result<Self, ArithFault> {
        self.clone().checked_sub_signed(*by).ok_or(ArithFault::Overflow)
    }
}

impl Arith<Plus> for TimeDelta {
    #[inline]
    fn apply(&self, by: &TimeDelta) -> Result<Self, ArithFault> {
        self.checked_add(by).ok_or(ArithFault::Overflow)
    }
}

impl Arith<Minus> for TimeDelta {
    #[inline]
    fn apply(&self, by: &TimeDelta) -> Result<Self, ArithFault> {
        self.checked_sub(by).ok_or(ArithFault::Overflow)
    }
}

/// A time of day does not go round the clock: that is an overflow.
impl Arith<Plus, TimeDelta> for NaiveTime {
    #[inline]
    fn apply(&self, by: &TimeDelta) -> Result<Self, ArithFault> {
        within_day(self.overflowing_add_signed(*by))
    }
}

/// A time of day does not go round the clock: that is an overflow.
impl Arith<Minus, TimeDelta> for NaiveTime {
    #[inline]
    fn apply(&self, by: &TimeDelta) -> Result<Self, ArithFault> {
        within_day(self.overflowing_sub_signed(*by))
    }
}

/// The time, if no day was left for it.
fn within_day((time, days_in_seconds): (NaiveTime, i64)) -> Result<NaiveTime, ArithFault> {
    if days_in_seconds == 0 { Ok(time) } else { Err(ArithFault::Overflow) }
}

macro_rules! offset_by_plus {
    ($($type:ty $([$($generics:tt)*])?;)+) => {$(
        impl$(<$($generics)*>)? KeyOffset<TimeDelta> for $type {
            #[inline]
            fn shift<'a>(view: &Self::View<'a>, by: &TimeDelta) -> Shifted<Self::View<'a>> {
                match Arith::<Plus, TimeDelta>::apply(view, by) {
                    Ok(moved) => Shifted::At(moved),
                    Err(_) if *by < TimeDelta::zero() => Shifted::BelowAll,
                    Err(_) => Shifted::AboveAll,
                }
            }
        }
    )+};
}

offset_by_plus! {
    NaiveDate;
    NaiveTime;
    NaiveDateTime;
    TimeDelta;
    DateTime<Tz> [Tz: TimeZone<Offset: Send + Sync> + 'static];
}

impl Shown for NaiveDate {}
impl Shown for NaiveTime {}
impl Shown for NaiveDateTime {}
impl<Tz: TimeZone> Shown for DateTime<Tz> {}

impl Shown for TimeDelta {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
