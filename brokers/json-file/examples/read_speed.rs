//! How fast files are read, beside the hand-written loop: `cargo run --release --example read_speed [records]`.
//!
//! Prints nanoseconds a record for each step on its own, then wall and CPU time of two streams that read the same file.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use watermill_core::broker::{Broker, Checkpoint, InputRequest, Job, Lane, OutputRequest, Session, Source};
use watermill_core::key::Place;
use watermill_core::record::StreamRecord;
use watermill_json_file::JsonFileBroker;

macro_rules! location {
    ($name:ident) => {
        #[derive(Serialize, Deserialize, Clone)]
        struct $name {
            time: i64,
            x: f64,
            y: f64,
        }
        impl StreamRecord for $name {
            const NAME: &'static str = stringify!($name);
            type Fields<P: Place<Value = Self>> = ();
            fn fields_below<P: Place<Value = Self>>() -> &'static () {
                &()
            }
        }
    };
}
location!(Here);
location!(There);

const LANE: Lane = Lane { index: 0, count: 1 };

fn main() {
    let count: u64 = std::env::args().nth(1).map_or(5_000_000, |text| text.parse().unwrap());
    let directory = std::env::temp_dir().join("watermill-read-speed");
    std::fs::create_dir_all(&directory).unwrap();
    let (lines, array) = (directory.join("in.ndjson"), directory.join("in.json"));
    generate(&lines, &array, count);
    let bytes = std::fs::metadata(&lines).unwrap().len();
    println!("{count} records, {bytes} bytes of NDJSON, {} a record", bytes / count);

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // A second argument picks the measurements whose names have it in them.
    let only = std::env::args().nth(2).unwrap_or_default();
    let report = |what: &str, times: u64, run: &mut dyn FnMut() -> f64| {
        if !what.contains(&only) {
            return;
        }
        let (wall, cpu) = (Instant::now(), cpu_time());
        let sum = run();
        let (wall, cpu) = (wall.elapsed(), cpu_time() - cpu);
        let each = |time: Duration| time.as_nanos() as f64 / (count * times) as f64;
        println!(
            "{what:44} wall {:6.3} s ({:5.1} ns a record)   cpu {:6.3} s ({:5.1} ns)   sum {sum}",
            wall.as_secs_f64(),
            each(wall),
            cpu.as_secs_f64(),
            each(cpu)
        );
    };
    report("hand-written, from_slice", 1, &mut || {
        by_hand(&lines, |line| serde_json::from_slice(line).unwrap())
    });
    report("hand-written, from_str", 1, &mut || {
        by_hand(&lines, |line| serde_json::from_str(std::str::from_utf8(line).unwrap()).unwrap())
    });
    report("in memory, from_slice", 1, &mut || {
        in_memory(&lines, |line| serde_json::from_slice(line).unwrap())
    });
    report("in memory, from_str", 1, &mut || {
        let text = std::fs::read_to_string(&lines).unwrap();
        text.lines().map(|line| serde_json::from_str::<Here>(line).unwrap().x).sum()
    });
    report("one stream, NDJSON", 1, &mut || runtime.block_on(one(&lines)));
    report("two streams, NDJSON", 2, &mut || runtime.block_on(two(&lines)));
    report("one stream, array", 1, &mut || runtime.block_on(one(&array)));
    report("two streams, array", 2, &mut || runtime.block_on(two(&array)));
    report("hand-written, write", 1, &mut || {
        let mut out =
            BufWriter::with_capacity(1 << 18, std::fs::File::create(directory.join("hand.ndjson")).unwrap());
        for time in 0..count {
            serde_json::to_writer(&mut out, &here(time)).unwrap();
            out.write_all(b"\n").unwrap();
        }
        out.flush().unwrap();
        0.0
    });
    for name in ["out.ndjson", "out.json", "out.ndjson.gz", "out.ndjson.zst"] {
        report(&format!("write {name}"), 1, &mut || runtime.block_on(write(&directory.join(name), count)));
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

fn here(time: u64) -> Here {
    Here { time: time as i64, x: (time % 1000) as f64 / 8.0 + 100.0, y: (time % 777) as f64 / 16.0 - 300.0 }
}

fn generate(lines: &Path, array: &Path, count: u64) {
    let mut lines = BufWriter::new(std::fs::File::create(lines).unwrap());
    let mut array = BufWriter::new(std::fs::File::create(array).unwrap());
    for time in 0..count {
        let text = serde_json::to_string(&here(time + 1_000_000)).unwrap();
        writeln!(lines, "{text}").unwrap();
        write!(array, "{}{text}", if time == 0 { "[" } else { ", " }).unwrap();
    }
    writeln!(array, "]").unwrap();
}

fn by_hand(path: &Path, parse: impl Fn(&[u8]) -> Here) -> f64 {
    let mut reader = BufReader::with_capacity(1 << 18, std::fs::File::open(path).unwrap());
    let (mut line, mut sum) = (Vec::new(), 0.0);
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        sum += parse(&line).x;
        line.clear();
    }
    sum
}

fn in_memory(path: &Path, parse: impl Fn(&[u8]) -> Here) -> f64 {
    let text = std::fs::read(path).unwrap();
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| parse(line).x).sum()
}

fn broker(path: &Path) -> JsonFileBroker {
    let bytes = std::env::args().nth(3).map_or(256 * 1024, |text| text.parse().unwrap());
    JsonFileBroker::new().read::<Here>(path).read::<There>(path).batch_bytes(bytes)
}

async fn session(broker: JsonFileBroker, inputs: usize, outputs: usize) -> Box<dyn Session> {
    let inputs = (0..inputs).map(|input| InputRequest {
        input,
        stream: format!("stream {input}"),
        node: input,
        keep_raw: false,
    });
    let outputs = (0..outputs).map(|output| OutputRequest {
        output,
        stream: "out".to_owned(),
        letters: false,
        leave_out: false,
    });
    let job = Job { inputs: inputs.collect(), outputs: outputs.collect(), ..Job::default() };
    broker.open(&job).await.unwrap()
}

async fn one(path: &Path) -> f64 {
    let mut sources = session(broker(path), 1, 0).await.sources(&LANE, &[]).await.unwrap();
    let mut here = sources.remove(0).typed::<Here>().unwrap();
    let mut sum = 0.0;
    loop {
        let batch = here.next().await.unwrap();
        assert!(batch.faults.is_empty());
        sum += batch.records.iter().map(|record| record.x).sum::<f64>();
        if batch.end.is_some() {
            return sum;
        }
    }
}

async fn two(path: &Path) -> f64 {
    let mut sources = session(broker(path), 2, 0).await.sources(&LANE, &[]).await.unwrap();
    let mut there: Box<dyn Source<There>> = sources.remove(1).typed().unwrap();
    let mut here: Box<dyn Source<Here>> = sources.remove(0).typed().unwrap();
    let mut sum = 0.0;
    loop {
        let (left, right) = (here.next().await.unwrap(), there.next().await.unwrap());
        sum += left.records.iter().map(|record| record.x).sum::<f64>();
        sum += right.records.iter().map(|record| record.x).sum::<f64>();
        if left.end.is_some() && right.end.is_some() {
            return sum;
        }
    }
}

async fn write(path: &Path, count: u64) -> f64 {
    let broker = JsonFileBroker::new().write::<Here>(path);
    let outputs = session(broker, 0, 1).await.outputs(&LANE).await.unwrap();
    let mut sink = outputs.sinks.into_iter().next().unwrap().typed::<Here>().unwrap();
    let mut committer = outputs.committer;
    for start in (0..count).step_by(4096) {
        sink.write((start..count.min(start + 4096)).map(here).collect()).await.unwrap();
    }
    let mut last = Checkpoint::default();
    last.finished = true;
    committer.commit(&last).await.unwrap();
    std::fs::metadata(path).unwrap().len() as f64
}

/// The CPU time of this process: user and system, from `/proc`.
fn cpu_time() -> Duration {
    let Ok(text) = std::fs::read_to_string("/proc/self/stat") else { return Duration::ZERO };
    let fields: Vec<i64> =
        text.rsplit(')').next().unwrap_or("").split(' ').filter_map(|field| field.parse().ok()).collect();
    // Behind the state: parent, group, session, terminal, foreground group, flags, four kinds of faults, user, system.
    let ticks = fields.get(10).unwrap_or(&0) + fields.get(11).unwrap_or(&0);
    Duration::from_millis(ticks.unsigned_abs() * 10)
}
