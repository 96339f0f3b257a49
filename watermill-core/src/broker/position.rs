//! Positions: where each input of a lane goes on after a restart.

use serde::{Deserialize, Serialize};

/// Where one input goes on: the part of it before `next` is finished for good.
///
/// A position is not what was fetched: records that were looked at ahead of time, groups that are kept and
/// windows that are open each hold it back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Position {
    /// Which part of the stream `next` is in, for streams of several parts: the path of a file. Empty where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// The offset of the first record that is not finished, or where reading goes on when all are.
    pub next: u64,
    /// The number of that record within its part, from 0.
    #[serde(default)]
    pub number: u64,
    /// The stream has ended and all of it is finished.
    #[serde(default)]
    pub ended: bool,
    /// It has ended by its EndOfStream mark: nothing behind that is ever read. Otherwise more may have come since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
    /// The last record before `next`. A source that can should begin there: the engine compares its keys with the next ones, and
    /// does nothing else with what lies before `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRecord>,
}

/// The last record before a [`Position`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LastRecord {
    /// Which part of the stream it is in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// Its offset.
    pub offset: u64,
    /// Its number within its part, from 0.
    #[serde(default)]
    pub number: u64,
}

impl Position {
    /// A position at `next`.
    #[must_use]
    pub fn at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }
}

/// What a commit records of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// A position for each input of the mill, master first, then in the order of the plan.
    pub positions: Vec<Position>,
    /// The run is complete: this is the lane's last commit.
    pub finished: bool,
    /// For each output of the mill, in the order of the plan, whether its EndOfStream belongs to this commit.
    pub ended_outputs: Vec<bool>,
}
