//! The types of the crate `jiff`.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Span, Timestamp, Zoned};

use crate::key::number::{arith_by_checked, constant};
use crate::key::scalar::key_by_value;
use crate::key::windows::windows_by_ticks;
use crate::key::{Arith, ArithFault, KeyFault, KeyOffset, KeyValue, Minus, Plus, Shifted, Shown};

key_by_value! { Timestamp, Date, DateTime, Time, SignedDuration }

/// Ordered by the instant: the same instant in another time zone is an equal key.
impl KeyValue for Zoned {
    type View<'a> = Cow<'a, Self>;

    #[inline]
    fn view(&self) -> Result<Option<Cow<'_, Self>>, KeyFault> {
        Ok(Some(Cow::Borrowed(self)))
    }

    #[inline]
    fn into_view<'a>(self) -> Result<Option<Cow<'a, Self>>, KeyFault> {
        Ok(Some(Cow::Owned(self)))
    }

    #[inline]
    fn detach(view: &Cow<'_, Self>) -> Self {
        view.clone().into_owned()
    }
}

constant! {
    SignedDuration => Timestamp;
    SignedDuration => Date;
    SignedDuration => DateTime;
    SignedDuration => Time;
    SignedDuration => Zoned;
    SignedDuration => SignedDuration;
}

arith_by_checked! {
    SignedDuration: Plus<SignedDuration> = checked_add;
    SignedDuration: Minus<SignedDuration> = checked_sub;
}

/// [`Arith`] and [`KeyOffset`] by methods that return a `Result`.
macro_rules! moved_by {
    ($($type:ty;)+) => {$(
        impl Arith<Plus, SignedDuration> for $type {
            #[inline]
            fn apply(&self, by: &SignedDuration) -> Result<Self, ArithFault> {
                self.checked_add(*by).map_err(|_| ArithFault::Overflow)
            }
        }

        impl Arith<Minus, SignedDuration> for $type {
            #[inline]
            fn apply(&self, by: &SignedDuration) -> Result<Self, ArithFault> {
                self.checked_sub(*by).map_err(|_| ArithFault::Overflow)
            }
        }
    )+};
}

moved_by! { Timestamp; Date; DateTime; Time; Zoned; }

/// [`KeyOffset`] for types that are their own view.
macro_rules! offset {
    ($($type:ty, $offset:ty;)+) => {$(
        impl KeyOffset<$offset> for $type {
            #[inline]
            fn shift<'a>(view: &Self::View<'a>, by: &$offset) -> Shifted<Self::View<'a>> {
                match view.checked_add(*by) {
                    Ok(moved) => Shifted::At(moved),
                    Err(_) if by.is_negative() => Shifted::BelowAll,
                    Err(_) => Shifted::AboveAll,
                }
            }
        }
    )+};
}

// Calendar spans only where they keep the order: a day in a time zone may have 23 or 25 hours.
offset! {
    Timestamp, SignedDuration;
    Date, SignedDuration;
    Date, Span;
    DateTime, SignedDuration;
    DateTime, Span;
    Time, SignedDuration;
}

impl KeyOffset<SignedDuration> for Zoned {
    fn shift<'a>(view: &Self::View<'a>, by: &SignedDuration) -> Shifted<Self::View<'a>> {
        match view.checked_add(*by) {
            Ok(moved) => Shifted::At(Cow::Owned(moved)),
            Err(_) if by.is_negative() => Shifted::BelowAll,
            Err(_) => Shifted::AboveAll,
        }
    }
}

impl KeyOffset<SignedDuration> for SignedDuration {
    fn shift<'a>(view: &Self::View<'a>, by: &SignedDuration) -> Shifted<Self::View<'a>> {
        match view.checked_add(*by) {
            Some(moved) => Shifted::At(moved),
            None if by.is_negative() => Shifted::BelowAll,
            None => Shifted::AboveAll,
        }
    }
}

impl Shown for Timestamp {}
impl Shown for Date {}
impl Shown for DateTime {}
impl Shown for Time {}
impl Shown for Zoned {}
impl Shown for SignedDuration {}

/// Midnight of the Unix epoch.
const EPOCH: DateTime = jiff::civil::datetime(1970, 1, 1, 0, 0, 0, 0);

fn signed(nanoseconds: i128) -> Option<SignedDuration> {
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let below = i64::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
    SignedDuration::from_secs(seconds).checked_add(SignedDuration::from_nanos(below))
}

windows_by_ticks! {
    Timestamp, SignedDuration:
        |view| view.as_nanosecond(), |by| by.as_nanos(), |ticks, like| Timestamp::from_nanosecond(ticks).ok();
    Date, SignedDuration:
        |view| i128::from(view.duration_since(EPOCH.date()).as_hours() / 24), |by| i128::from(by.as_hours() / 24),
        |days, like| {
            let hours = i64::try_from(days).ok()?.checked_mul(24)?;
            EPOCH.date().checked_add(SignedDuration::try_from_hours(hours)?).ok()
        };
    DateTime, SignedDuration:
        |view| view.duration_since(EPOCH).as_nanos(), |by| by.as_nanos(),
        |ticks, like| EPOCH.checked_add(signed(ticks)?).ok();
    Time, SignedDuration:
        |view| view.duration_since(Time::midnight()).as_nanos(), |by| by.as_nanos(),
        |ticks, like| Time::midnight().checked_add(signed(ticks)?).ok();
    SignedDuration, SignedDuration:
        |view| view.as_nanos(), |by| by.as_nanos(), |ticks, like| signed(ticks);
    Zoned, SignedDuration:
        |view| view.timestamp().as_nanosecond(), |by| by.as_nanos(),
        |ticks, like| Some(Timestamp::from_nanosecond(ticks).ok()?.to_zoned(like.time_zone().clone()));
}
