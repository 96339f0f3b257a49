//! Which records of a stream took part in a call: a bit for each, for the accounting of a run.

use std::collections::VecDeque;

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
}

impl Marks {
    /// Marks one position.
    pub(crate) fn mark(&mut self, position: u64) -> bool {
        let Some(ahead) = position.checked_sub(self.base) else { return false };
        let word = (ahead / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (ahead % 64);
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }

    /// Marks the positions from `low` to below `high`.
    pub(crate) fn mark_run(&mut self, low: u64, high: u64) {
        let mut position = low.max(self.run_end);
        while position < high {
            self.mark(position);
            position += 1;
        }
        self.run_end = self.run_end.max(high);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether this position was marked; not asked about dropped ones.
    pub(crate) fn has(&self, position: u64) -> bool {
        let Some(ahead) = position.checked_sub(self.base) else { return true };
        self.words.get((ahead / 64) as usize).is_some_and(|word| word & (1 << (ahead % 64)) != 0)
    }

    /// How many positions from `position` on are marked.
    pub(crate) fn count_from(&self, position: u64) -> u64 {
        let ahead = position.saturating_sub(self.base);
        let word = (ahead / 64) as usize;
        let mut count = 0;
        for (index, bits) in self.words.iter().enumerate().skip(word) {
            let bits = if index == word { bits >> (ahead % 64) } else { *bits };
            count += u64::from(bits.count_ones());
        }
        count
    }

    /// Drops the bits below `position`; their count stays.
    pub(crate) fn release(&mut self, position: u64) {
        while self.base + 64 <= position && !self.words.is_empty() {
            self.words.pop_front();
            self.base += 64;
        }
        if self.words.is_empty() {
            self.base = self.base.max(position / 64 * 64);
        }
    }
}
