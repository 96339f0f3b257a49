//! Keys that panic: the run stops at the record, with stream, place, expression and the panic's text, wherever the key is computed.
#![allow(clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use watermill::prelude::*;
use watermill::{OnBad, RunError, RunReport};
use watermill_derive::StreamRecord;
use watermill_oracle::script::{ScriptBroker, Step};
use watermill_oracle::shape::told;

#[derive(Debug, Clone, StreamRecord)]
struct L {
    key: i64,
}

#[derive(Debug, Clone, StreamRecord)]
struct R {
    key: i64,
}

#[derive(Debug, PartialEq, StreamRecord)]
struct Pair {
    left: i64,
    rights: usize,
}

fn pair(l: &L, r: &Joined<L, R>) -> Pair {
    Pair { left: l.key, rights: r[l].len() }
}

const COUNT: i64 = 12;

/// The key that panics.
const SEVEN: i64 = 7;

/// Records with the keys from 0 on, in batches of `size`.
fn steps<T>(record: impl Fn(i64) -> T, size: usize) -> Vec<Step<T>> {
    let mut keys = (0..COUNT).peekable();
    let mut steps = Vec::new();
    while keys.peek().is_some() {
        steps.push(Step::Batch(keys.by_ref().take(size).map(&record).collect()));
    }
    steps
}

fn run(mill: Mill<L>, size: usize) -> (Result<RunReport, RunError>, Vec<Pair>) {
    let broker = ScriptBroker::new().read(steps(|key| L { key }, size)).read(steps(|key| R { key }, size));
    let (broker, out) = broker.write::<Pair>();
    let report = mill.run_blocking(broker);
    let results = std::mem::take(&mut *out.lock().unwrap());
    (report, results)
}

/// What one of the keys of a join does at the record of seven: panic at the time it is computed for so often.
#[derive(Clone)]
struct Trap {
    computed: Arc<AtomicUsize>,
    at: usize,
}

impl Trap {
    fn new(at: usize) -> Self {
        Self { computed: Arc::default(), at }
    }

    fn step_on(&self, key: i64) -> i64 {
        if key == SEVEN && self.computed.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            panic!("seven is no key");
        }
        key
    }

    fn left(&self) -> impl Fn(&L) -> i64 + Send + Sync + 'static {
        let trap = self.clone();
        move |l| trap.step_on(l.key)
    }

    fn right(&self) -> impl Fn(&R) -> i64 + Send + Sync + 'static {
        let trap = self.clone();
        move |r| trap.step_on(r.key)
    }
}

fn plain_left(l: &L) -> i64 {
    l.key
}

fn plain_right(r: &R) -> i64 {
    r.key
}

#[track_caller]
fn is_told(error: &RunError, stream_wanted: &str, context: &str) {
    let RunError::KeyPanicked { stream, place, expression, cause, .. } = error else {
        panic!("{context}: {}", told(error))
    };
    assert_eq!((stream.as_str(), place.number, place.offset), (stream_wanted, 7, 7), "{context}");
    assert_eq!(expression, &format!("|{stream_wanted}| .."), "{context}");
    assert_eq!(cause.to_string(), "it panicked: seven is no key", "{context}");
    assert!(error.source().is_some());
    let text = told(error);
    assert!(text.contains(&format!("stream `{stream_wanted}` at record 7")), "{context}: {text}");
}

type Make = fn(&Trap) -> Mill<L>;

/// Every place where a join or a window computes a key that is the user's, and the stream it belongs to.
fn places() -> Vec<(&'static str, &'static str, Make)> {
    fn join<V: watermill::key::KeyValue>(join: JoinWith<L, R, V>) -> Mill<L> {
        Mill::new(pair).join(join)
    }
    fn master(l: &L) -> Pair {
        Pair { left: l.key, rights: 0 }
    }
    fn window(ls: &[L], r: &Joined<L, R>) -> Pair {
        Pair { left: ls[0].key, rights: r[&ls[0]].len() }
    }
    vec![
        ("equal, left", "L", |trap| join(JoinWith::new(trap.left(), plain_right))),
        ("equal, right", "R", |trap| join(JoinWith::new(plain_left, trap.right()))),
        ("unique, right", "R", |trap| join(JoinWith::new(plain_left, trap.right()).unique())),
        ("within, left", "L", |trap| join(JoinWith::new(trap.left(), plain_right).within(-1..=1))),
        ("within, right", "R", |trap| join(JoinWith::new(plain_left, trap.right()).within(-1..=1))),
        ("as of, left", "L", |trap| join(JoinWith::new(trap.left(), plain_right).as_of())),
        ("as of, right", "R", |trap| join(JoinWith::new(plain_left, trap.right()).as_of())),
        ("tolerance, left", "L", |trap| join(JoinWith::new(trap.left(), plain_right).as_of().tolerance(2))),
        ("tolerance, right", "R", |trap| join(JoinWith::new(plain_left, trap.right()).as_of().tolerance(2))),
        ("and, left", "L", |trap| {
            join(JoinWith::new(plain_left, plain_right).within(-2..=2).and(trap.left(), plain_right))
        }),
        ("and, right", "R", |trap| {
            join(JoinWith::new(plain_left, plain_right).within(-2..=2).and(plain_left, trap.right()))
        }),
        ("the key beside and, right", "R", |trap| {
            join(JoinWith::new(plain_left, trap.right()).within(-2..=2).and(plain_left, plain_right))
        }),
        ("unique and, left", "L", |trap| {
            join(JoinWith::new(plain_left, plain_right).and(trap.left(), plain_right).unique())
        }),
        ("unique and, right", "R", |trap| {
            join(JoinWith::new(plain_left, plain_right).and(plain_left, trap.right()).unique())
        }),
        ("the key beside unique and, right", "R", |trap| {
            join(JoinWith::new(plain_left, trap.right()).and(plain_left, plain_right).unique())
        }),
        ("as of, and, left", "L", |trap| {
            join(JoinWith::new(plain_left, plain_right).as_of().and(trap.left(), plain_right).tolerance(2))
        }),
        ("as of, and, right", "R", |trap| {
            join(JoinWith::new(plain_left, plain_right).as_of().and(plain_left, trap.right()).tolerance(2))
        }),
        ("lookup, left", "L", |trap| join(JoinWith::lookup(trap.left(), plain_right))),
        ("lookup, right", "R", |trap| join(JoinWith::lookup(plain_left, trap.right()))),
        ("lookup, and, left", "L", |trap| {
            join(JoinWith::lookup(plain_left, plain_right).and(trap.left(), plain_right))
        }),
        ("lookup, and, right", "R", |trap| {
            join(JoinWith::lookup(plain_left, plain_right).and(plain_left, trap.right()))
        }),
        ("window", "L", |trap| {
            Mill::new(window).window(Window::by(trap.left())).join(JoinWith::new(plain_left, plain_right))
        }),
        ("exists", "R", |trap| Mill::new(master).join(JoinWith::new(plain_left, trap.right()).exists())),
        ("unmatched", "R", |trap| {
            Mill::new(master).join(JoinWith::new(plain_left, trap.right()).unmatched())
        }),
    ]
}

/// Keys are computed when their record is read, and then again as they are compared. Each of these times can be the first one at which
/// a key of the user's panics: one that always does, at the first; one that depends on something else, at any.
#[test]
fn wherever_a_key_panics_the_record_is_named() {
    for (place, stream, mill) in places() {
        for size in [1, 3, 5, 100] {
            let mut at = 1;
            loop {
                let (report, _) = run(mill(&Trap::new(at)), size);
                match report {
                    Ok(_) => break,
                    Err(error) => is_told(&error, stream, &format!("{place}, batches of {size}, time {at}")),
                }
                at += 1;
            }
            assert!(at > 2, "{place}: computed {} times", at - 1);
        }
    }
}

#[test]
fn what_stands_before_it_is_joined_and_no_policy_lets_it_pass() {
    fn always<T>(
        key: impl Fn(&T) -> i64 + Send + Sync + 'static,
    ) -> impl Fn(&T) -> i64 + Send + Sync + 'static {
        move |record| match key(record) {
            SEVEN => panic!("seven is no key"),
            key => key,
        }
    }
    let skip = |mill: Mill<L>| mill.on_bad::<L>(OnBad::Skip).on_bad::<R>(OnBad::Skip).commit_after_calls(1);
    for size in [1, 3, 5, 100] {
        let left = JoinWith::new(always(plain_left), plain_right);
        let (report, results) = run(skip(Mill::new(pair).join(left)), size);
        is_told(&report.unwrap_err(), "L", "left");
        assert_eq!(results.len(), 7, "every master before it, in batches of {size}");
        let right = JoinWith::new(plain_left, always(plain_right));
        let (report, results) = run(skip(Mill::new(pair).join(right)), size);
        is_told(&report.unwrap_err(), "R", "right");
        // The group of 6 is complete when a greater key was seen.
        assert_eq!(results.len(), 6, "every master whose group is complete, in batches of {size}");
    }
}

#[test]
fn it_is_told_when_the_walk_gets_there_and_not_when_it_is_read() {
    let join =
        JoinWith::new(plain_left, |r: &R| if r.key == SEVEN { panic!("seven is no key") } else { r.key });
    let function = |l: &L, r: &Joined<L, R>| match l.key {
        3 => Flow::End,
        _ => Flow::Go(Pair { left: l.key, rights: r[l].len() }),
    };
    let (report, results) = run(Mill::new(function).join(join), 100);
    assert_eq!((report.unwrap().calls, results.len()), (4, 3));
}

#[test]
fn records_that_are_bad_for_other_reasons_go_their_own_way() {
    // The key of 5 is bad and that of 7 panics, in two roles of one batch, whichever role comes first.
    let bad = |l: &L| if l.key == 5 { f64::NAN } else { 0.0 };
    let panics = |l: &L| if l.key == SEVEN { panic!("seven is no key") } else { l.key };
    let zero = |_: &R| 0.0;
    for bad_first in [false, true] {
        let mill = || {
            let join = JoinWith::lookup(plain_left, plain_right).left();
            Mill::new(pair).join(if bad_first {
                join.and(bad, zero).and(panics, plain_right)
            } else {
                join.and(panics, plain_right).and(bad, zero)
            })
        };
        let (report, _) = run(mill(), 100);
        assert!(matches!(&report.unwrap_err(), RunError::BadRecord(bad) if bad.place.number == 5));
        let (report, results) = run(mill().on_bad::<L>(OnBad::Skip).commit_after_calls(1), 100);
        is_told(&report.unwrap_err(), "L", "behind a bad one");
        assert_eq!(results.len(), 6);
    }
}

#[test]
fn keys_that_are_computed_again_because_a_record_is_bad() {
    // One before it is bad, and it is bad itself; the key panics at one of the times, and not at the others.
    for (keys, number, fails) in [([0, 5, 3, 7, 8], 3, false), ([0, 1, 8, 7, 9], 3, true)] {
        for policy in [OnBad::Skip, OnBad::Fail] {
            for at in 1..10 {
                let trap = Trap::new(at);
                let join = JoinWith::new(trap.left(), plain_right).left();
                let broker = MemoryBroker::new()
                    .read(keys.map(|key| L { key }).into())
                    .read((0..COUNT).map(|key| R { key }).collect())
                    .write(&Collected::<Pair>::new());
                let report = Mill::new(pair).join(join).on_bad::<L>(policy).run_blocking(broker);
                let fired = trap.computed.load(Ordering::Relaxed) >= at;
                match report {
                    Err(RunError::KeyPanicked { place, .. }) => assert!(fired && place.number == number),
                    // It was bad already; only its text was to be had.
                    Err(RunError::BadRecord(bad)) if fails => {
                        assert_eq!((policy, bad.place.number), (OnBad::Fail, number));
                    }
                    Err(RunError::BadRecord(bad)) => assert_eq!((policy, bad.place.number), (OnBad::Fail, 2)),
                    Err(other) => panic!("{}", told(&other)),
                    Ok(report) => assert!(policy == OnBad::Skip && (fails || !fired), "{report}"),
                }
            }
        }
    }
}

#[test]
fn a_function_on_a_field_is_named_as_it_is_written() {
    let seven = |key: &i64| if *key == SEVEN { panic!("seven is no key") } else { *key };
    let join = JoinWith::new((L::fields().key, L::fields().key.map(seven)), |r: &R| (r.key, r.key));
    let (report, _) = run(Mill::new(pair).join(join), 4);
    let error = report.unwrap_err();
    let text = told(&error);
    for part in ["`(key, key.map(..))`", "stream `L` at record 7", "seven is no key", "mend the key"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
