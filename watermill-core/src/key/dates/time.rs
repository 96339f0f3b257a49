//! The types of the crate `time`.

use std::fmt;

use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, Time};

use crate::key::number::{arith_by_checked, constant};
use crate::key::scalar::{key_by_value, offset_by_checked_add};
use crate::key::windows::windows_by_ticks;
use crate::key::{Arith, ArithFault, KeyOffset, Minus, Plus, Shifted, Shown};

key_by_value! {
    Date,
    Time,
    PrimitiveDateTime,
    /// Ordered by the instant: the same instant in another time zone is an equal key.
    OffsetDateTime,
    Duration,
}

offset_by_checked_add! {
    Date, Duration, |by| by.is_negative();
    PrimitiveDateTime, Duration, |by| by.is_negative();
    OffsetDateTime, Duration, |by| by.is_negative();
    Duration, Duration, |by| by.is_negative();
}

arith_by_checked! {
    Date: Plus<Duration> = checked_add;
    Date: Minus<Duration> = checked_sub;
    PrimitiveDateTime: Plus<Duration> = checked_add;
    PrimitiveDateTime: Minus<Duration> = checked_sub;
    OffsetDateTime: Plus<Duration> = checked_add;
    OffsetDateTime: Minus<Duration> = checked_sub;
    Duration: Plus<Duration> = checked_add;
    Duration: Minus<Duration> = checked_sub;
}

constant! {
    Duration => Date;
    Duration => Time;
    Duration => PrimitiveDateTime;
    Duration => OffsetDateTime;
    Duration => Duration;
}

impl Shown for Date {}
impl Shown for Time {}
impl Shown for PrimitiveDateTime {}
impl Shown for OffsetDateTime {}

impl Shown for Duration {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The nanoseconds from midnight to `time`.
fn since_midnight(time: Time) -> i128 {
    (time - Time::MIDNIGHT).whole_nanoseconds()
}

/// `time` plus `nanoseconds`; `Err` says whether the day ended (`true`) or had not begun.
fn within_day(time: Time, nanoseconds: i128) -> Result<Time, bool> {
    const DAY: i128 = 24 * 60 * 60 * 1_000_000_000;
    let moved = since_midnight(time) + nanoseconds;
    if !(0..DAY).contains(&moved) {
        return Err(moved > 0);
    }
    let since = i64::try_from(moved).map_err(|_| true)?;
    Ok(Time::MIDNIGHT + Duration::nanoseconds(since))
}

/// A time of day does not go round the clock.
impl KeyOffset<Duration> for Time {
    fn shift<'a>(view: &Self::View<'a>, by: &Duration) -> Shifted<Self::View<'a>> {
        match within_day(*view, by.whole_nanoseconds()) {
            Ok(moved) => Shifted::At(moved),
            Err(true) => Shifted::AboveAll,
            Err(false) => Shifted::BelowAll,
        }
    }
}

/// A time of day does not go round the clock: that is an overflow.
impl Arith<Plus, Duration> for Time {
    fn apply(&self, by: &Duration) -> Result<Self, ArithFault> {
        within_day(*self, by.whole_nanoseconds()).map_err(|_| ArithFault::Overflow)
    }
}

/// A time of day does not go round the clock: that is an overflow.
impl Arith<Minus, Duration> for Time {
    fn apply(&self, by: &Duration) -> Result<Self, ArithFault> {
        within_day(*self, -by.whole_nanoseconds()).map_err(|_| ArithFault::Overflow)
    }
}

/// The Unix epoch as a Julian day.
const EPOCH_DAY: i128 = 2_440_588;

windows_by_ticks! {
    Date, Duration:
        |view| i128::from(view.to_julian_day()) - EPOCH_DAY, |by| i128::from(by.whole_days()),
        |days, like| Date::from_julian_day(i32::try_from(days.saturating_add(EPOCH_DAY)).ok()?).ok();
    Time, Duration:
        |view| since_midnight(*view), |by| by.whole_nanoseconds(),
        |ticks, like| within_day(Time::MIDNIGHT, ticks).ok();
    PrimitiveDateTime, Duration:
        |view| view.assume_utc().unix_timestamp_nanos(), |by| by.whole_nanoseconds(),
        |ticks, like| {
            let time = OffsetDateTime::from_unix_timestamp_nanos(ticks).ok()?;
            Some(PrimitiveDateTime::new(time.date(), time.time()))
        };
    OffsetDateTime, Duration:
        |view| view.unix_timestamp_nanos(), |by| by.whole_nanoseconds(),
        |ticks, like| OffsetDateTime::from_unix_timestamp_nanos(ticks).ok()?.checked_to_offset(like.offset());
    Duration, Duration:
        |view| view.whole_nanoseconds(), |by| by.whole_nanoseconds(),
        |ticks, like| {
            let seconds = i64::try_from(ticks.div_euclid(1_000_000_000)).ok()?;
            Duration::seconds(seconds).checked_add(Duration::nanoseconds(ticks.rem_euclid(1_000_000_000) as i64))
        };
}
