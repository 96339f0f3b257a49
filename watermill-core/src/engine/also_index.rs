//! The right records in reach of a join, found by keys that need no order (`.and(left, right)`).
//!
//! Positions come in ascending order and leave in ascending order, so the ones of equal hash form a chain, and no memory is
//! allocated per record once the index has its size.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::matching::Also;

pub(crate) struct AlsoIndex<L, R> {
    also: Arc<dyn Also<L, R>>,
    /// The chains by hash.
    chains: HashMap<u64, Chain, BuildHasherDefault<AsIs>>,
    /// All positions that are in, ascending.
    entries: VecDeque<Entry>,
    /// How many entries have left at the front: the number of the first one that is in.
    gone: u64,
}

struct Chain {
    /// Entry numbers.
    first: u64,
    last: u64,
}

struct Entry {
    position: u64,
    hash: u64,
    /// The number of the next entry of the same hash.
    next: Option<u64>,
}

impl<L, R> AlsoIndex<L, R> {
    pub(crate) fn new(also: Arc<dyn Also<L, R>>) -> Self {
        Self { also, chains: HashMap::default(), entries: VecDeque::new(), gone: 0 }
    }

    pub(crate) fn insert(&mut self, position: u64, record: &R) {
        let Some(hash) = self.also.right(record) else { return };
        let number = self.gone + self.entries.len() as u64;
        self.entries.push_back(Entry { position, hash, next: None });
        let gone = self.gone;
        match self.chains.entry(hash) {
            std::collections::hash_map::Entry::Occupied(mut chain) => {
                let before = std::mem::replace(&mut chain.get_mut().last, number);
                if let Some(entry) = self.entries.get_mut((before - gone) as usize) {
                    entry.next = Some(number);
                }
            }
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Chain { first: number, last: number });
            }
        }
    }

    /// Drops the positions below `low`.
    pub(crate) fn release(&mut self, low: u64) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.position < low) {
            self.gone += 1;
            match entry.next {
                Some(next) => {
                    if let Some(chain) = self.chains.get_mut(&entry.hash) {
                        chain.first = next;
                    }
                }
                None => {
                    self.chains.remove(&entry.hash);
                }
            }
        }
    }

    /// The positions whose records are equal to `left` in the keys, ascending.
    pub(crate) fn find<'a>(
        &'a self,
        left: &'a L,
        record: impl Fn(u64) -> Option<&'a R> + 'a,
    ) -> impl Iterator<Item = u64> + 'a {
        let hash = self.also.left(left);
        let mut next = hash.and_then(|hash| self.chains.get(&hash)).map(|chain| chain.first);
        std::iter::from_fn(move || {
            let entry = self.entries.get((next? - self.gone) as usize)?;
            next = entry.next;
            Some(entry.position)
        })
        .filter(move |at| record(*at).is_some_and(|right| self.also.equal(left, right)))
    }

    /// The last of the positions that [`find`](AlsoIndex::find) gives. Looks at one record, unless hashes collide.
    pub(crate) fn find_last<'a>(
        &'a self,
        left: &'a L,
        record: impl Fn(u64) -> Option<&'a R> + Copy + 'a,
    ) -> Option<u64> {
        let chain = self.chains.get(&self.also.left(left)?)?;
        let last = self.entries.get((chain.last - self.gone) as usize)?.position;
        if record(last).is_some_and(|right| self.also.equal(left, right)) {
            Some(last)
        } else {
            self.find(left, record).last()
        }
    }

    pub(crate) fn equal(&self, left: &L, right: &R) -> bool {
        self.also.equal(left, right)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().map(|entry| entry.position)
    }

    pub(crate) fn is_empty_from(&self, low: u64) -> bool {
        self.entries.back().is_none_or(|entry| entry.position < low)
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
