//! Matches found ahead of time: an edge goes through a stretch of left records in one go, which costs much less than asking it
//! about each of them.

/// How many left records an edge goes through at most.
pub(crate) const STRETCH: usize = 256;

/// A run of right positions: the first, and the one behind the last.
pub(crate) type Run = (u64, u64);

/// The matches of a stretch of left records.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// The position of the first left record.
    first: u64,
    runs: Vec<Run>,
    /// Which one was asked for last.
    at: usize,
}

impl Ahead {
    /// The match of the left record at `position`, if it was found already. Positions come in ascending order, or the same one
    /// again.
    #[inline]
    pub(crate) fn go_to(&mut self, position: u64) -> Option<Run> {
        let index = position.checked_sub(self.first)? as usize;
        let run = *self.runs.get(index)?;
        self.at = index;
        Some(run)
    }

    /// The matches of the left record at `position` and those behind it, as far as they were found already.
    pub(crate) fn from(&self, position: u64) -> &[Run] {
        let index = position.checked_sub(self.first).map(|index| index as usize);
        index.and_then(|index| self.runs.get(index..)).unwrap_or(&[])
    }

    /// Begins a new stretch with the left record at `position`.
    pub(crate) fn begin(&mut self, position: u64) -> &mut Vec<Run> {
        (self.first, self.at) = (position, 0);
        self.runs.clear();
        &mut self.runs
    }

    /// The first right position needed by the left record that was asked for last, or by a later one.
    pub(crate) fn low(&self) -> Option<u64> {
        self.runs.get(self.at).map(|(low, _)| *low)
    }
}
