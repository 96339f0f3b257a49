//! Bad records that were put aside: kept beside the tape until the position of their stream passes them.
//!
//! A letter leaves with the commit whose position would make a restart pass over its record: not before, or the restart would
//! read the record and write the letter again, and not later, or it would be lost. Both ask the same question, of the position
//! itself ([`Position::is_behind`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::walk::Walk;
use crate::broker::Position;
use crate::clock::Clock;
use crate::error::{BadRecord, RunError};
use crate::function::{AnyOutlet, Out};
use crate::letter::DeadLetter;

/// Letters are handed to their sink at the latest when they hold this many bytes.
const MOST_BYTES: u64 = 1 << 20;

/// The letters of one stream.
pub(super) struct Letters {
    function: Arc<str>,
    clock: Arc<dyn Clock>,
    /// The parts of the stream, in the order in which they were read.
    parts: Vec<String>,
    /// In the order in which they were put aside, each with the part that it is from.
    waiting: VecDeque<(usize, DeadLetter)>,
    bytes: u64,
    /// How many were taken, and how many of these are durable.
    taken: u64,
    committed: u64,
}

impl Letters {
    pub(super) fn new(function: Arc<str>, clock: Arc<dyn Clock>) -> Self {
        Self {
            function,
            clock,
            parts: Vec::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            taken: 0,
            committed: 0,
        }
    }

    /// What follows is from `part` of the stream.
    pub(super) fn begin_part(&mut self, part: &str) {
        if self.parts.last().is_none_or(|last| last != part) {
            self.parts.push(part.to_owned());
        }
    }

    pub(super) fn put(&mut self, error: &BadRecord, raw: &[u8], cut: bool) {
        let name = error.place.origin.part();
        let part = self.parts.iter().rposition(|part| part == name).unwrap_or_default();
        let time: SystemTime = self.clock.now();
        let letter = DeadLetter::of_bad(&self.function, error, raw, cut, time);
        self.bytes += size_of_letter(&letter);
        self.waiting.push_back((part, letter));
    }

    /// Takes those that lie before `position`.
    pub(super) fn take(&mut self, position: &Position) -> Vec<DeadLetter> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let current = self.parts.iter().rposition(|part| *part == position.part);
        let passed = |part: usize, letter: &DeadLetter| {
            position.ended
                || current.is_some_and(|current| part < current)
                || self.parts.get(part).is_some_and(|name| position.is_behind(name, letter.offset))
        };
        let mut taken = Vec::new();
        let mut bytes = 0;
        self.waiting = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter_map(|(part, letter)| {
                if !passed(part, &letter) {
                    return Some((part, letter));
                }
                bytes += size_of_letter(&letter);
                taken.push(letter);
                None
            })
            .collect();
        self.bytes -= bytes;
        self.taken += taken.len() as u64;
        taken
    }

    /// Those that were taken are durable.
    pub(super) fn committed(&mut self) {
        self.committed = self.taken;
    }

    /// How many are durable, and how many are not.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.committed, self.taken - self.committed + self.waiting.len() as u64)
    }

    /// What the waiting ones hold.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn size_of_letter(letter: &DeadLetter) -> u64 {
    (size_of::<DeadLetter>() + letter.raw.len() + letter.error.len()) as u64
}

impl Walk {
    /// Whether at least `least` letters wait, over all streams, or large ones.
    pub(crate) fn many_letters(&self, least: usize) -> bool {
        let (mut count, mut bytes) = (0, 0);
        for node in &self.nodes {
            let counts = node.node.counts();
            (count, bytes) = (count + counts.letters, bytes + counts.letter_bytes);
        }
        count > 0 && (count >= least as u64 || bytes >= MOST_BYTES)
    }

    /// Takes the letters that lie before `positions`.
    fn take_letters(&mut self, positions: &[Position]) -> Vec<DeadLetter> {
        let nodes = self.nodes.iter_mut().zip(positions);
        nodes.flat_map(|(node, position)| node.node.take_letters(position)).collect()
    }

    /// All letters that were taken are durable.
    pub(crate) fn letters_committed(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.node.letters_committed());
    }
}

/// The stream that the letters of all inputs go to.
pub(crate) struct LetterPort {
    out: Out<DeadLetter>,
    outlet: Box<dyn AnyOutlet>,
}

impl LetterPort {
    pub(crate) fn new(outlet: Box<dyn AnyOutlet>) -> Self {
        Self { out: Out::new(), outlet }
    }

    /// A letter of a call that was given up: it belongs to the next commit, as the call does.
    pub(crate) fn put(&mut self, letter: DeadLetter) {
        self.out.push(letter);
    }

    /// Gives the sink the letters that lie before `positions`: the next commit is of these, or of later ones.
    pub(crate) async fn hand_over(
        &mut self,
        walk: &mut Walk,
        positions: &[Position],
    ) -> Result<(), RunError> {
        self.out.extend(walk.take_letters(positions));
        self.outlet.collect(&mut self.out);
        if self.outlet.waiting() > 0 {
            self.outlet.flush().await?;
        }
        Ok(())
    }
}
