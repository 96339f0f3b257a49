//! Taking up a stream where an earlier run has left it: what that run has finished is passed over.

use crate::broker::{Batch, Places, Position};
use crate::error::RecordPlace;

/// What is passed over at the beginning of a stream.
///
/// A source begins at the first unfinished record, or, where it can, at the last record that was let in before it: its keys are
/// what the next ones are compared with. Between the two there may be bad records, and whole parts of such.
pub(super) struct Before {
    from: Position,
    /// The source has begun at the last record: until the part of `from` comes, everything is finished.
    began_at_last: bool,
    /// The part of `from` has come.
    reached: bool,
}

/// What an earlier run has finished of a part of a stream, apart from [`Position::finished`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Finished,
    /// What stands before this offset.
    FinishedTo(u64),
    /// Nothing.
    Beyond,
}

/// What became of a batch.
pub(super) struct Passed<R> {
    /// Those of the last records that were let in that were in the batch, and their places.
    pub(super) lasts: Vec<(R, RecordPlace)>,
    /// What follows was not finished.
    pub(super) done: bool,
}

impl Before {
    /// `None` when nothing can be before `from`.
    pub(super) fn new(from: &Position) -> Option<Self> {
        if from.last.is_none() && from.finished.is_empty() {
            return None;
        }
        Some(Self { from: from.clone(), began_at_last: false, reached: false })
    }

    /// Whether this is one of the last records that were let in.
    pub(super) fn is_last(&self, part: &str, offset: u64) -> bool {
        self.from.lasts().any(|last| last.part == part && last.offset == offset)
    }

    /// What finds this one of the last records that were let in.
    pub(super) fn token_of(&self, part: &str, offset: u64) -> Option<String> {
        self.from.lasts().find(|last| last.part == part && last.offset == offset)?.token.clone()
    }

    /// What was finished of `part`, which is read next.
    pub(super) fn begin_part(&mut self, part: &str) -> Part {
        if part == self.from.part {
            self.reached = true;
            return Part::FinishedTo(self.from.next);
        }
        self.began_at_last |= !self.reached && self.from.lasts().any(|last| last.part == part);
        if self.reached || !self.began_at_last { Part::Beyond } else { Part::Finished }
    }

    /// Nothing behind `places` was finished, apart from [`Position::finished`].
    pub(super) fn is_past(&self, places: &Places) -> bool {
        places.part() != self.from.part || places.next >= self.from.next
    }

    /// Takes out of `batch` what was finished.
    pub(super) fn pass_over<R>(&mut self, batch: &mut Batch<R>) -> Passed<R> {
        let part = batch.places.part();
        let same = part == self.from.part;
        let lasts: Vec<u64> =
            self.from.lasts().filter(|last| last.part == part).map(|last| last.offset).collect();
        if !same && lasts.is_empty() && !self.began_at_last {
            return Passed { lasts: Vec::new(), done: true };
        }
        self.began_at_last |= !lasts.is_empty();
        let over = |offset: u64| !same || offset < self.from.next;
        let records = (0..batch.records.len()).take_while(|index| over(batch.places.offset(*index))).count();
        let faults = batch.faults.iter().take_while(|fault| over(fault.error.place.offset)).count();
        let done = same && batch.places.next >= self.from.next;
        let places = &batch.places;
        let passed = batch.records.drain(..records).enumerate();
        let lasts = passed
            .filter(|(index, _)| lasts.contains(&places.offset(*index)))
            .map(|(index, last)| (last, places.place(index)))
            .collect();
        batch.faults.drain(..faults);
        for fault in &mut batch.faults {
            fault.before -= records;
        }
        batch.places.skip(records, faults);
        Passed { lasts, done }
    }
}
