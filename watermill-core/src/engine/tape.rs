//! The tape of a stream: the batches the walk still needs, as one sequence of positions.
//!
//! Positions count the records that were let in, from 0, over all batches. They never go back. Batches are
//! shared (`Arc`), so groups can outlive their place on the tape; the master's batches in a windowed mill are not:
//! their records move into the window.

use std::collections::VecDeque;
use std::sync::Arc;

use super::admit::Told;
use super::bookmark::{Bookmark, Last, Spot};
use super::keyless::{Behind, Keyless, Known};
use super::trace::{Kept, MOST_RUNS, Positions};
use crate::broker::{InputEnd, LastRecord, Places, Position};

/// One batch on the tape.
pub(crate) struct Segment<R> {
    /// The position of the first record, were none of them taken.
    first: u64,
    records: Records<R>,
    places: Arc<Places>,
    /// The numbers of the records, where bad ones stand between them.
    numbers: Option<Vec<u64>>,
    keyless: Keyless,
    bytes: u64,
}

enum Records<R> {
    Shared(Arc<Vec<R>>),
    /// Records that leave one by one, from the front.
    Leaving(std::vec::IntoIter<R>, usize),
}

impl<R> Segment<R> {
    fn slice(&self) -> &[R] {
        match &self.records {
            Records::Shared(all) => all,
            Records::Leaving(rest, _) => rest.as_slice(),
        }
    }

    /// How many records have left.
    fn left(&self) -> usize {
        match &self.records {
            Records::Shared(_) => 0,
            Records::Leaving(rest, len) => len - rest.len(),
        }
    }

    /// The number of the record at `index` within its part of the stream.
    fn number(&self, index: usize) -> u64 {
        let counted = || self.places.first_number + index as u64;
        self.numbers.as_ref().and_then(|all| all.get(index)).copied().unwrap_or_else(counted)
    }

    fn spot(&self, index: usize) -> Spot {
        Spot { places: Arc::clone(&self.places), index, number: self.number(index) }
    }

    fn end(&self) -> u64 {
        self.first
            + match &self.records {
                Records::Shared(all) => all.len() as u64,
                Records::Leaving(_, len) => *len as u64,
            }
    }
}

/// The batches of one stream that the walk still needs.
pub(crate) struct Tape<R> {
    segments: VecDeque<Segment<R>>,
    end: u64,
    ended: Option<InputEnd>,
    /// Where reading goes on behind all that was let in.
    tail: Arc<Position>,
    /// The last records that are not on the tape any more.
    behind: Option<Arc<Behind>>,
    /// The same, of batches that were let go of while some before them were not: what is behind this position.
    gap: Option<(u64, Arc<Behind>)>,
    leaving: bool,
    /// What an open window holds of this stream beside the tape, in bytes, about.
    lent: u64,
}

impl<R> Tape<R> {
    /// A tape that goes on at `from`.
    pub(crate) fn new(leaving: bool, from: Position) -> Self {
        let behind = Behind::left(&from);
        let tail = Arc::new(from);
        Self { segments: VecDeque::new(), end: 0, ended: None, tail, behind, gap: None, leaving, lent: 0 }
    }

    /// Where reading goes on behind all that was let in.
    pub(super) fn tail(&self) -> &Position {
        &self.tail
    }

    pub(super) fn set_tail(&mut self, tail: Position) {
        self.tail = Arc::new(tail);
    }

    /// The position behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn ended(&self) -> Option<InputEnd> {
        self.ended
    }

    pub(crate) fn set_ended(&mut self, end: InputEnd) {
        self.ended = Some(end);
    }

    pub(super) fn push(&mut self, records: Vec<R>, places: Places, told: Told, bytes: u64, tail: Position) {
        self.tail = Arc::new(tail);
        if records.is_empty() {
            return;
        }
        let first = self.end;
        self.end += records.len() as u64;
        let records = if self.leaving {
            let len = records.len();
            Records::Leaving(records.into_iter(), len)
        } else {
            Records::Shared(Arc::new(records))
        };
        let (places, Told { numbers, keyless }) = (Arc::new(places), told);
        self.segments.push_back(Segment { first, records, places, numbers, keyless, bytes });
    }

    fn segment(&self, position: u64) -> Option<&Segment<R>> {
        // One or two segments nearly always: a search from the front beats a binary one.
        if self.segments.len() <= 4 {
            self.segments.iter().find(|segment| position < segment.end())
        } else {
            self.segments.get(self.segments.partition_point(|segment| segment.end() <= position))
        }
    }

    /// The record at `position`, if it is on the tape.
    pub(crate) fn get(&self, position: u64) -> Option<&R> {
        let segment = self.segment(position)?;
        let index = (position.checked_sub(segment.first)? as usize).checked_sub(segment.left())?;
        segment.slice().get(index)
    }

    /// The position of the record that stands at this address in memory, if it is on the tape.
    pub(crate) fn find_address(&self, address: usize) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let slice = segment.slice();
            let index = address.checked_sub(slice.as_ptr().addr())? / size_of::<R>().max(1);
            (index < slice.len()).then(|| segment.first + (segment.left() + index) as u64)
        })
    }

    /// The records from `position` to the end of its batch.
    pub(crate) fn rest(&self, position: u64) -> &[R] {
        let Some(segment) = self.segment(position) else { return &[] };
        let Some(ahead) = position.checked_sub(segment.first) else { return &[] };
        segment.slice().get((ahead as usize).saturating_sub(segment.left())..).unwrap_or(&[])
    }

    /// The shared batch that holds `position`, and the record's index in it.
    pub(crate) fn shared(&self, position: u64) -> Option<(&Arc<Vec<R>>, usize)> {
        let segment = self.segment(position)?;
        let index = position.checked_sub(segment.first)? as usize;
        match &segment.records {
            Records::Shared(batch) => Some((batch, index)),
            Records::Leaving(..) => None,
        }
    }

    /// The batches that hold these records, as far as they are on the tape and shared.
    pub(crate) fn keep(&self, positions: &Positions) -> Vec<Kept>
    where
        R: Send + Sync + 'static,
    {
        let mut kept: Vec<Kept> = Vec::new();
        for (low, high) in positions.runs() {
            let mut at = low;
            while at < high && kept.len() < MOST_RUNS {
                let Some((batch, start)) = self.shared(at) else { break };
                let end = batch.len().min(start + (high - at) as usize);
                at += (end - start) as u64;
                match kept.last_mut() {
                    Some((last, run)) if run.end == start && is_batch(last, batch) => run.end = end,
                    _ => kept.push((Arc::clone(batch) as _, start..end)),
                }
            }
        }
        kept
    }

    /// Takes the record at `position` off the tape, and drops those of its batch before it. Only of the tape of a windowed
    /// master.
    pub(crate) fn take(&mut self, position: u64) -> Option<R> {
        let segment = self.segments.iter_mut().find(|segment| position < segment.end())?;
        let ahead = (position.checked_sub(segment.first)? as usize).checked_sub(segment.left())?;
        match &mut segment.records {
            Records::Leaving(rest, len) => {
                self.lent += size_of::<R>() as u64 + segment.bytes / (*len).max(1) as u64;
                rest.nth(ahead)
            }
            Records::Shared(_) => None,
        }
    }

    /// Takes the records from `position` on, `count` of them or as many as its batch still has, as [`Tape::take`] does.
    pub(crate) fn take_many(&mut self, position: u64, count: usize) -> impl Iterator<Item = R> {
        let segment = self.segments.iter_mut().find(|segment| position < segment.end());
        let many = segment.and_then(|segment| {
            let ahead = (position.checked_sub(segment.first)? as usize).checked_sub(segment.left())?;
            let Records::Leaving(rest, len) = &mut segment.records else { return None };
            if let Some(before) = ahead.checked_sub(1) {
                rest.nth(before);
            }
            let count = count.min(rest.len());
            let each = size_of::<R>() as u64 + segment.bytes / (*len).max(1) as u64;
            self.lent += each * count as u64;
            Some(rest.take(count))
        });
        many.into_iter().flatten()
    }

    /// Lets go of the batches that end at or before `position`. Those that an open window holds on to are counted.
    pub(crate) fn release(&mut self, position: u64, window_open: bool) {
        let goes = |segment: &&Segment<R>| segment.end() <= position;
        let gap = self.gap.as_ref().map_or(0, |(end, _)| *end);
        let last = self.segments.iter().take_while(goes).last().map_or(0, Segment::end);
        let last = last.max(if gap <= position { gap } else { 0 });
        if last == 0 {
            return;
        }
        self.behind = self.behind_at(last);
        self.gap.take_if(|(end, _)| *end <= position);
        while let Some(segment) = self.segments.pop_front_if(|segment| segment.end() <= position) {
            if window_open
                && let Records::Shared(batch) = &segment.records
                && Arc::strong_count(batch) > 1
            {
                self.lent += segment.bytes + size_of_val(batch.as_slice()) as u64;
            }
        }
    }

    /// Lets go of the batches that lie between the two positions.
    pub(crate) fn release_between(&mut self, from: u64, to: u64) {
        if self.segments.len() > 1 {
            let goes = |segment: &Segment<R>| segment.first >= from && segment.end() <= to;
            if let Some(end) =
                self.segments.iter().filter(|segment| goes(segment)).map(Segment::end).next_back()
            {
                self.gap = self.behind_at(end).map(|behind| (end, behind));
                self.segments.retain(|segment| !goes(segment));
            }
        }
    }

    /// The window has closed.
    pub(crate) fn take_back(&mut self) {
        self.lent = 0;
    }

    /// Of what windows hold, `kept` of `all` is left.
    pub(crate) fn take_back_part(&mut self, kept: u64, all: u64) {
        self.lent = self.lent.saturating_mul(kept) / all;
    }

    /// Where the record at `position` stands, to be remembered.
    pub(crate) fn bookmark(&self, position: u64) -> Bookmark {
        let record = self.holding(position).map(|(segment, index)| segment.spot(index));
        let last = match position.checked_sub(1).and_then(|before| self.holding(before)) {
            Some((segment, index)) if segment.keyless.roles(index).next().is_none() => {
                Some(Last::Read(segment.spot(index)))
            }
            _ => self.behind_at(position).map(Last::Behind),
        };
        let (ended, marked) = (self.ended.is_some(), self.ended == Some(InputEnd::Mark));
        Bookmark { record, last, tail: Arc::clone(&self.tail), ended, marked, sorted: None }
    }

    /// The batch that holds `position`, and the record's index in it.
    fn holding(&self, position: u64) -> Option<(&Segment<R>, usize)> {
        let segment = self.segment(position)?;
        Some((segment, position.checked_sub(segment.first)? as usize))
    }

    /// The last records before `position`.
    fn behind_at(&self, position: u64) -> Option<Arc<Behind>> {
        match position.checked_sub(1).and_then(|before| self.holding(before)) {
            Some((segment, index)) => {
                let (last, lacks) = (segment.spot(index).last_record(), segment.keyless.roles(index));
                let find = |role| self.last_in_role(role, position);
                Some(Arc::new(Behind::new(order(position - 1), last, lacks.collect(), find)))
            }
            None => self.let_go_of(position).cloned(),
        }
    }

    /// The last records before `position`, which is the first of a batch whose predecessor is not on the tape.
    fn let_go_of(&self, position: u64) -> Option<&Arc<Behind>> {
        let gap = self.gap.as_ref().filter(|(end, _)| *end <= position).map(|(_, behind)| behind);
        gap.or(self.behind.as_ref())
    }

    fn last_in_role(&self, role: usize, position: u64) -> Vec<Known> {
        let mut at = position;
        while let Some((segment, index)) = at.checked_sub(1).and_then(|before| self.holding(before)) {
            if let Some(found) = segment.keyless.last_before(role, index + 1) {
                let (order, record) =
                    (order(segment.first + found as u64), segment.spot(found).last_record());
                return vec![Known { role: Some(role), order, record }];
            }
            at = segment.first;
        }
        self.let_go_of(at).map(|behind| behind.in_role(role)).unwrap_or_default()
    }

    /// One of the last records that an earlier run has let in was read again; it has no key in the roles `lacks`.
    pub(super) fn read_again(&mut self, last: LastRecord, lacks: Vec<usize>) {
        let behind = self.behind.take().unwrap_or_default();
        self.behind = Some(Arc::new(behind.read_again(last, lacks)));
    }

    /// No more of them are.
    pub(super) fn all_read_again(&mut self) {
        if let Some(behind) = &mut self.behind {
            Arc::make_mut(behind).all_read();
        }
    }

    /// Where the record at `position` stood, with its index among the [`Places`] of its batch.
    pub(crate) fn places(&self, position: u64) -> Option<(&Arc<Places>, usize)> {
        let segment = self.segment(position)?;
        Some((&segment.places, position.checked_sub(segment.first)? as usize))
    }

    /// The number of the record at `position` within its part of the stream.
    pub(crate) fn number(&self, position: u64) -> Option<u64> {
        let segment = self.segment(position)?;
        Some(segment.number(position.checked_sub(segment.first)? as usize))
    }

    /// How much memory the batches on the tape take, as far as is known.
    pub(crate) fn bytes(&self) -> u64 {
        let of =
            |segment: &Segment<R>| segment.bytes + (segment.end() - segment.first) * size_of::<R>() as u64;
        self.lent + self.segments.iter().map(of).sum::<u64>()
    }
}

/// Where a record of the tape stands among those of an earlier run, which stand before all of them.
fn order(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn is_batch<R>(kept: &Arc<dyn std::any::Any + Send + Sync>, batch: &Arc<Vec<R>>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(kept), Arc::as_ptr(batch))
}

/// The first index from `from` on whose record is `past`; `None` when there is no such record, or one before it
/// of which that cannot be said.
#[inline]
pub(super) fn find<'t, R>(
    records: &'t [R],
    from: usize,
    past: impl Fn(&'t R) -> Option<bool>,
) -> Option<usize> {
    for (index, record) in records.get(from..)?.iter().enumerate() {
        if past(record)? {
            return Some(from + index);
        }
    }
    None
}

/// The first position from `from` on whose record is `past`, and whether there was one on the tape.
pub(super) fn advance<'t, R>(
    tape: &'t Tape<R>,
    from: u64,
    mut past: impl FnMut(&'t R) -> bool,
) -> (u64, bool) {
    let mut position = from;
    loop {
        let rest = tape.rest(position);
        if rest.is_empty() {
            return (position, false);
        }
        for record in rest {
            if past(record) {
                return (position, true);
            }
            position += 1;
        }
    }
}
