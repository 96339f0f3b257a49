//! Records of a simulation.

use watermill::DeadLetter;
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

/// A letter as a line: the stream, the kind (0 for a record that does not decode, 1 for one that was late, 2 for a master whose call was given up), and the
/// place of the record.
#[must_use]
pub fn letter(letter: DeadLetter) -> Line {
    let stream = ["A", "B", "C"].iter().position(|name| *name == letter.stream).unwrap_or(9);
    let kind = ["other", "late", "function"].iter().position(|name| *name == letter.kind).unwrap_or(9);
    vec![stream as u32, kind as u32, letter.offset as u32]
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
    /// Which of all these do not decode.
    pub bad: [Vec<bool>; 3],
}

impl Data {
    /// Streams with runs of equal keys and with gaps.
    #[must_use]
    pub fn new(random: &mut Random, most: u64, with_bad: bool) -> Self {
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
        let often = random.pick(&[3, 8]);
        let bad = counts.map(|count| (0..count).map(|_| with_bad && random.one_in(often)).collect());
        Self {
            a: a.into_iter().map(|(key, id)| A { key, id }).collect(),
            b: b.into_iter().map(|(key, id)| B { key, id }).collect(),
            c: c.into_iter().map(|(key, id)| C { key, id }).collect(),
            bad,
        }
    }

    /// The keys of the second stream in any order, as a lookup may have them.
    pub fn shuffle_b(&mut self, random: &mut Random) {
        for at in (1..self.b.len()).rev() {
            let other = random.below(at as u64 + 1) as usize;
            let key = self.b[at].key;
            self.b[at].key = self.b[other].key;
            self.b[other].key = key;
        }
    }

    /// Those that decode.
    pub fn good_a(&self) -> impl Iterator<Item = &A> {
        self.a.iter().filter(|a| !self.bad[0][a.id as usize])
    }

    /// Those that decode.
    pub fn good_b(&self) -> impl Iterator<Item = &B> {
        self.b.iter().filter(|b| !self.bad[1][b.id as usize])
    }

    /// Those that decode.
    pub fn good_c(&self) -> impl Iterator<Item = &C> {
        self.c.iter().filter(|c| !self.bad[2][c.id as usize])
    }
}
