//! The records.

use std::borrow::Cow;

use serde::Deserializer;
use serde::de::Error;
use watermill::prelude::*;

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct RobotLocation {
    pub(crate) time: i64,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct NextLocation {
    pub(crate) time: i64,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct AfterLocation {
    pub(crate) time: i64,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct RobotSpeed {
    pub(crate) time_from: i64,
    pub(crate) time_to: i64,
    pub(crate) speed: f64,
}

impl RobotSpeed {
    #[inline]
    pub(crate) fn between(here: &RobotLocation, there: &NextLocation) -> Self {
        let speed = (there.x - here.x).hypot(there.y - here.y);
        Self { time_from: here.time, time_to: there.time, speed }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Turn {
    pub(crate) time: i64,
    pub(crate) across: f64,
}

impl Turn {
    #[inline]
    pub(crate) fn over(here: &RobotLocation, next: &NextLocation, after: &AfterLocation) -> Self {
        let (there, back) = ((next.x - here.x, next.y - here.y), (after.x - next.x, after.y - next.y));
        Self { time: here.time, across: there.0 * back.1 - there.1 * back.0 }
    }
}

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Flight {
    #[serde(deserialize_with = "minutes")]
    pub(crate) date: i64,
    pub(crate) origin: String,
    pub(crate) destination: String,
    pub(crate) delay: i32,
    pub(crate) distance: u32,
}

/// A flight that leaves where another one has arrived.
#[derive(Debug, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Connection {
    #[serde(deserialize_with = "minutes")]
    pub(crate) date: i64,
    pub(crate) origin: String,
    pub(crate) destination: String,
    pub(crate) distance: u32,
}

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Connections {
    pub(crate) date: i64,
    pub(crate) destination: String,
    pub(crate) count: usize,
    pub(crate) farthest: u32,
}

impl Connections {
    pub(crate) fn of<'a>(flight: &Flight, onward: impl ExactSizeIterator<Item = &'a Connection>) -> Self {
        let count = onward.len();
        let farthest = onward.map(|next| next.distance).max().unwrap_or(0) + flight.distance;
        Self { date: flight.date, destination: flight.destination.clone(), count, farthest }
    }
}

/// `2001/01/01 00:47` as minutes since 1970.
fn minutes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Text(text) = Text::deserialize(deserializer)?;
    minutes_of(&text).ok_or_else(|| D::Error::custom("a date looks like `2001/01/01 00:47`"))
}

pub(crate) fn minutes_of(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days since 1 March of the year 0.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 1440 + number(11, 13)? * 60 + number(14, 16)?)
}
