//! Named streams in MongoDB, beside the bare driver and Python's minibatch 0.6.0 on the same server: `cargo run --release -p watermill-bench-streams --bin watermill-bench-streams-mongodb`.
//!
//! The server is the one that tests have (see `tests/servers`). Each case is run in turn by all, on a database of its own; the best of three is shown, and for minibatch the only one.
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, IndexOptions, WriteConcern};
use mongodb::{Client, Collection, IndexModel};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use watermill::prelude::*;
use watermill_servers::{Mongo, python_minibatch};

type Told<T> = Result<T, Box<dyn Error>>;

/// 48 bytes as JSON, as the records of the other benchmarks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, StreamRecord)]
struct Reading {
    time: i64,
    x: f64,
    y: f64,
}

const SINGLE: u64 = 200;
const BATCHED: u64 = 40_000;
const BATCH: u64 = 1000;
const CONSUMED: u64 = 20_000;
const KEPT: u64 = 100_000;
const THREADS: u64 = 8;
/// minibatch is given less to do.
const THEIRS: u64 = 200;

fn reading(time: u64) -> Reading {
    Reading { time: 1_700_000_000 + time.cast_signed(), x: time as f64 / 8.0, y: 0.25 }
}

/// One case: how long ours took, the bare driver, and minibatch, for how many messages each.
struct Line(&'static str, (u64, Duration), Option<(u64, Duration)>, Option<(u64, Duration)>);

/// What is measured.
type Case = fn() -> Told<Line>;

fn main() -> Told<()> {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!(
        "{:<44} {:>10} {:>10} {:>10} {:>8} {:>10}",
        "messages a second", "ours", "bare", "minibatch", "of bare", "minibatch's"
    );
    let cases: [(&str, Case); 5] = [
        ("single", single),
        ("threads", threads),
        ("batched", batched),
        ("consumed", consumed),
        ("kept", kept),
    ];
    for (name, case) in cases {
        if !only.is_empty() && only != name {
            continue;
        }
        let Line(what, ours, bare, theirs) = case()?;
        let rate = |(count, took): (u64, Duration)| count as f64 / took.as_secs_f64();
        let shown = |other: Option<(u64, Duration)>| {
            other.map_or(String::new(), |other| format!("{:.0}", rate(other)))
        };
        let times = |other: Option<(u64, Duration)>| {
            other.map_or(String::new(), |other| format!("{:.2}", rate(ours) / rate(other)))
        };
        println!(
            "{what:<44} {:>10.0} {:>10} {:>10} {:>8} {:>10}",
            rate(ours),
            shown(bare),
            shown(theirs),
            times(bare),
            times(theirs)
        );
    }
    Ok(())
}

fn best(mut case: impl FnMut() -> Told<Duration>) -> Told<Duration> {
    Ok((0..3).map(|_| case()).collect::<Told<Vec<_>>>()?.into_iter().min().unwrap_or_default())
}

fn url() -> Told<String> {
    let server = Mongo::shared()?;
    Ok(format!("{}/{}", server.uri(), server.fresh_database("bench")))
}

fn python(what: &str, url: &str, count: u64) -> Told<Duration> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/peer.py");
    let mut python = Command::new(python_minibatch()?);
    let output = python.args(["-W", "ignore"]).arg(script).args([what, url, &count.to_string()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(Duration::from_secs_f64(
        text.trim().parse().map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?,
    ))
}

/// The bare driver, and the collection that minibatch has its messages in, with its indexes and the one that finding what waits takes.
struct Bare {
    runtime: Runtime,
    buffer: Collection<RawDocumentBuf>,
}

impl Bare {
    fn new() -> Told<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let url = url()?;
        let buffer = runtime.block_on(async {
            let client = Client::with_uri_str(&url).await?;
            let options = mongodb::options::DatabaseOptions::builder()
                .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build())
                .build();
            let database = client.database_with_options(url.rsplit('/').next().unwrap_or_default(), options);
            let buffer = database.collection::<RawDocumentBuf>("buffer");
            for keys in
                [doc! { "created": 1 }, doc! { "stream": 1 }, doc! { "stream": 1, "processed": 1, "_id": 1 }]
            {
                let index = IndexModel::builder().keys(keys).options(IndexOptions::default()).build();
                buffer.create_index(index).await?;
            }
            Ok::<_, mongodb::error::Error>(buffer)
        })?;
        Ok(Self { runtime, buffer })
    }

    fn insert(&self, count: u64, size: u64) -> Told<Duration> {
        let since = Instant::now();
        self.runtime.block_on(async {
            for batch in 0..count / size {
                let documents: Vec<RawDocumentBuf> =
                    (0..size).map(|at| message(&reading(batch * size + at))).collect::<Told<_>>()?;
                match &documents[..] {
                    [one] => drop(self.buffer.insert_one(one).await?),
                    all => drop(self.buffer.insert_many(all).await?),
                }
            }
            Ok(since.elapsed())
        })
    }

    /// Takes messages out: finds them, marks them, reads them, deletes them; so many at once, and without a transaction.
    fn take(&self, count: u64) -> Told<Duration> {
        let since = Instant::now();
        self.runtime.block_on(async {
            let mut taken = 0;
            while taken < count {
                let waiting = doc! { "stream": "readings", "processed": false };
                let mut found = self.buffer.find(waiting).sort(doc! { "_id": 1 }).limit(8192).batch_size(8192).await?;
                let mut ids: Vec<ObjectId> = Vec::new();
                let mut window = Vec::new();
                while found.advance().await? {
                    let message = found.current();
                    ids.push(message.get_object_id("_id")?);
                    let reading: Reading = bson::deserialize_from_slice(message.get_document("data")?.as_bytes())?;
                    window.push(reading);
                    if window.len() == 10 {
                        window.clear();
                    }
                }
                let (Some(first), Some(last)) = (ids.first(), ids.last()) else { break };
                let of = doc! { "stream": "readings", "processed": false, "_id": { "$gte": *first, "$lte": *last } };
                self.buffer.update_many(of, doc! { "$set": { "processed": true } }).await?;
                let of = doc! { "stream": "readings", "processed": true, "_id": { "$gte": *first, "$lte": *last } };
                taken += self.buffer.delete_many(of).await?.deleted_count;
            }
            Ok(since.elapsed())
        })
    }
}

fn message(reading: &Reading) -> Told<RawDocumentBuf> {
    let data: Document = bson::serialize_to_document(reading)?;
    let message = doc! {
        "_id": ObjectId::new(), "stream": "readings", "created": DateTime::now(), "data": data, "processed": false,
    };
    Ok(RawDocumentBuf::try_from(&message)?)
}

fn readings() -> Told<Stream<Reading>> {
    Ok(Streams::open(&url()?)?.stream("readings")?)
}

fn append(readings: &Stream<Reading>, count: u64) -> Told<Duration> {
    let since = Instant::now();
    let batched = readings.batched(usize::try_from(BATCH)?, Duration::from_secs(60))?;
    for time in 0..count {
        batched.push(&reading(time))?;
    }
    batched.flush()?;
    Ok(since.elapsed())
}

fn single() -> Told<Line> {
    let (readings, bare) = (readings()?, Bare::new()?);
    let ours = best(|| {
        let since = Instant::now();
        for time in 0..SINGLE {
            readings.append(&reading(time))?;
        }
        Ok(since.elapsed())
    })?;
    let bare = best(|| bare.insert(SINGLE, 1))?;
    let theirs = python("append", &url()?, THEIRS)?;
    Ok(Line("appends, one by one", (SINGLE, ours), Some((SINGLE, bare)), Some((THEIRS, theirs))))
}

fn threads() -> Told<Line> {
    let (readings, bare) = (readings()?, Bare::new()?);
    let ours = best(|| {
        let since = Instant::now();
        std::thread::scope(|scope| {
            let append = || (0..SINGLE).try_for_each(|time| readings.append(&reading(time)).map(drop));
            let all: Vec<_> = (0..THREADS).map(|_| scope.spawn(append)).collect();
            all.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| "a thread has panicked")?.map_err(Box::<dyn Error>::from)
            })
        })?;
        Ok(since.elapsed())
    })?;
    let bare = best(|| {
        let since = Instant::now();
        let all = (0..THREADS).map(|_| {
            let buffer = bare.buffer.clone();
            bare.runtime.spawn(async move {
                for time in 0..SINGLE {
                    let message = message(&reading(time)).map_err(|error| error.to_string())?;
                    buffer.insert_one(message).await.map_err(|error| error.to_string())?;
                }
                Ok::<_, String>(())
            })
        });
        for task in all.collect::<Vec<_>>() {
            bare.runtime.block_on(task)??;
        }
        Ok(since.elapsed())
    })?;
    let count = THREADS * SINGLE;
    let theirs = python("append", &url()?, THEIRS)?;
    Ok(Line("appends, one by one, of 8 threads", (count, ours), Some((count, bare)), Some((THEIRS, theirs))))
}

fn batched() -> Told<Line> {
    let (readings, bare) = (readings()?, Bare::new()?);
    let ours = best(|| append(&readings, BATCHED))?;
    let bare = best(|| bare.insert(BATCHED, BATCH))?;
    let theirs = python("batched", &url()?, BATCHED)?;
    Ok(Line("appends, in batches of 1000", (BATCHED, ours), Some((BATCHED, bare)), Some((BATCHED, theirs))))
}

fn take(consumer: watermill::streams::Consumer, count: u64) -> Told<Duration> {
    let since = Instant::now();
    let report = Mill::new(|window: &[Reading]| assert_eq!(window.len(), 10))
        .window(Window::count(10))
        .stop_after_records(count)
        .progress(false)
        .run_blocking(consumer)?;
    assert_eq!(report.calls, count / 10);
    Ok(since.elapsed())
}

fn consumed() -> Told<Line> {
    let (readings, bare) = (readings()?, Bare::new()?);
    let ours = best(|| {
        append(&readings, CONSUMED)?;
        take(readings.consumer(), CONSUMED)
    })?;
    let bare = best(|| {
        bare.insert(CONSUMED, BATCH)?;
        bare.take(CONSUMED)
    })?;
    let url = url()?;
    python("batched", &url, THEIRS)?;
    let theirs = python("consume", &url, THEIRS)?;
    Ok(Line("consumed, in windows of 10", (CONSUMED, ours), Some((CONSUMED, bare)), Some((THEIRS, theirs))))
}

/// Beside many that were processed and are kept.
fn kept() -> Told<Line> {
    let readings = readings()?;
    let mut went = 0;
    let mut first = Duration::MAX;
    while went < KEPT {
        append(&readings, CONSUMED)?;
        let took = take(readings.consumer().keep(), CONSUMED)?;
        first = if went == 0 { took } else { first };
        went += CONSUMED;
    }
    append(&readings, CONSUMED)?;
    let last = take(readings.consumer().keep(), CONSUMED)?;
    Ok(Line(
        "consumed and kept, beside 100,000 (bare: none)",
        (CONSUMED, last),
        Some((CONSUMED, first)),
        None,
    ))
}
