//! Which windows of time a key lies in: intervals of one length whose starts are evenly spaced, one of them at the key's zero.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::{KeyOffset, Shifted};

/// A key type whose windows have sizes of type `D`: what [`TimeWindow::by`](crate::window::TimeWindow::by) asks of a key.
///
/// Implemented for integers and floats with sizes of their own type, for dates with the durations of their own crate, for
/// `SystemTime` with std's `Duration`, and for `Option`s of these. Windows are aligned to the key's zero: 0, the Unix epoch, midnight for
/// times of day. Dates without a time of day have windows of whole days.
///
/// ```
/// use watermill_core::key::WindowKey;
///
/// // Windows of 60 that begin every 20: -10 is in those that begin at -60, -40 and -20.
/// assert_eq!(<i64 as WindowKey<i64>>::windows(&-10, &60, &20), (-3, -1));
/// assert_eq!(<i64 as WindowKey<i64>>::start(-3, &20, &-10), Some(-60));
/// assert_eq!(<i64 as WindowKey<i64>>::end(-3, &60, &20, &-10), Some(0));
/// // What leaves the range of the type is not there, and never panics.
/// let (first, last) = <u8 as WindowKey<u8>>::windows(&250, &100, &100);
/// assert_eq!((first, last, <u8 as WindowKey<u8>>::end(last, &100, &100, &250)), (2, 2, None));
/// ```
#[diagnostic::on_unimplemented(
    message = "a window over a key of type `{Self}` cannot have a size of type `{D}`",
    label = "`{D}` is no size of windows over `{Self}`",
    note = "windows over integers and floats take sizes of the key's own type, over dates durations of their own crate",
    note = "neighbours with an equal key, of any type: `Window::by(key)`"
)]
pub trait WindowKey<D>: KeyOffset<D> {
    /// What [`WindowInfo`](crate::window::WindowInfo) gives as the start and the end of a window.
    type Bound: Clone + fmt::Debug + Send + Sync + 'static;

    /// The numbers of the first and the last window that `view` is in. Window `n` begins at `n` times `step`, so both go up with the
    /// view. `size` and `step` are [positive](WindowKey::is_positive).
    fn windows<'a>(view: &Self::View<'a>, size: &D, step: &D) -> (i128, i128);

    /// Where window `number` begins; `None` outside of the range of the type. `like` is any key of the stream, for its time zone.
    fn start<'a>(number: i128, step: &D, like: &Self::View<'a>) -> Option<Self::Bound>;

    /// The first value behind window `number`.
    fn end<'a>(number: i128, size: &D, step: &D, like: &Self::View<'a>) -> Option<Self::Bound>;

    /// A key as a bound.
    fn bound<'a>(view: &Self::View<'a>) -> Self::Bound;

    /// Whether `by` is more than nothing: zero, negative and infinite sizes are refused.
    fn is_positive(by: &D) -> bool;

    /// Whether `view` is `gap` or more behind `before`.
    fn is_behind<'a>(view: &Self::View<'a>, before: &Self::View<'a>, gap: &D) -> bool {
        match Self::shift(before, gap) {
            Shifted::BelowAll => true,
            Shifted::At(until) => *view >= until,
            Shifted::AboveAll => false,
        }
    }

    /// `gap` behind `view`; `None` outside of the range of the type.
    fn behind<'a>(view: &Self::View<'a>, gap: &D) -> Option<Self::Bound> {
        match Self::shift(view, gap) {
            Shifted::At(until) => Some(Self::bound(&until)),
            Shifted::BelowAll | Shifted::AboveAll => None,
        }
    }
}

impl<T: WindowKey<D>, D> WindowKey<D> for Option<T> {
    type Bound = T::Bound;

    #[inline]
    fn windows<'a>(view: &Self::View<'a>, size: &D, step: &D) -> (i128, i128) {
        T::windows(view, size, step)
    }

    fn start<'a>(number: i128, step: &D, like: &Self::View<'a>) -> Option<Self::Bound> {
        T::start(number, step, like)
    }

    fn end<'a>(number: i128, size: &D, step: &D, like: &Self::View<'a>) -> Option<Self::Bound> {
        T::end(number, size, step, like)
    }

    fn bound<'a>(view: &Self::View<'a>) -> Self::Bound {
        T::bound(view)
    }

    fn is_positive(by: &D) -> bool {
        T::is_positive(by)
    }
}

/// The windows that a whole number of ticks is in. Nothing is added to `ticks`, so nothing overflows.
#[inline]
pub(super) fn windows_of(ticks: i128, size: i128, step: i128) -> (i128, i128) {
    let step = step.max(1);
    let last = ticks.div_euclid(step);
    let before = if ticks.rem_euclid(step) < size % step { size / step } else { size / step - 1 };
    (last.saturating_sub(before.max(0)), last)
}

/// Where window `number` begins, in ticks.
pub(super) fn start_of(number: i128, step: i128) -> Option<i128> {
    number.checked_mul(step)
}

/// The first tick behind window `number`.
pub(super) fn end_of(number: i128, size: i128, step: i128) -> Option<i128> {
    start_of(number, step)?.checked_add(size)
}

/// [`WindowKey`] for types that can be counted in ticks. `like` is a view of the stream, for its time zone.
macro_rules! windows_by_ticks {
    ($(
        $type:ty, $by:ty $([$($generics:tt)*])?:
        |$view:ident| $ticks:expr, |$size:ident| $size_ticks:expr, |$count:ident, $like:ident| $from:expr;
    )+) => {$(
        impl$(<$($generics)*>)? $crate::key::WindowKey<$by> for $type {
            type Bound = $type;

            #[inline]
            fn windows<'a>($view: &Self::View<'a>, size: &$by, step: &$by) -> (i128, i128) {
                let in_ticks = |$size: &$by| -> i128 { $size_ticks };
                $crate::key::windows::windows_of($ticks, in_ticks(size), in_ticks(step))
            }

            #[allow(unused_variables)]
            fn start<'a>(number: i128, step: &$by, $like: &Self::View<'a>) -> Option<$type> {
                let in_ticks = |$size: &$by| -> i128 { $size_ticks };
                let $count: i128 = $crate::key::windows::start_of(number, in_ticks(step))?;
                $from
            }

            #[allow(unused_variables)]
            fn end<'a>(number: i128, size: &$by, step: &$by, $like: &Self::View<'a>) -> Option<$type> {
                let in_ticks = |$size: &$by| -> i128 { $size_ticks };
                let $count: i128 = $crate::key::windows::end_of(number, in_ticks(size), in_ticks(step))?;
                $from
            }

            fn bound<'a>(view: &Self::View<'a>) -> $type {
                <$type as $crate::key::KeyValue>::detach(view)
            }

            fn is_positive($size: &$by) -> bool {
                let ticks: i128 = $size_ticks;
                ticks > 0
            }
        }
    )+};
}

#[cfg(any(feature = "chrono", feature = "time", feature = "jiff"))]
pub(super) use windows_by_ticks;

macro_rules! integer_windows {
    ($($type:ident)+) => {
        windows_by_ticks! {$(
            $type, $type: |view| *view as i128, |size| *size as i128, |ticks, like| <$type>::try_from(ticks).ok();
        )+}
    };
}

integer_windows! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 usize }

/// The numbers of windows are `i128`, so where windows begin with every number, those from `i128::MAX` on are one, without bounds.
impl WindowKey<u128> for u128 {
    type Bound = u128;

    fn windows<'a>(view: &u128, size: &u128, step: &u128) -> (i128, i128) {
        let step = (*step).max(1);
        let number = |of: u128| i128::try_from(of).unwrap_or(i128::MAX);
        let last = number(view / step);
        let before = if view % step < size % step { size / step } else { (size / step).saturating_sub(1) };
        if last == i128::MAX { (last, last) } else { (last.saturating_sub(number(before)), last) }
    }

    fn start<'a>(number: i128, step: &u128, _: &u128) -> Option<u128> {
        u128::try_from(number).ok().filter(|_| number < i128::MAX)?.checked_mul(*step)
    }

    fn end<'a>(number: i128, size: &u128, step: &u128, _: &u128) -> Option<u128> {
        match u128::try_from(number) {
            Ok(_) if number == i128::MAX => None,
            Ok(number) => number.checked_mul(*step)?.checked_add(*size),
            Err(_) => size.checked_sub(number.unsigned_abs().checked_mul(*step)?),
        }
    }

    fn bound<'a>(view: &u128) -> u128 {
        *view
    }

    fn is_positive(by: &u128) -> bool {
        *by > 0
    }
}

/// Window `n` begins at `n as f64 * step`, rounded as floats are: bounds and membership agree, also for steps such as 0.1. Keys that
/// are so far from zero that the type cannot tell the steps apart are put where the division says.
macro_rules! float_windows {
    ($($type:ident $exact:literal)+) => {$(
        impl WindowKey<$type> for $type {
            type Bound = $type;

            fn windows<'a>(view: &Self::View<'a>, size: &$type, step: &$type) -> (i128, i128) {
                let (value, size, step) = (view.get(), *size, *step);
                let quotient = (value / step).floor();
                let mut last = quotient as i128;
                let start = |number: i128| number as $type * step;
                let exact = quotient.abs() < $exact;
                if exact && start(last) > value {
                    last -= 1;
                } else if exact && start(last + 1) <= value {
                    last += 1;
                }
                if size == step {
                    return (last, last);
                }
                let mut first = (((value - size) / step).floor() as i128).saturating_add(1).min(last);
                if exact && first > i128::MIN {
                    if start(first - 1) + size > value {
                        first -= 1;
                    } else if first < last && start(first) + size <= value {
                        first += 1;
                    }
                }
                (first, last)
            }

            fn start<'a>(number: i128, step: &$type, _: &Self::View<'a>) -> Option<$type> {
                Some(number as $type * step).filter(|start| start.is_finite())
            }

            fn end<'a>(number: i128, size: &$type, step: &$type, like: &Self::View<'a>) -> Option<$type> {
                if size == step {
                    return <Self as WindowKey<$type>>::start(number.checked_add(1)?, step, like);
                }
                Some(number as $type * step + size).filter(|end| end.is_finite())
            }

            fn bound<'a>(view: &Self::View<'a>) -> $type {
                view.get()
            }

            fn is_positive(by: &$type) -> bool {
                *by > 0.0 && by.is_finite()
            }
        }
    )+};
}

float_windows! { f32 8_388_608.0 f64 4_503_599_627_370_496.0 }

/// Nanoseconds, which a `Duration` always has room for in an `i128`.
fn nanoseconds(of: &Duration) -> i128 {
    i128::try_from(of.as_nanos()).unwrap_or(i128::MAX)
}

fn duration(nanoseconds: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, (nanoseconds % 1_000_000_000) as u32))
}

fn since_epoch(time: &SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanoseconds(&after),
        Err(before) => -nanoseconds(&before.duration()),
    }
}

fn from_epoch(nanoseconds: i128) -> Option<SystemTime> {
    let distance = duration(nanoseconds.unsigned_abs())?;
    if nanoseconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}

windows_by_ticks! {
    Duration, Duration:
        |view| nanoseconds(view), |size| nanoseconds(size),
        |ticks, like| u128::try_from(ticks).ok().and_then(duration);
    SystemTime, Duration:
        |view| since_epoch(view), |size| nanoseconds(size), |ticks, like| from_epoch(ticks);
}
