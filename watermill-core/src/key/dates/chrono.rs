//! The types of the crate `chrono`.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};

use crate::key::number::{arith_by_checked, constant};
use crate::key::scalar::key_by_value;
use crate::key::windows::windows_by_ticks;
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

const SECOND: i128 = 1_000_000_000;

/// The Unix epoch, in days of the common era.
const EPOCH_DAY: i128 = 719_163;

/// Nanoseconds; a leap second ends with the one before it.
fn nanoseconds(seconds: i64, below: u32) -> i128 {
    i128::from(seconds) * SECOND + i128::from(below).min(SECOND - 1)
}

/// Whole seconds, and the nanoseconds beyond them.
fn seconds(nanoseconds: i128) -> Option<(i64, u32)> {
    let below = u32::try_from(nanoseconds.rem_euclid(SECOND)).ok()?;
    Some((i64::try_from(nanoseconds.div_euclid(SECOND)).ok()?, below))
}

fn size(of: &TimeDelta) -> i128 {
    i128::from(of.num_seconds()) * SECOND + i128::from(of.subsec_nanos())
}

windows_by_ticks! {
    NaiveDate, TimeDelta:
        |view| i128::from(view.num_days_from_ce()) - EPOCH_DAY, |by| i128::from(by.num_days()),
        |days, like| NaiveDate::from_num_days_from_ce_opt(i32::try_from(days.saturating_add(EPOCH_DAY)).ok()?);
    NaiveTime, TimeDelta:
        |view| nanoseconds(i64::from(view.num_seconds_from_midnight()), view.nanosecond()), |by| size(by),
        |ticks, like| {
            let (seconds, below) = seconds(ticks)?;
            NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(seconds).ok()?, below)
        };
    NaiveDateTime, TimeDelta:
        |view| nanoseconds(view.and_utc().timestamp(), view.and_utc().timestamp_subsec_nanos()), |by| size(by),
        |ticks, like| {
            let (seconds, below) = seconds(ticks)?;
            Utc.timestamp_opt(seconds, below).single().map(|time| time.naive_utc())
        };
    TimeDelta, TimeDelta:
        |view| size(view), |by| size(by),
        |ticks, like| {
            let (seconds, below) = seconds(ticks)?;
            TimeDelta::new(seconds, below)
        };
    DateTime<Tz>, TimeDelta [Tz: TimeZone<Offset: Send + Sync> + 'static]:
        |view| nanoseconds(view.timestamp(), view.timestamp_subsec_nanos()), |by| size(by),
        |ticks, like| {
            let (seconds, below) = seconds(ticks)?;
            like.timezone().timestamp_opt(seconds, below).single()
        };
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
