//! What is joined to what.

use serde::{Deserialize, Serialize};
use watermill::prelude::*;

/// So much later the partner of a record is.
pub(crate) const LATER: i64 = 10;

#[derive(Serialize, Deserialize, StreamRecord)]
pub(crate) struct Here {
    pub(crate) time: i64,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Serialize, Deserialize, StreamRecord)]
pub(crate) struct Next {
    pub(crate) time: i64,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

#[derive(Serialize, Deserialize, StreamRecord)]
pub(crate) struct Speed {
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) speed: f64,
}

impl Here {
    pub(crate) fn at(time: i64) -> Self {
        Self { time, x: (time % 1009) as f64, y: (time * 7 % 1013) as f64 }
    }
}

impl Next {
    pub(crate) fn at(time: i64) -> Self {
        let Here { time, x, y } = Here::at(time);
        Self { time, x, y }
    }
}

/// What both candidates compute.
pub(crate) fn speed(here: &Here, there: &Next) -> Speed {
    let metres = (there.x - here.x).hypot(there.y - here.y);
    Speed { from: here.time, to: there.time, speed: metres / (there.time - here.time) as f64 }
}
