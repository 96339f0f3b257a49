//! Sorting back, over memory: what it does to order, keys and accounting, and what a mill is refused for.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use watermill::prelude::*;
use watermill::testing::{State, TestMill};
use watermill::{BadCause, BuildError, BuildProblem, RunError};
use watermill_derive::StreamRecord;

#[derive(StreamRecord, Clone)]
struct L {
    key: Option<i64>,
    other: Option<i64>,
    id: u32,
}

#[derive(StreamRecord, Clone)]
struct R {
    key: Option<i64>,
    id: u32,
}

#[derive(StreamRecord)]
struct S {
    key: Option<i64>,
}

#[derive(StreamRecord, Debug, PartialEq)]
struct Seen {
    left: u32,
    rights: Vec<u32>,
}

fn ls(keys: &[i64]) -> Vec<L> {
    let all = keys.iter().enumerate();
    all.map(|(id, key)| L { key: (*key >= 0).then_some(*key), other: Some(*key), id: id as u32 }).collect()
}

fn rs(keys: &[i64]) -> Vec<R> {
    keys.iter().enumerate().map(|(id, key)| R { key: (*key >= 0).then_some(*key), id: id as u32 }).collect()
}

fn look(l: &L, r: &Joined<L, R>) -> Seen {
    Seen { left: l.id, rights: r[l].iter().map(|r| r.id).collect() }
}

fn join() -> JoinWith<L, R, Option<i64>> {
    JoinWith::new(L::fields().key, R::fields().key).left()
}

fn lefts(mill: Mill<L>, left: &[i64], right: &[i64]) -> Result<Vec<u32>, RunError> {
    let seen = Collected::<Seen>::new();
    mill.run_blocking(MemoryBroker::new().read(ls(left)).read(rs(right)).write(&seen).batch(3))?;
    Ok(seen.take().into_iter().map(|seen| seen.left).collect())
}

#[test]
fn equal_keys_stay_in_the_order_of_the_stream() {
    let mill = Mill::new(look).join(join()).reorder_within::<L>(3);
    assert_eq!(lefts(mill, &[7, 5, 7, 5, 5, 9, 7], &[]).unwrap(), [1, 3, 4, 0, 2, 6, 5]);
}

#[test]
fn one_that_comes_later_than_that_is_a_bad_record() {
    let mill = |n| Mill::new(look).join(join()).reorder_within::<L>(n);
    assert_eq!(lefts(mill(2), &[3, 4, 2, 5], &[]).unwrap(), [2, 0, 1, 3]);
    let error = lefts(mill(1), &[3, 4, 2, 5], &[]).unwrap_err();
    let RunError::BadRecord(bad) = error else { panic!("{error:?}") };
    assert_eq!((bad.stream.as_str(), bad.place.offset, bad.place.number), ("L", 2, 2));
    assert!(matches!(&bad.cause, BadCause::KeyWentDown { previous, .. } if previous == "3"), "{bad:?}");
    assert_eq!(lefts(mill(1).on_bad::<L>(OnBad::Skip), &[3, 4, 2, 5], &[]).unwrap(), [0, 1, 3]);
}

/// -1 stands for none.
#[test]
fn records_without_a_key_go_ahead() {
    let mill = Mill::new(look).join(join()).reorder_within::<L>(2);
    assert_eq!(lefts(mill, &[3, -1, 2, 5, -1, 4], &[]).unwrap(), [1, 2, 4, 0, 5, 3]);
}

#[test]
fn held_records_are_accounted_for_and_hold_the_position() {
    let alone = |l: &L| Seen { left: l.id, rights: Vec::new() };
    let exists = JoinWith::new(L::fields().key, R::fields().key).unmatched();
    let mut mill = TestMill::new(Mill::new(alone).join(exists).reorder_within::<L>(2)).unwrap();
    mill.feed_all(ls(&[9, 8, 7, 10, 11]));
    mill.feed_all(rs(&[100]));
    assert_eq!(mill.run().unwrap(), State::Waiting("L".to_owned()));
    let seen: Vec<u32> = mill.results::<Seen>().iter().map(|seen| seen.left).collect();
    assert_eq!(seen, [2, 1, 0]);
    let input = mill.input::<L>().unwrap();
    assert_eq!((input.records, input.matched, input.pending), (5, 3, 2), "{input:?}");
    assert_eq!(mill.position::<L>(), 3);
    mill.end::<L>();
    assert_eq!(mill.run().unwrap(), State::Ended);
    let input = mill.input::<L>().unwrap();
    assert_eq!((input.records, input.matched, input.pending), (5, 5, 0), "{input:?}");
}

fn refused(mill: &Mill<L>) -> BuildError {
    mill.explain().unwrap_err()
}

#[test]
fn all_joins_of_a_stream_must_ask_for_one_order() {
    let below = |key: fn() -> JoinWith<L, S, Option<i64>>| {
        Mill::new(look).join(join()).join(key().exists()).reorder_within::<L>(5)
    };
    let error = refused(&below(|| JoinWith::new(L::fields().other, S::fields().key)));
    let why = "they must be in the order of `key`, and in that of `other`".to_owned();
    assert_eq!(*error.problem, BuildProblem::Order { stream: "L".to_owned(), why });
    assert!(error.to_string().contains("let all joins of the stream go by one key"), "{error}");
    // A constant that is added does not matter to the order; a lookup has none.
    below(|| JoinWith::new(L::fields().key - 5 + 7, S::fields().key)).explain().unwrap();
    below(|| JoinWith::lookup(L::fields().other, S::fields().key)).explain().unwrap();
    refused(&below(|| JoinWith::new(L::fields().key * 2, S::fields().key)));
    refused(&below(|| JoinWith::new(L::fields().key + L::fields().other, S::fields().key)));
}

#[test]
fn a_stream_without_an_order_cannot_be_sorted() {
    let alone = Mill::new(|_: &L| ()).reorder_within::<L>(3);
    assert!(refused(&alone).to_string().contains("no join asks for an order"), "{}", refused(&alone));
    let lookup = JoinWith::lookup(L::fields().key, R::fields().key);
    refused(&Mill::new(look).join(lookup).reorder_within::<R>(3));
    let zero = Mill::new(look).join(join()).reorder_within::<R>(0);
    assert!(refused(&zero).to_string().contains(".reorder_within(0)` sorts nothing"));
}

#[test]
fn explain_says_what_is_sorted() {
    let mill = Mill::new(look).join(join()).reorder_within::<L>(3).reorder_within::<R>(4);
    let text = mill.explain().unwrap();
    assert!(text.contains("L (master, sorted back within 3)"), "{text}");
    assert!(text.contains("R: left, key = key, sorted back within 4"), "{text}");
}

/// When a stream is silent for so long that it ends, or that a join goes on without it, what waits belongs to what is there.
#[test]
fn silence_lets_in_what_waits() {
    let second = std::time::Duration::from_secs(1);
    let ends = Mill::new(look).join(join()).reorder_within::<R>(5).eos_after::<R>(second);
    let goes_on = Mill::new(look).join(join().on_idle(second)).reorder_within::<R>(5);
    for (mill, ended) in [(ends, true), (goes_on, false)] {
        let mut mill = TestMill::new(mill).unwrap();
        mill.feed_all(ls(&[2, 3]));
        mill.feed_all(rs(&[3, 2, 2]));
        assert_eq!(mill.run().unwrap(), State::Waiting("R".to_owned()));
        mill.advance(second * 2);
        for _ in 0..4 {
            mill.run().unwrap();
            mill.advance(second * 2);
        }
        let seen = mill.results::<Seen>();
        let expected = [(0, vec![1, 2]), (1, vec![0])].map(|(left, rights)| Seen { left, rights });
        assert_eq!(seen, expected, "ended: {ended}");
    }
}
