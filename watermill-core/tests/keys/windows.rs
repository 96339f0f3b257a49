//! Which windows of time a key lies in.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use watermill::key::{KeyValue, WindowKey};

/// The first and the last window of `key`, and the bounds of both.
fn bounds<K, D>(key: K, size: D, step: D) -> [Option<K::Bound>; 4]
where
    K: WindowKey<D>,
{
    let view = key.view().unwrap().unwrap();
    let (first, last) = K::windows(&view, &size, &step);
    [
        K::start(first, &step, &view),
        K::end(first, &size, &step, &view),
        K::start(last, &step, &view),
        K::end(last, &size, &step, &view),
    ]
}

#[test]
fn of_every_small_number() {
    for key in i8::MIN..=i8::MAX {
        for size in (1..=127_i8).step_by(7) {
            for step in (1..=size.min(20)).step_by(2) {
                // By trying all windows.
                let (at, long, each) = (i64::from(key), i64::from(size), i64::from(step));
                let covers = |number: &i64| (number * each..number * each + long).contains(&at);
                let all: Vec<i64> = (-300..150).filter(covers).collect();
                let (first, last) = <i8 as WindowKey<i8>>::windows(&key, &size, &step);
                assert_eq!(
                    (first, last),
                    (i128::from(all[0]), i128::from(all[all.len() - 1])),
                    "{key} {size} {step}"
                );
                let fits = |bound: i64| i8::try_from(bound).ok();
                for number in all {
                    let (start, end) = (number * each, number * each + long);
                    let number = i128::from(number);
                    assert_eq!(<i8 as WindowKey<i8>>::start(number, &step, &key), fits(start));
                    assert_eq!(<i8 as WindowKey<i8>>::end(number, &size, &step, &key), fits(end));
                }
            }
        }
    }
}

#[test]
fn at_the_ends_of_every_type() {
    macro_rules! ends {
        ($($type:ident)+) => {$(
            for key in [$type::MIN, $type::MIN + 1, $type::MAX - 1, $type::MAX] {
                for (size, step) in [(1, 1), (2, 1), (7, 7), (100, 30), ($type::MAX, 1), ($type::MAX, $type::MAX)] {
                    for start in [0, 2] {
                        if let Some(start) = &bounds::<$type, $type>(key, size, step)[start] {
                            assert!(*start <= key, "{key} {size} {step}");
                        }
                    }
                    for end in [1, 3] {
                        if let Some(end) = &bounds::<$type, $type>(key, size, step)[end] {
                            assert!(*end > key, "{key} {size} {step}");
                        }
                    }
                }
            }
        )+};
    }
    ends! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }
    assert_eq!(bounds(i64::MAX, 10, 10), [Some(i64::MAX - 7), None, Some(i64::MAX - 7), None]);
    assert_eq!(bounds(i64::MIN, 10, 10), [None, Some(i64::MIN + 8), None, Some(i64::MIN + 8)]);
    assert_eq!(bounds(u128::MAX, 16, 16), [Some(u128::MAX - 15), None, Some(u128::MAX - 15), None]);
    assert_eq!(bounds(1_u64, 30, 10), [None, Some(10), Some(0), Some(30)]);
    assert_eq!(bounds(1_u128, 30, 10), [None, Some(10), Some(0), Some(30)]);
}

#[test]
fn of_floats_agree_with_their_bounds() {
    for step in [0.1_f64, 0.3, 1.0, 2.5, 1e-9, 1e9] {
        for times in [1.0, 1.5, 3.0, 7.3] {
            let size = step * times;
            for count in -2000..2000 {
                for key in [f64::from(count) * step, f64::from(count) / 7.0] {
                    let [first, first_end, last, last_end] = bounds(key, size, step).map(Option::unwrap);
                    assert!(first <= key && key < first_end, "{key} {size} {step}: {first} to {first_end}");
                    assert!(last <= key && key < last_end, "{key} {size} {step}: {last} to {last_end}");
                    let view = key.view().unwrap().unwrap();
                    let (lower, upper) = <f64 as WindowKey<f64>>::windows(&view, &size, &step);
                    let before = <f64 as WindowKey<f64>>::end(lower - 1, &size, &step, &view).unwrap();
                    let behind = <f64 as WindowKey<f64>>::start(upper + 1, &step, &view).unwrap();
                    assert!(before <= key && key < behind, "{key} {size} {step}: not {before} and {behind}");
                }
            }
        }
    }
    for key in [f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
        bounds(key, 60.0, 20.0);
        bounds(key as f32, 60.0, 20.0);
    }
    assert!(!<f64 as WindowKey<f64>>::is_positive(&f64::NAN));
    assert!(!<f64 as WindowKey<f64>>::is_positive(&f64::INFINITY));
}

fn day_of<K, D>(key: K, size: D) -> [K::Bound; 2]
where
    K: WindowKey<D>,
    K::Bound: Debug,
    D: Copy,
{
    let [start, end, ..] = bounds(key, size, size);
    [start.unwrap(), end.unwrap()]
}

#[test]
fn of_times() {
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let minute = Duration::from_secs(60);
    assert_eq!(day_of(at(90), minute), [at(60), at(120)]);
    let before = SystemTime::UNIX_EPOCH - Duration::from_nanos(1);
    assert_eq!(day_of(before, minute), [SystemTime::UNIX_EPOCH - minute, SystemTime::UNIX_EPOCH]);
    assert_eq!(day_of(Duration::from_secs(90), minute), [minute, minute * 2]);
    assert_eq!(day_of(Some(at(90)), minute), [at(60), at(120)]);
}

#[cfg(feature = "chrono")]
#[test]
fn of_chrono() {
    use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};
    let date = |text: &str| text.parse::<NaiveDate>().unwrap();
    let week = TimeDelta::days(7);
    assert_eq!(day_of(date("1970-01-07"), week), [date("1970-01-01"), date("1970-01-08")]);
    assert_eq!(day_of(date("1969-12-31"), week), [date("1969-12-25"), date("1970-01-01")]);
    assert!(!<NaiveDate as WindowKey<TimeDelta>>::is_positive(&TimeDelta::hours(23)));
    let hour = TimeDelta::hours(1);
    let time = |text: &str| text.parse::<NaiveTime>().unwrap();
    assert_eq!(day_of(time("13:59:59.5"), hour), [time("13:00:00"), time("14:00:00")]);
    assert_eq!(bounds(time("23:30:00"), hour, hour)[1], None);
    let utc = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    assert_eq!(
        day_of(utc("1969-12-31T23:59:59Z"), hour),
        [utc("1969-12-31T23:00:00Z"), utc("1970-01-01T00:00:00Z")]
    );
    let naive = |text: &str| utc(text).naive_utc();
    assert_eq!(
        day_of(naive("2024-02-29T10:10:10Z"), hour),
        [naive("2024-02-29T10:00:00Z"), naive("2024-02-29T11:00:00Z")]
    );
    // A leap second belongs to the hour it ends.
    assert_eq!(
        day_of(utc("2016-12-31T23:59:60.5Z"), hour),
        [utc("2016-12-31T23:00:00Z"), utc("2017-01-01T00:00:00Z")]
    );
    let there: DateTime<FixedOffset> = DateTime::parse_from_rfc3339("2024-05-01T10:40:00+05:30").unwrap();
    let [start, _] = day_of(there, hour);
    assert_eq!((start, start.timezone()), (there - TimeDelta::minutes(10), there.timezone()));
    assert_eq!(day_of(TimeDelta::minutes(-1), hour), [TimeDelta::hours(-1), TimeDelta::zero()]);
}

#[cfg(feature = "time")]
#[test]
fn of_time() {
    use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
    let date = |year, month, day| Date::from_calendar_date(year, month, day).unwrap();
    let (eve, epoch) = (date(1969, Month::December, 31), date(1970, Month::January, 1));
    assert_eq!(day_of(eve, Duration::days(7)), [date(1969, Month::December, 25), epoch]);
    let hour = Duration::hours(1);
    let at = |hour, minute| Time::from_hms(hour, minute, 0).unwrap();
    assert_eq!(day_of(at(13, 59), hour), [at(13, 0), at(14, 0)]);
    assert_eq!(bounds::<Time, _>(at(23, 30), hour, hour)[1], None);
    let local = |day, time| PrimitiveDateTime::new(day, time);
    assert_eq!(day_of(local(eve, at(23, 59)), hour), [local(eve, at(23, 0)), local(epoch, at(0, 0))]);
    let zone = UtcOffset::from_hms(5, 30, 0).unwrap();
    let there: OffsetDateTime = local(epoch, at(10, 40)).assume_offset(zone);
    let [start, _] = day_of(there, hour);
    assert_eq!((start, start.offset()), (there - Duration::minutes(10), zone));
    assert_eq!(day_of(Duration::minutes(-1), hour), [Duration::hours(-1), Duration::ZERO]);
}

#[cfg(feature = "jiff")]
#[test]
fn of_jiff() {
    use jiff::civil::{Time, date, time};
    use jiff::{SignedDuration, Timestamp, Zoned};
    let days = |count: i64| SignedDuration::from_hours(24 * count);
    assert_eq!(day_of(date(1969, 12, 31), days(7)), [date(1969, 12, 25), date(1970, 1, 1)]);
    let hour = SignedDuration::from_hours(1);
    assert_eq!(day_of(time(13, 59, 59, 0), hour), [time(13, 0, 0, 0), time(14, 0, 0, 0)]);
    assert_eq!(bounds::<Time, _>(time(23, 30, 0, 0), hour, hour)[1], None);
    assert_eq!(
        day_of(date(1969, 12, 31).at(23, 59, 59, 0), hour),
        [date(1969, 12, 31).at(23, 0, 0, 0), date(1970, 1, 1).at(0, 0, 0, 0)]
    );
    let stamp = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(
        day_of(stamp("1969-12-31T23:59:59Z"), hour),
        [stamp("1969-12-31T23:00:00Z"), stamp("1970-01-01T00:00:00Z")]
    );
    let there: Zoned = stamp("2024-05-01T05:10:00Z").to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(5)));
    let [start, end, ..] = bounds(there.clone(), hour, hour).map(Option::unwrap);
    assert_eq!(
        (start.timestamp(), end.timestamp()),
        (stamp("2024-05-01T05:00:00Z"), stamp("2024-05-01T06:00:00Z"))
    );
    assert_eq!(start.time_zone(), there.time_zone());
    assert_eq!(
        day_of(SignedDuration::from_mins(-1), hour),
        [SignedDuration::from_hours(-1), SignedDuration::ZERO]
    );
}
