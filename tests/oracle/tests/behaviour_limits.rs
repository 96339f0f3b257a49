//! What a run may hold is bounded, and what goes beyond is an error that names stream and key.
#![allow(clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

use watermill::prelude::*;
use watermill::{RunError, RunReport};
use watermill_derive::StreamRecord;
use watermill_oracle::script::{ScriptBroker, Step};

#[derive(Debug, Clone, StreamRecord)]
struct L {
    key: i64,
}

#[derive(Debug, Clone, StreamRecord)]
struct R {
    key: i64,
    maybe: Option<i64>,
}

#[derive(Debug, Clone, StreamRecord)]
struct S {
    key: i64,
}

#[derive(Debug, PartialEq, StreamRecord)]
struct Count {
    n: usize,
}

fn count(l: &L, r: &Joined<L, R>) -> Count {
    Count { n: r[l].len() }
}

fn ls(keys: impl IntoIterator<Item = i64>) -> Vec<L> {
    keys.into_iter().map(|key| L { key }).collect()
}

fn rs(keys: impl IntoIterator<Item = i64>) -> Vec<R> {
    keys.into_iter().map(|key| R { key, maybe: Some(key) }).collect()
}

fn ss(keys: impl IntoIterator<Item = i64>) -> Vec<S> {
    keys.into_iter().map(|key| S { key }).collect()
}

type MakeJoin = fn() -> JoinWith<L, R, i64>;

fn by_key() -> JoinWith<L, R, i64> {
    JoinWith::new(L::fields().key, R::fields().key)
}

#[test]
fn a_group_beyond_max_group_is_an_error_that_names_stream_and_key() {
    let run = |join: JoinWith<L, R, i64>, limit| {
        let broker =
            MemoryBroker::new().read(ls([6, 7])).read(rs([6, 7, 7, 7])).write(&Collected::<Count>::new());
        Mill::new(count).join(join).max_group(limit).run_blocking(broker.batch(2))
    };
    let joins: [MakeJoin; 5] = [
        by_key,
        || by_key().left(),
        || by_key().exists(),
        || by_key().within(0..=0),
        || JoinWith::lookup(L::fields().key, R::fields().key),
    ];
    for join in joins {
        run(join(), 3).unwrap();
        let error = run(join(), 2).unwrap_err();
        let RunError::GroupTooLarge { stream, key, limit } = &error else { panic!("{error}") };
        assert_eq!((stream.as_str(), key.as_str(), *limit), ("R", "7", 2));
        let text = error.to_string();
        assert!(text.contains("`R`") && text.contains("key 7") && text.contains("max_group"), "{text}");
    }
    run(by_key().as_of(), 1).unwrap();
}

#[test]
fn a_group_without_end_is_not_read_to_its_end() {
    let right = vec![Step::Batch(rs([1, 1])), Step::Batch(rs([1, 1])), Step::Never];
    let (broker, _) = ScriptBroker::new().read(vec![Step::Batch(ls([1]))]).read(right).write::<Count>();
    let error = Mill::new(count).join(by_key()).max_group(3).run_blocking(broker).unwrap_err();
    assert!(matches!(error, RunError::GroupTooLarge { .. }), "{error}");
}

#[test]
fn holding_more_than_the_budget_is_an_error_that_names_stream_and_key() {
    let run = |budget| {
        let broker = MemoryBroker::new()
            .read(ls([4, 5]))
            .read(rs([4].into_iter().chain(std::iter::repeat_n(5, 1000))))
            .write(&Collected::<Count>::new());
        Mill::new(count).join(by_key()).memory_budget(budget).run_blocking(broker.batch(10))
    };
    run(1 << 20).unwrap();
    let error = run(2000).unwrap_err();
    let RunError::OverBudget { stream, key, held, budget } = &error else { panic!("{error}") };
    assert_eq!((stream.as_str(), key.as_str(), *budget), ("R", "5", 2000));
    assert!(*held > 2000 && *held < 4000, "{held}");
    assert!(error.to_string().contains("memory_budget"), "{error}");
}

#[test]
fn a_lookup_table_is_loaded_within_the_budget() {
    let broker = MemoryBroker::new().read(ls([1])).read(rs(0..1000)).write(&Collected::<Count>::new());
    let join = JoinWith::lookup(L::fields().key, R::fields().key);
    let error = Mill::new(count).join(join).memory_budget(2000).run_blocking(broker.batch(10)).unwrap_err();
    assert!(matches!(&error, RunError::OverBudget { stream, .. } if stream == "R"), "{error}");
}

#[test]
fn an_open_window_is_held_within_the_budget() {
    fn all(masters: &[L]) -> Count {
        Count { n: masters.len() }
    }
    let run = |size, budget| {
        let broker = MemoryBroker::new().read(ls(0..5000)).write(&Collected::<Count>::new());
        Mill::new(all).window(Window::count(size)).memory_budget(budget).run_blocking(broker.batch(10))
    };
    run(10, 1000).unwrap();
    let error = run(4000, 1000).unwrap_err();
    assert!(matches!(&error, RunError::OverBudget { stream, .. } if stream == "L"), "{error}");
}

/// A budget of some batches of ten, for streams that are far longer.
const FEW_BATCHES: u64 = 4096;
const LONG: i64 = 5000;

fn long_run(join: JoinWith<L, R, i64>, left: Vec<L>, right: Vec<R>) -> RunReport {
    let broker = MemoryBroker::new().read(left).read(right).write(&Collected::<Count>::new()).batch(10);
    Mill::new(count).join(join).memory_budget(FEW_BATCHES).run_blocking(broker).unwrap()
}

#[test]
fn long_streams_are_walked_with_a_few_batches_in_memory() {
    let joins: [MakeJoin; 8] = [
        by_key,
        || by_key().left(),
        || by_key().unmatched(),
        || by_key().as_of(),
        || by_key().as_of().tolerance(5),
        || by_key().within(-5..=5),
        || by_key().and(|l: &L| l.key % 3, |r: &R| r.key % 3),
        || by_key().as_of().and(|l: &L| l.key % 3, |r: &R| r.key % 3).tolerance(6),
    ];
    for join in joins {
        let report = long_run(join(), ls(0..LONG), rs(0..LONG));
        assert_eq!(report.inputs[0].records, LONG as u64);
        // One side far ahead, or far behind.
        long_run(join(), ls([0, LONG]), rs(0..LONG));
        long_run(join(), ls(0..LONG), rs([0, LONG]));
    }
}

/// One right record of a hundred has a key.
fn run_keyless(join: JoinWith<L, R, Option<i64>>) {
    let keyless = |key| R { key, maybe: (key % 100 == 0).then_some(key) };
    let right: Vec<R> = (0..LONG).map(keyless).collect();
    let broker =
        MemoryBroker::new().read(ls(0..LONG)).read(right).write(&Collected::<Count>::new()).batch(10);
    let report = Mill::new(count).join(join.left()).memory_budget(FEW_BATCHES).run_blocking(broker).unwrap();
    assert_eq!(report.inputs[1].matched, LONG as u64 / 100);
}

#[test]
fn right_records_without_a_key_are_not_kept() {
    run_keyless(JoinWith::new(|l: &L| Some(l.key), R::fields().maybe));
    run_keyless(JoinWith::new(|l: &L| Some(l.key), R::fields().maybe).within(0..=3));
}

#[test]
fn right_records_without_a_key_are_not_kept_behind_the_match_of_an_as_of_join() {
    run_keyless(JoinWith::new(|l: &L| Some(l.key), R::fields().maybe).as_of());
}

/// One right record of a thousand is kept by its own join.
fn run_dropped(join: JoinWith<L, R, i64>) {
    fn deep(l: &L, r: &Joined<L, R>, _: &Joined<R, S>) -> Count {
        Count { n: r[l].len() }
    }
    let broker = MemoryBroker::new()
        .read(ls(0..LONG))
        .read(rs(0..LONG))
        .read(ss((0..LONG).filter(|key| key % 1000 == 0)))
        .write(&Collected::<Count>::new())
        .batch(10);
    let join = join.left().join(JoinWith::new(R::fields().key, S::fields().key));
    let report = Mill::new(deep).join(join).memory_budget(FEW_BATCHES).run_blocking(broker).unwrap();
    assert_eq!(report.inputs[1].matched, 5);
}

#[test]
fn right_records_that_their_own_joins_drop_are_not_kept() {
    run_dropped(by_key());
    run_dropped(by_key().within(0..=5));
}

#[test]
fn right_records_that_their_own_joins_drop_are_not_kept_behind_the_match_of_an_as_of_join() {
    run_dropped(by_key().as_of());
}

#[test]
fn an_open_window_holds_its_masters_and_their_groups_and_nothing_else() {
    fn all(masters: &[L], _: &Joined<L, R>) -> Count {
        Count { n: masters.len() }
    }
    // The first window is open while thousands of masters and right records pass by.
    let left = ls((0..LONG).chain([LONG * 2]));
    let right = rs([0].into_iter().chain(LONG..=LONG * 2));
    let broker = MemoryBroker::new().read(left).read(right).write(&Collected::<Count>::new()).batch(10);
    let mill = Mill::new(all).join(by_key()).window(Window::count(2)).memory_budget(FEW_BATCHES);
    let report = mill.run_blocking(broker).unwrap();
    assert_eq!((report.calls, report.inputs[0].matched), (1, 2));
}
