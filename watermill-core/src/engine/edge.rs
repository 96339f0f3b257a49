//! One join: the merge of a left and a right tape. Knows keys and records, but neither brokers nor async.
//!
//! The walk asks for the right records that match one left record, for left records in ascending order. The two cursors of an
//! edge only ever move forward: `low` is the first right position that this left record or a later one can still match,
//! `high` the one behind the last whose key is in range. Where right records can be dropped by their own joins, have no key, or
//! must also be equal in something unordered, those from `low` to `high` are *taken in* one by one, and the
//! match is picked from what was taken in.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::ahead::{Run, STRETCH};
use super::also_index::AlsoIndex;
use super::any_edge::{AnyEdge, Seek};
use super::check::describe;
use super::keyed::key_of;
use super::matching::{Also, Matching};
use super::point::point;
use super::span::Span;
use super::tape::{Tape, advance, find};
use crate::joined::Joined;
use crate::key::{KeyExpr, KeyValue};
use crate::lined::Lined;
use crate::record::StreamRecord;

/// How many rows of a table with one key are looked through rather than looked up.
const FEW: usize = 16;

/// One join between streams of `L` and `R`, by the keys `A` and `B`.
pub(crate) struct Edge<L, R, A, B>
where
    A: KeyExpr<L>,
    B: KeyExpr<R, Value = A::Value>,
{
    pub(crate) left_key: Arc<A>,
    pub(crate) right_key: Arc<B>,
    pub(crate) matching: Matching<A::Value>,
    pub(crate) unique: bool,
    low: u64,
    high: u64,
    intake: Intake<L, R>,
    /// For a lookup: the positions of the table, sorted by key, once it is loaded.
    sorted: Option<Vec<u64>>,
}

/// What was taken in of the right records from `low` on.
struct Intake<L, R> {
    on: bool,
    next: u64,
    kept: Kept<L, R>,
}

enum Kept<L, R> {
    /// The ones that can match, ascending.
    InOrder(VecDeque<u64>),
    /// The same, found by the keys that must also be equal.
    ByKeys(AlsoIndex<L, R>),
}

impl<L, R, A, B> Edge<L, R, A, B>
where
    L: StreamRecord,
    R: StreamRecord,
    A: KeyExpr<L>,
    B: KeyExpr<R, Value = A::Value>,
{
    /// `filtered` when joins of the right stream's own can drop its records.
    pub(crate) fn new(
        left_key: Arc<A>,
        right_key: Arc<B>,
        matching: Matching<A::Value>,
        unique: bool,
        also: Option<Arc<dyn Also<L, R>>>,
        filtered: bool,
    ) -> Self {
        let on = filtered || also.is_some() || matches!(matching, Matching::Lookup);
        let kept = match also {
            Some(also) => Kept::ByKeys(AlsoIndex::new(also)),
            None => Kept::InOrder(VecDeque::new()),
        };
        let intake = Intake { on, next: 0, kept };
        Self { left_key, right_key, matching, unique, low: 0, high: 0, intake, sorted: None }
    }

    fn left_of<'a>(&'a self, left: &'a Tape<L>, at: u64) -> Option<<A::Value as KeyValue>::View<'a>> {
        key_of(&*self.left_key, left.get(at)?).ok().flatten()
    }

    fn seek_typed<'t>(&'t mut self, left: &'t Tape<L>, right: &'t Tape<R>, position: u64) -> Seek {
        if let Matching::Lookup = self.matching {
            self.high = right.end();
            return if right.ended().is_some() { Seek::Below(self.high) } else { Seek::Need(self.high) };
        }
        let Some(record) = left.get(position) else { return Seek::NoKey };
        let Ok(Some(key)) = key_of(&*self.left_key, record) else { return Seek::NoKey };
        let of = |record: &'t R| key_of(&*self.right_key, record).ok().flatten();
        let mut keyless = false;
        let (low, high, beyond);
        match &self.matching {
            Matching::Equal => {
                low = advance(right, self.low, |r| of(r).is_some_and(|k| k >= key)).0;
                let first = self.high.max(low);
                (high, beyond) = advance(right, first, |r| match of(r) {
                    Some(k) => k > key,
                    None => {
                        keyless = true;
                        false
                    }
                });
            }
            Matching::Within(interval) => {
                let place = |r: &'t R| of(r).map(|k| interval.place(&k, &key));
                low = advance(right, self.low, |r| place(r).is_some_and(Ordering::is_ge)).0;
                let first = self.high.max(low);
                (high, beyond) = advance(right, first, |r| match place(r) {
                    Some(at) => at == Ordering::Greater,
                    None => {
                        keyless = true;
                        false
                    }
                });
            }
            Matching::AsOf(reach) => {
                (high, beyond) = advance(right, self.high, |r| match of(r) {
                    Some(k) => k > key,
                    None => {
                        keyless = true;
                        false
                    }
                });
                let in_reach = |r: &'t R| match reach {
                    Some(reach) => of(r).is_some_and(|k| reach.reaches(&k, &key)),
                    None => true,
                };
                low = match self.intake.kept {
                    // The latest one is all that a later left record can want, unless it was dropped.
                    Kept::InOrder(_) if !self.intake.on && !keyless => self.low.max(high.saturating_sub(1)),
                    // Which one that is shows when they were taken in.
                    Kept::InOrder(ref kept) if kept.is_empty() && self.intake.on => self.intake_from(),
                    Kept::InOrder(_) => self.low,
                    Kept::ByKeys(_) => advance(right, self.low, in_reach).0.min(high),
                };
            }
            Matching::Lookup => return Seek::NoKey,
        }
        let mut complete = beyond || right.ended().is_some();
        if self.unique && !complete {
            // One match at most per key: it is there once the last key in range is the left key itself.
            let last = high.checked_sub(1).filter(|last| *last >= low);
            complete = !self.intake.on
                && !keyless
                && !matches!(self.matching, Matching::Within(_))
                && last.is_some_and(|last| right.get(last).and_then(of).is_some_and(|k| k == key));
        }
        (self.low, self.high) = (low, high);
        if keyless && !self.intake.on {
            self.intake.on = true;
            self.intake.next = low;
        }
        match complete {
            true => Seek::Below(high),
            false if self.unique && self.intake.on && matches!(self.matching, Matching::Equal) => {
                Seek::Perhaps(high)
            }
            false => Seek::Need(high),
        }
    }

    fn look_ahead_typed<'t>(
        &'t mut self,
        left: &'t Tape<L>,
        right: &'t Tape<R>,
        position: u64,
        runs: &mut Vec<Run>,
    ) {
        if !matches!(self.matching, Matching::Equal | Matching::Within(_)) {
            return;
        }
        runs.push((self.low, self.high));
        let base = self.low;
        let rights = right.rest(base);
        // Indexes in `rights`. Whatever is not found there is left to `seek`.
        let mut low = 0;
        let mut high = (self.high - base) as usize;
        for record in left.rest(position + 1).iter().take(STRETCH) {
            let Ok(Some(key)) = key_of(&*self.left_key, record) else { break };
            let place = |right: &'t R| {
                let other = key_of(&*self.right_key, right).ok().flatten()?;
                match &self.matching {
                    Matching::Equal => Some(other.cmp(&key)),
                    Matching::Within(interval) => Some(interval.place(&other, &key)),
                    Matching::AsOf(_) | Matching::Lookup => None,
                }
            };
            let Some(first) = find(rights, low, |right| place(right).map(Ordering::is_ge)) else { break };
            let Some(behind) = find(rights, high.max(first), |right| place(right).map(Ordering::is_gt))
            else {
                break;
            };
            if self.unique && behind - first > 1 {
                break;
            }
            (low, high) = (first, behind);
            runs.push((base + first as u64, base + behind as u64));
        }
        if let Some(last) = runs.last() {
            (self.low, self.high) = *last;
        }
    }

    fn select_typed(&mut self, left: &Tape<L>, right: &Tape<R>, position: u64, span: &mut Span) {
        span.clear();
        span.floor = self.low;
        if let Matching::Lookup = self.matching {
            self.select_lookup(left, right, position, span);
            return;
        }
        let latest = match &self.matching {
            Matching::AsOf(reach) => Some(reach.as_deref()),
            _ => None,
        };
        if !self.intake.on {
            match latest {
                None => span.set_run(self.low, self.high),
                Some(reach) => {
                    if let Some(at) = self.high.checked_sub(1)
                        && reach.is_none_or(|reach| self.reaches(reach, left, right, position, at))
                    {
                        span.set_run(at, self.high);
                    }
                }
            }
            return;
        }
        match &mut self.intake.kept {
            Kept::InOrder(kept) => {
                while kept.front().is_some_and(|first| *first < self.low) {
                    kept.pop_front();
                }
                if latest.is_none() {
                    // Kept runs no further than `high`: nothing is taken in beyond it.
                    span.set_picks(kept.iter().copied());
                }
            }
            Kept::ByKeys(index) => {
                index.release(self.low);
                if let Some(record) = left.get(position) {
                    match latest {
                        None => span.set_picks(index.find(record, |at| right.get(at))),
                        Some(_) => span.set_picks(index.find_last(record, |at| right.get(at)).into_iter()),
                    }
                }
            }
        }
        if let (Some(reach), Kept::InOrder(kept)) = (latest, &self.intake.kept)
            && let Some(&at) = kept.front()
            && reach.is_none_or(|reach| self.reaches(reach, left, right, position, at))
        {
            span.set_run(at, at + 1);
        }
    }

    fn reaches(
        &self,
        reach: &dyn super::matching::Reach<A::Value>,
        left: &Tape<L>,
        right: &Tape<R>,
        position: u64,
        at: u64,
    ) -> bool {
        let left = self.left_of(left, position);
        let right = right.get(at).and_then(|record| key_of(&*self.right_key, record).ok().flatten());
        matches!((left, right), (Some(left), Some(right)) if reach.reaches(&right, &left))
    }

    fn select_lookup(&mut self, left: &Tape<L>, right: &Tape<R>, position: u64, span: &mut Span) {
        let of = |at: &u64| right.get(*at).and_then(|record| key_of(&*self.right_key, record).ok().flatten());
        if self.sorted.is_none() {
            let mut sorted: Vec<u64> = match &self.intake.kept {
                Kept::InOrder(kept) => kept.iter().copied().collect(),
                Kept::ByKeys(index) => index.all().collect(),
            };
            sorted.sort_by(|a, b| of(a).cmp(&of(b)));
            self.sorted = Some(sorted);
        }
        let (Some(sorted), Some(record)) = (&self.sorted, left.get(position)) else { return };
        let Ok(Some(key)) = key_of(&*self.left_key, record) else { return };
        let first = sorted.partition_point(|at| of(at).is_some_and(|k| k < key));
        let matches = &sorted[first..];
        let matches = &matches[..matches.partition_point(|at| of(at).is_some_and(|k| k <= key))];
        match &self.intake.kept {
            Kept::InOrder(_) => span.set_picks(matches.iter().copied()),
            // A few are compared one by one; among many the ones of the other keys are found faster.
            Kept::ByKeys(index) if matches.len() <= FEW => span.set_picks(
                matches.iter().copied().filter(|at| right.get(*at).is_some_and(|r| index.equal(record, r))),
            ),
            Kept::ByKeys(index) => span.set_picks(
                index.find(record, |at| right.get(at)).filter(|at| of(at).is_some_and(|k| k == key)),
            ),
        }
    }
}

/// The typed tape behind `any`; the plan has made sure that it is one.
macro_rules! tape {
    ($any:expr, $type:ty) => {
        match $any.downcast_ref::<Tape<$type>>() {
            Some(tape) => tape,
            None => return,
        }
    };
    ($any:expr, $type:ty, $otherwise:expr) => {
        match $any.downcast_ref::<Tape<$type>>() {
            Some(tape) => tape,
            None => return $otherwise,
        }
    };
}

impl<L, R, A, B> AnyEdge for Edge<L, R, A, B>
where
    L: StreamRecord,
    R: StreamRecord,
    A: KeyExpr<L>,
    B: KeyExpr<R, Value = A::Value>,
{
    fn seek(&mut self, left: &dyn Any, right: &dyn Any, position: u64) -> Seek {
        self.seek_typed(tape!(left, L, Seek::NoKey), tape!(right, R, Seek::NoKey), position)
    }

    fn look_ahead(&mut self, left: &dyn Any, right: &dyn Any, position: u64, runs: &mut Vec<Run>) {
        if !self.intake.on {
            self.look_ahead_typed(tape!(left, L), tape!(right, R), position, runs);
        }
    }

    fn takes_in(&self) -> bool {
        self.intake.on
    }

    fn intake_from(&self) -> u64 {
        self.intake.next.max(self.low)
    }

    fn take_in(&mut self, right: &dyn Any, position: u64, alive: bool) {
        let right = tape!(right, R);
        self.intake.next = position + 1;
        let Some(record) = right.get(position).filter(|_| alive) else { return };
        if !matches!(key_of(&*self.right_key, record), Ok(Some(_))) {
            return;
        }
        match &mut self.intake.kept {
            Kept::InOrder(kept) => {
                if let Matching::AsOf(_) = self.matching {
                    // The latest is all that this left record or a later one can want.
                    kept.clear();
                    self.low = position;
                }
                kept.push_back(position);
            }
            Kept::ByKeys(index) => index.insert(position, record),
        }
    }

    fn select(&mut self, left: &dyn Any, right: &dyn Any, position: u64, span: &mut Span) {
        self.select_typed(tape!(left, L), tape!(right, R), position, span);
    }

    fn low(&self) -> u64 {
        self.low
    }

    fn pinned(&self) -> Option<u64> {
        match (&self.matching, &self.intake.kept) {
            (Matching::AsOf(_), Kept::InOrder(kept)) if self.intake.on => kept.back().copied(),
            _ => None,
        }
    }

    fn live(&self) -> u64 {
        self.pinned().map_or(self.low, |_| self.intake.next)
    }

    fn reached(&self) -> Option<u64> {
        match (&self.matching, &self.intake.kept) {
            (Matching::Equal | Matching::Within(_), Kept::InOrder(_)) => Some(self.high - self.low),
            _ => None,
        }
    }

    fn breaks_promise(&self, span: &Span) -> bool {
        self.unique && span.len() > 1 && matches!(self.matching, Matching::Equal | Matching::Lookup)
    }

    fn right_text(&self, right: &dyn Any, position: u64) -> (String, String) {
        let expression = describe::<R, B>(&self.right_key);
        let right = tape!(right, R, (expression, String::new()));
        let key = right.get(position).and_then(|record| key_of(&*self.right_key, record).ok().flatten());
        let text = key.map(|key| format!("{key:?}")).unwrap_or_default();
        (expression, text)
    }

    fn in_order(&self) -> bool {
        matches!(self.intake.kept, Kept::InOrder(_)) && !matches!(self.matching, Matching::Lookup)
    }

    fn is_lookup(&self) -> bool {
        matches!(self.matching, Matching::Lookup)
    }

    fn holds_nothing(&self, right_end: u64) -> bool {
        if let Matching::Lookup = self.matching {
            return self.sorted.as_ref().is_some_and(Vec::is_empty);
        }
        if self.intake.on {
            self.intake_from() >= right_end
                && match &self.intake.kept {
                    Kept::InOrder(kept) => kept.iter().all(|at| *at < self.low),
                    Kept::ByKeys(index) => index.is_empty_from(self.low),
                }
        } else {
            self.low >= right_end
        }
    }

    fn fill_sole(
        &self,
        slot: &mut dyn Any,
        part: usize,
        left: &dyn Any,
        right: &dyn Any,
        at: u64,
        span: &Span,
    ) {
        let Some(joined) = slot.downcast_mut::<Joined<L, R>>() else { return };
        let (left, right) = (tape!(left, L), tape!(right, R));
        let Some((lefts, index)) = left.shared(at) else { return };
        let joined = joined.part(part);
        point(joined.sole(&lefts[index]), right, span);
        if let Some((_, start)) = right.shared(span.low)
            && !span.listed
            && !span.is_empty()
        {
            joined.remember(lefts, at - index as u64, span.low - start as u64);
        }
    }

    fn fill_window(&self, slot: &mut dyn Any, part: usize, right: &dyn Any, span: &Span) {
        let Some(joined) = slot.downcast_mut::<Joined<L, R>>() else { return };
        point(joined.part(part).push(), tape!(right, R), span);
    }

    fn fill_below(
        &self,
        slot: &mut dyn Any,
        part: usize,
        left: &dyn Any,
        right: &dyn Any,
        at: u64,
        span: &Span,
    ) {
        let Some(joined) = slot.downcast_mut::<Joined<L, R>>() else { return };
        let (left, right) = (tape!(left, L), tape!(right, R));
        if let Some(record) = left.get(at) {
            point(joined.part(part).push_at(record), right, span);
        }
    }

    fn finish(&self, slot: &mut dyn Any, part: usize) {
        if let Some(joined) = slot.downcast_mut::<Joined<L, R>>() {
            joined.part(part).finish();
        }
    }

    fn lined<'s>(&self, slot: &'s mut dyn Any, part: usize) -> Option<&'s mut dyn Lined> {
        Some(slot.downcast_mut::<Joined<L, R>>()?.part(part))
    }

    fn retain(&self, slot: &mut dyn Any, part: usize, keep: &[bool]) {
        if let Some(joined) = slot.downcast_mut::<Joined<L, R>>() {
            joined.part(part).retain(keep);
        }
    }

    fn clear(&self, slot: &mut dyn Any, part: usize) {
        if let Some(joined) = slot.downcast_mut::<Joined<L, R>>() {
            joined.part(part).clear();
        }
    }

    fn left_text(&self, left: &dyn Any, position: u64) -> String {
        let left = tape!(left, L, String::new());
        match self.left_of(left, position) {
            Some(key) => format!("{key:?}"),
            None => "none".to_owned(),
        }
    }
}
