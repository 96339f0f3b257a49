//! Counts allocations: with twice the records a run may allocate as often a batch, but never more often a record.

#![allow(clippy::print_stdout)]

use std::alloc::System;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use watermill::RunReport;
use watermill::prelude::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Deserialize, StreamRecord)]
struct Left {
    time: i64,
}

#[derive(Deserialize, StreamRecord)]
struct Right {
    time: i64,
    id: i64,
}

#[derive(StreamRecord)]
struct Below {
    id: i64,
}

#[derive(StreamRecord)]
struct Deep {
    id: i64,
}

#[derive(Serialize, StreamRecord)]
struct Sum {
    sum: i64,
}

type Failure = Box<dyn std::error::Error>;

/// What is joined, and the broker it is read from.
type Run = fn(Streams) -> watermill::Result<RunReport>;

struct Streams {
    left: Vec<Left>,
    right: Vec<Right>,
    below: Vec<Below>,
    deep: Vec<Deep>,
    sums: Collected<Sum>,
    /// Where the left and the right stream are in files.
    files: PathBuf,
}

impl Streams {
    /// Every right time comes `repeated` times.
    fn new(count: i64, repeated: i64, files: &Path) -> Result<Self, Failure> {
        let (mut left, mut right) = (String::new(), String::new());
        for id in 0..count {
            let time = id / repeated;
            writeln!(left, "{{\"time\":{time}}}")?;
            writeln!(right, "{{\"time\":{time},\"id\":{id}}}")?;
        }
        fs::write(files.join("left.ndjson"), left)?;
        fs::write(files.join("right.ndjson"), right)?;
        Ok(Self {
            left: (0..count).map(|time| Left { time: time / repeated }).collect(),
            right: (0..count).map(|id| Right { time: id / repeated, id }).collect(),
            below: (0..count).map(|id| Below { id }).collect(),
            deep: (0..count).map(|id| Deep { id }).collect(),
            sums: Collected::new(),
            files: files.to_owned(),
        })
    }

    fn broker(self) -> MemoryBroker {
        let broker = MemoryBroker::new().read(self.left).read(self.right);
        broker.read(self.below).read(self.deep).write(&self.sums)
    }

    fn files(self) -> JsonFileBroker {
        JsonFileBroker::new()
            .read::<Left>(self.files.join("left.ndjson"))
            .read::<Right>(self.files.join("right.ndjson"))
            .write::<Sum>(self.files.join("sums.ndjson"))
    }
}

fn sum(left: &Left, right: &Joined<Left, Right>) -> Sum {
    Sum { sum: right[left].iter().map(|right| right.id).sum() }
}

/// What a window of many large groups comes to, without going through them.
fn sizes(lefts: &[Left], right: &Joined<Left, Right>) -> Sum {
    Sum { sum: lefts.iter().map(|left| right[left].len() as i64).sum() }
}

fn two_levels(left: &Left, right: &Joined<Left, Right>, below: &Joined<Right, Below>) -> Sum {
    Sum { sum: right[left].iter().map(|right| below[right].len() as i64).sum() }
}

fn three_levels(
    left: &Left,
    right: &Joined<Left, Right>,
    below: &Joined<Right, Below>,
    deep: &Joined<Below, Deep>,
) -> Sum {
    let of_right = |right| below[right].iter().map(|below| deep[below].len() as i64).sum::<i64>();
    Sum { sum: right[left].iter().map(of_right).sum() }
}

fn window_of_tree(lefts: &[Left], right: &Joined<Left, Right>, below: &Joined<Right, Below>) -> Sum {
    let of_left = |left| right[left].iter().map(|right| below[right].len() as i64).sum::<i64>();
    Sum { sum: lefts.iter().map(of_left).sum() }
}

fn by_time() -> JoinWith<Left, Right, i64> {
    JoinWith::new(Left::fields().time, Right::fields().time)
}

fn to_below() -> JoinWith<Right, Below, i64> {
    JoinWith::new(Right::fields().id, Below::fields().id)
}

fn to_deep() -> JoinWith<Below, Deep, i64> {
    JoinWith::new(Below::fields().id, Deep::fields().id)
}

/// The runs: what each is called, what it does, and how often every time comes.
const RUNS: [(&str, Run, i64); 18] = [
    ("one to one", |streams| Mill::new(sum).join(by_time()).run_blocking(streams.broker()), 1),
    ("groups of 10 x 10", |streams| Mill::new(sum).join(by_time()).run_blocking(streams.broker()), 10),
    (
        "groups of 5000 x 5000",
        |streams| {
            let function = |left: &Left, right: &Joined<Left, Right>| Sum { sum: right[left].len() as i64 };
            Mill::new(function).join(by_time()).run_blocking(streams.broker())
        },
        5000,
    ),
    (
        "within, several batches",
        |streams| {
            let function = |left: &Left, right: &Joined<Left, Right>| Sum { sum: right[left].len() as i64 };
            Mill::new(function).join(by_time().within(-5000..=5000)).run_blocking(streams.broker())
        },
        1,
    ),
    (
        "within, and",
        |streams| {
            let join =
                by_time().within(-20..=20).and(|left: &Left| left.time % 7, |right: &Right| right.time % 7);
            Mill::new(sum).join(join).run_blocking(streams.broker())
        },
        1,
    ),
    (
        "within, and: none, one or many",
        |streams| {
            let join = by_time().within(0..=9).and(|_: &Left| 0, |right: &Right| (right.time / 3) % 7);
            Mill::new(sum).join(join.left()).run_blocking(streams.broker())
        },
        1,
    ),
    ("as of", |streams| Mill::new(sum).join(by_time().as_of()).run_blocking(streams.broker()), 1),
    (
        "two levels",
        |streams| Mill::new(two_levels).join(by_time().join(to_below())).run_blocking(streams.broker()),
        1,
    ),
    (
        "three levels",
        |streams| {
            let join = by_time().join(to_below().join(to_deep()));
            Mill::new(three_levels).join(join).run_blocking(streams.broker())
        },
        1,
    ),
    (
        "three levels, 10 x 10",
        |streams| {
            let join = by_time().join(to_below().join(to_deep()));
            Mill::new(three_levels).join(join).run_blocking(streams.broker())
        },
        10,
    ),
    (
        "two levels, several batches below",
        |streams| {
            let join = by_time().join(to_below().within(-400..=400));
            Mill::new(two_levels).join(join).run_blocking(streams.broker())
        },
        1,
    ),
    (
        "three levels, within and",
        |streams| {
            let deep =
                to_deep().within(-20..=20).and(|below: &Below| below.id % 7, |deep: &Deep| deep.id % 7);
            let below =
                to_below().within(-20..=20).and(|right: &Right| right.id % 7, |below: &Below| below.id % 7);
            Mill::new(three_levels).join(by_time().join(below.join(deep))).run_blocking(streams.broker())
        },
        1,
    ),
    (
        "windows of 50, joined",
        |streams| Mill::new(sizes).join(by_time()).window(Window::count(50)).run_blocking(streams.broker()),
        1,
    ),
    (
        "windows by key, 10 x 10",
        |streams| {
            let window = Window::by(Left::fields().time / 5);
            Mill::new(sizes).join(by_time()).window(window).run_blocking(streams.broker())
        },
        10,
    ),
    (
        "windows of 50, several batches",
        |streams| {
            let join = by_time().within(-5000..=5000);
            Mill::new(sizes).join(join).window(Window::count(50)).run_blocking(streams.broker())
        },
        1,
    ),
    (
        "windows of 50, two levels, and",
        |streams| {
            let below =
                to_below().within(-20..=20).and(|right: &Right| right.id % 7, |below: &Below| below.id % 7);
            let mill = Mill::new(window_of_tree).join(by_time().join(below)).window(Window::count(50));
            mill.run_blocking(streams.broker())
        },
        1,
    ),
    ("files: one to one", |streams| Mill::new(sum).join(by_time()).run_blocking(streams.files()), 1),
    (
        "files: windows of 50, joined",
        |streams| Mill::new(sizes).join(by_time()).window(Window::count(50)).run_blocking(streams.files()),
        1,
    ),
];

/// How often `run` allocates over `count` records.
fn allocations(run: Run, count: i64, repeated: i64, files: &Path) -> Result<usize, Failure> {
    let streams = Streams::new(count, repeated, files)?;
    let sums = streams.sums.clone();
    let before = ALLOCATOR.stats();
    run(streams)?;
    let after = ALLOCATOR.stats();
    drop(sums);
    Ok(after.allocations + after.reallocations - before.allocations - before.reallocations)
}

/// More than this for a record is an allocation a record, or a call, and not a batch.
const MOST: f64 = 0.05;

fn table(count: i64, files: &Path) -> Result<(), Failure> {
    let mut often = Vec::new();
    println!("\nallocations: in batches of 4096 from memory, n = {count} and twice as many masters");
    println!("  {:33} {:>10} {:>10} {:>12} {:>12}", "", "n", "2n", "a record", "a batch");
    for (name, run, repeated) in RUNS {
        let once = allocations(run, count, repeated, files)?;
        let twice = allocations(run, 2 * count, repeated, files)?;
        let more = (twice as f64 - once as f64) / count as f64;
        println!("  {name:33} {once:>10} {twice:>10} {more:>12.5} {:>12.1}", more * 4096.0);
        if more > MOST {
            often.push(name);
        }
    }
    if often.is_empty() {
        Ok(())
    } else {
        Err(format!("allocations that grow with the records: {often:?}").into())
    }
}

fn main() -> Result<(), Failure> {
    let count = if env::args().any(|argument| argument == "--quick") { 200_000 } else { 1_000_000 };
    let files = env::temp_dir().join(format!("watermill-allocations-{}", std::process::id()));
    fs::create_dir_all(&files)?;
    let result = table(count, &files);
    fs::remove_dir_all(&files)?;
    result
}
