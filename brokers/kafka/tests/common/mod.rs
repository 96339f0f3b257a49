//! What the tests share: records, topics filled with them, and what is read back.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde::{Deserialize, Serialize};
use watermill_core::prelude::*;
use watermill_derive::StreamRecord;
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Isolation, Kafka, NewRecord, ReadRecord};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Here {
    pub time: i64,
    pub x: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Next {
    pub time: i64,
    pub x: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Speed {
    pub from: i64,
    pub to: i64,
    pub speed: f64,
}

pub fn speed(here: &Here, next: &Joined<Here, Next>) -> Speed {
    let there = &next[here][0];
    Speed { from: here.time, to: there.time, speed: (there.x - here.x) / (there.time - here.time) as f64 }
}

/// Each record is joined to the one ten later.
pub fn speeds() -> Mill<Here> {
    Mill::new(speed).join(JoinWith::new(Here::fields().time + 10, Next::fields().time))
}

/// The record of `time` in `partition`.
pub fn here(time: i64, partition: u32) -> Here {
    Here { time, x: (time * time % 1009) as f64 + f64::from(partition) }
}

/// What comes of `count` records in `partition`.
pub fn expected(count: i64, partition: u32) -> Vec<Speed> {
    (0..count - 10)
        .map(|time| {
            let (at, next) = (here(time, partition), here(time + 10, partition));
            Speed { from: time, to: time + 10, speed: (next.x - at.x) / 10.0 }
        })
        .collect()
}

/// Writes the records `times` to every partition of `topic`.
pub fn fill(kafka: &Kafka, topic: &str, partitions: u32, times: std::ops::Range<i64>) {
    let records: Vec<NewRecord> = (0..partitions)
        .flat_map(|partition| times.clone().map(move |time| (partition, here(time, partition))))
        .map(|(partition, record)| {
            NewRecord::new(topic).partition(partition).value(serde_json::to_vec(&record).unwrap())
        })
        .collect();
    kafka.client().produce(&records).unwrap();
}

/// The mark that ends a stream, as Python's watermill writes it.
pub const MARK: &[u8] = b"{\"eos__\": true}";

pub fn is_mark(record: &ReadRecord) -> bool {
    record.value.as_deref().is_some_and(|value| value.starts_with(b"{\"eos__\""))
}

/// The records of a topic that are no marks, in order within each partition, and the partitions of the marks.
pub fn read<R: serde::de::DeserializeOwned>(kafka: &Kafka, topic: &str) -> (Vec<(u32, R)>, Vec<u32>) {
    let all = kafka.client().read(topic, Isolation::Committed).unwrap();
    let (marks, records): (Vec<&ReadRecord>, Vec<&ReadRecord>) =
        all.iter().partition(|record| is_mark(record));
    let record = |record: &&ReadRecord| {
        let value = record.value.as_deref().unwrap();
        (record.partition, serde_json::from_slice(value).unwrap())
    };
    (records.iter().map(record).collect(), marks.iter().map(|mark| mark.partition).collect())
}

/// Writes one value to one partition.
pub fn put(kafka: &Kafka, topic: &str, partition: u32, value: &[u8]) {
    kafka.client().produce(&[NewRecord::new(topic).partition(partition).value(value)]).unwrap();
}

/// An error with its causes.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Waits until `there` says so.
pub fn until(what: &str, mut there: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !there() {
        assert!(std::time::Instant::now() < limit, "waited too long: {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Ends every partition of `topic`.
pub fn end(kafka: &Kafka, topic: &str, partitions: u32) {
    let marks: Vec<NewRecord> =
        (0..partitions).map(|partition| NewRecord::new(topic).partition(partition).value(MARK)).collect();
    kafka.client().produce(&marks).unwrap();
}

/// What committed readers see in a topic, by partition: the records, and how many marks.
pub fn results(kafka: &Kafka, topic: &str, partitions: u32) -> Vec<(Vec<Speed>, usize)> {
    let read = kafka.client().read(topic, Isolation::Committed).unwrap();
    let of = |partition: u32| {
        let mine: Vec<&ReadRecord> = read.iter().filter(|record| record.partition == partition).collect();
        let marks = mine.iter().filter(|record| is_mark(record)).count();
        let records = mine
            .iter()
            .filter(|record| !is_mark(record))
            .map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap())
            .collect();
        (records, marks)
    };
    (0..partitions).map(of).collect()
}

/// Reads `from` at two places, and writes `to`.
pub fn broker(kafka: &Kafka, application: &str, from: &str, to: &str) -> KafkaBroker {
    KafkaBroker::new(kafka.bootstrap(), application).read::<Here>(from).read::<Next>(from).write::<Speed>(to)
}

/// Keeps what is told, for [`logs`], and tells it where `RUST_LOG` asks for it.
pub fn logged() {
    let from_environment = std::env::var("RUST_LOG").unwrap_or_default();
    let filter = tracing_subscriber::EnvFilter::new(format!("{from_environment},watermill=debug"));
    let writer = || Told { echo: std::env::var_os("RUST_LOG").is_some(), text: Vec::new() };
    let _ = tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(writer).try_init();
}

static TOLD: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

/// Whether a line was told that has all of these in it.
pub fn logs(contents: &[&str]) -> bool {
    let told = TOLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    told.iter().any(|line| contents.iter().all(|content| line.contains(content)))
}

/// One line.
struct Told {
    echo: bool,
    text: Vec<u8>,
}

impl std::io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let line = String::from_utf8_lossy(&self.text).into_owned();
        if self.echo {
            eprint!("{line}");
        }
        TOLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }
}
