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

/// The spans of the left records of one join that are still needed, by position.
#[derive(Debug, Default)]
pub(crate) struct SpanTable {
    first: u64,
    spans: VecDeque<Span>,
}

impl SpanTable {
    /// The span of `position`, empty if there was none. Positions come in ascending order, or the same one again.
    pub(crate) fn slot(&mut self, position: u64) -> &mut Span {
        if self.spans.is_empty() {
            self.first = position;
        }
        let index = position.saturating_sub(self.first) as usize;
        while self.spans.len() <= index {
            self.spans.push_back(Span::default());
        }
        &mut self.spans[index]
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Span> {
        self.spans.get(position.checked_sub(self.first)? as usize)
    }

    /// Drops the spans below `position`.
    pub(crate) fn release(&mut self, position: u64) {
        while self.first < position && self.spans.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Makes `position` the only one, keeping the memory of the span.
    pub(crate) fn only(&mut self, position: u64) -> &mut Span {
        self.first = position;
        self.spans.truncate(1);
        if self.spans.is_empty() {
            self.spans.push_back(Span::default());
        }
        &mut self.spans[0]
    }

    /// The lowest right position that a span still refers to.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.spans.iter().find(|span| !span.is_empty()).map(|span| span.floor)
    }
}
