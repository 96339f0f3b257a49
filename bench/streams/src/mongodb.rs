//! Named streams in MongoDB, beside the bare driver and Python's minibatch 0.6.0 on the same server: `cargo run --release -p watermill-bench-streams --bin watermill-bench-streams-mongodb`.
//!
//! The server is the one that tests have (see `tests/servers`). Each case is run by all in turn, each on a database of its own; the best of five is shown.
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

const RUNS: usize = 5;
const SINGLE: u64 = 200;
const BATCHED: u64 = 40_000;
const BATCH: u64 = 1000;
const CONSUMED: u64 = 20_000;
const GONE: u64 = 1_000_000;
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
    let cases: [(&str, Case); 8] = [
        ("single", single),
        ("threads", || threads(8, "appends, one by one, of 8 threads")),
        ("threads", || threads(32, "appends, one by one, of 32 threads")),
        ("batched", || batched(false)),
        ("batched", || batched(true)),
        ("consumed", consumed),
        ("gone", || grown(false)),
        ("kept", || grown(true)),
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

/// The fastest of five runs of each, which take turns: what the machine does besides is then everybody's.
fn best<const N: usize>(mut cases: [&mut dyn FnMut() -> Told<Duration>; N]) -> Told<[Duration; N]> {
    let mut least = [Duration::MAX; N];
    for _ in 0..RUNS {
        for (case, least) in cases.iter_mut().zip(&mut least) {
            *least = case()?.min(*least);
        }
    }
    Ok(least)
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

/// The bare driver, and a collection of messages as ours, with the index that finding what waits takes.
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
            let waiting =
                IndexOptions::builder().partial_filter_expression(doc! { "processed": false }).build();
            let index = IndexModel::builder().keys(doc! { "stream": 1, "_id": 1 }).options(waiting).build();
            buffer.create_index(index).await?;
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

    /// Each of `tasks` inserts so many, one by one.
    fn insert_at_once(&self, tasks: u64, count: u64) -> Told<Duration> {
        let since = Instant::now();
        let all = (0..tasks).map(|_| {
            let buffer = self.buffer.clone();
            self.runtime.spawn(async move {
                for time in 0..count {
                    let message = message(&reading(time)).map_err(|error| error.to_string())?;
                    buffer.insert_one(message).await.map_err(|error| error.to_string())?;
                }
                Ok::<_, String>(())
            })
        });
        for task in all.collect::<Vec<_>>() {
            self.runtime.block_on(task)??;
        }
        Ok(since.elapsed())
    }

    /// Takes messages out, so many at once: finds and marks them in a transaction, reads them, and deletes them in another one.
    fn take(&self, count: u64) -> Told<Duration> {
        let since = Instant::now();
        self.runtime.block_on(async {
            let mut session = self.buffer.client().start_session().await?;
            let mut taken = 0;
            while taken < count {
                let waiting = doc! { "stream": "readings", "processed": false };
                session.start_transaction().await?;
                let found = self.buffer.find(waiting).sort(doc! { "_id": 1 }).limit(8192).batch_size(8192);
                let mut found = found.session(&mut session).await?;
                let mut ids: Vec<ObjectId> = Vec::new();
                let mut window = Vec::new();
                while found.advance(&mut session).await? {
                    let message = found.current();
                    ids.push(message.get_object_id("_id")?);
                    let reading: Reading =
                        bson::deserialize_from_slice(message.get_document("data")?.as_bytes())?;
                    window.push(reading);
                    if window.len() == 10 {
                        window.clear();
                    }
                }
                let (Some(first), Some(last)) = (ids.first(), ids.last()) else { break };
                let range = doc! { "$gte": *first, "$lte": *last };
                let of = doc! { "stream": "readings", "processed": false, "_id": range.clone() };
                let marked = self.buffer.update_many(of, doc! { "$set": { "processed": true } });
                marked.session(&mut session).await?;
                session.commit_transaction().await?;
                session.start_transaction().await?;
                let of = doc! { "stream": "readings", "processed": true, "_id": range };
                taken += self.buffer.delete_many(of).session(&mut session).await?.deleted_count;
                session.commit_transaction().await?;
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
    let (readings, bare, url) = (readings()?, Bare::new()?, url()?);
    let [ours, bare, theirs] = best([
        &mut || {
            let since = Instant::now();
            for time in 0..SINGLE {
                readings.append(&reading(time))?;
            }
            Ok(since.elapsed())
        },
        &mut || bare.insert(SINGLE, 1),
        &mut || python("append", &url, THEIRS),
    ])?;
    Ok(Line("appends, one by one", (SINGLE, ours), Some((SINGLE, bare)), Some((THEIRS, theirs))))
}

/// Each waits for its message to be on the server's disk before it appends the next.
fn threads(threads: u64, what: &'static str) -> Told<Line> {
    let (readings, bare, url) = (readings()?, Bare::new()?, url()?);
    let [ours, bare, theirs] = best([
        &mut || {
            let since = Instant::now();
            std::thread::scope(|scope| {
                let append = || (0..SINGLE).try_for_each(|time| readings.append(&reading(time)).map(drop));
                let all: Vec<_> = (0..threads).map(|_| scope.spawn(append)).collect();
                all.into_iter().try_for_each(|thread| {
                    thread.join().map_err(|_| "a thread has panicked")?.map_err(Box::<dyn Error>::from)
                })
            })?;
            Ok(since.elapsed())
        },
        &mut || bare.insert_at_once(threads, SINGLE),
        &mut || python("append", &url, THEIRS),
    ])?;
    let count = threads * SINGLE;
    Ok(Line(what, (count, ours), Some((count, bare)), Some((THEIRS, theirs))))
}

/// What minibatch appends in batches, or one by one.
fn batched(single: bool) -> Told<Line> {
    let (readings, bare, url) = (readings()?, Bare::new()?, url()?);
    let (how, theirs) = if single { ("append", THEIRS) } else { ("batched", BATCHED) };
    let [ours, bare, took] =
        best([&mut || append(&readings, BATCHED), &mut || bare.insert(BATCHED, BATCH), &mut || {
            python(how, &url, theirs)
        }])?;
    let what = if single { "the same (minibatch: one by one)" } else { "appends, in batches of 1000" };
    Ok(Line(what, (BATCHED, ours), Some((BATCHED, bare)), Some((theirs, took))))
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
    let (readings, bare, url) = (readings()?, Bare::new()?, url()?);
    let [ours, bare, theirs] = best([
        &mut || {
            append(&readings, CONSUMED)?;
            take(readings.consumer(), CONSUMED)
        },
        &mut || {
            bare.insert(CONSUMED, BATCH)?;
            bare.take(CONSUMED)
        },
        &mut || {
            python("batched", &url, THEIRS)?;
            python("consume", &url, THEIRS)
        },
    ])?;
    Ok(Line("consumed, in windows of 10", (CONSUMED, ours), Some((CONSUMED, bare)), Some((THEIRS, theirs))))
}

/// The same when a million messages have gone through the stream, or are kept in it. Beside it, in the column of the bare driver, what it was before.
fn grown(keep: bool) -> Told<Line> {
    let readings = readings()?;
    let consumer = || if keep { readings.consumer().keep() } else { readings.consumer() };
    let mut one = || {
        append(&readings, CONSUMED)?;
        take(consumer(), CONSUMED)
    };
    let [first] = best([&mut one])?;
    for _ in 0..GONE / CONSUMED {
        one()?;
    }
    let [last] = best([&mut one])?;
    let what = if keep { "beside 1,000,000 that are kept" } else { "after 1,000,000 have gone" };
    Ok(Line(what, (CONSUMED, last), Some((CONSUMED, first)), None))
}
