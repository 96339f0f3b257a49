//! Named streams in a SQLite file, beside what one would write by hand with the bare library: `cargo run --release -p watermill-bench-streams [directory]`.
//!
//! Each case is run three times, ours and the bare one in turn, and the fastest of each is shown. The directory is where files are made; what a durable append costs depends on
//! the disk it is on.
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use watermill::prelude::*;

type Told<T> = Result<T, Box<dyn Error>>;

/// 48 bytes as JSON, as the records of the other benchmarks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, StreamRecord)]
struct Reading {
    time: u64,
    x: f64,
    y: f64,
}

const BATCHED: u64 = 400_000;
const SINGLE: u64 = 400;
const CONSUMED: u64 = 400_000;
const PROCESSED: u64 = 1_000_000;

fn reading(time: u64) -> Reading {
    Reading { time: 1_700_000_000 + time, x: time as f64 / 8.0, y: 0.25 }
}

fn main() -> Told<()> {
    let directory = std::env::args().nth(1);
    let directory = match &directory {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let path = |name: &str| directory.path().join(name);
    println!("{:<58} {:>12} {:>12} {:>6}", "", "ours/s", "bare/s", "times");
    let (mut ours, mut bare);
    for size in [1000, 5000] {
        (ours, bare) = (Duration::MAX, Duration::MAX);
        for turn in 0..3 {
            ours = ours.min(batched(&path(&format!("batched-{size}-{turn}.db")), size)?);
            bare = bare.min(bare_batched(&path(&format!("bare-batched-{size}-{turn}.db")), size)?);
        }
        line(&format!("appends, batches of {size}"), BATCHED, ours, bare);
    }
    (ours, bare) = (Duration::MAX, Duration::MAX);
    for turn in 0..3 {
        ours = ours.min(single(&path(&format!("single-{turn}.db")))?);
        bare = bare.min(bare_single(&path(&format!("bare-single-{turn}.db")))?);
    }
    line("durable appends, one by one", SINGLE, ours, bare);
    let file = path("consumed.db");
    let fresh = (0..3).map(|_| consume(&file)).collect::<Told<Vec<_>>>()?;
    let fresh = fresh.into_iter().min().unwrap_or_default();
    alone("consumed in windows of 10", CONSUMED, fresh);
    // As much again and more has gone through the file.
    let mut went = 3 * CONSUMED;
    while went < PROCESSED + 3 * CONSUMED {
        consume(&file)?;
        went += CONSUMED;
    }
    let later =
        (0..3).map(|_| consume(&file)).collect::<Told<Vec<_>>>()?.into_iter().min().unwrap_or_default();
    alone(&format!("the same, after {went} messages"), CONSUMED, later);
    let kept = path("kept.db");
    let first = kept_round(&kept)?;
    alone("consumed in windows of 10, and kept", CONSUMED, first);
    let mut last = first;
    for _ in 0..PROCESSED.div_ceil(CONSUMED) {
        last = kept_round(&kept)?;
    }
    alone("the same, beside 1,200,000 that are kept", CONSUMED, last);
    Ok(())
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn line(what: &str, count: u64, ours: Duration, bare: Duration) {
    let times = ours.as_secs_f64() / bare.as_secs_f64();
    println!("{what:<58} {:>12.0} {:>12.0} {times:>6.2}", rate(count, ours), rate(count, bare));
}

fn alone(what: &str, count: u64, ours: Duration) {
    println!("{what:<58} {:>12.0}", rate(count, ours));
}

fn open(path: &Path) -> Told<Stream<Reading>> {
    Ok(Streams::open(&format!("sqlite:{}", path.display()))?.stream("readings")?)
}

/// Until the last one is durable.
fn append(readings: &Stream<Reading>, count: u64, size: u64) -> Told<Duration> {
    let since = Instant::now();
    let batched = readings.batched(usize::try_from(size)?, Duration::from_secs(60))?;
    for time in 0..count {
        batched.push(&reading(time))?;
    }
    batched.flush()?;
    Ok(since.elapsed())
}

fn batched(path: &Path, size: u64) -> Told<Duration> {
    append(&open(path)?, BATCHED, size)
}

fn single(path: &Path) -> Told<Duration> {
    let readings = open(path)?;
    let since = Instant::now();
    for time in 0..SINGLE {
        readings.append(&reading(time))?;
    }
    Ok(since.elapsed())
}

/// What was appended before, consumed. Their results are counted by nobody.
fn consume(path: &Path) -> Told<Duration> {
    let readings = open(path)?;
    append(&readings, CONSUMED, 5000)?;
    take(readings.consumer())
}

fn kept_round(path: &Path) -> Told<Duration> {
    let readings = open(path)?;
    append(&readings, CONSUMED, 5000)?;
    take(readings.consumer().keep())
}

fn take(consumer: watermill::streams::Consumer) -> Told<Duration> {
    let since = Instant::now();
    let report = Mill::new(|window: &[Reading]| assert_eq!(window.len(), 10))
        .window(Window::count(10))
        .stop_after_records(CONSUMED)
        .progress(false)
        .run_blocking(consumer)?;
    let took = since.elapsed();
    assert_eq!(report.calls, CONSUMED / 10);
    Ok(took)
}

fn bare(path: &Path) -> Told<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE message (place INTEGER PRIMARY KEY, data BLOB NOT NULL)")?;
    Ok(connection)
}

fn bare_batched(path: &Path, size: u64) -> Told<Duration> {
    let mut connection = bare(path)?;
    let since = Instant::now();
    for batch in 0..BATCHED / size {
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO message (data) VALUES (?)")?;
            for time in 0..size {
                insert.execute([text(&reading(batch * size + time))])?;
            }
        }
        transaction.commit()?;
    }
    Ok(since.elapsed())
}

fn bare_single(path: &Path) -> Told<Duration> {
    let connection = bare(path)?;
    let mut insert = connection.prepare("INSERT INTO message (data) VALUES (?)")?;
    let since = Instant::now();
    for time in 0..SINGLE {
        insert.execute([text(&reading(time))])?;
    }
    Ok(since.elapsed())
}

fn text(reading: &Reading) -> Vec<u8> {
    format!("{{\"time\":{},\"x\":{},\"y\":{}}}", reading.time, reading.x, reading.y).into_bytes()
}
