//! Dates of other crates; each behind its feature.
#![allow(unused_imports)]

use watermill_core::key::{KeyFault, KeyOffset, KeyValue, Shifted, describe};
use watermill_core::record::StreamRecord;
use watermill_derive::StreamRecord;

use super::key_of;

#[derive(StreamRecord)]
struct Std {
    at: std::time::SystemTime,
    wait: std::time::Duration,
}

#[test]
fn std_times() {
    use std::time::{Duration, SystemTime};
    let record = Std { at: SystemTime::UNIX_EPOCH, wait: Duration::from_secs(5) };
    let f = Std::fields();
    assert_eq!(
        key_of(&record, f.at + Duration::from_secs(60)),
        Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)))
    );
    assert_eq!(key_of(&record, f.at - f.wait), Ok(Some(SystemTime::UNIX_EPOCH - Duration::from_secs(5))));
    assert_eq!(key_of(&record, f.wait + f.wait), Ok(Some(Duration::from_secs(10))));
    assert_eq!(
        key_of(&record, f.wait - Duration::from_secs(6)),
        Err(KeyFault::Overflow { expression: "5s - 6s".into(), type_name: "Duration" })
    );
}

#[cfg(feature = "chrono")]
#[test]
fn chrono_dates() {
    use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

    #[derive(StreamRecord)]
    struct Flight {
        day: NaiveDate,
        at: NaiveDateTime,
        time: NaiveTime,
        takeoff: DateTime<Utc>,
        delay: TimeDelta,
        maybe: Option<DateTime<Utc>>,
    }
    let flight = Flight {
        day: NaiveDate::MAX,
        at: NaiveDateTime::default(),
        time: NaiveTime::default(),
        takeoff: DateTime::UNIX_EPOCH,
        delay: TimeDelta::minutes(45),
        maybe: Some(DateTime::UNIX_EPOCH),
    };
    let f = Flight::fields();
    let later = DateTime::UNIX_EPOCH + TimeDelta::minutes(45);
    assert_eq!(key_of(&flight, f.takeoff + TimeDelta::minutes(45)), Ok(Some(later)));
    assert_eq!(key_of(&flight, f.takeoff + f.delay), Ok(Some(later)));
    assert_eq!(key_of(&flight, f.maybe + TimeDelta::minutes(45)), Ok(Some(Some(later))));
    assert_eq!(key_of(&flight, f.at - f.delay + f.delay), Ok(Some(flight.at)));
    assert_eq!((f.takeoff + TimeDelta::minutes(45)).to_string(), "takeoff + PT2700S");
    assert!(matches!(
        key_of(&flight, f.day + TimeDelta::days(1)),
        Err(KeyFault::Overflow { type_name: "NaiveDate", .. })
    ));
    assert!(matches!(
        key_of(&flight, f.time - f.delay),
        Err(KeyFault::Overflow { type_name: "NaiveTime", .. })
    ));
    assert!(matches!(NaiveDate::shift(&NaiveDate::MIN, &TimeDelta::days(-1)), Shifted::BelowAll));
    assert!(matches!(NaiveTime::shift(&flight.time, &TimeDelta::days(1)), Shifted::AboveAll));
    let east = FixedOffset::east_opt(3600).unwrap();
    assert_eq!(later.with_timezone(&east).view().unwrap().unwrap(), later.view().unwrap().unwrap());
    assert_eq!(<DateTime<Utc> as KeyOffset<_>>::shift(&flight.takeoff, &flight.delay), Shifted::At(later));
    assert!(matches!(
        key_of(&flight, f.takeoff + TimeDelta::MAX),
        Err(KeyFault::Overflow { type_name: "DateTime", .. })
    ));
}

#[cfg(feature = "time")]
#[test]
fn time_dates() {
    use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    #[derive(StreamRecord)]
    struct Flight {
        day: Date,
        time: Time,
        at: PrimitiveDateTime,
        takeoff: OffsetDateTime,
        delay: Duration,
    }
    let flight = Flight {
        day: Date::MAX,
        time: Time::MIDNIGHT,
        at: PrimitiveDateTime::MIN,
        takeoff: OffsetDateTime::UNIX_EPOCH,
        delay: Duration::minutes(45),
    };
    let f = Flight::fields();
    let later = OffsetDateTime::UNIX_EPOCH + Duration::minutes(45);
    assert_eq!(key_of(&flight, f.takeoff + Duration::minutes(45)), Ok(Some(later)));
    assert_eq!(key_of(&flight, f.takeoff + f.delay), Ok(Some(later)));
    assert_eq!((f.takeoff + Duration::minutes(45)).to_string(), "takeoff + 45m");
    assert_eq!(key_of(&flight, f.time + f.delay), Ok(Some(Time::from_hms(0, 45, 0).unwrap())));
    assert!(matches!(key_of(&flight, f.time - f.delay), Err(KeyFault::Overflow { type_name: "Time", .. })));
    assert!(matches!(
        key_of(&flight, f.day + Duration::DAY),
        Err(KeyFault::Overflow { type_name: "Date", .. })
    ));
    assert!(matches!(key_of(&flight, f.at - f.delay), Err(KeyFault::Overflow { .. })));
    assert_eq!(Time::shift(&Time::MIDNIGHT, &Duration::DAY), Shifted::AboveAll);
    assert_eq!(Time::shift(&Time::MIDNIGHT, &Duration::MIN), Shifted::BelowAll);
    assert_eq!(Time::shift(&Time::MIDNIGHT, &Duration::HOUR), Shifted::At(Time::from_hms(1, 0, 0).unwrap()));
    assert_eq!(Date::shift(&Date::MIN, &-Duration::DAY), Shifted::BelowAll);
    let east = later.to_offset(UtcOffset::from_hms(1, 0, 0).unwrap());
    assert_eq!(east.view(), later.view());
}

#[cfg(feature = "jiff")]
#[test]
fn jiff_dates() {
    use jiff::civil::{Date, DateTime, Time, date};
    use jiff::tz::{Offset, TimeZone};
    use jiff::{SignedDuration, Span, Timestamp, Zoned};

    #[derive(StreamRecord)]
    struct Flight {
        day: Date,
        time: Time,
        at: DateTime,
        takeoff: Timestamp,
        local: Zoned,
        delay: SignedDuration,
    }
    let east = TimeZone::fixed(Offset::constant(1));
    let flight = Flight {
        day: Date::MAX,
        time: Time::midnight(),
        at: DateTime::MIN,
        takeoff: Timestamp::UNIX_EPOCH,
        local: Timestamp::UNIX_EPOCH.to_zoned(east),
        delay: SignedDuration::from_mins(45),
    };
    let f = Flight::fields();
    let later = Timestamp::from_second(2700).unwrap();
    assert_eq!(key_of(&flight, f.takeoff + SignedDuration::from_mins(45)), Ok(Some(later)));
    assert_eq!(key_of(&flight, f.takeoff + f.delay), Ok(Some(later)));
    assert_eq!(key_of(&flight, (f.local + f.delay).map(Zoned::timestamp)), Ok(Some(later)));
    assert_eq!((f.takeoff + SignedDuration::from_mins(45)).to_string(), "takeoff + 45m");
    assert!(matches!(key_of(&flight, f.time - f.delay), Err(KeyFault::Overflow { type_name: "Time", .. })));
    assert!(matches!(key_of(&flight, f.at - f.delay), Err(KeyFault::Overflow { .. })));
    let day = SignedDuration::from_hours(24);
    assert!(matches!(key_of(&flight, f.day + day), Err(KeyFault::Overflow { type_name: "Date", .. })));
    assert_eq!(Date::shift(&Date::MIN, &-day), Shifted::BelowAll);
    assert_eq!(Date::shift(&date(2024, 1, 31), &Span::new().months(1)), Shifted::At(date(2024, 2, 29)));
    let utc = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    assert!(utc.view().unwrap() == flight.local.view().unwrap());
}
