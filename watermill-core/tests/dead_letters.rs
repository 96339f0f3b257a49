//! Bad records put aside, over memory: causes, accounting, and what a mill is refused for.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use watermill::prelude::*;
use watermill::testing::{State, TestMill};
use watermill::{BuildProblem, DeadLetter, RunError};
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct L {
    key: f64,
}

#[derive(StreamRecord)]
struct R {
    key: f64,
}

fn ls(keys: &[f64]) -> Vec<L> {
    keys.iter().map(|&key| L { key }).collect()
}

fn rs(keys: &[f64]) -> Vec<R> {
    keys.iter().map(|&key| R { key }).collect()
}

fn join() -> JoinWith<L, R, f64> {
    JoinWith::new(L::fields().key, R::fields().key)
}

fn look(_: &L, _: &Joined<L, R>) {}

#[test]
fn every_rule_of_keys() {
    for batch in 1..=7 {
        let letters = Collected::<DeadLetter>::new();
        let broker = MemoryBroker::new()
            .read(ls(&[1.0, f64::NAN, 2.0, 1.5, 3.0]))
            .read(rs(&[1.0, 1.0, 2.0, 0.0, f64::NAN, 9.0]))
            .write(&letters)
            .batch(batch);
        let report = Mill::new(look)
            .join(join().unique().left())
            .on_bad::<L>(OnBad::DeadLetter)
            .on_bad::<R>(OnBad::DeadLetter)
            .run_blocking(broker)
            .unwrap();
        let found = letters.take();
        let of = |stream: &str| -> Vec<(u64, u64, String)> {
            let own = found.iter().filter(|letter| letter.stream == stream);
            own.map(|letter| (letter.offset, letter.number, letter.kind.clone())).collect()
        };
        let expected = |all: &[(u64, &str)]| -> Vec<(u64, u64, String)> {
            all.iter().map(|(at, kind)| (*at, *at, (*kind).to_owned())).collect()
        };
        assert_eq!(of("L"), expected(&[(1, "key"), (3, "key_went_down")]), "batches of {batch}");
        assert_eq!(
            of("R"),
            expected(&[(1, "key_not_unique"), (3, "key_went_down"), (4, "key")]),
            "batches of {batch}"
        );
        for letter in &found {
            assert!(letter.raw.is_empty() && !letter.cut, "memory has no bytes: {letter:?}");
            assert!(letter.key.as_ref().is_some_and(|key| key.starts_with("`key`")), "{letter:?}");
        }
        let [left, right] = &report.inputs[..] else { panic!("{report}") };
        assert_eq!((left.records, left.dead_lettered, left.matched, report.calls), (5, 2, 3, 3), "{report}");
        assert_eq!(
            (right.records, right.dead_lettered, right.matched, right.unmatched),
            (6, 3, 2, 1),
            "{report}"
        );
    }
}

/// A letter waits until the walk has passed its record; until then the record is pending.
#[test]
fn a_letter_leaves_when_the_walk_has_passed_its_record() {
    let mut mill = TestMill::new(Mill::new(look).join(join().left()).on_bad::<R>(OnBad::DeadLetter)).unwrap();
    mill.feed_all(ls(&[1.0]));
    mill.feed_all(rs(&[1.0, f64::NAN, 5.0, 4.0]));
    let waits = State::Waiting("L".to_owned());
    assert_eq!(mill.run().unwrap(), waits);
    // 1.0 may match another master: nothing is passed.
    assert!(mill.results::<DeadLetter>().is_empty());
    let input = mill.input::<R>().unwrap();
    assert_eq!((input.records, input.matched, input.dead_lettered, input.pending), (4, 1, 0, 3), "{input:?}");
    mill.feed_all(ls(&[2.0]));
    assert_eq!(mill.run().unwrap(), waits);
    assert_eq!(mill.results::<DeadLetter>().iter().map(|letter| letter.offset).collect::<Vec<_>>(), [1]);
    mill.feed_all(ls(&[6.0]));
    assert_eq!(mill.run().unwrap(), State::Waiting("R".to_owned()));
    assert_eq!(mill.results::<DeadLetter>().iter().map(|letter| letter.offset).collect::<Vec<_>>(), [3]);
    mill.end::<L>();
    mill.end::<R>();
    assert_eq!(mill.run().unwrap(), State::Ended);
    let input = mill.input::<R>().unwrap();
    assert_eq!(
        (input.records, input.matched, input.dead_lettered, input.unmatched),
        (4, 1, 2, 1),
        "{input:?}"
    );
}

/// What was read ahead and is not needed any more makes no letter.
#[test]
fn what_no_master_needs_makes_no_letter() {
    let letters = Collected::<DeadLetter>::new();
    let broker = MemoryBroker::new().read(ls(&[1.0])).read(rs(&[1.0, 2.0, 1.0])).write(&letters);
    let report = Mill::new(look).join(join()).on_bad::<R>(OnBad::DeadLetter).run_blocking(broker).unwrap();
    assert!(letters.take().is_empty());
    let right = &report.inputs[1];
    assert_eq!(
        (right.records, right.matched, right.unmatched, right.dead_lettered),
        (3, 1, 2, 0),
        "{report}"
    );
}

#[test]
fn letters_of_a_run_that_fails_are_not_committed() {
    let letters = Collected::<DeadLetter>::new();
    let broker = MemoryBroker::new().read(ls(&[1.0, f64::NAN, 2.0])).write(&letters);
    let fails = |all: &[L]| if all[0].key > 1.0 { Err("no") } else { Ok(()) };
    let mill = Mill::new(fails).window(Window::by(L::fields().key)).on_bad::<L>(OnBad::DeadLetter);
    assert!(matches!(mill.run_blocking(broker), Err(RunError::Function { .. })));
    assert!(letters.take().is_empty());
}

#[test]
fn a_mill_that_puts_aside_needs_one_place_for_it() {
    let problem = |broker: MemoryBroker| {
        let error =
            Mill::new(look).join(join()).on_bad::<R>(OnBad::DeadLetter).run_blocking(broker).unwrap_err();
        let RunError::Build(error) = error else { panic!("{error:?}") };
        (*error.problem.clone(), error.to_string())
    };
    let broker = || MemoryBroker::new().read(ls(&[])).read(rs(&[]));
    let (none, text) = problem(broker());
    assert_eq!(none, BuildProblem::NoLetters { stream: "R".to_owned() });
    assert!(text.ends_with("declare it: `MemoryBroker.write::<DeadLetter>(..)`"), "{text}");
    let (first, second) = (Collected::<DeadLetter>::new(), Collected::<DeadLetter>::new());
    let (twice, _) = problem(broker().write(&first).write(&second));
    assert_eq!(twice, BuildProblem::DeclaredTwice { stream: "DeadLetter".to_owned() });
}

#[test]
fn a_function_that_writes_letters_itself_has_no_others() {
    fn own(_: &L, _: &mut Out<DeadLetter>) {}
    let broker = MemoryBroker::new().read(ls(&[])).write(&Collected::<DeadLetter>::new());
    let error = Mill::new(own).on_bad::<L>(OnBad::DeadLetter).run_blocking(broker).unwrap_err();
    assert!(error.to_string().contains("the function writes `DeadLetter` itself"), "{error}");
    // Without the policy it is a result like any other.
    let broker = MemoryBroker::new().read(ls(&[1.0])).write(&Collected::<DeadLetter>::new());
    Mill::new(own).run_blocking(broker).unwrap();
}
