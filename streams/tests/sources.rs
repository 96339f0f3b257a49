//! Sources that fill streams in the background, and sinks to which streams are forwarded.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use common::{Kept, Number, counting, each, until, values};
use futures_core::Stream as Values;
use tokio::sync::mpsc;
use watermill_core::Backoff;
use watermill_core::error::BoxError;
use watermill_core::prelude::*;
use watermill_streams::source::{Intake, from_broker, from_positions, from_values, then_close};
use watermill_streams::{Background, State, Status, Stream, StreamsError};

const AT_ONCE: Duration = Duration::from_millis(1);

/// Appends numbers up to `end`, three at a time, and fails behind every second lot.
fn failing(end: u64) -> impl FnMut(&mut Intake<Number>) -> Result<(), BoxError> {
    move |intake| {
        for lot in 0.. {
            let from: u64 = intake.position()?.unwrap_or(0);
            if from >= end {
                return Ok(());
            }
            if lot == 2 {
                return Err("as a test".into());
            }
            let to = (from + 3).min(end);
            let numbers: Vec<Number> = (from..to).map(|value| Number { value }).collect();
            intake.append_at(&numbers, &to)?;
        }
        Ok(())
    }
}

#[test]
fn a_source_that_fails_goes_on_behind_what_it_has_appended() {
    each(|kept| {
        let numbers = kept.numbers("numbers", []);
        let attached = numbers.attach_with("failing", failing(20), Backoff::fixed(AT_ONCE)).unwrap();
        let status = attached.wait_blocking().unwrap();
        assert_eq!((status.state, status.appended, status.restarts), (State::Ended, 20, 3));
        assert_eq!(status.last_error.as_deref(), Some("as a test"));
        assert_eq!(values(&numbers), (0..20).collect::<Vec<_>>());
        // Once more, by whoever comes then.
        numbers.attach("failing", failing(22)).unwrap().wait_blocking().unwrap();
        assert_eq!(values(&numbers), (0..22).collect::<Vec<_>>());
        // Another name is another place, and so is another stream.
        numbers.attach("another", failing(2)).unwrap().wait_blocking().unwrap();
        let others = kept.numbers("others", []);
        others.attach("failing", failing(2)).unwrap().wait_blocking().unwrap();
        assert_eq!((numbers.len().unwrap(), values(&others)), (24, vec![0, 1]));
    });
}

#[test]
fn a_stream_that_was_dropped_is_filled_anew() {
    each(|kept| {
        kept.numbers("numbers", []).attach("counter", failing(3)).unwrap().wait_blocking().unwrap();
        kept.streams.drop_stream("numbers").unwrap();
        let numbers = kept.numbers("numbers", []);
        numbers.attach("counter", failing(3)).unwrap().wait_blocking().unwrap();
        assert_eq!(values(&numbers), [0, 1, 2]);
    });
}

#[test]
fn a_source_that_panics_is_started_again() {
    let kept = Kept::in_memory();
    let numbers = kept.numbers("numbers", []);
    let mut calls = 0;
    let panics = move |intake: &mut Intake<Number>| {
        calls += 1;
        assert!(calls == 2, "as a test");
        intake.append(&Number { value: 1 })
    };
    let status =
        numbers.attach_with("panics", panics, Backoff::fixed(AT_ONCE)).unwrap().wait_blocking().unwrap();
    assert!(status.restarts == 1);
    assert_eq!(status.last_error.unwrap(), "source `panics` has panicked: as a test");
    assert_eq!(values(&numbers), [1]);
}

#[test]
fn pauses_double_while_a_source_comes_no_further() {
    let kept = Kept::in_memory();
    let numbers = kept.numbers("numbers", []);
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let never = move |_: &mut Intake<Number>| {
        seen.lock().unwrap().push(Instant::now());
        Err::<(), &str>("as a test")
    };
    let backoff = Backoff::exponential(Duration::from_millis(40), Duration::from_secs(60));
    let attached = numbers.attach_with("never", never, backoff).unwrap();
    until("it fails four times", || times.lock().unwrap().len() >= 4);
    assert_eq!(attached.status().last_error.as_deref(), Some("as a test"));
    attached.stop();
    // It waits for its next attempt, and ends at once.
    let since = Instant::now();
    assert_eq!(attached.wait_blocking().unwrap().state, State::Ended);
    assert!(since.elapsed() < Duration::from_secs(5));
    let times = times.lock().unwrap();
    assert!(times[3] - times[2] > Duration::from_millis(75), "{:?}", times[3] - times[2]);
}

#[test]
fn what_cannot_be_mended_ends_a_source() {
    each(|kept| {
        let numbers = kept.numbers("numbers", []);
        numbers.close().unwrap();
        let attached = numbers.attach("late", failing(3)).unwrap();
        let error = attached.wait_blocking().unwrap_err();
        assert!(matches!(&error, StreamsError::Background { name, .. } if name == "late"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("closed and takes no more messages"), "{cause}");
        assert_eq!(attached.status().state, State::Failed);
        for name in ["", "two\nlines", &"x".repeat(201)] {
            assert!(matches!(numbers.attach(name, failing(1)), Err(StreamsError::Name { .. })));
            assert!(matches!(
                numbers.forward(name, MemoryBroker::new().write(&Collected::<Number>::new())),
                Err(StreamsError::Name { .. })
            ));
        }
    });
}

#[test]
fn of_two_sources_of_one_name_the_later_one_goes_on() {
    let kept = Kept::in_file();
    let numbers = kept.numbers("numbers", []);
    let waiting = |numbers: &Stream<Number>| -> (Background, std::sync::mpsc::Sender<()>) {
        let (go, goes) = channel::<()>();
        let goes = Mutex::new(goes);
        let source = move |intake: &mut Intake<Number>| {
            let from: u64 = intake.position()?.unwrap_or(0);
            let mut next = from;
            while goes.lock().unwrap().recv().is_ok() {
                intake.append_at([&Number { value: next }], &(next + 1))?;
                next += 1;
            }
            Ok::<(), StreamsError>(())
        };
        (numbers.attach("one", source).unwrap(), go)
    };
    let (first, go_first) = waiting(&numbers);
    go_first.send(()).unwrap();
    until("the first one appends", || numbers.len().unwrap() == 1);
    // As another process has it.
    let url = format!("sqlite:{}", kept.file().display());
    let elsewhere: Stream<Number> =
        watermill_streams::Streams::open(&url).unwrap().stream("numbers").unwrap();
    let (second, go_second) = waiting(&elsewhere);
    go_second.send(()).unwrap();
    until("the second one appends", || numbers.len().unwrap() == 2);
    go_first.send(()).unwrap();
    let status = first.wait_blocking().unwrap();
    assert_eq!(status.state, State::Displaced);
    assert!(status.last_error.unwrap().contains("source one"));
    go_second.send(()).unwrap();
    drop(go_second);
    second.wait_blocking().unwrap();
    assert_eq!(values(&numbers), [0, 1, 2]);
}

#[test]
fn values_of_a_channel_are_appended_as_they_come() {
    for runtime in [None, Some(tokio::runtime::Runtime::new().unwrap())] {
        let kept = Kept::in_memory();
        let numbers = kept.numbers("numbers", []);
        let (send, receive) = mpsc::unbounded_channel();
        let attached = {
            let _within = runtime.as_ref().map(|runtime| runtime.enter());
            numbers.attach("channel", then_close(from_values(Channel(receive)))).unwrap()
        };
        send.send(Number { value: 1 }).unwrap();
        until("the first value is there", || numbers.len().unwrap() == 1);
        for value in 2..2500 {
            send.send(Number { value }).unwrap();
        }
        drop(send);
        assert_eq!(attached.wait_blocking().unwrap().appended, 2499);
        assert_eq!(values(&numbers), (1..2500).collect::<Vec<_>>());
        assert_eq!(numbers.info().unwrap().status, Status::Closed);
    }
}

#[test]
fn a_source_of_values_that_never_come_ends_when_it_is_asked_to() {
    let kept = Kept::in_memory();
    let numbers = kept.numbers("numbers", []);
    let (send, receive) = mpsc::unbounded_channel();
    let attached = numbers.attach("silent", then_close(from_values(Channel(receive)))).unwrap();
    attached.stop();
    assert_eq!(attached.wait_blocking().unwrap().state, State::Ended);
    // It had not come to its end.
    assert_eq!(numbers.info().unwrap().status, Status::Open);
    drop(send);
}

struct Channel(mpsc::UnboundedReceiver<Number>);

impl Values for Channel {
    type Item = Number;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Number>> {
        self.0.poll_recv(context)
    }
}

/// The numbers behind `next`, and an error in front of every seventh, the first time.
struct Flaky {
    next: u64,
    broken: bool,
    failed: Arc<AtomicU64>,
}

impl Values for Flaky {
    type Item = Result<(Number, u64), &'static str>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let value = self.next;
        if value == 30 || self.broken {
            return Poll::Ready(None);
        }
        if value % 7 == 6 && self.failed.fetch_max(value, Ordering::Relaxed) < value {
            self.broken = true;
            return Poll::Ready(Some(Err("as a test")));
        }
        self.next += 1;
        Poll::Ready(Some(Ok((Number { value }, value + 1))))
    }
}

#[test]
fn values_with_places_are_appended_once_whatever_fails() {
    each(|kept| {
        let numbers = kept.numbers("numbers", []);
        let failed = Arc::new(AtomicU64::new(0));
        let source = from_positions(move |after: Option<u64>| Flaky {
            next: after.unwrap_or(0),
            broken: false,
            failed: Arc::clone(&failed),
        });
        let status =
            numbers.attach_with("flaky", source, Backoff::fixed(AT_ONCE)).unwrap().wait_blocking().unwrap();
        assert_eq!((status.restarts, status.appended), (4, 30));
        assert_eq!(values(&numbers), (0..30).collect::<Vec<_>>());
    });
}

#[test]
fn what_a_broker_reads_is_appended_and_the_stream_stays_open() {
    each(|kept| {
        let numbers = kept.numbers("numbers", [100]);
        let all = (0..5000).map(|value| Number { value }).collect();
        let attached =
            numbers.attach("memory", from_broker(MemoryBroker::new().read::<Number>(all))).unwrap();
        let status = attached.wait_blocking().unwrap();
        assert_eq!((status.records, status.results, status.state), (5000, 5000, State::Ended));
        assert_eq!(numbers.len().unwrap(), 5001);
        assert_eq!(numbers.info().unwrap().status, Status::Open);
    });
}

#[test]
fn a_broker_that_does_not_read_the_type_of_the_stream_is_refused_for_good() {
    let kept = Kept::in_memory();
    let numbers = kept.numbers("numbers", []);
    let broker = MemoryBroker::new().read::<Json>(Vec::new());
    let error = numbers.attach("wrong", from_broker(broker)).unwrap().wait_blocking().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("cannot be built") && cause.contains("Number"), "{cause}");
}

#[test]
fn a_stream_is_forwarded_to_several_places_whoever_else_consumes_it() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..10);
        let places = [Collected::<Number>::new(), Collected::<Number>::new()];
        let sinks: Vec<Background> = places
            .iter()
            .enumerate()
            .map(|(at, place)| {
                numbers.forward(&format!("to {at}"), MemoryBroker::new().write(place)).unwrap()
            })
            .collect();
        let consumer = Mill::new(|_: &Number| ()).start(numbers.clone()).unwrap();
        for value in 10..20 {
            numbers.append(&Number { value }).unwrap();
        }
        numbers.close().unwrap();
        consumer.wait_blocking().unwrap();
        for sink in sinks {
            sink.wait_blocking().unwrap();
        }
        for place in places {
            let values: Vec<u64> = place.take().iter().map(|number| number.value).collect();
            assert_eq!(values, (0..20).collect::<Vec<_>>());
        }
        assert!(numbers.buffer().unwrap().is_empty());
    });
}

#[test]
fn results_of_one_type_go_to_every_stream_and_function_that_takes_it() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..100);
        numbers.close().unwrap();
        let (one, other) = (kept.numbers("one", [7]), kept.numbers("other", []));
        let seen = [Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new()))];
        let mut consumer = numbers.consumer().write(&one);
        for seen in &seen {
            let seen = Arc::clone(seen);
            consumer = consumer.write_with(move |results: &[Number]| {
                seen.lock().unwrap().extend(results.iter().map(|number| number.value));
                Ok::<(), BoxError>(())
            });
        }
        let report = Mill::new(|number: &Number| *number).run_blocking(consumer.write(&other)).unwrap();
        assert_eq!(report.results, 100);
        let all: Vec<u64> = (0..100).collect();
        assert_eq!((values(&one)[1..].to_vec(), values(&other)), (all.clone(), all.clone()));
        for seen in seen {
            assert_eq!(*seen.lock().unwrap(), all);
        }
        for stream in [one, other] {
            assert_eq!(stream.info().unwrap().status, Status::Closed);
        }
    });
}

#[test]
fn a_stream_that_was_dropped_is_filled_anew_from_a_broker() {
    each(|kept| {
        for _ in 0..2 {
            let numbers = kept.numbers("numbers", []);
            let all = (0..3).map(|value| Number { value }).collect();
            let source = from_broker(MemoryBroker::new().read::<Number>(all));
            numbers.attach("memory", source).unwrap().wait_blocking().unwrap();
            assert_eq!(values(&numbers), [0, 1, 2]);
            kept.streams.drop_stream("numbers").unwrap();
        }
    });
}

#[test]
fn names_that_look_alike_are_places_of_their_own() {
    let kept = Kept::in_file();
    let (one, other) = (kept.numbers("c", []), kept.numbers("b of c", []));
    one.attach("a of b", failing(5)).unwrap().wait_blocking().unwrap();
    other.attach("a", failing(5)).unwrap().wait_blocking().unwrap();
    one.attach("a of b", failing(5)).unwrap().wait_blocking().unwrap();
    assert_eq!((one.len().unwrap(), other.len().unwrap()), (5, 5));
    // And so are subscriptions of streams.
    for (stream, subscription) in [("x, y", ""), ("x", "y")] {
        let numbers = kept.numbers(stream, [1, 2]);
        numbers.close().unwrap();
        let consumer = numbers.consumer().whole();
        let consumer = if subscription.is_empty() { consumer } else { consumer.subscription(subscription) };
        assert_eq!(Mill::new(|_: &Number| ()).run_blocking(consumer).unwrap().calls, 2);
    }
}

#[test]
fn a_source_that_has_failed_does_not_throw_out_one_that_was_attached_meanwhile() {
    let kept = Kept::in_file();
    let numbers = kept.numbers("numbers", []);
    let fails = |_: &mut Intake<Number>| Err::<(), &str>("as a test");
    let former = numbers.attach_with("one", fails, Backoff::fixed(Duration::from_millis(200))).unwrap();
    until("it fails", || former.status().last_error.is_some());
    let later = numbers.attach("one", counting).unwrap();
    assert_eq!(former.wait_blocking().unwrap().state, State::Displaced);
    let before = numbers.len().unwrap();
    until("the later one goes on", || numbers.len().unwrap() > before + 10);
    later.stop();
    assert_eq!(later.wait_blocking().unwrap().state, State::Ended);
}

#[test]
fn of_two_brokers_attached_under_one_name_the_later_one_goes_on_for_good() {
    let kept = Kept::in_file();
    let from = kept.numbers("from", []);
    let numbers = kept.numbers("numbers", []);
    // Under subscriptions of their own, so that no lease is in the way.
    let attach = |subscription: &str| {
        let source = from_broker(from.consumer().subscription(subscription));
        numbers.attach_with("one", source, Backoff::fixed(Duration::from_millis(20))).unwrap()
    };
    let former = attach("x");
    kept.numbers("from", 0..5);
    until("the first one appends", || numbers.len().unwrap() == 5);
    let later = attach("y");
    let since = Instant::now();
    let mut next = 5;
    while former.status().state != State::Displaced {
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", former.status());
        kept.numbers("from", [next]);
        next += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    let there = numbers.len().unwrap();
    kept.numbers("from", next..next + 50);
    until("the later one goes on", || numbers.len().unwrap() >= there + 50);
    assert_eq!((former.status().state, later.status().state), (State::Displaced, State::Running));
    later.stop();
    later.wait_blocking().unwrap();
}

#[test]
fn a_stream_that_is_closed_or_dropped_ends_what_runs_over_it() {
    each(|kept| {
        let from = kept.numbers("from", [1]);
        let numbers = kept.numbers("numbers", []);
        let attached =
            numbers.attach_with("copy", from_broker(from.clone()), Backoff::fixed(AT_ONCE)).unwrap();
        until("it copies", || numbers.len().unwrap() == 1);
        numbers.close().unwrap();
        kept.numbers("from", [2]);
        assert!(attached.wait_blocking().is_err());
        let to = MemoryBroker::new().write(&Collected::<Number>::new());
        let sink = from.forward_with("elsewhere", to, Backoff::fixed(AT_ONCE)).unwrap();
        kept.streams.drop_stream("from").unwrap();
        assert!(sink.wait_blocking().is_err());
    });
}

/// A tick every few milliseconds, by tokio's clock.
struct Ticks {
    left: u64,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Values for Ticks {
    type Item = Number;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Number>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.sleep.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.left -= 1;
                let deadline = tokio::time::Instant::now() + Duration::from_millis(5);
                self.sleep.as_mut().reset(deadline);
                Poll::Ready(Some(Number { value: self.left }))
            }
        }
    }
}

#[test]
fn values_that_come_by_a_timer_are_appended_with_and_without_a_runtime() {
    let ticks = |_: Option<u64>| Numbered(Ticks { left: 5, sleep: Box::pin(tokio::time::sleep(AT_ONCE)) });
    let kept = Kept::in_memory();
    let numbers = kept.numbers("numbers", []);
    let status = numbers.attach("without", from_positions(ticks)).unwrap().wait_blocking().unwrap();
    assert_eq!((status.appended, status.restarts), (5, 0));
    // In a runtime of one thread, which is not blocked by waiting.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let status = runtime.block_on(async {
        let ticks = Ticks { left: 5, sleep: Box::pin(tokio::time::sleep(AT_ONCE)) };
        numbers.attach("within", from_values(ticks)).unwrap().wait().await.unwrap()
    });
    assert_eq!((status.appended, status.restarts), (5, 0));
}

/// With their places.
struct Numbered(Ticks);

impl Values for Numbered {
    type Item = Result<(Number, u64), BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|value| value.map(|value| Ok((value, value.value))))
    }
}

#[test]
fn a_function_that_takes_results_may_take_longer_than_a_lease() {
    let kept = Kept::in_file();
    // By real time, which is what functions take.
    let streams = kept.streams.clone().clock(watermill_core::clock::SystemClock::new());
    let numbers: Stream<Number> = streams.stream("numbers").unwrap();
    numbers.append_all(&(0..4).map(|value| Number { value }).collect::<Vec<_>>()).unwrap();
    numbers.close().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let start = || {
        let seen = Arc::clone(&seen);
        let slow = move |results: &[Number]| {
            seen.lock().unwrap().extend(results.iter().map(|number| number.value));
            std::thread::sleep(Duration::from_millis(900));
            Ok::<(), BoxError>(())
        };
        let consumer = numbers.consumer().lease(Duration::from_millis(300)).write_with(slow);
        Mill::new(|number: &Number| *number).start(consumer).unwrap()
    };
    let runs = [start(), start()];
    let calls: u64 = runs.into_iter().map(|run| run.wait_blocking().unwrap().calls).sum();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!((calls, seen), (4, vec![0, 1, 2, 3]));
}

#[test]
fn who_waits_for_all_of_a_stream_that_is_dropped_is_told() {
    each(|kept| {
        let numbers = kept.numbers("numbers", [1]);
        // Somebody has it alone, so the sink waits for its turn.
        let holds =
            Mill::new(|_: &Number| ()).start(numbers.consumer().subscription("sink").whole()).unwrap();
        until("it is held", || {
            let info = numbers.info().unwrap();
            info.subscriptions.iter().any(|one| one.name == "sink" && one.processed == 1)
        });
        let to = MemoryBroker::new().write(&Collected::<Number>::new());
        let sink = numbers.forward_with("sink", to, Backoff::fixed(AT_ONCE)).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        kept.streams.drop_stream("numbers").unwrap();
        assert!(sink.wait_blocking().is_err());
        assert!(holds.wait_blocking().is_err());
    });
}
