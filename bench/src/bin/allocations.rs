//! Counts allocations: with twice the records a run may allocate as often a batch, but never more often a record.

#![allow(clippy::print_stdout)]

use std::alloc::System;
use std::env;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use watermill::RunReport;
use watermill::prelude::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(StreamRecord)]
struct Left {
    time: i64,
}

#[derive(StreamRecord)]
struct Right {
    time: i64,
    id: i64,
}

#[derive(StreamRecord)]
struct Below {
    id: i64,
}

#[derive(StreamRecord)]
struct Sum {
    sum: i64,
}

type Run = fn(Streams) -> watermill::Result<RunReport>;

struct Streams {
    left: Vec<Left>,
    right: Vec<Right>,
    below: Vec<Below>,
    sums: Collected<Sum>,
}

impl Streams {
    /// Every right time comes `repeated` times.
    fn new(count: i64, repeated: i64) -> Self {
        Self {
            left: (0..count).map(|time| Left { time: time / repeated }).collect(),
            right: (0..count).map(|id| Right { time: id / repeated, id }).collect(),
            below: (0..count).map(|id| Below { id }).collect(),
            sums: Collected::new(),
        }
    }

    fn broker(self) -> MemoryBroker {
        MemoryBroker::new().read(self.left).read(self.right).read(self.below).write(&self.sums)
    }
}

fn sum(left: &Left, right: &Joined<Left, Right>) -> Sum {
    Sum { sum: right[left].iter().map(|right| right.id).sum() }
}

fn by_time() -> JoinWith<Left, Right, i64> {
    JoinWith::new(Left::fields().time, Right::fields().time)
}

fn one_level(streams: Streams) -> watermill::Result<RunReport> {
    Mill::new(sum).join(by_time()).run_blocking(streams.broker())
}

fn within_and(streams: Streams) -> watermill::Result<RunReport> {
    let join = by_time().within(-20..=20).and(|left: &Left| left.time % 7, |right: &Right| right.time % 7);
    Mill::new(sum).join(join).run_blocking(streams.broker())
}

fn as_of(streams: Streams) -> watermill::Result<RunReport> {
    Mill::new(sum).join(by_time().as_of()).run_blocking(streams.broker())
}

fn nested(streams: Streams) -> watermill::Result<RunReport> {
    let below = JoinWith::new(Right::fields().id, Below::fields().id);
    let function = |left: &Left, right: &Joined<Left, Right>, below: &Joined<Right, Below>| Sum {
        sum: right[left].iter().map(|right| below[right][0].id).sum(),
    };
    Mill::new(function).join(by_time().join(below)).run_blocking(streams.broker())
}

fn windowed(streams: Streams) -> watermill::Result<RunReport> {
    let function = |lefts: &[Left], right: &Joined<Left, Right>| Sum {
        sum: lefts.iter().map(|left| right[left].iter().map(|right| right.id).sum::<i64>()).sum(),
    };
    Mill::new(function).join(by_time()).window(Window::count(50)).run_blocking(streams.broker())
}

/// How often `run` allocates over `count` records.
fn allocations(run: Run, count: i64, repeated: i64) -> watermill::Result<usize> {
    let streams = Streams::new(count, repeated);
    let sums = streams.sums.clone();
    let before = ALLOCATOR.stats();
    run(streams)?;
    let after = ALLOCATOR.stats();
    drop(sums);
    Ok(after.allocations + after.reallocations - before.allocations - before.reallocations)
}

fn main() -> watermill::Result<()> {
    let count = if env::args().any(|argument| argument == "--quick") { 200_000 } else { 1_000_000 };
    println!("\nallocations: from memory in batches of 4096, n = {count} and twice as many masters");
    println!("  {:28} {:>10} {:>10} {:>12} {:>12}", "", "n", "2n", "a record", "a batch");
    let runs: [(&str, Run, i64); 6] = [
        ("one to one", one_level, 1),
        ("groups of 10 x 10", one_level, 10),
        ("within, and", within_and, 1),
        ("as of", as_of, 1),
        ("three streams, nested", nested, 1),
        ("windows of 50, joined", windowed, 1),
    ];
    for (name, run, repeated) in runs {
        let (once, twice) = (allocations(run, count, repeated)?, allocations(run, 2 * count, repeated)?);
        let more = (twice as f64 - once as f64) / count as f64;
        println!("  {name:28} {once:>10} {twice:>10} {more:>12.5} {:>12.1}", more * 4096.0);
    }
    Ok(())
}
