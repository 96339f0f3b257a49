//! What every broker promises: order, resume, EndOfStream, windows, commit after a crash, dead letters.
//!
//! A broker's tests implement [`Storage`] and call [`all`]. A storage has two inputs of one lane, and what was written to it can be looked at.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use watermill_core::broker::Broker;
use watermill_core::prelude::*;
use watermill_core::{DeadLetter, EndReason, RunError, RunReport};
use watermill_derive::StreamRecord;

/// The master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Left {
    /// Its key.
    pub time: i64,
}

/// What is joined to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Right {
    /// Its key.
    pub time: i64,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Pair {
    /// That of the first master.
    pub time: i64,
    /// How many masters.
    pub masters: usize,
    /// How many records were joined to them.
    pub joined: usize,
}

/// Something that can be read and written.
pub trait Storage {
    /// What runs on it.
    type Broker: Broker;

    /// Whether a mill that has ended says so when it is started again. Where whole outputs are made, it makes them anew instead.
    const REMEMBERS_THE_END: bool = true;

    /// A storage with these texts in its inputs, which end behind them.
    fn with(left: &[String], right: &[String]) -> Self;

    /// A broker that reads [`Left`] and [`Right`], and writes [`Pair`] and [`DeadLetter`]. For the second time it goes on where the first one stopped.
    fn broker(&self) -> Self::Broker;

    /// What was written and committed, in order.
    fn results(&self) -> (Vec<Pair>, Vec<DeadLetter>);

    /// How often the end of the results was told. A storage whose streams end without a mark tells it when they are whole.
    fn ends(&self) -> usize;
}

/// The text of a record.
fn text(time: i64) -> String {
    format!("{{\"time\":{time}}}")
}

fn texts(times: impl IntoIterator<Item = i64>) -> Vec<String> {
    times.into_iter().map(text).collect()
}

fn storage<S: Storage>() -> S {
    // Runs of equal keys on both sides, and keys without a partner.
    S::with(&texts((0..300).map(|time| time / 2)), &texts((0..150).filter(|time| time % 3 != 0)))
}

fn join() -> JoinWith<Left, Right, i64> {
    JoinWith::new(Left::fields().time, Right::fields().time)
}

fn mill() -> Mill<Left> {
    let pair = |left: &Left, right: &Joined<Left, Right>| Pair {
        time: left.time,
        masters: 1,
        joined: right[left].len(),
    };
    Mill::new(pair).join(join().left())
}

fn windows() -> Mill<Left> {
    let pair = |all: &[Left], right: &Joined<Left, Right>| {
        let joined = all.iter().map(|left| right[left].len()).sum();
        Pair { time: all[0].time, masters: all.len(), joined }
    };
    Mill::new(pair).join(join().left()).window(Window::count(7))
}

fn expected() -> Vec<Pair> {
    let joined = |time: i64| usize::from(time % 3 != 0);
    (0..300).map(|at| at / 2).map(|time| Pair { time, masters: 1, joined: joined(time) }).collect()
}

fn expected_windows() -> Vec<Pair> {
    let sum = |all: &[Pair]| all.iter().map(|pair| pair.joined).sum();
    expected().chunks(7).map(|all| Pair { time: all[0].time, masters: all.len(), joined: sum(all) }).collect()
}

fn ended(report: &RunReport) -> bool {
    matches!(report.end, EndReason::InputEnded { .. })
}

/// All of it.
pub fn all<S: Storage>() {
    once::<S>();
    end_of_stream::<S>();
    resume::<S>();
    crash::<S>();
    dead_letters::<S>();
}

/// What holds in a single run: results are in the order of the masters, whoever makes the calls, and the open window is emitted at the end.
pub fn once<S: Storage>() {
    for workers in [1, 4] {
        let of = storage::<S>();
        let report = mill().workers(workers).run_blocking(of.broker()).unwrap();
        assert!(ended(&report), "{report}");
        assert_eq!(of.results(), (expected(), Vec::new()), "{workers} workers");
        let of = storage::<S>();
        windows().workers(workers).run_blocking(of.broker()).unwrap();
        assert_eq!(of.results().0, expected_windows(), "{workers} workers");
    }
}

/// The end is told once, and a mill that is started again after it writes nothing twice.
pub fn end_of_stream<S: Storage>() {
    let of = storage::<S>();
    assert!(ended(&mill().run_blocking(of.broker()).unwrap()));
    assert_eq!(of.ends(), 1);
    for _ in 0..2 {
        let report = mill().run_blocking(of.broker()).unwrap();
        if S::REMEMBERS_THE_END {
            assert_eq!((report.end, report.calls), (EndReason::EndedBefore, 0));
        }
        assert_eq!((of.results().0, of.ends()), (expected(), 1));
    }
    let empty = S::with(&[], &[]);
    assert!(ended(&mill().run_blocking(empty.broker()).unwrap()));
    assert_eq!((empty.results(), empty.ends()), ((Vec::new(), Vec::new()), 1));
}

/// A run that was stopped goes on as if it had not been.
pub fn resume<S: Storage>() {
    for step in [90, 133] {
        let of = storage::<S>();
        let one = storage::<S>();
        for (mill, of, expected) in
            [(mill as fn() -> Mill<Left>, &of, expected()), (windows, &one, expected_windows())]
        {
            let mut runs = 0;
            while !ended(&mill().stop_after_records(step).run_blocking(of.broker()).unwrap()) {
                assert_eq!(of.ends(), 0);
                runs += 1;
                assert!(runs < 10);
            }
            assert_eq!((of.results().0, of.ends()), (expected, 1));
        }
    }
}

/// A run that fails between two commits has written what it committed, and the next one writes the rest.
pub fn crash<S: Storage>() {
    let of = storage::<S>();
    for fails_at in [37_u64, 120, 41, u64::MAX] {
        let calls = Arc::new(AtomicU64::new(0));
        let pair = move |left: &Left, right: &Joined<Left, Right>| match calls.fetch_add(1, Ordering::Relaxed)
        {
            call if call == fails_at => Err(std::io::Error::other("as if the power had gone")),
            _ => Ok(Pair { time: left.time, masters: 1, joined: right[left].len() }),
        };
        let result = Mill::new(pair).join(join().left()).commit_after_calls(10).run_blocking(of.broker());
        assert_eq!(result.is_ok(), fails_at == u64::MAX);
        if let Err(error) = result {
            assert!(matches!(error, RunError::Function { .. }), "{error}");
            let (written, all) = (of.results().0, expected());
            assert_eq!(written, all[..written.len()]);
        }
    }
    assert_eq!((of.results().0, of.ends()), (expected(), 1));
}

/// A bad record stops the run, again and again, until there is a policy for it.
pub fn dead_letters<S: Storage>() {
    let mut left = texts(0..60);
    left[20] = "{\"time\":\"noon\"}".to_owned();
    left[40] = text(3);
    let of = S::with(&left, &texts(0..60));
    for _ in 0..2 {
        let error = mill().commit_after_calls(1).run_blocking(of.broker()).unwrap_err();
        let RunError::BadRecord(bad) = &error else { panic!("{error}") };
        assert_eq!(bad.cause.kind(), "shape");
        let time: Vec<i64> = of.results().0.iter().map(|pair| pair.time).collect();
        assert_eq!(time, (0..20).collect::<Vec<_>>());
    }
    let report = mill().on_bad::<Left>(OnBad::DeadLetter).run_blocking(of.broker()).unwrap();
    assert_eq!(report.inputs[0].dead_lettered, 2, "{report}");
    let (results, letters) = of.results();
    let times: Vec<i64> = results.iter().map(|pair| pair.time).collect();
    assert_eq!(times, (0..60).filter(|time| ![20, 40].contains(time)).collect::<Vec<_>>());
    let kinds: Vec<&str> = letters.iter().map(|letter| letter.kind.as_str()).collect();
    assert_eq!(kinds, ["shape", "key_went_down"]);
    let raws: Vec<Option<&str>> = letters.iter().map(DeadLetter::text).collect();
    assert_eq!(raws, [Some(left[20].as_str()), Some(left[40].as_str())]);
}
