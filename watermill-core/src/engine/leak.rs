//! The leak check: every record that was read is accounted for, and no commit passes one that is not done with.
//!
//! What is compared was counted in different places: records as they were let in, matched ones as they were marked for a call, unmatched
//! ones as they were let go of without, pending ones by what the walk still needs. A record that falls through belongs to none of them, or to two.

use super::walk::Walk;
use crate::broker::Position;
use crate::error::{RecordPlace, RunError};

/// The accounting of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Account {
    /// Records let in.
    pub(crate) read: u64,
    /// Bad ones that were left out.
    pub(crate) skipped: u64,
    /// Of those left out or put aside, those that came late.
    pub(crate) late: u64,
    /// Bad ones that were put aside, and those whose letters are not durable: these are pending, or unmatched when the walk has ended.
    pub(crate) dead_lettered: u64,
    pub(crate) letters: u64,
    pub(crate) matched: u64,
    pub(crate) unmatched: u64,
    pub(crate) pending: u64,
}

impl Account {
    /// All records that came.
    pub(crate) fn records(&self) -> u64 {
        self.read + self.skipped + self.dead_lettered + self.letters
    }

    /// What does not come out, if something does not.
    fn gap(&self) -> Option<String> {
        let Self { read, letters, matched, unmatched, pending, .. } = *self;
        let (came, known) = (read + letters, matched + unmatched + pending);
        (known != came).then(|| {
            format!("{came} records were let in, but {matched} matched, {unmatched} unmatched and {pending} pending ones are {known}")
        })
    }
}

/// What a batch came to: as many records must be let in or left out as it had.
pub(super) fn check_batch(stream: &str, came: u64, known: u64, place: RecordPlace) -> Result<(), RunError> {
    if came == known {
        return Ok(());
    }
    let what = format!("a batch of {came} records has come, and {known} of them are accounted for");
    Err(RunError::Leak { stream: stream.to_owned(), place, what })
}

impl Walk {
    /// Looks at the accounting of all streams; `positions` are those that are to be committed, where there are any.
    pub(crate) fn check_leaks(&self, positions: Option<&[Position]>) -> Result<(), RunError> {
        for node in 0..self.nodes.len() {
            if let Some((at, what)) = self.leak_of(node, positions.and_then(|all| all.get(node))) {
                let state = &self.nodes[node];
                let (stream, place) = (state.stream.clone(), state.node.place(at));
                return Err(RunError::Leak { stream, place, what });
            }
        }
        Ok(())
    }

    fn leak_of(&self, node: usize, committed: Option<&Position>) -> Option<(u64, String)> {
        let state = &self.nodes[node];
        if let Some(late) = state.marks.late() {
            return Some((late, "the record took part in a call after it had been let go of".to_owned()));
        }
        let from = self.needed_from(node).min(state.node.end());
        if let Some(gap) = self.account(node).gap() {
            return Some((from, gap));
        }
        if self.done.is_some() {
            return None;
        }
        let first = state.marks.first_unmarked(from, state.node.end())?;
        let (committed, place) = (committed?, state.node.place(first));
        passes(committed, &place).then(|| {
            (first, format!("the record is pending, but the commit would go on at {}", committed.next))
        })
    }
}

/// A restart at `committed` would not read the record at `place` again.
fn passes(committed: &Position, place: &RecordPlace) -> bool {
    committed.is_behind(place.origin.part(), place.offset)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::Arc;

    use super::*;
    use crate::broker::Origin;
    use crate::engine::marks::LOSE;
    use crate::prelude::*;
    use crate::testing::{State, TestMill};

    const SOUND: Account = Account {
        read: 9,
        skipped: 2,
        late: 1,
        dead_lettered: 4,
        letters: 1,
        matched: 5,
        unmatched: 3,
        pending: 2,
    };

    #[test]
    fn an_account_that_does_not_close_is_a_gap() {
        assert_eq!(SOUND.gap(), None);
        for broken in [
            Account { read: 11, ..SOUND },
            Account { matched: 4, ..SOUND },
            Account { unmatched: 4, ..SOUND },
            Account { pending: 1, ..SOUND },
        ] {
            assert!(broken.gap().is_some_and(|gap| gap.contains("records were let in, but")), "{broken:?}");
        }
    }

    #[test]
    fn a_commit_must_not_pass_what_is_pending() {
        let place = |offset| RecordPlace { origin: Arc::new(Origin::Memory), offset, number: offset };
        assert!(!passes(&Position::at(7), &place(7)));
        assert!(passes(&Position::at(8), &place(7)));
        let elsewhere = Position { part: "other".to_owned(), ..Position::at(8) };
        assert!(!passes(&elsewhere, &place(7)));
    }

    /// A run of `masters` numbers; the record at `lose` falls through the accounting.
    fn run(masters: i64, lose: Option<u64>) -> Result<State, RunError> {
        LOSE.set(lose);
        let mut test = TestMill::new(Mill::new(|_: &Json| ()))?;
        test.feed_all((0..masters).map(|number| Json(number.into())));
        test.end::<Json>();
        let ended = test.run();
        LOSE.set(None);
        ended
    }

    #[test]
    fn a_record_that_falls_through_fails_the_run() {
        assert_eq!(run(100, None).unwrap(), State::Ended);
        let Err(RunError::Leak { stream, what, .. }) = run(100, Some(70)) else {
            panic!("a leak goes unnoticed")
        };
        assert_eq!(stream, "Json");
        assert_eq!(what, "100 records were let in, but 100 matched, 1 unmatched and 0 pending ones are 101");
    }
}
