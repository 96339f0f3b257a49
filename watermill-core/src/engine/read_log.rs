//! What was read of a stream whose records are sorted back, in the order in which it stands in the storage: which of it is finished.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::broker::{FinishedRange, Position};

/// A record, or several one behind the other that are finished.
#[derive(Debug)]
struct Entry {
    serial: u64,
    part: Arc<str>,
    /// The offset of the first, and the one behind that of the last.
    from: u64,
    to: u64,
    /// The number of the first.
    number: u64,
    /// What finds the first, where its offset does not.
    token: Option<String>,
    /// It is finished when the walk needs nothing before this position of the tape.
    until: u64,
}

/// A record that is not finished, whatever happens.
const WAITING: u64 = u64::MAX;

/// What was read and may be needed again.
#[derive(Debug)]
pub(super) struct ReadLog {
    entries: VecDeque<Entry>,
    next_serial: u64,
    part: Arc<str>,
    /// What an earlier run has finished and this one has not come to yet.
    ahead: VecDeque<FinishedRange>,
    /// All positions of the tape before it are done with.
    released: u64,
    /// How many entries there may be before they are put together.
    most: usize,
}

impl ReadLog {
    pub(super) fn new(from: Option<&Position>) -> Self {
        let with_part = |from: &Position| -> VecDeque<FinishedRange> {
            let named = |range: &FinishedRange| {
                let part = if range.part.is_empty() { &from.part } else { &range.part };
                FinishedRange { part: part.clone(), ..*range }
            };
            from.finished.iter().map(named).collect()
        };
        Self {
            entries: VecDeque::new(),
            next_serial: 0,
            part: Arc::from(""),
            ahead: from.map(with_part).unwrap_or_default(),
            released: 0,
            most: 64,
        }
    }

    /// Whether an earlier run has finished something that was not read yet.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    pub(super) fn begin_part(&mut self, part: &str) {
        if *self.part != *part {
            self.part = Arc::from(part);
        }
    }

    /// What stands at `offset` was read; what to call it.
    pub(super) fn add(&mut self, offset: u64, number: u64, token: Option<String>) -> u64 {
        self.push(offset, number, token, WAITING)
    }

    fn push(&mut self, offset: u64, number: u64, token: Option<String>, until: u64) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let part = Arc::clone(&self.part);
        self.entries.push_back(Entry { serial, part, from: offset, to: offset + 1, number, token, until });
        serial
    }

    /// Whether an earlier run has finished what stands at `offset`; remembered if so.
    pub(super) fn was_finished(&mut self, offset: u64, number: u64) -> bool {
        while self.ahead.pop_front_if(|range| *range.part == *self.part && range.to <= offset).is_some() {}
        let Some(range) = self.ahead.front_mut() else { return false };
        if *range.part != *self.part || offset < range.from {
            return false;
        }
        range.from = offset + 1;
        match self.entries.back_mut() {
            Some(last) if last.until <= self.released && last.part == self.part => last.to = offset + 1,
            // Never where reading goes on: it is finished.
            _ => drop(self.push(offset, number, None, 0)),
        }
        true
    }

    /// All of the part before `next` was read.
    pub(super) fn read_to(&mut self, next: u64) {
        while self.ahead.pop_front_if(|range| *range.part == *self.part && range.to <= next).is_some() {}
        if let Some(range) = self.ahead.front_mut()
            && *range.part == *self.part
        {
            range.from = range.from.max(next);
        }
    }

    /// What is called `serial` is finished when nothing before position `until` of the tape is needed any more.
    pub(super) fn finishes(&mut self, serial: u64, until: u64) {
        let at = self.entries.partition_point(|entry| entry.serial < serial);
        if let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.serial == serial) {
            entry.until = until;
        }
    }

    /// Nothing before `position` of the tape is needed any more.
    pub(super) fn release(&mut self, position: u64) {
        self.released = self.released.max(position);
        while self.entries.pop_front_if(|entry| entry.until <= position).is_some() {}
        if self.entries.len() > self.most {
            self.put_together();
            self.most = (2 * self.entries.len()).max(64);
        }
    }

    /// Makes one entry of those one behind the other that are finished.
    fn put_together(&mut self) {
        let mut all: VecDeque<Entry> = VecDeque::with_capacity(self.entries.len());
        for entry in self.entries.drain(..) {
            match all.back_mut() {
                Some(last)
                    if last.until <= self.released
                        && entry.until <= self.released
                        && last.part == entry.part =>
                {
                    last.to = entry.to;
                }
                _ => all.push_back(entry),
            }
        }
        self.entries = all;
    }

    /// Where a restart goes on when the walk needs nothing before `position` of the tape; at `tail` when it needs nothing that
    /// was read.
    pub(super) fn position(&self, position: u64, tail: Position) -> Position {
        let mut rest = self.entries.iter().skip_while(|entry| entry.until <= position);
        let mut result = match rest.next() {
            None => tail,
            Some(first) => Position {
                part: first.part.to_string(),
                next: first.from,
                number: first.number,
                token: first.token.clone(),
                ended: false,
                marked: false,
                ..tail
            },
        };
        let mut finished: Vec<FinishedRange> = Vec::new();
        // Whether something unfinished stands behind the last range.
        let mut apart = true;
        for entry in rest {
            if entry.until > position {
                apart = true;
                continue;
            }
            match finished.last_mut() {
                Some(last) if !apart && *last.part == *entry.part => last.to = entry.to,
                _ => {
                    let part = entry.part.to_string();
                    finished.push(FinishedRange { part, from: entry.from, to: entry.to });
                }
            }
            apart = false;
        }
        finished.extend(self.ahead.iter().cloned());
        for range in &mut finished {
            if range.part == result.part {
                range.part.clear();
            }
        }
        result.finished = finished;
        result
    }
}
