//! Where results go: keys, partitions, times, headers, and the marks of results that change lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use watermill_core::prelude::*;
use watermill_core::{EndReason, RunError, RunReport};
use watermill_derive::StreamRecord;
use watermill_kafka::{KafkaBroker, KafkaMessage, ResultTopic, murmur2_partition};
use watermill_servers::kafka::{Isolation, Kafka, NewRecord, ReadRecord, unique};

use crate::common::{MARK, end, is_mark, put, read, told};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Event {
    id: u64,
    name: Option<String>,
}

fn event(id: u64) -> Event {
    // Of any length from none on, in any alphabet.
    let letters = ['a', 'ß', '水', '🌊', ' ', 'Z'];
    let name = (0..id % 11).map(|at| letters[((id * 31 + at * 7) % 6) as usize]).collect();
    Event { id, name: (id % 13 != 5).then_some(name) }
}

/// Now: records of long ago would be deleted soon.
fn millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    now.unwrap().as_millis() as i64
}

/// Events in a topic of so many partitions, each with a mark.
fn events(kafka: &Kafka, partitions: u32, count: u64) -> String {
    let topic = kafka.fresh_topic("events", partitions).unwrap();
    let records: Vec<NewRecord> = (0..count)
        .map(|id| {
            let value = serde_json::to_vec(&event(id)).unwrap();
            NewRecord::new(&topic).partition(id as u32 % partitions).value(value)
        })
        .collect();
    kafka.client().produce(&records).unwrap();
    end(kafka, &topic, partitions);
    topic
}

fn copy(kafka: &Kafka, from: &str, to: ResultTopic<Event>) -> Result<RunReport, RunError> {
    let broker = KafkaBroker::new(kafka.bootstrap(), unique("copies")).read::<Event>(from).write(to);
    Mill::new(Event::clone).run_blocking(broker)
}

fn records(kafka: &Kafka, topic: &str) -> Vec<(Event, ReadRecord)> {
    let all = kafka.client().read(topic, Isolation::Committed).unwrap();
    let event = |record: &ReadRecord| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
    all.into_iter().filter(|record| !is_mark(record)).map(|record| (event(&record), record)).collect()
}

#[test]
fn keys_place_results_as_javas_client_does() {
    let kafka = Kafka::shared().unwrap();
    let from = events(kafka, 3, 400);
    for partitions in [3, 7] {
        // What Java makes of the same keys.
        let java = kafka.fresh_topic("java", partitions).unwrap();
        let bytes = |id: u64| event(id).name.map(|name| [name.as_bytes(), &[0xff, id as u8]].concat());
        let texts: Vec<NewRecord> =
            (0..400).filter_map(|id| Some(NewRecord::new(&java).key(event(id).name?).value("x"))).collect();
        let raw: Vec<NewRecord> =
            (0..400).filter_map(|id| Some(NewRecord::new(&java).key(bytes(id)?).value("x"))).collect();
        let named: Vec<u64> = (0..400).filter(|id| event(*id).name.is_some()).collect();
        for (sent, by_text) in [(texts, true), (raw, false)] {
            let to = kafka.fresh_topic("keyed", partitions).unwrap();
            let topic = ResultTopic::new(&to);
            let topic = match by_text {
                true => topic.key(Event::fields().name),
                false => topic.key_bytes(move |event: &Event| bytes(event.id)),
            };
            copy(kafka, &from, topic).unwrap();
            let java: BTreeMap<u64, u32> = named
                .iter()
                .copied()
                .zip(kafka.client().produce(&sent).unwrap().iter().map(|placed| placed.partition))
                .collect();
            let written = records(kafka, &to);
            assert_eq!(written.len(), 400);
            for (event, record) in written {
                match java.get(&event.id) {
                    Some(partition) => {
                        let key = if by_text {
                            event.name.clone().map(String::into_bytes)
                        } else {
                            bytes(event.id)
                        };
                        assert_eq!(record.key, key);
                        assert_eq!(record.partition, *partition, "{event:?} of {partitions}");
                        let ours = murmur2_partition(key.as_deref().unwrap(), partitions.cast_signed());
                        assert_eq!(ours.cast_unsigned(), *partition);
                    }
                    // Without a key: in the lane's own.
                    None => assert_eq!((record.key, record.partition), (None, event.id as u32 % 3)),
                }
            }
        }
    }
}

#[test]
fn partition_time_and_headers_are_those_that_were_asked_for() {
    let kafka = Kafka::shared().unwrap();
    let from = events(kafka, 3, 60);
    let to = kafka.fresh_topic("custom", 5).unwrap();
    let now = millis();
    let topic = ResultTopic::new(&to)
        .partition(|event: &Event, count| (event.id as i32 / 7) % count)
        .key(|event: &Event| event.id)
        .timestamp(move |event: &Event| now + event.id as i64)
        .header("always", |event: &Event| Some(event.id.to_string().into_bytes()))
        .header("odd", |event: &Event| (event.id % 2 == 1).then(Vec::new));
    copy(kafka, &from, topic).unwrap();
    let written = records(kafka, &to);
    assert_eq!(written.len(), 60);
    for (event, record) in written {
        assert_eq!(record.partition, (event.id as u32 / 7) % 5);
        assert_eq!(record.key, Some(event.id.to_string().into_bytes()));
        assert_eq!(record.timestamp, now + event.id as i64);
        let mut headers = vec![("always".to_owned(), Some(event.id.to_string().into_bytes()))];
        headers.extend((event.id % 2 == 1).then(|| ("odd".to_owned(), Some(Vec::new()))));
        assert_eq!(record.headers, headers);
    }

    let to = kafka.fresh_topic("masters", 3).unwrap();
    copy(kafka, &from, ResultTopic::new(&to).key(Event::fields().id).in_masters_partition()).unwrap();
    for (event, record) in records(kafka, &to) {
        assert_eq!(record.partition, event.id as u32 % 3);
        assert_eq!(record.key, Some(event.id.to_string().into_bytes()));
    }

    let nowhere = ResultTopic::new(&to).partition(|_: &Event, count| count);
    let error = told(&copy(kafka, &from, nowhere).unwrap_err());
    assert!(error.contains("it was placed in partition 3, and there are only 3, from 0"), "{error}");
    assert!(error.contains(&format!("to topic `{to}`")), "{error}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Told {
    key: Option<String>,
    time: Option<i64>,
    trace: Option<String>,
    partition: i32,
    offset: u64,
}

#[test]
fn functions_and_readers_see_time_and_headers_and_readers_the_key() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("events", 2).unwrap(), kafka.fresh_topic("seen", 2).unwrap());
    let time = millis();
    let whole = NewRecord::new(&from).partition(1).timestamp(time).key("robot 7").value("{}");
    let other = NewRecord::new(&from).partition(1).timestamp(time + 1).value("{}");
    let whole = whole.header("trace", Some(b"7f3a")).header("trace", Some(b"later")).header("nothing", None);
    kafka.client().produce(&[whole, other]).unwrap();
    end(kafka, &from, 2);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let reader = move |message: &KafkaMessage<'_>| {
        assert_eq!(
            (message.header("nothing"), message.value()),
            (message.header("trace").map(|_| &[][..]), &b"{}"[..])
        );
        Ok(Told {
            key: message.key().map(text),
            time: message.timestamp(),
            trace: message.header("trace").map(text),
            partition: message.partition(),
            offset: message.offset(),
        })
    };
    let function = move |seen: &Told, meta: &Meta<Told>| {
        let header = meta.headers().iter().find(|(name, _)| name == "trace");
        assert_eq!(header.map(|(_, value)| text(value)), seen.trace);
        assert_eq!((meta.timestamp(), meta.offset()), (seen.time, seen.offset));
        Told { key: seen.key.clone(), trace: seen.trace.clone(), ..*seen }
    };
    let broker =
        KafkaBroker::new(kafka.bootstrap(), unique("seen")).read_by(&from, reader).write::<Told>(to.as_str());
    Mill::new(function).run_blocking(broker).unwrap();
    let of = |key: Option<&str>, time: i64, trace: Option<&str>, offset| Told {
        key: key.map(str::to_owned),
        time: Some(time),
        trace: trace.map(str::to_owned),
        partition: 1,
        offset,
    };
    let (seen, _) = read::<Told>(kafka, &to);
    let seen: Vec<Told> = seen.into_iter().map(|(_, told)| told).collect();
    let first = of(Some("robot 7"), time, Some("7f3a"), 0);
    assert_eq!(seen, [first, of(None, time + 1, None, 1)]);
}

/// Lanes that write to each other's partitions, and a mill behind them.
#[test]
fn a_partition_that_several_lanes_write_to_has_ended_when_all_have_said_so() {
    let kafka = Kafka::shared().unwrap();
    let from = events(kafka, 3, 300);
    let between = kafka.fresh_topic("between", 4).unwrap();
    copy(kafka, &from, ResultTopic::new(&between).key(Event::fields().id)).unwrap();
    let marks: Vec<ReadRecord> = kafka.client().read(&between, Isolation::Committed).unwrap();
    let marks: BTreeSet<(u32, Vec<u8>)> =
        marks.into_iter().filter(is_mark).map(|mark| (mark.partition, mark.value.unwrap())).collect();
    let mark = |lane| format!("{{\"eos__\":true,\"lane\":{lane},\"lanes\":3}}").into_bytes();
    let expected: BTreeSet<(u32, Vec<u8>)> =
        (0..4).flat_map(|partition| (0..3).map(move |lane| (partition, mark(lane)))).collect();
    assert_eq!(marks, expected);

    let last = kafka.fresh_topic("last", 4).unwrap();
    let report = copy(kafka, &between, ResultTopic::new(&last)).unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    let (events, marks) = read::<Event>(kafka, &last);
    assert_eq!(events.iter().map(|(_, event)| event.id).collect::<BTreeSet<_>>().len(), 300);
    assert_eq!((events.len(), marks), (300, vec![0, 1, 2, 3]));
}

#[test]
fn the_marks_of_lanes_are_counted_over_restarts() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("marked", 1).unwrap(), kafka.fresh_topic("copies", 1).unwrap());
    let application = unique("marks");
    let run = || {
        let broker = KafkaBroker::new(kafka.bootstrap(), &application)
            .read::<Event>(&from)
            .write::<Event>(to.as_str());
        let mill = Mill::new(Event::clone).stop_when_idle(Duration::from_millis(1500));
        mill.run_blocking(broker).unwrap()
    };
    let mark = |lane| format!("{{\"eos__\":true,\"lane\":{lane},\"lanes\":3}}").into_bytes();
    let record = |id| serde_json::to_vec(&event(id)).unwrap();
    for (id, lane, last) in [(1, 2, false), (2, 0, false), (3, 2, false), (4, 1, true)] {
        put(kafka, &from, 0, &record(id));
        put(kafka, &from, 0, &mark(lane));
        let report = run();
        assert_eq!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), last, "{id}: {report}");
        let (events, marks) = read::<Event>(kafka, &to);
        assert_eq!((events.len() as u64, marks.len()), (id, usize::from(last)));
    }
    assert_eq!(run().end, EndReason::EndedBefore);
    // Gone on with, it needs all of them anew.
    let go_on = || {
        let broker = KafkaBroker::new(kafka.bootstrap(), &application)
            .read::<Event>(&from)
            .write::<Event>(to.as_str());
        let mill = Mill::new(Event::clone).stop_when_idle(Duration::from_millis(1500));
        mill.run_blocking(broker.continue_after_eos()).unwrap()
    };
    put(kafka, &from, 0, &mark(1));
    put(kafka, &from, 0, &record(5));
    assert_eq!(go_on().end, EndReason::Idle);
    put(kafka, &from, 0, &mark(2));
    put(kafka, &from, 0, &mark(0));
    assert!(matches!(run().end, EndReason::InputEnded { marked: true, .. }));
    let (events, marks) = read::<Event>(kafka, &to);
    assert_eq!((events.len(), marks.len()), (5, 2));
}

/// Partitions that no lane has for its own end, too.
#[test]
fn a_topic_with_more_partitions_than_lanes_ends_in_all_of_them() {
    let kafka = Kafka::shared().unwrap();
    let from = kafka.fresh_topic("few", 2).unwrap();
    let to = kafka.fresh_topic("many", 5).unwrap();
    put(kafka, &from, 1, &serde_json::to_vec(&event(1)).unwrap());
    put(kafka, &from, 0, MARK);
    put(kafka, &from, 1, MARK);
    copy(kafka, &from, ResultTopic::new(&to)).unwrap();
    let (events, marks) = read::<Event>(kafka, &to);
    assert_eq!(events, [(1, event(1))]);
    assert_eq!(marks, [0, 1, 2, 3, 4]);
}
