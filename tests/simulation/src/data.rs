//! Records of a simulation.

use watermill_derive::StreamRecord;

use crate::random::Random;
use crate::store::Line;

/// A master.
#[derive(StreamRecord, Debug, Clone)]
pub struct A {
    /// Never goes down.
    pub key: i64,
    /// Its place in the stream.
    pub id: u32,
}

/// Joined to [`A`].
#[derive(StreamRecord, Debug, Clone)]
pub struct B {
    /// Never goes down.
    pub key: i64,
    /// Its place in the stream.
    pub id: u32,
}

/// Joined to [`B`].
#[derive(StreamRecord, Debug, Clone)]
pub struct C {
    /// Never goes down.
    pub key: i64,
    /// Its place in the stream.
    pub id: u32,
}

/// What a call saw.
#[derive(StreamRecord, Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The ids of all its records.
    pub ids: Vec<u32>,
}

/// A result beside.
#[derive(StreamRecord, Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which one of which master.
    pub text: Vec<u32>,
}

impl From<Seen> for Line {
    fn from(seen: Seen) -> Self {
        seen.ids
    }
}

impl From<Note> for Line {
    fn from(note: Note) -> Self {
        note.text
    }
}

/// All streams.
#[derive(Debug, Clone)]
pub struct Data {
    /// The masters.
    pub a: Vec<A>,
    /// Joined to them.
    pub b: Vec<B>,
    /// Joined to those.
    pub c: Vec<C>,
}

impl Data {
    /// Streams with runs of equal keys and with gaps.
    #[must_use]
    pub fn new(random: &mut Random, most: u64) -> Self {
        let counts = [random.below(most), random.below(most), random.below(most)];
        let mut keys = |count: u64| -> Vec<(i64, u32)> {
            let mut key = 0;
            (0..count as u32)
                .map(|id| {
                    key += random.pick(&[0, 0, 1, 1, 2, 4]);
                    (key, id)
                })
                .collect()
        };
        let (a, b, c) = (keys(counts[0]), keys(counts[1]), keys(counts[2]));
        Self {
            a: a.into_iter().map(|(key, id)| A { key, id }).collect(),
            b: b.into_iter().map(|(key, id)| B { key, id }).collect(),
            c: c.into_iter().map(|(key, id)| C { key, id }).collect(),
        }
    }
}
