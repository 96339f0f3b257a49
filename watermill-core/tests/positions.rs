//! The position that each stream would commit: a run that is stopped wherever it waits, and started again from there, gives what an
//! undisturbed run gives.

#![allow(missing_docs, clippy::unwrap_used)]

extern crate watermill_core as watermill;

use watermill::prelude::*;
use watermill::testing::{State, TestMill};
use watermill::window::{Buffer, Emit, WindowEmitter};
use watermill_derive::StreamRecord;

#[derive(StreamRecord, Clone)]
struct A {
    key: i64,
    tag: u8,
    id: u32,
}

#[derive(StreamRecord, Clone)]
struct B {
    key: i64,
    tag: u8,
    id: u32,
}

#[derive(StreamRecord, Clone)]
struct C {
    key: Option<i64>,
    id: u32,
}

#[derive(StreamRecord, Debug, PartialEq, Clone)]
struct Seen {
    ids: Vec<u32>,
}

/// A small generator, so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Keys that never go down, in runs.
    fn keys(&mut self, count: u64) -> Vec<i64> {
        let mut key = 0;
        (0..count)
            .map(|_| {
                key += [0, 0, 1, 1, 2, 5][self.below(6) as usize];
                key
            })
            .collect()
    }
}

struct Data {
    a: Vec<A>,
    b: Vec<B>,
    c: Vec<C>,
}

impl Data {
    fn new(random: &mut Random) -> Self {
        let counts = [random.below(25), random.below(25), random.below(25)];
        let (a, b, c) = (random.keys(counts[0]), random.keys(counts[1]), random.keys(counts[2]));
        let id = |index: usize| index as u32;
        Self {
            a: a.iter()
                .enumerate()
                .map(|(i, key)| A { key: *key, tag: random.below(2) as u8, id: id(i) })
                .collect(),
            b: b.iter()
                .enumerate()
                .map(|(i, key)| B { key: *key, tag: random.below(2) as u8, id: id(i) })
                .collect(),
            c: c.iter()
                .enumerate()
                .map(|(i, key)| C { key: (random.below(6) > 0).then_some(*key), id: id(i) })
                .collect(),
        }
    }
}

/// One wait of a run: how many results there were, where each stream would go on, and what is kept of the window.
struct Wait {
    results: usize,
    positions: [u64; 3],
    window: Option<String>,
}

/// Feeds a mill a few records at a time, and remembers every wait.
fn run(
    mut mill: TestMill,
    data: &Data,
    from: [u64; 3],
    mut chunk: impl FnMut() -> u64,
) -> (Vec<Seen>, Vec<Wait>) {
    let mut next = from.map(|from| from as usize);
    let (mut results, mut waits) = (Vec::new(), Vec::new());
    loop {
        let state = mill.run().unwrap();
        results.extend(mill.results::<Seen>());
        let State::Waiting(stream) = state else { return (results, waits) };
        for input in [mill.input::<A>(), mill.input::<B>(), mill.input::<C>()].into_iter().flatten() {
            let sum = input.matched + input.unmatched + input.skipped + input.pending;
            assert_eq!(input.records, sum, "{input:?}");
        }
        waits.push(Wait {
            results: results.len(),
            positions: [
                from[0] + mill.position::<A>(),
                from[1] + mill.position::<B>(),
                from[2] + mill.position::<C>(),
            ],
            window: mill.window(),
        });
        let count = chunk() as usize;
        macro_rules! feed {
            ($type:ty, $index:literal, $all:expr) => {{
                let end = (next[$index] + count).min($all.len());
                mill.feed_all($all[next[$index]..end].iter().cloned());
                if end == $all.len() {
                    mill.end::<$type>();
                }
                next[$index] = end;
            }};
        }
        match stream.as_str() {
            "A" => feed!(A, 0, data.a),
            "B" => feed!(B, 1, data.b),
            _ => feed!(C, 2, data.c),
        }
    }
}

fn every_wait_can_be_resumed<M: StreamRecord>(mill: impl Fn() -> Mill<M>) {
    for seed in 0..50 {
        let mut random = Random(seed * 7919 + 1);
        let data = Data::new(&mut random);
        let (all, waits) = run(TestMill::new(mill()).unwrap(), &data, [0; 3], || 1 + random.below(4));
        for (index, wait) in waits.iter().enumerate() {
            let again = TestMill::going_on(mill(), wait.window.clone()).unwrap();
            let (rest, _) = run(again, &data, wait.positions, || 1000);
            let mut joined = all[..wait.results].to_vec();
            joined.extend(rest);
            assert_eq!(
                joined, all,
                "seed {seed}, wait {index}, from {:?}, {:?}",
                wait.positions, wait.window
            );
        }
    }
}

fn pair(a: &A, b: &Joined<A, B>) -> Seen {
    Seen { ids: std::iter::once(a.id).chain(b[a].iter().map(|b| b.id)).collect() }
}

fn triple(a: &A, bs: &Joined<A, B>, cs: &Joined<B, C>) -> Seen {
    let mut ids = vec![a.id];
    for b in &bs[a] {
        ids.push(1000 + b.id);
        ids.extend(cs[b].iter().map(|c| 2000 + c.id));
    }
    Seen { ids }
}

fn triples(window: &[A], bs: &Joined<A, B>, cs: &Joined<B, C>) -> Seen {
    Seen { ids: window.iter().flat_map(|a| triple(a, bs, cs).ids).collect() }
}

fn by_key() -> JoinWith<A, B, i64> {
    JoinWith::new(A::fields().key, B::fields().key)
}

fn below() -> JoinWith<B, C, Option<i64>> {
    JoinWith::new(|b: &B| Some(b.key), C::fields().key)
}

#[test]
fn of_an_inner_join() {
    every_wait_can_be_resumed(|| Mill::new(pair).join(by_key()));
}

#[test]
fn of_a_left_join() {
    every_wait_can_be_resumed(|| Mill::new(pair).join(by_key().left()));
}

#[test]
fn of_an_as_of_join() {
    every_wait_can_be_resumed(|| Mill::new(pair).join(by_key().as_of().left()));
}

#[test]
fn of_an_as_of_join_with_tolerance_and_a_second_key() {
    every_wait_can_be_resumed(|| {
        let join = by_key().as_of().and(A::fields().tag, B::fields().tag).tolerance(3).left();
        Mill::new(pair).join(join)
    });
}

#[test]
fn of_an_interval_with_a_second_key() {
    every_wait_can_be_resumed(|| {
        Mill::new(pair).join(by_key().within(-2..=2).and(A::fields().tag, B::fields().tag))
    });
}

#[test]
fn of_a_lookup() {
    every_wait_can_be_resumed(|| Mill::new(pair).join(JoinWith::lookup(A::fields().tag, B::fields().tag)));
}

#[test]
fn of_a_tree() {
    every_wait_can_be_resumed(|| Mill::new(triple).join(by_key().join(below())));
    every_wait_can_be_resumed(|| Mill::new(triple).join(by_key().left().join(below().left())));
}

#[test]
fn of_a_tree_whose_middle_is_filtered() {
    every_wait_can_be_resumed(|| Mill::new(pair).join(by_key().within(-1..=3).join(below().unmatched())));
    every_wait_can_be_resumed(|| Mill::new(pair).join(by_key().join(below().exists())));
    every_wait_can_be_resumed(|| Mill::new(pair).join(by_key().as_of().left().join(below().unmatched())));
    every_wait_can_be_resumed(|| Mill::new(triple).join(by_key().as_of().join(below().as_of())));
}

#[test]
fn of_windows_over_a_tree() {
    every_wait_can_be_resumed(|| {
        Mill::new(triples).join(by_key().join(below().left())).window(Window::by(A::fields().key / 3))
    });
    every_wait_can_be_resumed(|| {
        Mill::new(triples).join(by_key().left().join(below().left())).window(Window::count(3))
    });
}

fn single(window: &[A]) -> Seen {
    Seen { ids: window.iter().map(|a| a.id).collect() }
}

#[test]
fn of_windows_of_time() {
    let key = || A::fields().key;
    every_wait_can_be_resumed(|| Mill::new(single).window(Window::fixed(3).by(key())));
    every_wait_can_be_resumed(|| Mill::new(single).window(Window::fixed(2).by(key()).with_empty()));
    every_wait_can_be_resumed(|| Mill::new(single).window(Window::session(2).by(key())));
}

#[test]
fn of_windows_of_time_over_a_tree() {
    let key = || A::fields().key;
    let tree = || Mill::new(triples).join(by_key().left().join(below().left()));
    every_wait_can_be_resumed(|| tree().window(Window::fixed(3).by(key())));
    every_wait_can_be_resumed(|| tree().window(Window::fixed(2).by(key()).with_empty()));
    every_wait_can_be_resumed(|| tree().window(Window::session(2).by(key())));
}

#[test]
fn of_windows_that_overlap() {
    let key = || A::fields().key;
    every_wait_can_be_resumed(|| Mill::new(single).window(Window::sliding(5, 2).by(key())));
    every_wait_can_be_resumed(|| Mill::new(single).window(Window::sliding(3, 1).by(key()).with_empty()));
}

#[test]
fn of_windows_that_overlap_over_a_tree() {
    let key = || A::fields().key;
    let tree = || Mill::new(triples).join(by_key().join(below().left()));
    every_wait_can_be_resumed(|| tree().window(Window::sliding(5, 2).by(key())));
    let tree = || Mill::new(triples).join(by_key().as_of().left().join(below().within(-2..=0).left()));
    every_wait_can_be_resumed(|| tree().window(Window::sliding(4, 1).by(key()).with_empty()));
}

/// Takes two of the same tag, the later one first, and drops every fifth.
struct Pairs;

impl WindowEmitter<A> for Pairs {
    fn emit(&mut self, buffer: Buffer<'_, A>) -> Emit {
        if let Some(at) = buffer.iter().position(|a| a.id % 5 == 4) {
            return Emit::nothing().and_drop([at]);
        }
        for (later, a) in buffer.iter().enumerate() {
            if let Some(earlier) = buffer[..later].iter().position(|b| b.tag == a.tag && b.id % 3 != a.id % 3)
            {
                return Emit::take([later, earlier]);
            }
        }
        Emit::nothing()
    }
}

#[test]
fn of_windows_of_an_emitter() {
    every_wait_can_be_resumed(|| Mill::new(single).window(Window::emitter(|| Pairs)));
}

#[test]
fn of_windows_of_an_emitter_over_a_tree() {
    let tree = || Mill::new(triples).join(by_key().join(below().left()));
    every_wait_can_be_resumed(|| tree().window(Window::emitter(|| Pairs)));
    let tree = || Mill::new(triples).join(by_key().as_of().left().join(below().within(-2..=0).left()));
    every_wait_can_be_resumed(|| tree().window(Window::emitter(|| Pairs)));
}
