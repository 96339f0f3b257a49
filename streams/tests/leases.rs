//! Consumers that are not heard of any more, and clocks that are set.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime};

use common::{Kept, Number, values};
use watermill_core::clock::ManualClock;
use watermill_core::prelude::*;
use watermill_core::{EndReason, MillHandle};
use watermill_streams::{MessageState, Stream, Streams};

/// What the times in these tests are told by.
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// A mill whose first call tells that it has begun, and waits until it may go on.
fn stuck() -> (Mill<Number>, Receiver<u64>, Sender<()>) {
    let (begun, told) = channel();
    let (go, goes) = channel::<()>();
    let goes = Mutex::new(Some(goes));
    let mill = Mill::new(move |number: &Number| {
        if let Some(goes) = goes.lock().unwrap().take() {
            begun.send(number.value).unwrap();
            // Until the test lets go.
            let _ = goes.recv();
        }
        *number
    });
    (mill.commit_after_calls(1), told, go)
}

/// The same streams under a clock of its own, as another process has it.
fn beside(kept: &Kept, at: SystemTime) -> (Streams, ManualClock) {
    let clock = ManualClock::new(at);
    (Streams::open(&kept.url).unwrap().clock(clock.clone()), clock)
}

fn consume(streams: &Streams, whole: bool) -> MillHandle {
    let (numbers, results) =
        (streams.stream::<Number>("numbers").unwrap(), streams.stream::<Number>("results").unwrap());
    let consumer = numbers.consumer().lease(HALF_A_MINUTE).write(&results);
    let mill = Mill::new(|number: &Number| *number).commit_after_calls(1);
    mill.start(if whole { consumer.whole() } else { consumer }).unwrap()
}

#[test]
fn what_a_silent_consumer_had_goes_to_another_one_and_it_commits_nothing_any_more() {
    common::each_shared(|kept, whole| {
        let numbers = kept.numbers("numbers", 0..10);
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let (mill, told, go) = stuck();
        let consumer = numbers.consumer().lease(HALF_A_MINUTE).write(&results);
        // Its clock stands still, so that it does not renew anything.
        let silent = mill.start(if whole { consumer.whole() } else { consumer }).unwrap();
        assert_eq!(told.recv().unwrap(), 0);
        assert!(numbers.buffer().unwrap().iter().all(|message| message.state == MessageState::Claimed));
        numbers.close().unwrap();
        // Half a minute later by the clock of another process.
        let (late, _) = beside(kept, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_031));
        consume(&late, whole).wait_blocking().unwrap();
        assert_eq!(values(&results), (0..10).collect::<Vec<_>>());
        go.send(()).unwrap();
        let report = silent.wait_blocking().unwrap();
        assert!(matches!(report.end, EndReason::Revoked | EndReason::EndedBefore), "{report}");
        assert_eq!(report.results, 0);
        assert_eq!(values(&results), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn a_lease_that_has_not_expired_is_waited_for() {
    common::each_shared(|kept, whole| {
        let numbers = kept.numbers("numbers", 0..10);
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let (mill, told, go) = stuck();
        let consumer = numbers.consumer().lease(HALF_A_MINUTE).write(&results);
        let slow = mill.start(if whole { consumer.whole() } else { consumer }).unwrap();
        told.recv().unwrap();
        numbers.close().unwrap();
        let (late, _) = beside(kept, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_029));
        let waiting = consume(&late, whole);
        go.send(()).unwrap();
        let slow = slow.wait_blocking().unwrap();
        assert_eq!(slow.results, 10);
        assert_eq!(waiting.wait_blocking().unwrap().results, 0);
        assert_eq!(values(&results), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn leases_are_renewed_however_long_a_call_takes() {
    common::each_shared(|kept, whole| {
        let numbers = kept.numbers("numbers", 0..10);
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let (mill, told, go) = stuck();
        let consumer = numbers.consumer().lease(HALF_A_MINUTE).write(&results);
        let slow = mill.start(if whole { consumer.whole() } else { consumer }).unwrap();
        told.recv().unwrap();
        numbers.close().unwrap();
        // Minutes pass, a third of a lease at a time; each time it is heard of.
        for _ in 0..20 {
            let before = kept.streams.metadata("numbers").unwrap();
            assert_eq!(before.subscriptions[0].consumers, 1);
            while kept.clock.next_wake().is_none() {
                std::thread::yield_now();
            }
            kept.clock.advance(Duration::from_secs(10));
        }
        let (late, _) = beside(kept, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_200));
        while late.metadata("numbers").unwrap().subscriptions[0].consumers == 0 {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        assert_eq!(slow.wait_blocking().unwrap().results, 10);
        assert_eq!(values(&results), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn a_clock_that_is_set_back_does_not_strand_what_a_crashed_consumer_had() {
    common::each_shared(|kept, whole| {
        if whole {
            return;
        }
        let numbers = kept.numbers("numbers", 0..10);
        // A day ahead: what it claims is leased until tomorrow.
        let (ahead, _) = beside(kept, SystemTime::UNIX_EPOCH + Duration::from_secs(1_086_400));
        let (mill, told, go) = stuck();
        let crashed = mill
            .start(
                ahead
                    .stream::<Number>("numbers")
                    .unwrap()
                    .consumer()
                    .lease(HALF_A_MINUTE)
                    .write(&ahead.stream::<Number>("lost").unwrap()),
            )
            .unwrap();
        told.recv().unwrap();
        numbers.close().unwrap();
        consume(&kept.streams, false).wait_blocking().unwrap();
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        assert_eq!(values(&results), (0..10).collect::<Vec<_>>());
        go.send(()).unwrap();
        assert_eq!(crashed.wait_blocking().unwrap().results, 0);
        assert!(kept.streams.get("lost").unwrap().is_empty().unwrap());
    });
}

#[test]
fn a_consumer_commits_nothing_while_another_one_has_what_it_had() {
    common::each_shared(|kept, whole| {
        let numbers = kept.numbers("numbers", 0..10);
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let (mill, told, go) = stuck();
        let consumer = numbers.consumer().lease(HALF_A_MINUTE).write(&results);
        let silent = mill.start(if whole { consumer.whole() } else { consumer }).unwrap();
        told.recv().unwrap();
        numbers.close().unwrap();
        let (late, _) = beside(kept, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_031));
        let (mill, also_told, also_go) = stuck();
        let there = late.stream::<Number>("numbers").unwrap().consumer().lease(HALF_A_MINUTE);
        let there = there.write(&late.stream::<Number>("results").unwrap());
        let other = mill.start(if whole { there.whole() } else { there }).unwrap();
        assert_eq!(also_told.recv().unwrap(), 0);
        // The first one goes on, and finds that nothing is its own any more.
        silent.stop();
        go.send(()).unwrap();
        assert_eq!(silent.wait_blocking().unwrap().results, 0);
        assert!(results.is_empty().unwrap());
        also_go.send(()).unwrap();
        assert_eq!(other.wait_blocking().unwrap().results, 10);
        assert_eq!(values(&results), (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn what_comes_back_is_consumed_by_those_who_are_further_on() {
    common::each_shared(|kept, whole| {
        if whole {
            return;
        }
        let numbers = kept.numbers("numbers", 0..16);
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let (mill, told, go) = stuck();
        let silent = mill.start(numbers.consumer().lease(HALF_A_MINUTE).write(&results)).unwrap();
        told.recv().unwrap();
        // Another one goes on behind, and commits as late as it can.
        let (late, clock) = beside(kept, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_020));
        let there = late.stream::<Number>("numbers").unwrap().consumer().lease(HALF_A_MINUTE);
        let there = there.write(&late.stream::<Number>("results").unwrap());
        let (seen, sees) = channel();
        let running = Mill::new(move |number: &Number| {
            seen.send(number.value).unwrap();
            *number
        })
        .commit_every(Duration::from_secs(3600))
        .start(there)
        .unwrap();
        kept.numbers("numbers", 16..20);
        assert_eq!(sees.iter().take(4).collect::<Vec<_>>(), [16, 17, 18, 19]);
        // Now the first one's lease has expired, while the second one's is renewed.
        clock.advance(Duration::from_secs(15));
        assert_eq!(sees.iter().take(16).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
        numbers.close().unwrap();
        running.wait_blocking().unwrap();
        assert_eq!(values(&results), (16..20).chain(0..16).collect::<Vec<_>>());
        go.send(()).unwrap();
        assert_eq!(silent.wait_blocking().unwrap().results, 0);
    });
}

#[test]
fn a_stream_that_is_cleared_takes_the_messages_from_those_who_have_them() {
    common::each(|kept| {
        let numbers = kept.numbers("numbers", 0..10);
        let results: Stream<Number> = kept.streams.stream("results").unwrap();
        let (mill, told, go) = stuck();
        let running = mill.start(numbers.consumer().lease(HALF_A_MINUTE).write(&results)).unwrap();
        told.recv().unwrap();
        numbers.clear().unwrap();
        kept.numbers("numbers", 10..13);
        numbers.close().unwrap();
        go.send(()).unwrap();
        running.wait_blocking().unwrap();
        assert_eq!(values(&results), [10, 11, 12]);
    });
}
