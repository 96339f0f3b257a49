//! The records of input and output, and what must come of them, by nested loops over everything.

use serde::{Deserialize, Serialize};
use watermill::prelude::*;

/// A record of the master's topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StreamRecord)]
pub struct A {
    /// Its place in its partition, from 0.
    pub id: i64,
    /// Two neighbours have the same.
    pub time: i64,
}

/// A record of the right topic: that of the master, seen again, or another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StreamRecord)]
pub struct B {
    /// Its place in its partition, from 0.
    pub id: i64,
    /// Two neighbours have the same.
    pub time: i64,
}

/// A result: the master, and the records that were joined to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StreamRecord)]
pub struct Saw {
    /// The id of the master.
    pub id: i64,
    /// Those of the others.
    pub with: Vec<i64>,
}

impl A {
    /// The record of this number.
    #[must_use]
    pub fn of(id: i64) -> Self {
        Self { id, time: id / 2 }
    }
}

/// Which mill is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One topic, read at two places: each record with those three later. Inner.
    SelfJoin,
    /// Two topics: each record with those of the same time, or one off. Left.
    TwoTopics,
}

impl Kind {
    /// As arguments name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SelfJoin => "self-join",
            Self::TwoTopics => "two-topics",
        }
    }

    /// The kind of this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let all = [Self::SelfJoin, Self::TwoTopics];
        all.into_iter().find(|kind| kind.name() == name).expect("a kind of mill")
    }

    /// What must come of so many records in a partition.
    #[must_use]
    pub fn expected(self, count: i64) -> Vec<Saw> {
        let all: Vec<A> = (0..count).map(A::of).collect();
        let mut results = Vec::new();
        for left in &all {
            // Near it: the times do not go down, so the loop need not look at all of them.
            let near = (left.id - 8).max(0)..(left.id + 10).min(count);
            let near = near.map(|id| &all[id as usize]);
            let with: Vec<i64> = match self {
                Self::SelfJoin => {
                    near.filter(|right| right.time == left.time + 3).map(|right| right.id).collect()
                }
                Self::TwoTopics => {
                    near.filter(|right| (right.time - left.time).abs() <= 1).map(|right| right.id).collect()
                }
            };
            if self == Self::SelfJoin && with.is_empty() {
                continue;
            }
            results.push(Saw { id: left.id, with });
        }
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_by_hand() {
        let saw = |id: i64, with: &[i64]| Saw { id, with: with.to_vec() };
        // Times 0 0 1 1 2 2 3 3.
        assert_eq!(Kind::SelfJoin.expected(8), [saw(0, &[6, 7]), saw(1, &[6, 7])]);
        let left = Kind::TwoTopics.expected(8);
        assert_eq!(left[0], saw(0, &[0, 1, 2, 3]));
        assert_eq!(left[4], saw(4, &[2, 3, 4, 5, 6, 7]));
        assert_eq!((left.len(), &left[7]), (8, &saw(7, &[4, 5, 6, 7])));
    }
}
