//! Positions: where each input of a lane goes on after a restart.

use serde::{Deserialize, Serialize};

/// Where one input goes on: the part of it before `next` is finished for good.
///
/// A position is not what was fetched: records that were looked at ahead of time, groups that are kept and
/// windows that are open each hold it back.
///
/// ```
/// use watermill_core::broker::Position;
///
/// let mut position = Position::at(512);
/// position.part = "data/flights-02.ndjson".to_owned();
/// position.number = 7;
/// let text = serde_json::to_string(&position)?;
/// assert_eq!(text, r#"{"part":"data/flights-02.ndjson","next":512,"number":7,"ended":false}"#);
/// assert_eq!(serde_json::from_str::<Position>(&text)?, position);
/// # Ok::<(), serde_json::Error>(())
/// ```
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
    /// Where `next` does not find the record, since the storage does not number them: what does. The broker that reads the stream makes and reads
    /// it; for all others it is text. `None` there is the beginning of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The stream has ended and all of it is finished.
    #[serde(default)]
    pub ended: bool,
    /// It has ended by its EndOfStream mark: nothing behind that is ever read. Otherwise more may have come since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
    /// The last record with a key that was let in of those that are finished, or the earliest such where there are several keys. A source that can should begin there, where that is before `next`: the engine
    /// compares its keys with the next ones, and does nothing else with what is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRecord>,
    /// Others behind `last` with which keys are compared, where one stream has several keys and some of them are `None`: the last record with a key is
    /// another one for each. Sources have nothing to do with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_last: Vec<LastRecord>,
    /// What is finished behind `next`, in the order of the stream: records that came late were sorted back before those at
    /// `next`, or will be when they can be read again. Sources deliver it again; the engine passes over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finished: Vec<FinishedRange>,
}

/// Records behind [`Position::next`] that are finished.
///
/// ```
/// use watermill_core::broker::{FinishedRange, Position};
///
/// let mut position = Position::at(100);
/// position.finished.push(FinishedRange { part: String::new(), from: 150, to: 200 });
/// let text = serde_json::to_string(&position)?;
/// assert_eq!(text, r#"{"next":100,"number":0,"ended":false,"finished":[{"from":150,"to":200}]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FinishedRange {
    /// Which part of the stream they are in; empty for the part of `next`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// The offset of the first of them.
    pub from: u64,
    /// An offset behind the last of them, and before the next record.
    pub to: u64,
}

/// The last record before a [`Position`].
///
/// ```
/// use watermill_core::broker::{LastRecord, Position};
///
/// /// Where a source of a single part begins.
/// fn begin(from: &Position) -> u64 {
///     from.last.as_ref().map_or(from.next, |last| last.offset.min(from.next))
/// }
///
/// let mut position = Position::at(12);
/// assert_eq!(begin(&position), 12);
/// let mut last = LastRecord::default();
/// last.offset = 11;
/// position.last = Some(last);
/// assert_eq!(begin(&position), 11);
/// ```
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
    /// What finds it, where its offset does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Position {
    /// A position at `next`.
    ///
    /// ```
    /// # use watermill_core::broker::Position;
    /// let position = Position::at(12);
    /// assert!(position.next == 12 && !position.ended && position.part.is_empty());
    /// ```
    #[must_use]
    pub fn at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// The last records that were let in, as far as keys are compared with them.
    pub(crate) fn lasts(&self) -> impl Iterator<Item = &LastRecord> {
        self.last.iter().chain(&self.also_last)
    }

    /// These are the last records, in the order in which they were let in.
    pub(crate) fn set_lasts(&mut self, mut lasts: Vec<LastRecord>) {
        let mut first = 0;
        for (index, last) in lasts.iter().enumerate() {
            if last.part == lasts[first].part && last.offset < lasts[first].offset {
                first = index;
            }
        }
        self.last = (!lasts.is_empty()).then(|| lasts.remove(first));
        lasts.retain(|last| Some(last) != self.last.as_ref());
        self.also_last = lasts;
    }

    /// Whether what stands at `offset` of `part` is finished, where `part` is the one of `next` or is read after it.
    pub(crate) fn is_behind(&self, part: &str, offset: u64) -> bool {
        let within = |range: &FinishedRange| {
            let own = if range.part.is_empty() { &self.part } else { &range.part };
            own == part && (range.from..range.to).contains(&offset)
        };
        (part == self.part && offset < self.next) || self.finished.iter().any(within)
    }
}

/// What a commit records of a lane.
///
/// ```
/// use watermill_core::broker::{Checkpoint, Position};
///
/// let mut checkpoint = Checkpoint::default();
/// checkpoint.positions = vec![Position::at(12), Position::at(40)];
/// checkpoint.ended_outputs = vec![false];
/// // What a committer makes durable, and a session gives back.
/// let text = serde_json::to_string(&checkpoint)?;
/// assert_eq!(serde_json::from_str::<Checkpoint>(&text)?, checkpoint);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// A position for each input of the mill, master first, then in the order of the plan.
    pub positions: Vec<Position>,
    /// The run is complete: this is the lane's last commit.
    pub finished: bool,
    /// For each output of the mill, in the order of the plan, whether its EndOfStream belongs to this commit.
    pub ended_outputs: Vec<bool>,
    /// What of the mill's windows cannot be read again: which were emitted, where windows overlap or can be empty. A broker keeps it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
}
