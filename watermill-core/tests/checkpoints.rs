//! What the last call was given, of every shape of mill: while it runs, when it is over, and when a call fails.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
extern crate watermill_core as watermill;

use std::process::Command;

use watermill::prelude::*;
use watermill::testing::TestMill;
use watermill::{CallReport, LastCall, RunError, RunReport};
use watermill_derive::StreamRecord;

// None of them can be cloned or printed.
#[derive(StreamRecord)]
struct A {
    k: i64,
}
#[derive(StreamRecord)]
struct B {
    k: i64,
    c: i64,
}
#[derive(StreamRecord)]
struct C {
    c: i64,
}
#[derive(StreamRecord)]
struct Sum {
    _k: i64,
}

fn a_to_b() -> JoinWith<A, B, i64> {
    JoinWith::new(A::fields().k, B::fields().k)
}

fn broker(batch: usize) -> MemoryBroker {
    let a = (0..40).map(|k| A { k }).collect();
    let b = (0..80).map(|at| B { k: at / 2, c: at / 4 }).collect();
    let c = (0..20).map(|c| C { c }).collect();
    MemoryBroker::new().read::<A>(a).read::<B>(b).read::<C>(c).write(&Collected::<Sum>::new()).batch(batch)
}

fn text(report: &RunReport) -> String {
    report.last_call.as_ref().unwrap().to_string()
}

#[test]
fn the_last_call_is_told_whatever_the_batches() {
    for batch in [1, 2, 3, 7, 1000] {
        let sum = |a: &A, _: &Joined<A, B>| vec![Sum { _k: a.k }, Sum { _k: a.k }];
        let report = Mill::new(sum).join(a_to_b()).checkpoint().run_blocking(broker(batch)).unwrap();
        let expected = "`A` at record 39 with key 39, 2 `B` from record 78 to record 79; 2 `Sum`";
        assert_eq!(text(&report), expected, "batches of {batch}");
        assert!(report.to_string().ends_with(&format!("\n  last call: {expected}")), "{report}");

        let deep = |_: &A, _: &Joined<A, B>, _: &Joined<B, C>| ();
        let join = a_to_b().join(JoinWith::new(B::fields().c, C::fields().c));
        let report = Mill::new(deep).join(join).checkpoint().run_blocking(broker(batch)).unwrap();
        let expected = "`A` at record 39 with key 39, 2 `B` from record 78 to record 79, `C` at record 19";
        assert_eq!(text(&report), expected, "batches of {batch}");

        let picked = |_: &A, _: &Joined<A, B>| ();
        let join = a_to_b().within(-30..=0).and(A::fields().k % 3, B::fields().c % 3);
        let report = Mill::new(picked).join(join).checkpoint().run_blocking(broker(batch)).unwrap();
        let matching: Vec<i64> =
            (0..80).filter(|at| (9..=39).contains(&(at / 2)) && at / 4 % 3 == 0).collect();
        let (first, last) = (matching[0], matching[matching.len() - 1]);
        let count = matching.len();
        let expected =
            format!("`A` at record 39 with key 39, {count} `B` from record {first} to record {last}");
        assert_eq!(text(&report), expected, "batches of {batch}");

        let window = |_: &[A], _: &Joined<A, B>| ();
        let mill = Mill::new(window).join(a_to_b()).window(Window::count(15)).checkpoint();
        let report = mill.run_blocking(broker(batch)).unwrap();
        assert_eq!(text(&report), "10 `A` from record 30 to record 39", "batches of {batch}");
    }
}

#[test]
fn records_are_looked_at_where_they_stand() {
    let sum = |_: &A, _: &Joined<A, B>, _: &Joined<B, C>| ();
    for batch in [1, 2, 3, 7, 1000] {
        let join = a_to_b().join(JoinWith::new(B::fields().c, C::fields().c));
        let handle = Mill::new(sum).join(join).checkpoint().start(broker(batch)).unwrap();
        let control = handle.control();
        handle.wait_blocking().unwrap();
        let call = control.checkpoint().unwrap();
        assert_eq!(call.master::<A>().unwrap().k, 39);
        assert!(call.master::<B>().is_none() && call.records::<A>().next().is_none());
        assert_eq!(call.records::<B>().map(|b| (b.k, b.c)).collect::<Vec<_>>(), [(39, 19), (39, 19)]);
        assert_eq!(call.records::<C>().map(|c| c.c).collect::<Vec<_>>(), [19]);
    }
}

#[test]
fn a_run_that_waits_tells_its_last_call_exactly() {
    let mill = Mill::new(|_: &A, _: &Joined<A, B>| ()).join(a_to_b()).checkpoint();
    let mut test = TestMill::new(mill).unwrap();
    test.run().unwrap();
    assert!(test.checkpoint().is_none());
    for k in 0..50 {
        test.feed(A { k });
        test.feed_all([B { k, c: 7 }, B { k: k + 1, c: 8 }].into_iter().filter(|b| b.k <= k || k % 5 == 0));
        test.run().unwrap();
        // Its group is complete once a greater key was seen.
        if k % 5 == 0 {
            let call = test.checkpoint().unwrap();
            assert_eq!(call.master::<A>().unwrap().k, k);
            assert!(call.records::<B>().all(|b| b.k == k));
        }
    }
}

fn failure(mill: Mill<A>) -> (String, CallReport) {
    let error = mill.run_blocking(broker(7)).unwrap_err();
    let message = error.to_string();
    let RunError::Function { call, .. } = error else { panic!("{message}") };
    (message, *call.unwrap())
}

#[test]
fn a_call_that_fails_says_what_it_was_given() {
    let fails = |a: &A, _: &Joined<A, B>| if a.k == 23 { Err("23") } else { Ok(Some(Sum { _k: a.k })) };
    let given = "`A` at record 23 with key 23, 2 `B` from record 46 to record 47";
    let (direct, call) = failure(Mill::new(fails).join(a_to_b()).checkpoint());
    assert!(direct.ends_with(&format!("; it was given {given}")), "{direct}");
    assert!(call.failed && call.results[0].records == 0);
    let (parallel, call) = failure(Mill::new(fails).join(a_to_b()).workers(2).checkpoint());
    assert!(parallel.ends_with(&format!("; it was given {given}")), "{parallel}");
    assert_eq!(call.to_string(), given);
    let fails = async |a: &A, _: &Joined<A, B>| if a.k == 23 { Err("23") } else { Ok(Some(Sum { _k: a.k })) };
    let (parallel, _) = failure(Mill::new_async(fails).join(a_to_b()).in_flight(5).checkpoint());
    assert!(parallel.ends_with(&format!("; it was given {given}")), "{parallel}");
    let fails = |a: &[A]| if a[0].k == 20 { Err("20") } else { Ok(Some(Sum { _k: a[0].k })) };
    let (window, _) = failure(Mill::new(fails).window(Window::count(10)).checkpoint());
    assert!(window.ends_with("; it was given 10 `A` from record 20 to record 29"), "{window}");
}

#[test]
fn without_it_nothing_is_kept() {
    let fails = |a: &A| if a.k == 23 { Err("23") } else { Ok(()) };
    let handle = Mill::new(fails).start(broker(7)).unwrap();
    let control = handle.control();
    let error = handle.wait_blocking().unwrap_err();
    assert!(matches!(error, RunError::Function { call: None, .. }));
    assert!(control.checkpoint().is_none());
}

/// The environment cannot be changed safely from within: the test runs itself again.
#[test]
fn the_environment_switches_it_off() {
    const INNER: &str = "CHECKPOINT_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        let report = Mill::new(|_: &A| ()).checkpoint().run_blocking(broker(7)).unwrap();
        println!("kept: {}", report.last_call.is_some());
        return;
    }
    for (value, kept) in
        [("off", false), ("OFF", false), ("0", false), ("false", false), ("on", true), ("", true)]
    {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_environment_switches_it_off", "--nocapture"])
            .env(INNER, "1")
            .env("WATERMILL_CHECKPOINT", value)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("kept: {kept}")), "WATERMILL_CHECKPOINT={value}: {text}");
    }
}

#[test]
fn it_is_shared_by_threads_and_outlives_its_run() {
    fn usable<T: Clone + Send + Sync + 'static>() {}
    usable::<LastCall>();
}
