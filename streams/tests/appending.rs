//! Appending: one by one, many, in batches, from many threads; and what becomes of streams themselves.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Number, each, values};
use watermill_core::record::Json;
use watermill_streams::{Status, Stream, StreamsError};

/// Whether a message has this number; in MongoDB it has none yet.
fn is(number: Option<u64>, expected: u64) -> bool {
    number.is_none_or(|number| number == expected)
}

#[test]
fn messages_have_numbers_in_the_order_in_which_they_came() {
    each(|kept| {
        let numbers: Stream<Number> = kept.streams.stream("numbers").unwrap();
        for value in 0..20 {
            assert!(is(numbers.append(&Number { value }).unwrap(), value));
        }
        assert_eq!(values(&numbers), (0..20).collect::<Vec<_>>());
        assert_eq!(
            numbers.peek(5, 2).unwrap().iter().map(|message| message.number).collect::<Vec<_>>(),
            [5, 6]
        );
    });
}

#[test]
fn threads_append_at_once_and_nothing_is_lost_or_mixed() {
    each(|kept| {
        let numbers: Stream<Number> = kept.streams.stream("numbers").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let numbers = &numbers;
                scope.spawn(move || {
                    for at in 0..50 {
                        numbers.append(&Number { value: thread * 100 + at }).unwrap();
                    }
                });
            }
        });
        let all = values(&numbers);
        assert_eq!(all.len(), 400);
        for thread in 0..8 {
            let own: Vec<u64> = all.iter().copied().filter(|value| value / 100 == thread).collect();
            assert_eq!(own, (thread * 100..thread * 100 + 50).collect::<Vec<_>>());
        }
    });
}

#[test]
fn futures_are_done_when_their_message_is_there() {
    each(|kept| {
        let numbers: Stream<Number> = kept.streams.stream("numbers").unwrap();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let all: Vec<_> = (0..100).map(|value| numbers.append_async(&Number { value })).collect();
            for (at, sent) in all.into_iter().enumerate() {
                assert!(is(sent.await.unwrap(), at as u64));
            }
            numbers.close().unwrap();
            let refused = numbers.append_async(&Number { value: 0 }).await;
            assert!(matches!(refused, Err(StreamsError::Closed { .. })));
        });
        assert_eq!(values(&numbers), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_batch_is_appended_at_exactly_its_size() {
    each(|kept| {
        let numbers: Stream<Number> = kept.streams.stream("numbers").unwrap();
        let batched = numbers.batched(7, Duration::from_secs(3600)).unwrap();
        for pushed in 1..=30 {
            batched.push(&Number { value: pushed }).unwrap();
            assert_eq!(numbers.len().unwrap(), pushed / 7 * 7);
        }
        batched.flush().unwrap();
        assert_eq!(numbers.len().unwrap(), 30);
        batched.push(&Number { value: 31 }).unwrap();
        drop(batched);
        assert_eq!(values(&numbers), (1..=31).collect::<Vec<_>>());
    });
}

#[test]
fn a_batch_is_appended_exactly_when_its_first_message_has_waited_long_enough() {
    each(|kept| {
        let numbers: Stream<Number> = kept.streams.stream("numbers").unwrap();
        let batched = numbers.batched(100, Duration::from_secs(10)).unwrap();
        for turn in 1..4 {
            batched.push(&Number { value: 1 }).unwrap();
            kept.clock.advance(Duration::from_secs(6));
            // The second one does not make the first one wait longer.
            batched.push(&Number { value: 2 }).unwrap();
            kept.clock.advance(Duration::from_millis(3999));
            assert_eq!(numbers.len().unwrap(), (turn - 1) * 2);
            kept.clock.advance(Duration::from_millis(1));
            while numbers.len().unwrap() < turn * 2 {
                std::thread::yield_now();
            }
        }
    });
}

#[test]
fn a_batch_that_cannot_be_appended_is_told_of_and_kept() {
    each(|kept| {
        let numbers: Stream<Number> = kept.streams.stream("numbers").unwrap();
        let batched = numbers.batched(2, Duration::from_secs(3600)).unwrap();
        numbers.close().unwrap();
        batched.push(&Number { value: 1 }).unwrap();
        assert!(matches!(batched.push(&Number { value: 2 }), Err(StreamsError::Closed { .. })));
        assert!(matches!(batched.flush(), Err(StreamsError::Closed { .. })));
        numbers.reopen().unwrap();
        batched.flush().unwrap();
        assert_eq!(values(&numbers), [1, 2]);
    });
}

#[test]
fn streams_are_made_at_first_access_listed_and_dropped() {
    each(|kept| {
        let streams = &kept.streams;
        assert!(streams.list("*").unwrap().is_empty());
        assert!(matches!(streams.metadata("b"), Err(StreamsError::Missing { .. })));
        for name in ["b", "a-1", "a-2", "große Ströme"] {
            streams.get(name).unwrap();
            streams.get(name).unwrap();
        }
        assert_eq!(streams.list("*").unwrap(), ["a-1", "a-2", "b", "große Ströme"]);
        assert_eq!(streams.list("a-?").unwrap(), ["a-1", "a-2"]);
        let held = kept.numbers("b", 0..5);
        held.subscribe("audit").unwrap();
        assert!(streams.drop_stream("b").unwrap());
        assert!(!streams.drop_stream("b").unwrap());
        // Who still has it in hand does not reach the one that has its name now.
        let again: Stream<Number> = streams.stream("b").unwrap();
        assert!(matches!(held.append(&Number { value: 1 }), Err(StreamsError::Missing { .. })));
        assert!(again.is_empty().unwrap() && again.info().unwrap().subscriptions.is_empty());
        assert!(is(again.append(&Number { value: 1 }).unwrap(), 0));
    });
}

#[test]
fn names_that_are_empty_or_too_long_are_refused() {
    each(|kept| {
        for name in [String::new(), "x".repeat(201), "a\nb".to_owned()] {
            assert!(matches!(kept.streams.get(&name), Err(StreamsError::Name { .. })), "{name:?}");
            assert!(matches!(kept.streams.put(&1, &name), Err(StreamsError::Name { .. })), "{name:?}");
            assert!(matches!(
                kept.streams.get("a").unwrap().subscribe(&name),
                Err(StreamsError::Name { .. })
            ));
        }
        assert_eq!(kept.streams.list("*").unwrap(), ["a"]);
    });
}

#[test]
fn metadata_tells_what_there_is() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..10);
        numbers.interval(Duration::from_millis(250)).unwrap();
        numbers.subscribe("audit").unwrap();
        let info = kept.streams.metadata("numbers").unwrap();
        assert_eq!(
            (info.name.as_str(), info.status, info.appended, info.waiting),
            ("numbers", Status::Open, 10, 10)
        );
        assert_eq!((info.messages, info.bytes), (10, 10 * "{\"value\":0}".len() as u64));
        assert_eq!((info.interval, info.last_read), (Duration::from_millis(250), None));
        assert_eq!(info.created, watermill_core::clock::Clock::now(&kept.clock));
        numbers.clear().unwrap();
        let info = numbers.info().unwrap();
        assert_eq!(
            (info.appended, info.waiting, info.messages, info.subscriptions[0].waiting),
            (10, 0, 0, 0)
        );
        assert!(numbers.unsubscribe("audit").unwrap());
        // Numbers go on.
        assert!(is(numbers.append(&Number { value: 1 }).unwrap(), 10));
    });
}

#[test]
fn messages_that_are_too_old_leave_and_younger_ones_stay() {
    each(|kept| {
        let numbers = kept.numbers("numbers", 0..5);
        numbers.subscribe("audit").unwrap();
        numbers.max_age(Some(Duration::from_secs(60))).unwrap();
        kept.clock.advance(Duration::from_secs(60));
        assert_eq!(kept.streams.housekeep().unwrap(), 0);
        kept.numbers("numbers", 5..7);
        kept.clock.advance(Duration::from_millis(1));
        assert_eq!(kept.streams.housekeep().unwrap(), 5);
        assert_eq!((values(&numbers), numbers.len().unwrap()), (vec![5, 6], 2));
        // Appending does it, too.
        kept.clock.advance(Duration::from_secs(100));
        kept.numbers("numbers", 7..8);
        assert_eq!(values(&numbers), [7]);
    });
}

#[test]
fn what_cannot_be_written_as_json_is_refused_and_leaves_nothing() {
    use std::collections::HashMap;
    each(|kept| {
        let bad: HashMap<Vec<u8>, u8> = HashMap::from([(vec![1], 1)]);
        assert!(matches!(kept.streams.put(&bad, "numbers"), Err(StreamsError::Encode { .. })));
        let any = kept.streams.get("numbers").unwrap();
        any.append(&Json(1.into())).unwrap();
        assert_eq!(any.len().unwrap(), 1);
    });
}
