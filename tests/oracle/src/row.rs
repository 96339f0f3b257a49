//! What streams are made of: plain rows for the oracle, typed records for the engine.

use serde::{Deserialize, Serialize};
use watermill_derive::StreamRecord;

/// A row as the oracle sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Tells the rows of one stream apart.
    pub id: u32,
    /// The key; sorted unless the stream may be in any order.
    pub at: i64,
    /// The second part of tuple keys; sorted among rows of equal `at`.
    pub minor: u8,
    /// Whether the optional key is there.
    pub known: bool,
    /// A key without any order.
    pub also: Option<u8>,
}

/// The same row as a record. Every stream of a tree is of a type of its own: `Rec<0>` is the master.
#[derive(Debug, Serialize, Deserialize, StreamRecord)]
pub struct Rec<const N: usize> {
    /// As [`Row::id`].
    pub id: u32,
    /// As [`Row::at`].
    pub at: i64,
    /// `at` where it is known.
    pub maybe: Option<i64>,
    /// As [`Row::minor`].
    pub minor: u8,
    /// As [`Row::also`].
    pub also: Option<u8>,
    /// `at` as a text of the same order.
    pub text: String,
    /// Half of `at`, exactly.
    pub real: f64,
}

impl<const N: usize> Rec<N> {
    /// The record of a row.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        Self {
            id: row.id,
            at: row.at,
            maybe: row.known.then_some(row.at),
            minor: row.minor,
            also: row.also,
            text: format!("{:05}", row.at + 10_000),
            real: row.at as f64 / 2.0,
        }
    }

    /// The records of rows.
    #[must_use]
    pub fn all(rows: &[Row]) -> Vec<Self> {
        rows.iter().map(Self::of).collect()
    }
}

/// What a call saw of one record: its id, and for each join below it what it saw of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StreamRecord)]
pub struct Seen {
    /// The record's id.
    pub id: u32,
    /// For each join below the record, in the order of the edges, its group.
    pub groups: Vec<Vec<Seen>>,
}

/// What one call saw: its masters, each with all that is joined to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StreamRecord)]
pub struct Call {
    /// The masters; a sole one without a window.
    pub masters: Vec<Seen>,
}
