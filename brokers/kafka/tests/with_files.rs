//! Kafka beside files: the positions live where the results are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;

use common::{Here, Next, Speed, end, expected, fill, here, logged, results, speeds};
use serde::{Deserialize, Serialize};
use watermill_core::EndReason;
use watermill_core::prelude::*;
use watermill_derive::StreamRecord;
use watermill_json_file::JsonFileBroker;
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Isolation, Kafka, unique};

/// The speeds in a file of lines, for each partition in their order: which of them a line is from can be told by what it holds.
fn in_file(path: &Path, partitions: u32, count: i64) {
    let text = fs::read_to_string(path).unwrap();
    let all: Vec<Speed> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut wanted: Vec<_> =
        (0..partitions).map(|partition| expected(count, partition).into_iter().peekable()).collect();
    for speed in &all {
        // The same in every partition, but each partition has its own turn.
        let whose = wanted.iter_mut().find_map(|wanted| (wanted.peek() == Some(speed)).then_some(wanted));
        whose.unwrap_or_else(|| panic!("{speed:?} comes twice, or out of order")).next();
    }
    assert!(wanted.iter_mut().all(|wanted| wanted.peek().is_none()), "something is missing");
}

#[test]
fn the_partitions_of_a_topic_go_into_one_file_exactly_once_over_restarts() {
    logged();
    let kafka = Kafka::shared().unwrap();
    for partitions in [1, 3] {
        let from = kafka.fresh_topic("locations", partitions).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("speeds.ndjson");
        fill(kafka, &from, partitions, 0..2000);
        let application = unique("to-file");
        let run = |mill: Mill<Here>| {
            let read =
                KafkaBroker::new(kafka.bootstrap(), &application).read::<Here>(&from).read::<Next>(&from);
            mill.run_blocking(read.and(JsonFileBroker::new().write::<Speed>(&path)))
        };
        // Runs that are ended in the middle: by a count, by the function, and by waiting for more.
        let mut stopped = 0;
        for calls in [300, 700] {
            let report = run(speeds().commit_after_calls(50).stop_after_records(calls)).unwrap();
            assert_eq!(report.end, EndReason::Records, "{report}");
            stopped += report.results;
        }
        assert!(stopped > 0 && !path.exists());
        end(kafka, &from, partitions);
        let report = run(speeds()).unwrap();
        assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
        in_file(&path, partitions, 2000);
    }
}

#[test]
fn a_file_goes_into_a_topic_exactly_once_over_restarts() {
    logged();
    let kafka = Kafka::shared().unwrap();
    let to = kafka.fresh_topic("speeds", 1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locations.ndjson");
    let lines: Vec<String> =
        (0..2000).map(|time| serde_json::to_string(&here(time, 0)).unwrap() + "\n").collect();
    fs::write(&path, lines.concat()).unwrap();
    let application = unique("from-file");
    let run = |mill: Mill<Here>| {
        let files = JsonFileBroker::new().read::<Here>(&path).read::<Next>(&path);
        let kafka = KafkaBroker::new(kafka.bootstrap(), &application).write::<Speed>(to.as_str());
        mill.run_blocking(files.and(kafka))
    };
    let report = run(speeds().commit_after_calls(100).stop_after_records(450)).unwrap();
    assert_eq!(report.end, EndReason::Records, "{report}");
    let report = run(speeds()).unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { marked: false, .. }), "{report}");
    assert_eq!(results(kafka, &to, 1), [(expected(2000, 0), 1)]);
    assert_eq!(run(speeds()).unwrap().end, EndReason::EndedBefore);
}

/// A flight, as far as the join looks at it.
#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Flight {
    date: String,
    origin: String,
    destination: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Onward {
    date: String,
    origin: String,
    destination: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Connections {
    date: String,
    airport: String,
    onward: Vec<String>,
}

/// Flights that leave the destination in the same minute or the hour behind it, by the text of the date.
fn connections(flight: &Flight, onward: &Joined<Flight, Onward>) -> Connections {
    let onward = onward[flight].iter().map(|next| next.destination.clone()).collect();
    Connections { date: flight.date.clone(), airport: flight.destination.clone(), onward }
}

fn connecting() -> Mill<Flight> {
    let minutes = |date: &str| {
        let (day, time) = date.split_once(' ')?;
        let (hour, minute) = time.split_once(':')?;
        let day: i64 = day.rsplit('/').next()?.parse().ok()?;
        let month: i64 = day_month(date)?;
        Some(((month * 31 + day) * 24 + hour.parse::<i64>().ok()?) * 60 + minute.parse::<i64>().ok()?)
    };
    let join =
        JoinWith::new(move |flight: &Flight| minutes(&flight.date), move |next: &Onward| minutes(&next.date))
            .within(45..=120)
            .and(Flight::fields().destination, Onward::fields().origin);
    Mill::new(connections).join(join)
}

fn day_month(date: &str) -> Option<i64> {
    date.split('/').nth(1)?.parse().ok()
}

#[test]
fn the_flights_have_the_same_connections_from_a_topic_as_from_their_file() {
    let kafka = Kafka::shared().unwrap();
    let flights = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/flights-20k.json");
    let (from, to) = (kafka.fresh_topic("flights", 1).unwrap(), kafka.fresh_topic("connections", 1).unwrap());
    // A file is loaded into a topic by a mill.
    let load = Mill::new(|flight: &Flight| flight.clone())
        .run_blocking(
            JsonFileBroker::new()
                .read::<Flight>(flights)
                .and(KafkaBroker::new(kafka.bootstrap(), unique("load")).write::<Flight>(from.as_str())),
        )
        .unwrap();
    assert_eq!(load.results, 20_000);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("connections.ndjson");
    let files =
        JsonFileBroker::new().read::<Flight>(flights).read::<Onward>(flights).write::<Connections>(&path);
    let of_files = connecting().run_blocking(files).unwrap();
    let topics = KafkaBroker::new(kafka.bootstrap(), unique("flights"))
        .read::<Flight>(&from)
        .read::<Onward>(&from)
        .write::<Connections>(to.as_str());
    let of_topics = connecting().run_blocking(topics).unwrap();
    assert!(of_files.results > 4_000, "{of_files}");
    assert_eq!(of_topics.results, of_files.results);
    let text = fs::read_to_string(&path).unwrap();
    let mut read = kafka.client().read(&to, Isolation::Committed).unwrap();
    let mark = read.pop().unwrap();
    assert_eq!(mark.value.as_deref(), Some(&b"{\"eos__\": true}"[..]));
    assert!(read.iter().map(|record| record.value.as_deref().unwrap()).eq(text.lines().map(str::as_bytes)));
}
