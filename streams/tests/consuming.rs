//! Who gets which messages, and what becomes of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{Kept, Number, each, values, window, windows};
use watermill_core::clock::ManualClock;
use watermill_core::prelude::*;
use watermill_core::window::{Buffer, Emit, WindowEmitter};
use watermill_core::{EndReason, RunError};
use watermill_streams::{MessageState, RunOnce, Status, Stream, Streams};

fn noting() -> (Arc<Mutex<Vec<u64>>>, Mill<Number>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    (seen, Mill::new(move |number: &Number| note.lock().unwrap().push(number.value)))
}

#[test]
fn consumers_share_a_stream_and_each_message_goes_to_one() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..3000);
        numbers.close().unwrap();
        let (seen, _) = noting();
        let handles: Vec<_> = (0..4)
            .map(|_| {
                let note = Arc::clone(&seen);
                let mill = Mill::new(move |all: &[Number]| {
                    note.lock().unwrap().extend(all.iter().map(|one| one.value));
                });
                mill.window(Window::count(7)).start(numbers.clone()).unwrap()
            })
            .collect();
        let calls: u64 = handles.into_iter().map(|handle| handle.wait_blocking().unwrap().calls).sum();
        let mut seen = seen.lock().unwrap();
        seen.sort_unstable();
        assert_eq!(*seen, (0..3000).collect::<Vec<_>>());
        // All windows but the last are whole, whoever made them.
        assert_eq!(calls, 3000_u64.div_ceil(7));
        assert!(numbers.buffer().unwrap().is_empty());
        assert_eq!(numbers.info().unwrap().status, Status::Processed);
    });
}

#[test]
fn every_subscription_sees_every_message() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..50);
        for name in ["one", "two", "three"] {
            numbers.subscribe(name).unwrap();
        }
        kept.numbers("numbers", 50..100);
        numbers.close().unwrap();
        for (turn, name) in ["one", "two", "three"].into_iter().enumerate() {
            let (seen, mill) = noting();
            mill.run_blocking(numbers.consumer().subscription(name)).unwrap();
            assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
            // Messages stay for those who have not seen them.
            assert_eq!(values(&numbers).len(), if turn < 2 { 100 } else { 0 });
        }
        assert_eq!(numbers.info().unwrap().status, Status::Processed);
    });
}

#[test]
fn what_is_kept_stays_as_processed() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..5);
        let (_, mill) = noting();
        mill.stop_after_records(3).run_blocking(numbers.consumer().keep()).unwrap();
        let states: Vec<MessageState> =
            numbers.buffer().unwrap().iter().map(|message| message.state).collect();
        assert_eq!(states[..3], [MessageState::Processed; 3]);
        assert_eq!(states[3..], [MessageState::Appended; 2]);
        assert_eq!(numbers.len().unwrap(), 2);
    });
}

#[test]
fn a_run_that_stops_gives_back_what_it_was_not_done_with() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..100);
        for part in 0..10 {
            let (seen, mill) = noting();
            let report = mill.stop_after_records(10).run_blocking(numbers.clone()).unwrap();
            assert_eq!(report.end, EndReason::Records);
            assert_eq!(*seen.lock().unwrap(), (part * 10..part * 10 + 10).collect::<Vec<_>>());
        }
        assert!(numbers.is_empty().unwrap());
    });
}

#[test]
fn what_fails_is_released_and_comes_again() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..20);
        numbers.close().unwrap();
        let squares: Stream<Number> = kept.streams.stream("squares").unwrap();
        let failing = Arc::new(AtomicBool::new(true));
        let run = || {
            let failing = Arc::clone(&failing);
            let square = move |number: &Number| {
                if number.value == 13 && failing.load(Ordering::Relaxed) {
                    return Err("thirteen");
                }
                Ok(Number { value: number.value * number.value })
            };
            Mill::new(square).commit_after_calls(1).run_blocking(numbers.consumer().write(&squares))
        };
        assert!(matches!(run().unwrap_err(), RunError::Function { .. }));
        assert_eq!(values(&squares), (0..13).map(|value| value * value).collect::<Vec<_>>());
        assert_eq!(values(&numbers), (13..20).collect::<Vec<_>>());
        assert!(numbers.buffer().unwrap().iter().all(|message| message.state == MessageState::Appended));
        failing.store(false, Ordering::Relaxed);
        run().unwrap();
        assert_eq!(values(&squares), (0..20).map(|value| value * value).collect::<Vec<_>>());
        assert_eq!(run().unwrap().end, EndReason::EndedBefore);
    });
}

#[test]
fn calls_beside_each_other_keep_the_order_of_results() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..500);
        numbers.close().unwrap();
        let copies: Stream<Number> = kept.streams.stream("copies").unwrap();
        Mill::new(|number: &Number| *number)
            .workers(4)
            .run_blocking(numbers.consumer().write(&copies))
            .unwrap();
        assert_eq!(values(&copies), (0..500).collect::<Vec<_>>());
    });
}

#[test]
fn messages_of_another_type_stop_the_mill_and_stay_where_they_were() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..3);
        kept.streams.put(&"no number", "numbers").unwrap();
        kept.numbers("numbers", 4..6);
        numbers.close().unwrap();
        for _ in 0..2 {
            let (_, mill) = noting();
            let error = mill.commit_after_calls(1).run_blocking(numbers.clone()).unwrap_err();
            let RunError::BadRecord(bad) = &error else { panic!("{error}") };
            assert_eq!(
                (bad.cause.kind(), bad.place.to_string().as_str()),
                ("shape", "stream `numbers`, message 3")
            );
            assert_eq!(numbers.len().unwrap(), 3);
        }
        let (seen, mill) = noting();
        let report = mill.on_bad::<Number>(OnBad::Skip).run_blocking(numbers.clone()).unwrap();
        assert_eq!((report.inputs[0].skipped, seen.lock().unwrap().as_slice()), (1, &[4, 5][..]));
        let left = numbers.buffer().unwrap();
        assert_eq!((left.len(), left[0].number, left[0].state), (1, 3, MessageState::Refused));
        // Somebody may be able to read it.
        numbers.reopen().unwrap();
        assert_eq!(numbers.retry_refused().unwrap(), 1);
        let texts = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&texts);
        let mill = Mill::new(move |text: &Json| note.lock().unwrap().push(text.0.clone()));
        mill.run_once_blocking(kept.streams.get("numbers").unwrap()).unwrap();
        assert_eq!(*texts.lock().unwrap(), ["no number"]);
        assert!(numbers.buffer().unwrap().is_empty());
    });
}

#[test]
fn dead_letters_go_with_the_commit_and_the_messages_stay() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..3);
        kept.streams.put(&"no number", "numbers").unwrap();
        numbers.close().unwrap();
        let letters: Stream<DeadLetter> = kept.streams.stream("letters").unwrap();
        let (seen, mill) = noting();
        let mill = mill.on_bad::<Number>(OnBad::DeadLetter);
        mill.run_blocking(numbers.consumer().write(&letters)).unwrap();
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
        let letter: DeadLetter = serde_json::from_slice(&letters.buffer().unwrap()[0].text).unwrap();
        assert_eq!((letter.text(), letter.kind.as_str()), (Some("\"no number\""), "shape"));
        assert_eq!(numbers.buffer().unwrap()[0].state, MessageState::Refused);
    });
}

#[test]
fn all_windows_work_over_streams() {
    struct Evens;
    impl WindowEmitter<Number> for Evens {
        fn emit(&mut self, numbers: Buffer<'_, Number>) -> Emit {
            let mut evens: Vec<usize> =
                (0..numbers.len()).filter(|at| numbers[*at].value.is_multiple_of(2)).collect();
            evens.sort_by_key(|at| std::cmp::Reverse(numbers[*at].value));
            if evens.len() < 3 { Emit::nothing() } else { Emit::take(evens) }
        }
    }
    each(|kept| {
        let expected: [(WindowOf, Vec<Vec<u64>>); 5] = [
            (|| Window::count(4), vec![vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]),
            (|| Window::by(Number::fields().value / 6), vec![(0..6).collect(), (6..10).collect()]),
            (|| Window::session(3_u64).by(Number::fields().value), vec![(0..10).collect()]),
            (
                || Window::sliding(4_u64, 2_u64).by(Number::fields().value),
                vec![
                    vec![0, 1],
                    vec![0, 1, 2, 3],
                    vec![2, 3, 4, 5],
                    vec![4, 5, 6, 7],
                    vec![6, 7, 8, 9],
                    vec![8, 9],
                ],
            ),
            (|| Window::emitter(|| Evens), vec![vec![4, 2, 0], vec![10, 8, 6], vec![1, 3, 5, 7, 9]]),
        ];
        for (at, (make, expected)) in expected.into_iter().enumerate() {
            let last = if at == 4 { 11 } else { 10 };
            let numbers = kept.numbers(&format!("numbers-{at}"), 0..last);
            numbers.close().unwrap();
            let results = kept.streams.stream(&format!("windows-{at}")).unwrap();
            // Stopped and taken up again and again.
            for _ in 0..20 {
                let mill = Mill::new(window).window(make()).commit_after_calls(1).stop_after_records(3);
                let report = mill.run_blocking(numbers.consumer().write(&results)).unwrap();
                if matches!(report.end, EndReason::InputEnded { .. }) {
                    break;
                }
            }
            let mut found = windows(&results);
            found.iter_mut().for_each(|window| {
                if at == 4 && window.len() == 5 {
                    window.sort_unstable();
                }
            });
            assert_eq!(found, expected, "window {at}");
        }
    });
}

type WindowOf = fn() -> Window<Number>;

#[test]
fn one_window_at_a_time_for_jobs_that_are_run_now_and_then() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..7);
        let results = kept.streams.stream("windows").unwrap();
        let once = |window_of: WindowOf| {
            let consumer = numbers.consumer().write(&results);
            // It is not over when time has passed, but when there was a window.
            let mill = Mill::new(window).window(window_of()).commit_every(Duration::from_nanos(1));
            mill.run_once_blocking(consumer).unwrap().calls
        };
        assert_eq!((once(|| Window::count(5)), once(|| Window::count(5))), (1, 0));
        assert_eq!(values(&numbers), [5, 6]);
        // A window that closes by itself takes what is there.
        assert_eq!(once(|| Window::relaxed(Duration::from_secs(60))), 1);
        assert_eq!(once(|| Window::relaxed(Duration::from_secs(60))), 0);
        assert_eq!(windows(&results), [vec![0, 1, 2, 3, 4], vec![5, 6]]);
        kept.numbers("numbers", [20, 21, 22, 30]);
        assert_eq!(once(|| Window::by(Number::fields().value / 10)), 1);
        assert_eq!(once(|| Window::by(Number::fields().value / 10)), 0);
        assert_eq!((windows(&results)[2].clone(), numbers.len().unwrap()), (vec![20, 21, 22], 1));
        let single = Mill::new(|_: &Number| ()).run_once_blocking(&numbers).unwrap();
        assert_eq!((single.calls, numbers.len().unwrap()), (1, 0));
    });
}

#[test]
fn a_join_of_streams_has_them_alone_and_goes_on_where_it_stopped() {
    each(|kept| {
        let left = kept.numbers("left", 0..40);
        let right: Stream<common::Window> = kept.streams.stream("right").unwrap();
        right.append_all(&(0..40).map(|at| common::Window { values: vec![at] }).collect::<Vec<_>>()).unwrap();
        left.close().unwrap();
        right.close().unwrap();
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let sum = |left: &Number, right: &Joined<Number, common::Window>| Number {
            value: left.value + right.only().iter().map(|window| window.values[0]).sum::<u64>(),
        };
        let mut runs = 0;
        loop {
            let join = JoinWith::new(|left: &Number| left.value, |right: &common::Window| right.values[0]);
            let mill = Mill::new(sum).join(join).stop_after_records(9);
            let report = mill.run_blocking(left.consumer().read(&right).write(&results)).unwrap();
            runs += 1;
            if matches!(report.end, EndReason::InputEnded { .. }) {
                break;
            }
        }
        assert_eq!(runs, 5);
        assert_eq!(values(&results), (0..40).map(|at| 2 * at).collect::<Vec<_>>());
        // What the last master was joined to is still at hand when it ends.
        assert!(left.is_empty().unwrap() && right.len().unwrap() <= 1);
    });
}

#[test]
fn a_mill_that_shared_and_one_that_has_all_take_turns() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..30);
        let seen = Arc::new(Mutex::new(Vec::new()));
        for turn in 0..6 {
            let note = Arc::clone(&seen);
            let mill = Mill::new(move |number: &Number| note.lock().unwrap().push(number.value))
                .stop_after_records(5);
            let consumer = numbers.consumer();
            mill.run_blocking(if turn % 2 == 0 { consumer } else { consumer.whole() }).unwrap();
        }
        assert_eq!(*seen.lock().unwrap(), (0..30).collect::<Vec<_>>());
    });
}

#[test]
fn results_that_another_broker_writes_are_committed_first_and_once() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..30);
        numbers.close().unwrap();
        let collected = Collected::<Number>::new();
        let report = Mill::new(|number: &Number| *number)
            .run_blocking(MemoryBroker::new().write(&collected).and(numbers.clone()))
            .unwrap();
        assert_eq!((report.results, collected.take().len(), numbers.len().unwrap()), (30, 30, 0));
    });
}

#[test]
fn records_from_elsewhere_are_appended_exactly_once() {
    each(|kept| {
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let elsewhere =
            || MemoryBroker::new().read((0..20).map(|value| Number { value }).collect::<Vec<_>>());
        for _ in 0..5 {
            let mill = Mill::new(|number: &Number| *number).stop_after_records(6);
            mill.run_blocking(elsewhere().and(kept.streams.broker().write(&results))).unwrap();
        }
        assert_eq!(values(&results), (0..20).collect::<Vec<_>>());
        assert_eq!(results.info().unwrap().status, Status::Closed);
    });
}

#[test]
fn a_consumer_waits_for_what_other_threads_and_handles_append() {
    each(|kept| {
        let numbers = kept.numbers("numbers", []);
        let (seen, mill) = noting();
        let running = mill.start(numbers.clone()).unwrap();
        // As another process would, where one could.
        let other =
            if kept.url == "memory:" { kept.streams.clone() } else { Streams::open(&kept.url).unwrap() };
        let other = other.stream::<Number>("numbers").unwrap();
        for value in 0..20 {
            other.append(&Number { value }).unwrap();
        }
        other.close().unwrap();
        running.wait_blocking().unwrap();
        assert_eq!(*seen.lock().unwrap(), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_mill_that_ends_by_silence_ends_and_goes_on_another_time() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..3);
        for (turn, whole) in [(1, false), (2, false), (3, true)] {
            let (seen, mill) = noting();
            let consumer = if whole { numbers.consumer().whole() } else { numbers.consumer() };
            let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
            let mill = mill.eos_after::<Number>(Duration::from_secs(1)).clock(clock.clone());
            let over = AtomicBool::new(false);
            let report = std::thread::scope(|scope| {
                // It is quiet only when all has been seen.
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        if seen.lock().unwrap().len() == 3 {
                            clock.advance(Duration::from_secs(1));
                        }
                        std::thread::yield_now();
                    }
                });
                let report = mill.run_blocking(consumer).unwrap();
                over.store(true, Ordering::Relaxed);
                report
            });
            assert!(matches!(report.end, EndReason::InputEnded { marked: false, .. }), "{report}");
            assert_eq!(*seen.lock().unwrap(), (turn * 3 - 3..turn * 3).collect::<Vec<_>>());
            kept.numbers("numbers", turn * 3..turn * 3 + 3);
        }
    });
}

#[test]
fn a_function_that_ends_the_stream_ends_it_for_all() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..10);
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let until_four = || {
            let mill =
                Mill::new(|number: &Number| if number.value == 4 { Flow::End } else { Flow::Go(*number) });
            mill.run_blocking(numbers.consumer().write(&results)).unwrap()
        };
        assert_eq!(until_four().end, EndReason::Function);
        assert_eq!((values(&results), results.info().unwrap().status), (vec![0, 1, 2, 3], Status::Closed));
        assert_eq!(until_four().end, EndReason::EndedBefore);
    });
}

#[test]
fn misuse_is_told_before_anything_runs() {
    let (one, two) = (Kept::in_memory(), Kept::in_memory());
    let (numbers, others) = (one.numbers("numbers", 0..3), two.numbers("numbers", 0..3));
    let copy = || Mill::new(|number: &Number| *number);
    for (consumer, told) in [
        (numbers.consumer().write(&others), "another store"),
        (numbers.consumer().write(&numbers), "would never end"),
        (numbers.consumer().subscription(""), "at least one character"),
        (numbers.consumer().lease(Duration::ZERO), "cannot be renewed"),
    ] {
        let error = format!("{:?}", copy().run_blocking(consumer).unwrap_err());
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(numbers.len().unwrap(), 3);
}
