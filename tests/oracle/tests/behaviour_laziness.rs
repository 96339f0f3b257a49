//! A run reads no further than it needs: a fault behind that point is never reached, whatever was prefetched.
#![allow(clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use watermill::prelude::*;
use watermill::{EndReason, RunError, RunReport};
use watermill_derive::StreamRecord;
use watermill_oracle::script::{ScriptBroker, Step};

#[derive(Debug, StreamRecord)]
struct L {
    key: i64,
}

#[derive(Debug, StreamRecord)]
struct R {
    key: i64,
}

#[derive(Debug, StreamRecord)]
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
    keys.iter().map(|&key| L { key }).collect()
}

fn rs(keys: &[i64]) -> Vec<R> {
    keys.iter().map(|&key| R { key }).collect()
}

fn by_key() -> JoinWith<L, R, i64> {
    JoinWith::new(L::fields().key, R::fields().key)
}

fn run(
    join: JoinWith<L, R, i64>,
    left: Vec<Step<L>>,
    right: Vec<Step<R>>,
) -> (Result<RunReport, RunError>, Vec<(i64, usize)>) {
    let (broker, out) = ScriptBroker::new().read(left).read(right).write::<Pair>();
    let report = Mill::new(pair).join(join).run_blocking(broker);
    let came = out.lock().unwrap().iter().map(|p| (p.left, p.rights)).collect();
    (report, came)
}

#[test]
fn the_right_stream_is_read_only_as_far_as_the_masters_need() {
    let right = vec![Step::Batch(rs(&[1, 2])), Step::Batch(rs(&[3, 4])), Step::Never];
    let (report, came) = run(by_key(), vec![Step::Batch(ls(&[1])), Step::LastBatch(ls(&[3]))], right);
    assert_eq!(came, [(1, 1), (3, 1)]);
    let report = report.unwrap();
    assert_eq!((report.inputs[0].matched, report.inputs[1].matched), (2, 2));
    assert!(matches!(&report.end, EndReason::InputEnded { stream, .. } if stream == "L"), "{:?}", report.end);
}

#[test]
fn the_master_is_read_no_further_once_an_inner_right_stream_has_nothing_left() {
    let left = vec![Step::Batch(ls(&[1, 2])), Step::Batch(ls(&[3])), Step::Never];
    let (report, came) = run(by_key(), left, vec![Step::LastBatch(rs(&[1, 2]))]);
    assert_eq!(came, [(1, 1), (2, 1)]);
    let report = report.unwrap();
    assert!(matches!(&report.end, EndReason::InputEnded { stream, .. } if stream == "R"), "{:?}", report.end);
}

#[test]
fn the_same_holds_for_exists_but_not_for_left_and_unmatched() {
    let left = || vec![Step::Batch(ls(&[1, 2])), Step::Batch(ls(&[3])), Step::Fail];
    let right = || vec![Step::LastBatch(rs(&[1, 2]))];
    assert!(run(by_key().exists(), left(), right()).0.is_ok());
    for join in [by_key().left(), by_key().unmatched()] {
        let error = run(join, left(), right()).0.unwrap_err();
        assert!(matches!(error, RunError::Broker(_)), "{error}");
    }
}

#[test]
fn the_last_right_group_is_kept_for_all_masters_of_its_key() {
    let left = vec![Step::Batch(ls(&[1, 2])), Step::Batch(ls(&[2, 2])), Step::Batch(ls(&[3])), Step::Never];
    let (report, came) = run(by_key(), left, vec![Step::LastBatch(rs(&[1, 2, 2]))]);
    report.unwrap();
    assert_eq!(came, [(1, 1), (2, 2), (2, 2), (2, 2)]);
}

#[test]
fn an_as_of_match_lasts_for_ever() {
    let left = vec![Step::Batch(ls(&[1, 2])), Step::Batch(ls(&[300])), Step::LastBatch(ls(&[400]))];
    let (report, came) = run(by_key().as_of(), left, vec![Step::LastBatch(rs(&[1]))]);
    report.unwrap();
    assert_eq!(came, [(1, 1), (2, 1), (300, 1), (400, 1)]);
}

#[test]
fn an_empty_inner_stream_ends_the_walk_before_the_master_goes_on() {
    let left = vec![Step::Batch(ls(&[1])), Step::Never];
    let (report, came) = run(by_key(), left, vec![Step::LastBatch(Vec::new())]);
    report.unwrap();
    assert_eq!(came, []);
}

#[test]
fn a_stream_that_ended_below_an_inner_path_ends_the_walk() {
    fn deep(l: &L, r: &Joined<L, R>, _: &Joined<R, S>) -> Pair {
        Pair { left: l.key, rights: r[l].len() }
    }
    let below = || JoinWith::new(R::fields().key, S::fields().key);
    let broker = || {
        ScriptBroker::new()
            .read(vec![Step::Batch(ls(&[1, 2])), Step::Batch(ls(&[3])), Step::Batch(ls(&[4])), Step::Fail])
            .read(vec![Step::Batch(rs(&[1, 2])), Step::Batch(rs(&[3])), Step::Batch(rs(&[4])), Step::Fail])
            .read(vec![Step::LastBatch(vec![S { key: 1 }, S { key: 2 }])])
            .write::<Pair>()
    };
    let (inner, out) = broker();
    Mill::new(deep).join(by_key().join(below())).run_blocking(inner).unwrap();
    assert_eq!(out.lock().unwrap().len(), 2);
    // A left join on the way: the masters go on.
    let (outer, _) = broker();
    let error = Mill::new(deep).join(by_key().left().join(below())).run_blocking(outer).unwrap_err();
    assert!(matches!(error, RunError::Broker(_)), "{error}");
}

#[test]
fn a_fault_is_an_error_only_when_the_walk_gets_there() {
    // Behind what is needed, in a batch that was read.
    let right = || vec![Step::Undecodable(rs(&[1, 2, 3])), Step::Never];
    let (report, came) = run(by_key(), vec![Step::LastBatch(ls(&[1, 2]))], right());
    report.unwrap();
    assert_eq!(came, [(1, 1), (2, 1)]);
    // Needed: there may be another 3 behind it.
    let (report, _) = run(by_key(), vec![Step::LastBatch(ls(&[1, 2, 3]))], right());
    assert!(matches!(report.unwrap_err(), RunError::BadRecord(_)));
}

#[test]
fn a_key_that_goes_down_is_an_error_only_when_the_walk_gets_there() {
    let right = || vec![Step::Batch(rs(&[1, 2, 3, 1])), Step::Never];
    let (report, came) = run(by_key(), vec![Step::LastBatch(ls(&[1, 2]))], right());
    report.unwrap();
    assert_eq!(came, [(1, 1), (2, 1)]);
    let (report, _) = run(by_key(), vec![Step::LastBatch(ls(&[3]))], right());
    assert!(matches!(report.unwrap_err(), RunError::BadRecord(_)));
}

#[test]
fn the_masters_before_a_fault_of_the_master_are_worked_on_first() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let (broker, _) = ScriptBroker::new()
        .read(vec![Step::Undecodable(ls(&[1, 2])), Step::Never])
        .read(vec![Step::Batch(rs(&[1, 2, 3]))])
        .write::<Pair>();
    let error = Mill::new(move |l: &L, r: &Joined<L, R>| {
        counted.fetch_add(1, Ordering::Relaxed);
        pair(l, r)
    })
    .join(by_key())
    .run_blocking(broker)
    .unwrap_err();
    assert!(matches!(error, RunError::BadRecord(_)));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn with_unique_a_match_is_enough() {
    let right = vec![Step::Batch(rs(&[1])), Step::Batch(rs(&[2])), Step::Never];
    let (report, came) = run(by_key().unique(), vec![Step::LastBatch(ls(&[1, 1, 2]))], right);
    report.unwrap();
    assert_eq!(came, [(1, 1), (1, 1), (2, 1)]);
    let right = vec![Step::Batch(rs(&[1])), Step::Batch(rs(&[2])), Step::Never];
    let (report, came) = run(by_key().as_of().unique(), vec![Step::LastBatch(ls(&[1, 2]))], right);
    report.unwrap();
    assert_eq!(came, [(1, 1), (2, 1)]);
}

#[test]
fn a_source_is_asked_once_for_each_batch_and_not_again_after_its_end() {
    let (asked_left, asked_right) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let left = vec![Step::Batch(ls(&[1])), Step::Batch(Vec::new()), Step::LastBatch(ls(&[2])), Step::Never];
    let right = vec![Step::Batch(rs(&[1])), Step::LastBatch(rs(&[1, 2])), Step::Never];
    let (broker, out) = ScriptBroker::new()
        .read_counting(left, &asked_left)
        .read_counting(right, &asked_right)
        .write::<Pair>();
    Mill::new(pair).join(by_key()).run_blocking(broker).unwrap();
    assert_eq!(*out.lock().unwrap(), [Pair { left: 1, rights: 2 }, Pair { left: 2, rights: 1 }]);
    assert_eq!((asked_left.load(Ordering::Relaxed), asked_right.load(Ordering::Relaxed)), (3, 2));
}

#[test]
fn a_source_that_fails_is_an_error_that_names_it() {
    let (report, _) = run(by_key(), vec![Step::LastBatch(ls(&[1]))], vec![Step::Fail]);
    let RunError::Broker(error) = report.unwrap_err() else { panic!("another error") };
    assert!(error.to_string().contains("cannot read R"), "{error}");
}

#[test]
fn ending_from_the_function_reads_no_further() {
    let left = vec![Step::Batch(ls(&[1])), Step::Batch(ls(&[2])), Step::Never];
    let (broker, out) = ScriptBroker::new().read(left).write::<Pair>();
    let report =
        Mill::new(|l: &L| if l.key == 2 { Flow::End } else { Flow::Go(Pair { left: l.key, rights: 0 }) })
            .run_blocking(broker)
            .unwrap();
    assert_eq!(*out.lock().unwrap(), [Pair { left: 1, rights: 0 }]);
    assert_eq!(report.end, EndReason::Function);
}
