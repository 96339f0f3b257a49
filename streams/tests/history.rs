//! What is known of windows: which were emitted, while they are at work and afterwards.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, SystemTime};

use common::{Kept, Number, each, window};
use watermill_core::prelude::*;
use watermill_core::window::{Buffer, Emit, WindowEmitter};
use watermill_streams::{KeptWindow, MessageState, Stream};

fn numbers_of(window: &KeptWindow) -> Vec<u64> {
    window.messages.iter().map(|message| message.get::<Number>().unwrap().value).collect()
}

fn history(stream: &Stream<Number>) -> Vec<Vec<u64>> {
    stream.windows(0, 1000).unwrap().iter().map(numbers_of).collect()
}

#[test]
fn windows_of_messages_that_are_kept_are_remembered_in_their_order() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..10);
        numbers.close().unwrap();
        let results: Stream<common::Window> = kept.streams.stream("windows").unwrap();
        for (subscription, size) in [("by three", 3), ("by four", 4)] {
            numbers.subscribe(subscription).unwrap();
            let consumer = numbers.consumer().subscription(subscription).keep().write(&results);
            Mill::new(window).window(Window::count(size)).run_blocking(consumer).unwrap();
            results.reopen().unwrap();
        }
        let all = [
            vec![0, 1, 2],
            vec![3, 4, 5],
            vec![6, 7, 8],
            vec![9],
            vec![0, 1, 2, 3],
            vec![4, 5, 6, 7],
            vec![8, 9],
        ];
        assert_eq!(history(&numbers), all);
        let windows = numbers.windows(0, 5).unwrap();
        let names: Vec<&str> = windows.iter().flat_map(|window| window.subscription.as_deref()).collect();
        assert_eq!(names, ["by three", "by three", "by three", "by three", "by four"]);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert!(windows.iter().all(|window| window.emitted >= time));
        // From one on.
        let from: Vec<_> = numbers.windows(windows[2].number, 2).unwrap().iter().map(numbers_of).collect();
        assert_eq!(from, all[2..4]);
        numbers.clear().unwrap();
        assert!(numbers.windows(0, 9).unwrap().is_empty());
    });
}

#[test]
fn no_window_is_remembered_of_messages_that_leave() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..10);
        numbers.close().unwrap();
        Mill::new(|_: &[Number]| ()).window(Window::count(3)).run_blocking(numbers.clone()).unwrap();
        assert!(numbers.windows(0, 9).unwrap().is_empty());
    });
}

#[test]
fn windows_leave_with_their_messages() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..4);
        let mill = || Mill::new(|_: &[Number]| ()).window(Window::count(2));
        mill().stop_after_records(4).run_blocking(numbers.consumer().keep()).unwrap();
        assert_eq!(numbers.windows(0, 9).unwrap().len(), 2);
        kept.numbers("numbers", 4..6);
        // It does not keep any.
        mill().stop_after_records(2).run_blocking(numbers.clone()).unwrap();
        assert!(numbers.buffer().unwrap().is_empty() && numbers.windows(0, 9).unwrap().is_empty());
    });
}

#[test]
fn windows_grow_old_with_their_messages() {
    let kept = Kept::in_file();
    let numbers = kept.numbers("numbers", 0..4);
    numbers.max_age(Some(Duration::from_secs(60))).unwrap();
    let mill = || Mill::new(|_: &[Number]| ()).window(Window::count(2)).clock(kept.clock.clone());
    mill().stop_after_records(4).run_blocking(numbers.consumer().keep()).unwrap();
    assert_eq!(numbers.windows(0, 9).unwrap().len(), 2);
    kept.clock.advance(Duration::from_secs(61));
    kept.streams.housekeep().unwrap();
    assert!(numbers.windows(0, 9).unwrap().is_empty());
}

/// The even ones, sorted, two at a time.
struct SortedWindow;

impl WindowEmitter<Number> for SortedWindow {
    fn emit(&mut self, buffer: Buffer<'_, Number>) -> Emit {
        let mut even: Vec<usize> =
            (0..buffer.len()).filter(|at| buffer[*at].value.is_multiple_of(2)).collect();
        even.sort_by_key(|at| std::cmp::Reverse(buffer[*at].value));
        if even.len() < 2 { Emit::nothing() } else { Emit::take(even.into_iter().take(2)) }
    }
}

#[test]
fn windows_that_choose_are_remembered_as_they_were_emitted() {
    each(|kept| {
        let numbers = kept.numbers("numbers", [5, 2, 4, 7, 8, 6]);
        numbers.close().unwrap();
        let mill = Mill::new(|_: &[Number]| ()).window(Window::emitter(|| SortedWindow));
        mill.run_blocking(numbers.consumer().keep()).unwrap();
        // What is left at the end is one, too.
        assert_eq!(history(&numbers), [[4, 2], [8, 6], [5, 7]]);
    });
}

#[test]
fn windows_are_remembered_in_order_whichever_worker_is_done_first() {
    let kept = Kept::in_file();
    let numbers = kept.numbers("numbers", 0..40);
    numbers.close().unwrap();
    let uneven = |all: &[Number]| std::thread::sleep(Duration::from_millis(10 - all[0].value / 4 % 10));
    Mill::new(uneven)
        .window(Window::count(4))
        .workers(4)
        .commit_after_calls(1)
        .run_blocking(numbers.consumer().keep())
        .unwrap();
    let all: Vec<u64> = history(&numbers).into_iter().flatten().collect();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_window_that_failed_is_not_remembered_and_its_messages_are_free_again() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..6);
        let fails = |all: &[Number]| if all[0].value == 2 { Err("as a test") } else { Ok(()) };
        let mill = Mill::new(fails).window(Window::count(2)).commit_after_calls(1);
        assert!(mill.run_blocking(numbers.consumer().keep()).is_err());
        assert_eq!(history(&numbers), [[0, 1]]);
        let states: Vec<MessageState> =
            numbers.buffer().unwrap().iter().map(|message| message.state).collect();
        assert_eq!(states[..2], [MessageState::Processed; 2]);
        assert_eq!(states[2..], [MessageState::Appended; 4]);
    });
}

#[test]
fn what_a_slow_function_was_given_is_seen_as_emitted_and_what_waits_behind_it_as_claimed() {
    for whole in [false, true] {
        let kept = Kept::in_file();
        let numbers = kept.numbers("numbers", 0..10);
        let (begun, told) = channel();
        let (go, goes) = channel::<()>();
        let goes = Mutex::new(goes);
        let slow = move |all: &[Number]| {
            begun.send(all[0].value).unwrap();
            // Until the test lets go.
            let _ = goes.lock().unwrap().recv();
        };
        let consumer = if whole { numbers.consumer().whole() } else { numbers.consumer() };
        let run = Mill::new(slow).window(Window::count(3)).start(consumer).unwrap();
        assert_eq!(told.recv().unwrap(), 0);
        let states = || -> Vec<MessageState> {
            numbers.buffer().unwrap().iter().map(|message| message.state).collect()
        };
        assert_eq!(states()[0], MessageState::Claimed);
        // The lease is renewed, and tells.
        let since = Instant::now();
        while states()[0] != MessageState::Emitted {
            assert!(since.elapsed() < Duration::from_secs(20), "{:?}", states());
            kept.clock.advance(Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(states()[..3], [MessageState::Emitted; 3]);
        assert_eq!(states()[3], MessageState::Claimed);
        run.stop();
        drop(go);
        run.wait_blocking().unwrap();
        // It was done with the first window.
        let left = states();
        assert!(left.ends_with(&[MessageState::Appended; 7]), "{left:?}");
        assert!(!left.contains(&MessageState::Emitted) && !left.contains(&MessageState::Claimed), "{left:?}");
    }
}
