//! Runs over a storage that dies at any read or commit, and is started again: what comes out in the end is what an undisturbed run
//! gives, and every bad record is put aside once.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

mod counted;
mod keyless;
mod letters;
mod random;
mod reorder;
mod store;

use std::time::SystemTime;

use watermill::clock::ManualClock;
use watermill::prelude::*;
use watermill::{DeadLetter, RunError};
use watermill_derive::StreamRecord;

use random::Random;
use store::{Item, Store};

#[derive(StreamRecord, Clone, Debug)]
pub(crate) struct A {
    pub(crate) key: i64,
    pub(crate) tag: u8,
    pub(crate) id: u32,
}

#[derive(StreamRecord, Clone, Debug)]
pub(crate) struct B {
    pub(crate) key: i64,
    pub(crate) tag: u8,
    pub(crate) id: u32,
}

#[derive(StreamRecord, Clone, Debug)]
pub(crate) struct C {
    pub(crate) key: i64,
    pub(crate) id: u32,
}

#[derive(StreamRecord, Debug, PartialEq, Clone)]
pub(crate) struct Seen {
    pub(crate) ids: Vec<u32>,
}

pub(crate) fn pair(a: &A, b: &Joined<A, B>) -> Seen {
    Seen { ids: std::iter::once(a.id).chain(b[a].iter().map(|b| b.id)).collect() }
}

pub(crate) fn triple(a: &A, bs: &Joined<A, B>, cs: &Joined<B, C>) -> Seen {
    let mut ids = vec![a.id];
    for b in &bs[a] {
        ids.push(1000 + b.id);
        ids.extend(cs[b].iter().map(|c| 2000 + c.id));
    }
    Seen { ids }
}

pub(crate) fn triples(window: &[A], bs: &Joined<A, B>, cs: &Joined<B, C>) -> Seen {
    Seen { ids: window.iter().flat_map(|a| triple(a, bs, cs).ids).collect() }
}

pub(crate) fn by_key() -> JoinWith<A, B, i64> {
    JoinWith::new(A::fields().key, B::fields().key)
}

pub(crate) fn below() -> JoinWith<B, C, i64> {
    JoinWith::new(B::fields().key, C::fields().key)
}

/// The streams of a trial.
pub(crate) struct Data {
    pub(crate) a: Vec<Item<A>>,
    pub(crate) b: Vec<Item<B>>,
    pub(crate) c: Vec<Item<C>>,
    pub(crate) part: usize,
}

impl Data {
    pub(crate) fn store(&self, seed: u64, counted: bool) -> Store<Seen> {
        let (a, b, c) = (&self.a, &self.b, &self.c);
        Store::new(seed, counted).read(a, self.part).read(b, self.part).read(c, self.part)
    }
}

/// What the storage holds in the end: the results, and the letters of each stream in their order.
pub(crate) type Outcome = (Vec<Seen>, Vec<(String, Vec<DeadLetter>)>);

pub(crate) fn outcome(store: &Store<Seen>) -> Outcome {
    store.state_of(|kept| {
        let of = |stream: &str| {
            let own = kept.letters.iter().filter(|letter| letter.stream == stream);
            (stream.to_owned(), own.cloned().collect())
        };
        (kept.results.clone(), ["A", "B", "C"].map(of).into())
    })
}

fn started<M: StreamRecord>(mill: Mill<M>, store: &Store<Seen>) -> Result<watermill::RunReport, RunError> {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    mill.clock(clock).commit_every(std::time::Duration::ZERO).run_blocking(store.clone())
}

/// Whether a run came to the same as an undisturbed one. Where a right stream ends a run, how far the others were read by then
/// is left to chance, and with it how many of their bad records were looked at.
fn assert_same(found: &Outcome, expected: &Outcome, ends_early: bool, what: &str) {
    if !ends_early {
        assert_eq!(found, expected, "{what}");
        return;
    }
    assert_eq!(found.0, expected.0, "{what}");
    for ((stream, found), (_, expected)) in found.1.iter().zip(&expected.1) {
        let both = found.len().min(expected.len());
        assert_eq!(found[..both], expected[..both], "{what}, letters of {stream}");
    }
}

/// Runs a mill over `data`: undisturbed; dying after every number of steps, once; and dying all the time. Returns what comes out.
pub(crate) fn every_death_is_survived<M: StreamRecord>(
    seed: u64,
    data: &Data,
    mill: impl Fn() -> Mill<M>,
    ends_early: bool,
) -> Outcome {
    let counted = every_death_over(true, seed, data, &mill, ends_early);
    let expected = every_death_over(false, seed, data, &mill, ends_early);
    assert_eq!(counted.0, expected.0, "seed {seed}: streams without offsets of their own");
    expected
}

/// The same over streams with offsets of their own, or without.
fn every_death_over<M: StreamRecord>(
    counted: bool,
    seed: u64,
    data: &Data,
    mill: impl Fn() -> Mill<M>,
    ends_early: bool,
) -> Outcome {
    let calm = data.store(seed, counted);
    let report = started(mill(), &calm).unwrap();
    for input in &report.inputs {
        let sum = input.matched + input.unmatched + input.skipped + input.dead_lettered + input.pending;
        assert_eq!(input.records, sum, "seed {seed}: {report}");
        let letters = outcome(&calm).1.into_iter().find(|(stream, _)| *stream == input.stream);
        assert_eq!(letters.map_or(0, |(_, all)| all.len() as u64), input.dead_lettered, "seed {seed}");
    }
    let expected = outcome(&calm);
    for steps in 0.. {
        let store = data.store(seed + steps + 1, counted);
        store.dies_after(steps);
        let died = started(mill(), &store).is_err();
        if died {
            store.dies_after(u64::MAX);
            started(mill(), &store).unwrap();
        }
        let what = format!("seed {seed}, died after {steps} steps, counted {counted}");
        assert_same(&outcome(&store), &expected, ends_early, &what);
        if !died {
            break;
        }
    }
    let store = data.store(seed, counted);
    let mut random = Random::new(seed);
    let mut most = 6;
    loop {
        most += 1;
        store.dies_after(random.below(most));
        match started(mill(), &store) {
            Ok(_) => break,
            Err(RunError::Broker(_)) => {}
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    assert_same(
        &outcome(&store),
        &expected,
        ends_early,
        &format!("seed {seed}, died all the time, counted {counted}"),
    );
    expected
}
