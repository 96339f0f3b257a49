//! What is joined: robots' locations, about 60 bytes each as JSON.

use serde::{Deserialize, Serialize};
use watermill::StreamRecord;

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Location {
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Speed {
    pub(crate) time_from: i64,
    pub(crate) time_to: i64,
    pub(crate) speed: f64,
}

/// How much later the record is that each one is joined to.
pub(crate) const LATER: i64 = 10;

pub(crate) fn location(time: i64) -> Location {
    let turn = time as f64 * 0.001;
    Location { time, x: round(100.0 + 50.0 * turn.cos()), y: round(100.0 + 50.0 * turn.sin()) }
}

fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

pub(crate) fn speed(here: (i64, f64, f64), there: (i64, f64, f64)) -> Speed {
    Speed { time_from: here.0, time_to: there.0, speed: (there.1 - here.1).hypot(there.2 - here.2) }
}

/// Two streams of the same times, for the latency of a join: `sent` is when it was sent, in microseconds since the epoch.
#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Asked {
    pub(crate) time: i64,
    pub(crate) sent: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Known {
    pub(crate) time: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
pub(crate) struct Answered {
    pub(crate) time: i64,
    pub(crate) sent: i64,
}
