//! Spans: which records of the right tape match one record on the left.

use std::collections::VecDeque;

/// The positions on the right tape that match one record on the left, ascending.
#[derive(Debug, Default, Clone)]
pub(crate) struct Span {
    /// The first position; with `listed`, unused.
    pub(crate) low: u64,
    /// The position behind the last; with `listed`, unused.
    pub(crate) high: u64,
    /// The positions one by one, when they do not stand side by side.
    pub(crate) picks: Vec<u64>,
    pub(crate) listed: bool,
    /// No position below this one is needed by this span or a later one of the same join.
    pub(crate) floor: u64,
}

impl Span {
    pub(crate) fn clear(&mut self) {
        (self.low, self.high, self.listed) = (0, 0, false);
        self.picks.clear();
    }

    pub(crate) fn set_run(&mut self, low: u64, high: u64) {
        (self.low, self.high, self.listed) = (low, high, false);
    }

    /// Sets single positions, which must ascend; a run of them is kept as a run.
    pub(crate) fn set_picks(&mut self, picks: impl Iterator<Item = u64>) {
        self.picks.clear();
        self.picks.extend(picks);
        match (self.picks.first(), self.picks.last()) {
            (Some(&first), Some(&last)) if last - first + 1 == self.picks.len() as u64 => {
                self.set_run(first, last + 1);
            }
            (Some(_), Some(_)) => self.listed = true,
            _ => self.set_run(0, 0),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        if self.listed { self.picks.len() as u64 } else { self.high - self.low }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The positions, ascending.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u64> + '_ {
        let run = if self.listed { 0..0 } else { self.low..self.high };
        let picks = if self.listed { self.picks.as_slice() } else { &[] };
        run.chain(picks.iter().copied())
    }
}

/// The spans of the left records of one join that are still needed, by position. There may be gaps.
#[derive(Debug, Default)]
pub(crate) struct SpanTable {
    spans: VecDeque<(u64, Span)>,
    /// Memory for the picks of spans, of those that were dropped.
    spare: Spare,
}

/// How many positions the memory that is kept for the picks of spans may be for.
const MOST_SPARE: usize = 1 << 19;

/// Memory for picks, to be used again.
#[derive(Debug, Default)]
struct Spare {
    all: Vec<Vec<u64>>,
    /// How many positions they have room for together.
    room: usize,
}

impl Spare {
    fn take(&mut self) -> Vec<u64> {
        let picks = self.all.pop().unwrap_or_default();
        self.room -= picks.capacity();
        picks
    }

    fn give(&mut self, span: &mut Span) {
        let room = span.picks.capacity();
        if room > 0 && self.room + room <= MOST_SPARE {
            let mut picks = std::mem::take(&mut span.picks);
            picks.clear();
            self.all.push(picks);
            self.room += room;
        }
    }
}

impl SpanTable {
    /// The span of `position`, empty if there was none. Positions come in ascending order, or the last one again.
    pub(crate) fn slot(&mut self, position: u64) -> &mut Span {
        if self.spans.back().is_none_or(|(last, _)| *last != position) {
            let picks = self.spare.take();
            self.spans.push_back((position, Span { picks, ..Span::default() }));
        }
        let last = self.spans.len() - 1;
        &mut self.spans[last].1
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Span> {
        // Without gaps before it, it stands where its position says.
        let guess = position.checked_sub(self.spans.front()?.0)? as usize;
        let (at, span) = match self.spans.get(guess) {
            Some(found) if found.0 == position => found,
            _ => self.spans.get(self.spans.partition_point(|(at, _)| *at < position))?,
        };
        (*at == position).then_some(span)
    }

    /// Drops the spans below `position`.
    pub(crate) fn release(&mut self, position: u64) {
        while let Some((_, mut span)) = self.spans.pop_front_if(|(at, _)| *at < position) {
            self.spare.give(&mut span);
        }
    }

    /// Drops the spans between the two positions.
    pub(crate) fn release_between(&mut self, from: u64, to: u64) {
        self.spans.retain_mut(|(at, span)| {
            let needed = *at < from || *at >= to;
            if !needed {
                self.spare.give(span);
            }
            needed
        });
    }

    /// Makes `position` the only one, keeping the memory of the span.
    pub(crate) fn only(&mut self, position: u64) -> &mut Span {
        self.spans.truncate(1);
        if self.spans.is_empty() {
            self.spans.push_back((position, Span::default()));
        }
        self.spans[0].0 = position;
        &mut self.spans[0].1
    }

    /// No right position below this one is needed by any of the spans.
    pub(crate) fn floor(&self) -> Option<u64> {
        self.spans.front().map(|(_, span)| span.floor)
    }

    /// The floor of the spans from `position` on.
    pub(crate) fn floor_from(&self, position: u64) -> Option<u64> {
        self.spans.iter().find(|(at, _)| *at >= position).map(|(_, span)| span.floor)
    }

    /// The end of the right positions that spans below `position` refer to.
    pub(crate) fn end_before(&self, position: u64) -> u64 {
        let before = self.spans.iter().take_while(|(at, _)| *at < position);
        before.filter_map(|(_, span)| span.positions().last()).map(|last| last + 1).max().unwrap_or(0)
    }
}
