//! An edge whose types the walk does not know: what it can be asked.

use std::any::Any;

use super::ahead::Run;
use super::span::Span;
use crate::lined::Lined;

/// What looking for matches came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seek {
    /// More of the right stream must be read before the matches are known; those that are there stand below this position.
    Need(u64),
    /// The left record has no key: it matches nothing.
    NoKey,
    /// The right records whose keys are in range all stand below this position.
    Below(u64),
    /// As [`Seek::Below`] if one of those that stand there now is a match, by the promise that there is no other; else as
    /// [`Seek::Need`].
    Perhaps(u64),
}

/// An edge whose types the walk does not know. Tapes come as `&Tape<L>` and `&Tape<R>`.
pub(crate) trait AnyEdge: Send {
    /// Moves the cursors to the left record at `position`.
    fn seek(&mut self, left: &dyn Any, right: &dyn Any, position: u64) -> Seek;
    /// Adds the match of the left record at `position`, which was sought last, and those of the ones behind it, as far as they
    /// are runs that are known already; moves the cursors to the last of them. Adds nothing where that cannot be.
    fn look_ahead(&mut self, left: &dyn Any, right: &dyn Any, position: u64, runs: &mut Vec<Run>);
    /// Whether right records must be taken in before [`AnyEdge::select`].
    fn takes_in(&self) -> bool;
    /// The right records below `end` that are to be taken in next start here.
    fn intake_from(&self) -> u64;
    /// Takes in one right record; `alive` when its own joins have kept it.
    fn take_in(&mut self, right: &dyn Any, position: u64, alive: bool);
    /// The matches of the left record that was last sought.
    fn select(&mut self, left: &dyn Any, right: &dyn Any, position: u64, span: &mut Span);
    /// The first right position that is still needed.
    fn low(&self) -> u64;
    /// A right position needed besides those from [`AnyEdge::live`] on: the last match of an as-of join.
    fn pinned(&self) -> Option<u64>;
    /// The first right position that is needed, apart from [`AnyEdge::pinned`].
    fn live(&self) -> u64;
    /// The size that the group of the left record last sought has reached; `None` where `low` to `high` is not a group.
    fn reached(&self) -> Option<u64>;
    /// The join promises at most one match per key, and a span of more than one breaks the promise.
    fn breaks_promise(&self, span: &Span) -> bool;
    /// The right key of the record at `position`: the expression and the value, for messages.
    fn right_text(&self, right: &dyn Any, position: u64) -> (String, String);
    /// The matches of later left records never start lower than those of this one.
    fn in_order(&self) -> bool;
    /// The right stream is a table, which is loaded whole.
    fn is_lookup(&self) -> bool;
    /// Nothing that was taken in can match a later left record.
    fn holds_nothing(&self, right_end: u64) -> bool;
    /// Points `slot`, a `Joined<L, R>`, at the matches of its sole left record.
    fn fill_sole(
        &self,
        slot: &mut dyn Any,
        part: usize,
        left: &dyn Any,
        right: &dyn Any,
        at: u64,
        span: &Span,
    );
    /// Adds the matches of one more left record of a window.
    fn fill_window(&self, slot: &mut dyn Any, part: usize, right: &dyn Any, span: &Span);
    /// Adds the matches of one more left record that is not the master.
    fn fill_below(
        &self,
        slot: &mut dyn Any,
        part: usize,
        left: &dyn Any,
        right: &dyn Any,
        at: u64,
        span: &Span,
    );
    /// Ends a series of [`AnyEdge::fill_below`].
    fn finish(&self, slot: &mut dyn Any, part: usize);
    /// The groups of masters, as what stands in a line.
    fn lined<'s>(&self, slot: &'s mut dyn Any, part: usize) -> Option<&'s mut dyn Lined>;
    /// Keeps some of the groups that [`AnyEdge::fill_below`] has added.
    fn retain(&self, slot: &mut dyn Any, part: usize, keep: &[bool]);
    /// Empties the slot.
    fn clear(&self, slot: &mut dyn Any, part: usize);
    /// The left record's key, for messages.
    fn left_text(&self, left: &dyn Any, position: u64) -> String;
}
