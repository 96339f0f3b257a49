//! Several calls at a time, as one sees it from outside: order, bounds, failures, time limits, ends.

#![allow(missing_docs, clippy::unwrap_used)]

extern crate watermill_core as watermill;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use watermill::function::AckError;
use watermill::prelude::*;
use watermill::{EndReason, OnError, RunError};
use watermill_derive::StreamRecord;

#[derive(StreamRecord, Clone, Debug)]
struct Number {
    value: u64,
}

#[derive(StreamRecord, Clone, Debug, PartialEq)]
struct Double {
    value: u64,
}

fn numbers(count: u64) -> Vec<Number> {
    (0..count).map(|value| Number { value }).collect()
}

fn doubles(count: u64) -> Vec<Double> {
    (0..count).map(|value| Double { value: 2 * value }).collect()
}

fn double(number: &Number) -> Double {
    Double { value: 2 * number.value }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An error with all its causes.
fn told<T: std::fmt::Debug>(result: Result<T, RunError>) -> String {
    format!("{:?}", result.unwrap_err())
}

#[test]
fn workers_give_their_results_in_the_order_of_the_input() {
    let out = Collected::<Double>::new();
    let slow = |number: &Number| {
        thread::sleep(Duration::from_micros(number.value * 7919 % 800));
        double(number)
    };
    let broker = MemoryBroker::new().read(numbers(300)).write(&out).batch(7);
    let report = Mill::new(slow).workers(4).run_blocking(broker).unwrap();
    assert_eq!((report.calls, report.results), (300, 300));
    assert_eq!(out.take(), doubles(300));
}

#[test]
fn workers_join_and_keep_the_arguments_of_each_call_apart() {
    #[derive(StreamRecord, Clone)]
    struct Line {
        number: u64,
        id: u64,
    }
    let lines: Vec<Line> = (0..600).map(|id| Line { number: id / 3, id }).collect();
    let sum = |number: &Number, lines: &Joined<Number, Line>| {
        thread::sleep(Duration::from_micros(number.value * 31 % 300));
        Double { value: lines[number].iter().map(|line| line.id).sum() }
    };
    let out = Collected::<Double>::new();
    let broker = MemoryBroker::new().read(numbers(200)).read(lines).write(&out).batch(5);
    let join = JoinWith::new(Number::fields().value, Line::fields().number);
    Mill::new(sum).join(join).workers(3).run_blocking(broker).unwrap();
    assert!(out.take().into_iter().eq((0..200).map(|number| Double { value: 9 * number + 3 })));
}

#[test]
fn no_more_calls_are_under_way_than_allowed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
    let mill = Mill::new_async(async move |_: &Number| {
        highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(millis(2)).await;
        counted.fetch_sub(1, Ordering::SeqCst);
    });
    mill.in_flight(5).run_blocking(MemoryBroker::new().read(numbers(40))).unwrap();
    assert_eq!((most.load(Ordering::SeqCst), now.load(Ordering::SeqCst)), (5, 0));
}

#[test]
fn acks_outstanding_are_bounded_and_the_end_waits_for_all() {
    let (send, receive) = mpsc::channel::<(u64, Ack<Double>)>();
    let begun = Arc::new(AtomicU64::new(0));
    let calls = Arc::clone(&begun);
    let hand_over = move |number: &Number, ack: Ack<Double>| {
        calls.fetch_add(1, Ordering::SeqCst);
        send.send((number.value, ack)).unwrap();
    };
    let out = Collected::<Double>::new();
    let broker = MemoryBroker::new().read(numbers(20)).write(&out);
    let handle = Mill::new(hand_over).in_flight(4).start(broker).unwrap();
    let mut held: Vec<_> = (0..4).map(|_| receive.recv().unwrap()).collect();
    // The fifth is not called while four are outstanding.
    assert!(receive.recv_timeout(millis(50)).is_err());
    assert_eq!(begun.load(Ordering::SeqCst), 4);
    // The last first: nothing leaves before the first.
    while let Some((value, ack)) = held.pop() {
        ack.save([Double { value: 2 * value }]).unwrap();
    }
    for _ in 4..19 {
        let (value, ack) = receive.recv().unwrap();
        ack.save([Double { value: 2 * value }]).unwrap();
    }
    let (value, last) = receive.recv().unwrap();
    thread::sleep(millis(30));
    assert_eq!(out.take(), [], "the end came before the last `Ack`");
    last.save([Double { value: 2 * value }]).unwrap();
    assert_eq!(handle.wait_blocking().unwrap().calls, 20);
    assert_eq!(out.take(), doubles(20));
}

#[test]
fn an_ack_that_is_dropped_has_failed() {
    let out = Collected::<Double>::new();
    let run = |policy: OnError| {
        let drop_odd = |number: &Number, ack: Ack<Double>| {
            if number.value.is_multiple_of(2) {
                ack.save([double(number)]).unwrap();
            }
        };
        let broker = MemoryBroker::new().read(numbers(6)).write(&out);
        Mill::new(drop_odd).on_error(policy).run_blocking(broker)
    };
    let text = told(run(OnError::stop()));
    assert!(text.contains("failed at the master `Number`, record 1"), "{text}");
    assert!(text.ends_with("its `Ack` was dropped without `save`"), "{text}");
    assert_eq!(out.take(), []);
    let report = run(OnError::skip()).unwrap();
    assert_eq!((report.calls, report.given_up), (6, 3));
    assert_eq!(out.take(), [0, 4, 8].map(|value| Double { value }));
}

#[test]
fn an_ack_is_refused_once_the_run_is_over() {
    for abort in [false, true] {
        let (send, receive) = mpsc::channel::<Ack<Double>>();
        let hand_over = move |_: &Number, ack: Ack<Double>| send.send(ack).unwrap();
        let out = Collected::<Double>::new();
        let handle = Mill::new(hand_over).start(MemoryBroker::new().read(numbers(3)).write(&out)).unwrap();
        let acks: Vec<_> = receive.iter().take(3).collect();
        // It waits for nothing but them by now: the input has ended.
        thread::sleep(millis(30));
        if abort {
            handle.abort();
        } else {
            handle.stop();
        }
        match handle.wait_blocking() {
            Ok(report) => assert_eq!((report.end, report.calls, abort), (EndReason::Stopped, 0, false)),
            Err(error) => assert!(abort && matches!(error, RunError::Aborted), "{error}"),
        }
        for ack in acks {
            // Who gives a run up does not wait until it has noticed.
            let start = Instant::now();
            while !ack.is_closed() && start.elapsed() < Duration::from_secs(10) {
                thread::yield_now();
            }
            assert_eq!(ack.save([Double { value: 1 }]), Err(AckError));
        }
        assert_eq!(out.take(), []);
    }
}

#[test]
fn a_panic_on_a_worker_is_an_error_that_names_the_record() {
    let brittle = |number: &Number| assert!(number.value != 17, "seventeen");
    let text = told(Mill::new(brittle).workers(3).run_blocking(MemoryBroker::new().read(numbers(40))));
    assert!(text.contains("failed at the master `Number`, record 17"), "{text}");
    assert!(text.ends_with("it panicked: seventeen"), "{text}");
    let report = Mill::new(brittle)
        .workers(3)
        .on_error(OnError::skip())
        .run_blocking(MemoryBroker::new().read(numbers(40)))
        .unwrap();
    assert_eq!((report.calls, report.given_up), (40, 1));
}

#[test]
fn calls_that_take_too_long_fail_async_and_not() {
    let out = Collected::<Double>::new();
    let hangs = |number: &Number| {
        if number.value == 2 {
            thread::sleep(millis(1500));
        }
        double(number)
    };
    let broker = || MemoryBroker::new().read(numbers(6)).write(&out);
    let start = Instant::now();
    let report =
        Mill::new(hangs).timeout(millis(100)).on_error(OnError::skip()).run_blocking(broker()).unwrap();
    assert!(start.elapsed() < millis(1400), "the call was waited for");
    assert_eq!((report.calls, report.given_up), (6, 1));
    assert_eq!(out.take(), [0, 2, 6, 8, 10].map(|value| Double { value }));
    let waits = async |number: &Number| {
        if number.value == 2 {
            std::future::pending::<()>().await;
        }
        double(number)
    };
    for calls in [1, 3] {
        let mill = Mill::new_async(waits).timeout(millis(20)).in_flight(calls);
        let text = told(mill.run_blocking(broker()));
        assert!(
            text.contains("record 2") && text.ends_with("it took longer than the timeout of 20ms"),
            "{text}"
        );
        let mill = Mill::new_async(waits).timeout(millis(20)).in_flight(calls).on_error(OnError::skip());
        assert_eq!(mill.run_blocking(broker()).unwrap().given_up, 1);
        assert_eq!(out.take().len(), 5);
    }
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_is_read() {
    fn check(mill: Mill<Number>, problem: &str) {
        let text = told(mill.run_blocking(MemoryBroker::new().read(numbers(1))));
        assert!(text.contains(problem), "{text}");
    }
    let sync = || Mill::new(|_: &Number| ());
    let waits = || Mill::new_async(async |_: &Number| ());
    let own = || Mill::per_lane(|| |_: &Number| ());
    check(
        own().workers(2),
        "the closure of `per_lane` belongs to one lane, so `.workers(2)` cannot share it",
    );
    check(own().timeout(millis(1)), "the closure of `per_lane` cannot be interrupted by `.timeout(..)`");
    check(own().in_flight(3), "`.in_flight(3)` is for async functions and for those that take an `Ack`");
    check(waits().workers(2), "wait beside each other on one thread, so `.workers(2)` is not for it");
    check(sync().in_flight(2), "`.in_flight(2)` is for async functions and for those that take an `Ack`");
    let retry = OnError::retry(1, watermill::Backoff::fixed(millis(1)));
    check(sync().timeout(millis(1)).on_error(retry), "its arguments are not free for another attempt");
    check(sync().workers(0), "`.workers(0)` leaves nobody to call the function");
    check(waits().in_flight(0), "`.in_flight(0)` allows no call at all");
}

#[test]
fn giving_up_answers_at_once_while_a_call_hangs() {
    for workers in [1, 2] {
        let free = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&free);
        let hangs = move |_: &Number| {
            while !until.load(Ordering::Relaxed) {
                thread::sleep(millis(1));
            }
        };
        let handle = Mill::new(hangs).workers(workers).start(MemoryBroker::new().read(numbers(9))).unwrap();
        let control = handle.control();
        thread::sleep(millis(10));
        let start = Instant::now();
        control.abort();
        assert!(matches!(handle.wait_blocking(), Err(RunError::Aborted)));
        assert!(start.elapsed() < millis(500));
        free.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_run_that_commits_nothing_fails() {
    let hangs = async |_: &Number| std::future::pending::<()>().await;
    let mill = Mill::new_async(hangs).in_flight(3).fail_without_commit(millis(60));
    let result = mill.run_blocking(MemoryBroker::new().read(numbers(9)));
    assert!(matches!(result, Err(RunError::NoCommit { .. })), "{result:?}");
    // Commits keep it alive.
    let slow = |_: &Number| thread::sleep(millis(10));
    let mill = Mill::new(slow).commit_after_calls(1).fail_without_commit(millis(500));
    assert_eq!(mill.run_blocking(MemoryBroker::new().read(numbers(20))).unwrap().calls, 20);
}

#[test]
fn several_mills_run_at_the_same_time_on_one_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let all = Collected::<Double>::new();
        let waits = async |number: &Number| {
            tokio::time::sleep(millis(1)).await;
            double(number)
        };
        let start = |calls: usize| {
            let broker = MemoryBroker::new().read(numbers(50)).write(&all);
            Mill::new_async(waits).in_flight(calls).start(broker).unwrap()
        };
        let handles = [start(1), start(4), start(16)];
        for handle in handles {
            assert_eq!(handle.wait().await.unwrap().calls, 50);
        }
        let broker = || MemoryBroker::new().read(numbers(50)).write(&all);
        let (one, other) = (Mill::new(double).workers(2).start(broker()).unwrap(), Mill::new(double));
        assert_eq!(other.run(broker()).await.unwrap().calls, 50);
        assert_eq!(one.wait().await.unwrap().calls, 50);
        assert_eq!(all.take().len(), 250);
    });
}

#[test]
fn what_one_call_ends_no_other_call_under_way_writes_to() {
    // The second call has written before the first one ends the stream.
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(())));
    let guard = ended.lock().unwrap();
    let (count, gate) = (Arc::clone(&begun), Arc::clone(&ended));
    let function = move |number: &Number, out: &mut Out<Double>| {
        if number.value > 0 {
            out.push(double(number));
        }
        count.fetch_add(1, Ordering::SeqCst);
        if number.value == 0 {
            drop(gate.lock());
            out.end();
        }
        double(number)
    };
    // Two result streams of one type are not allowed; the returned one has a type of its own.
    #[derive(StreamRecord, Debug)]
    struct Other {
        #[allow(dead_code)]
        value: u64,
    }
    let both = move |number: &Number, out: &mut Out<Double>| Other { value: function(number, out).value };
    let (out, other) = (Collected::<Double>::new(), Collected::<Other>::new());
    let broker = MemoryBroker::new().read(numbers(3)).write(&out).write(&other);
    let handle = Mill::new(both).workers(3).start(broker).unwrap();
    while begun.load(Ordering::SeqCst) < 3 {
        thread::yield_now();
    }
    drop(guard);
    let text = told(handle.wait_blocking());
    assert!(text.contains("record 1") && text.contains("that it had ended with `end()`"), "{text}");
    assert_eq!(out.take(), []);
}

#[test]
fn times_too_far_ahead_are_never() {
    let far = Duration::MAX;
    let mill = |mill: Mill<Number>| {
        mill.commit_every(far).stop_after(far).stop_when_idle(far).fail_without_commit(far).timeout(far)
    };
    for calls in [1, 4] {
        let mill = mill(Mill::new_async(async |_: &Number| tokio::task::yield_now().await)).in_flight(calls);
        assert_eq!(mill.run_blocking(MemoryBroker::new().read(numbers(20)).batch(3)).unwrap().calls, 20);
    }
    let mill = mill(Mill::new(|_: &Number| ())).workers(2);
    assert_eq!(mill.run_blocking(MemoryBroker::new().read(numbers(20)).batch(3)).unwrap().calls, 20);
}
