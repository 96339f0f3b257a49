//! Bad records: a key that goes down, that is NaN, that overflows. Found when they are read, named with stream, place and key.
#![allow(clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use watermill::error::{BadCause, BadRecord};
use watermill::key::KeyFault;
use watermill::prelude::*;
use watermill::{RunError, RunReport};
use watermill_derive::StreamRecord;
use watermill_oracle::script::{ScriptBroker, Step};
use watermill_oracle::shape::told;

#[derive(Debug, Clone, StreamRecord)]
struct L {
    key: i64,
    x: f64,
}

#[derive(Debug, Clone, StreamRecord)]
struct R {
    key: i64,
    x: f64,
}

#[derive(Debug, Clone, StreamRecord)]
struct S {
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

fn ls(keys: &[i64]) -> Vec<L> {
    keys.iter().map(|&key| L { key, x: key as f64 }).collect()
}

fn rs(keys: &[i64]) -> Vec<R> {
    keys.iter().map(|&key| R { key, x: key as f64 }).collect()
}

fn by_key() -> JoinWith<L, R, i64> {
    JoinWith::new(L::fields().key, R::fields().key)
}

fn mill() -> Mill<L> {
    Mill::new(pair).join(by_key().left())
}

fn run(
    mill: Mill<L>,
    left: Vec<L>,
    right: Vec<R>,
    batch: usize,
) -> (Result<RunReport, RunError>, Vec<(i64, usize)>) {
    let out = Collected::<Pair>::new();
    let broker = MemoryBroker::new().read(left).read(right).write(&out).batch(batch);
    let report = mill.run_blocking(broker);
    (report, out.take().into_iter().map(|p| (p.left, p.rights)).collect())
}

fn bad(result: Result<RunReport, RunError>) -> Box<BadRecord> {
    match result {
        Err(RunError::BadRecord(bad)) => bad,
        Err(other) => panic!("{}", told(&other)),
        Ok(report) => panic!("{report}"),
    }
}

#[test]
fn a_right_key_that_goes_down_is_an_error_wherever_the_batch_ends() {
    for batch in 1..=6 {
        let (report, results) = run(mill(), ls(&[1, 2, 3, 4, 5]), rs(&[1, 3, 4, 2, 5]), batch);
        let bad = bad(report);
        assert_eq!(
            (bad.stream.as_str(), bad.place.number, bad.place.offset),
            ("R", 3, 3),
            "batches of {batch}"
        );
        let BadCause::KeyWentDown { expression, previous, key } = &bad.cause else { panic!("{bad}") };
        assert_eq!((expression.as_str(), previous.as_str(), key.as_str()), ("key", "4", "2"));
        let text = told(&*bad);
        assert!(text.contains("`R`") && text.contains("record 3") && text.contains("from 4 to 2"), "{text}");
        assert_eq!(results, [], "results of a run that fails stay uncommitted");
    }
}

#[test]
fn a_left_key_that_goes_down_is_an_error_wherever_the_batch_ends() {
    for batch in 1..=6 {
        let (report, _) = run(mill(), ls(&[1, 5, 6, 2]), rs(&[1, 2, 3, 4, 5]), batch);
        let bad = bad(report);
        assert_eq!((bad.stream.as_str(), bad.place.number), ("L", 3), "batches of {batch}");
    }
}

#[test]
fn a_key_is_checked_in_every_role_its_stream_plays() {
    fn deep(l: &L, r: &Joined<L, R>, _: &Joined<R, S>) -> Pair {
        Pair { left: l.key, rights: r[l].len() }
    }
    // In order as the right key of its own join, but not as the left key of the one below.
    let broker = MemoryBroker::new()
        .read(ls(&[1, 2, 3]))
        .read(vec![R { key: 1, x: 0.0 }, R { key: 2, x: 5.0 }, R { key: 3, x: 4.0 }])
        .read(vec![S { key: 1 }])
        .write(&Collected::<Pair>::new());
    let below = JoinWith::new(R::fields().x, |s: &S| s.key as f64).left();
    let bad = bad(Mill::new(deep).join(by_key().left().join(below)).run_blocking(broker));
    assert_eq!((bad.stream.as_str(), bad.place.number), ("R", 2));
    assert!(matches!(&bad.cause, BadCause::KeyWentDown { expression, .. } if expression == "x"), "{bad}");
}

#[test]
fn bad_records_are_skipped_and_counted_where_that_is_wished() {
    for batch in 1..=6 {
        let mill = mill().on_bad::<R>(OnBad::Skip);
        let (report, results) = run(mill, ls(&[1, 2, 3, 4, 5]), rs(&[1, 3, 2, 3, 1, 5]), batch);
        assert_eq!(results, [(1, 1), (2, 0), (3, 2), (4, 0), (5, 1)]);
        let input = &report.unwrap().inputs[1];
        assert_eq!((input.records, input.skipped, input.matched, input.unmatched), (6, 2, 4, 0));
    }
}

#[test]
fn skipping_is_a_policy_of_one_stream() {
    let (report, _) = run(mill().on_bad::<L>(OnBad::Skip), ls(&[1, 2, 9]), rs(&[3, 2]), 10);
    assert_eq!(bad(report).stream, "R");
}

#[test]
fn nan_is_a_bad_record_and_not_a_hole() {
    let by_x = || JoinWith::new(L::fields().x, R::fields().x).left();
    let mut right = rs(&[1, 2, 3, 4]);
    right[2].x = f64::NAN;
    for batch in 1..=5 {
        let (report, _) = run(Mill::new(pair).join(by_x()), ls(&[1, 2, 3, 4]), right.clone(), batch);
        let bad = bad(report);
        assert_eq!((bad.stream.as_str(), bad.place.number), ("R", 2));
        assert!(matches!(&bad.cause, BadCause::Key { fault: KeyFault::NotANumber, .. }), "{bad}");
        let skipping = Mill::new(pair).join(by_x()).on_bad::<R>(OnBad::Skip);
        let (report, results) = run(skipping, ls(&[1, 2, 3, 4]), right.clone(), batch);
        assert_eq!(results, [(1, 1), (2, 1), (3, 0), (4, 1)]);
        assert_eq!(report.unwrap().inputs[1].skipped, 1);
    }
}

#[test]
fn nan_is_bad_in_equalities_and_lookups_and_windows_too() {
    let mut right = rs(&[1, 2, 3]);
    right[1].x = f64::NAN;
    let and = Mill::new(pair).join(by_key().and(L::fields().x, R::fields().x).left());
    assert_eq!(bad(run(and, ls(&[1, 2, 3]), right.clone(), 2).0).place.number, 1);
    let lookup = Mill::new(pair).join(JoinWith::lookup(L::fields().x, R::fields().x).left());
    assert_eq!(bad(run(lookup, ls(&[1, 2, 3]), right, 2).0).place.number, 1);
    let mut left = ls(&[1, 2, 3]);
    left[2].x = f64::NAN;
    let window =
        Mill::new(|all: &[L]| Pair { left: all[0].key, rights: all.len() }).window(Window::by(L::fields().x));
    let broker = MemoryBroker::new().read(left).write(&Collected::<Pair>::new());
    assert_eq!(bad(window.run_blocking(broker)).place.number, 2);
}

#[test]
fn a_key_that_overflows_is_a_bad_record_and_does_not_wrap() {
    let mill = || Mill::new(pair).join(JoinWith::new(L::fields().key + 10, R::fields().key).left());
    let left = [1, i64::MAX - 10, i64::MAX - 5];
    let (report, _) = run(mill(), ls(&left), rs(&[11, i64::MAX]), 10);
    let bad = bad(report);
    assert_eq!((bad.stream.as_str(), bad.place.number), ("L", 2));
    assert!(matches!(&bad.cause, BadCause::Key { fault: KeyFault::Overflow { .. }, .. }), "{bad}");
    let text = told(&*bad);
    assert!(text.contains("9223372036854775802 + 10") && text.contains("i64"), "{text}");
    let (report, results) = run(mill().on_bad::<L>(OnBad::Skip), ls(&left), rs(&[11, i64::MAX]), 10);
    assert_eq!(results, [(1, 1), (i64::MAX - 10, 1)]);
    assert_eq!(report.unwrap().inputs[0].skipped, 1);
}

#[test]
fn a_division_by_zero_is_a_bad_record() {
    let key = JoinWith::new(100 / L::fields().key, R::fields().key);
    let (report, _) = run(Mill::new(pair).join(key), ls(&[0]), rs(&[1]), 10);
    assert!(matches!(&bad(report).cause, BadCause::Key { fault: KeyFault::DivisionByZero { .. }, .. }));
}

#[test]
fn a_key_that_comes_twice_breaks_the_promise_of_unique() {
    for batch in 1..=4 {
        let mill = Mill::new(pair).join(by_key().unique());
        let (report, _) = run(mill, ls(&[1, 2, 3]), rs(&[1, 2, 2, 3]), batch);
        let bad = bad(report);
        assert_eq!((bad.stream.as_str(), bad.place.number), ("R", 2), "batches of {batch}");
        assert!(matches!(&bad.cause, BadCause::KeyNotUnique { key, .. } if key == "2"), "{bad}");
    }
}

#[test]
fn a_key_that_comes_twice_breaks_the_promise_of_a_lookup_too() {
    let mill = Mill::new(pair).join(JoinWith::lookup(L::fields().key, R::fields().key).unique());
    let (report, _) = run(mill, ls(&[1, 2, 3]), rs(&[2, 1, 2]), 2);
    assert!(matches!(&bad(report).cause, BadCause::KeyNotUnique { key, .. } if key == "2"));
}

#[test]
fn with_an_equality_beside_the_key_unique_promises_one_for_both() {
    let robot = |key, x| R { key, x };
    let join = || by_key().and(L::fields().x, R::fields().x).unique().left();
    let (report, results) =
        run(Mill::new(pair).join(join()), ls(&[1, 2]), vec![robot(1, 1.0), robot(1, 2.0), robot(2, 2.0)], 1);
    report.unwrap();
    assert_eq!(results, [(1, 1), (2, 1)]);
}

#[test]
fn a_pair_of_keys_that_comes_twice_breaks_the_promise_of_unique() {
    let join = by_key().and(L::fields().x, R::fields().x).unique();
    let (report, _) =
        run(Mill::new(pair).join(join), ls(&[1, 2]), vec![R { key: 1, x: 1.0 }, R { key: 1, x: 1.0 }], 1);
    assert!(matches!(&bad(report).cause, BadCause::KeyNotUnique { .. }));
}

#[test]
fn a_record_that_does_not_decode_is_skipped_and_counted_where_that_is_wished() {
    let (broker, out) = ScriptBroker::new()
        .read(vec![Step::Undecodable(ls(&[1])), Step::Undecodable(ls(&[2])), Step::Batch(ls(&[3]))])
        .read(vec![Step::Undecodable(rs(&[1, 3]))])
        .write::<Pair>();
    let report = mill().on_bad::<L>(OnBad::Skip).on_bad::<R>(OnBad::Skip).run_blocking(broker).unwrap();
    let came: Vec<_> = out.lock().unwrap().iter().map(|p| (p.left, p.rights)).collect();
    assert_eq!(came, [(1, 1), (2, 0), (3, 1)]);
    assert_eq!((report.inputs[0].records, report.inputs[0].skipped), (5, 2));
    assert_eq!((report.inputs[1].records, report.inputs[1].skipped), (3, 1));
}

#[test]
fn what_was_skipped_does_not_shift_where_records_stand() {
    fn place(l: &L, meta: &Meta<L>) -> Pair {
        Pair { left: l.key, rights: meta.offset() as usize }
    }
    let out = Collected::<Pair>::new();
    let broker = MemoryBroker::new().read(ls(&[1, 3, 2, 4, 3, 5])).read(rs(&[])).write(&out).batch(4);
    Mill::new(place).join(by_key().unmatched()).on_bad::<L>(OnBad::Skip).run_blocking(broker).unwrap();
    let came: Vec<_> = out.take().into_iter().map(|p| (p.left, p.rights)).collect();
    assert_eq!(came, [(1, 0), (3, 1), (4, 3), (5, 5)]);
}
