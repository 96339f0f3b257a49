//! Which records of a stream took part in a call: a bit for each, for the accounting of a run.
//!
//! Records that took part are counted as they are marked, those that did not as their bits are dropped. Both together must come to all
//! that was read: `leak.rs` looks.

use std::collections::VecDeque;

#[cfg(test)]
thread_local! {
    /// Breaks the accounting on purpose, on this thread: the bit of this position is never set.
    pub(super) static LOSE: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// Bits from a position on.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The position of the first bit; a multiple of 64.
    base: u64,
    words: VecDeque<u64>,
    /// How many positions were marked in all, dropped ones included.
    count: u64,
    /// All below were looked at by `mark_run`, which is called with runs that never start lower than the one before.
    run_end: u64,
    /// All below were let go of: they cannot take part in a call any more.
    settled: u64,
    /// How many of those were not marked.
    unmarked: u64,
    /// The first position that was marked for the first time after it was let go of.
    late: Option<u64>,
}

impl Marks {
    /// Marks one position.
    pub(crate) fn mark(&mut self, position: u64) -> bool {
        let Some(ahead) = position.checked_sub(self.base) else {
            self.late.get_or_insert(position);
            return false;
        };
        let word = (ahead / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (ahead % 64);
        let fresh = self.words[word] & bit == 0;
        #[cfg(test)]
        if LOSE.get() == Some(position) {
            self.count += 1;
            return fresh;
        }
        self.words[word] |= bit;
        self.count += u64::from(fresh);
        if fresh && position < self.settled {
            self.late.get_or_insert(position);
        }
        fresh
    }

    /// Marks the positions from `low` to below `high`.
    pub(crate) fn mark_run(&mut self, low: u64, high: u64) {
        let low = low.max(self.run_end);
        self.run_end = self.run_end.max(high);
        if low < self.base.max(self.settled) || self.loses_one() {
            for position in low..high {
                self.mark(position);
            }
            return;
        }
        let mut position = low;
        while position < high {
            let (word, bit) = ((position - self.base) / 64, (position - self.base) % 64);
            let count = (64 - bit).min(high - position);
            if word as usize >= self.words.len() {
                self.words.resize(word as usize + 1, 0);
            }
            let bits = u64::MAX >> (64 - count) << bit;
            let fresh = bits & !self.words[word as usize];
            self.words[word as usize] |= bits;
            self.count += u64::from(fresh.count_ones());
            position += count;
        }
    }

    #[cfg(not(test))]
    fn loses_one(&self) -> bool {
        false
    }

    /// The accounting is to be broken.
    #[cfg(test)]
    fn loses_one(&self) -> bool {
        LOSE.get().is_some()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether this position was marked; not asked about dropped ones.
    pub(crate) fn has(&self, position: u64) -> bool {
        let Some(ahead) = position.checked_sub(self.base) else { return true };
        self.words.get((ahead / 64) as usize).is_some_and(|word| word & (1 << (ahead % 64)) != 0)
    }

    /// The first position that took part in a call when it had been let go of.
    pub(crate) fn late(&self) -> Option<u64> {
        self.late
    }

    /// How many positions from `low` to below `high` are not marked, as far as they were not dropped.
    pub(crate) fn unmarked_in(&self, low: u64, high: u64) -> u64 {
        let low = low.max(self.base);
        let Some(all) = high.checked_sub(low) else { return 0 };
        let first = ((low - self.base) / 64) as usize;
        let mut marked = 0;
        for (index, bits) in self.words.iter().enumerate().skip(first) {
            let start = self.base + index as u64 * 64;
            if start >= high {
                break;
            }
            let mut bits = *bits;
            if low > start {
                bits &= u64::MAX << (low - start);
            }
            if high - start < 64 {
                bits &= (1 << (high - start)) - 1;
            }
            marked += u64::from(bits.count_ones());
        }
        all - marked
    }

    /// How many positions below `position`, from the beginning on, were not marked; those that were let go of are all counted.
    pub(crate) fn unmarked_below(&self, position: u64) -> u64 {
        self.unmarked + self.unmarked_in(self.settled, position)
    }

    /// The first position from `low` to below `high` that is not marked.
    pub(crate) fn first_unmarked(&self, low: u64, high: u64) -> Option<u64> {
        (low..high).find(|position| !self.has(*position))
    }

    /// Lets go of all below `position`: drops their bits, and counts those that were not marked.
    pub(crate) fn release(&mut self, position: u64) {
        if position > self.settled {
            self.unmarked = self.unmarked_below(position);
            self.settled = position;
        }
        while self.base + 64 <= position && !self.words.is_empty() {
            self.words.pop_front();
            self.base += 64;
        }
        if self.words.is_empty() {
            self.base = self.base.max(position / 64 * 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Marks;

    /// Marked, and not marked, are counted apart, and come to all whichever way it is let go of.
    #[test]
    fn marked_and_unmarked_come_to_all() {
        for step in [1, 3, 63, 64, 65, 200] {
            let mut marks = Marks::default();
            for position in (0..1000).filter(|position| position % 3 == 0) {
                marks.mark(position);
                if position % step == 0 {
                    marks.release(position);
                }
                assert_eq!(marks.count() + marks.unmarked_below(position + 1), position + 1, "step {step}");
            }
            assert_eq!((marks.count(), marks.unmarked_below(1000), marks.late()), (334, 666, None));
            assert_eq!(marks.first_unmarked(999, 1000), None);
            assert_eq!(marks.first_unmarked(999, 1001), Some(1000));
        }
    }

    /// A run is marked as its positions are one by one, wherever it begins, ends, and meets what was marked or let go of before.
    #[test]
    fn a_run_is_marked_as_one_by_one() {
        for (low, high) in [(0, 0), (0, 1), (5, 64), (63, 65), (64, 128), (70, 300), (127, 128)] {
            for release in [0, 40, 64, 100] {
                let (mut run, mut each) = (Marks::default(), Marks::default());
                for marks in [&mut run, &mut each] {
                    for position in [3, 66, 90] {
                        marks.mark(position);
                    }
                    marks.release(release);
                }
                run.mark_run(low, high);
                for position in low..high {
                    each.mark(position);
                }
                let all = |marks: &Marks| (marks.count(), marks.late(), marks.unmarked_below(400));
                assert_eq!(all(&run), all(&each), "{low}..{high} behind {release}");
                assert_eq!(run.first_unmarked(low, high + 1), each.first_unmarked(low, high + 1));
            }
        }
    }

    #[test]
    fn what_comes_after_it_was_let_go_of_is_noticed() {
        for position in [3, 70, 99] {
            let mut marks = Marks::default();
            marks.mark(5);
            marks.release(100);
            marks.mark(position);
            marks.mark(200);
            assert_eq!(marks.late(), Some(position));
        }
    }
}
