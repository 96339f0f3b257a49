//! A tree of three levels: each location joined to the next one, that one to the one after it.

use std::fs::File;
use std::io::{BufWriter, Write};

use watermill::prelude::*;

use super::Job;
use crate::Failure;
use crate::inputs::{Lines, Numbers};
use crate::measure::Outcome;
use crate::records::{AfterLocation, NextLocation, RobotLocation, Turn};

/// Calls `give` for each chain of three; no time comes twice.
fn merge(
    mut left: impl FnMut() -> Result<Option<RobotLocation>, Failure>,
    mut right: impl FnMut() -> Result<Option<NextLocation>, Failure>,
    mut last: impl FnMut() -> Result<Option<AfterLocation>, Failure>,
    mut give: impl FnMut(Turn) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut masters = 0;
    let (mut next, mut after) = (right()?, last()?);
    while let Some(here) = left()? {
        while next.as_ref().is_some_and(|next| next.time < here.time + 10) {
            next = right()?;
        }
        let Some(there) = &next else { break };
        if there.time != here.time + 10 {
            continue;
        }
        while after.as_ref().is_some_and(|after| after.time < there.time + 10) {
            after = last()?;
        }
        let Some(end) = &after else { break };
        if end.time == there.time + 10 {
            masters += 1;
            give(Turn::over(&here, there, end))?;
        }
    }
    Ok(masters)
}

fn turn(
    here: &RobotLocation,
    next: &Joined<RobotLocation, NextLocation>,
    after: &Joined<NextLocation, AfterLocation>,
) -> Turn {
    let there = &next[here][0];
    Turn::over(here, there, &after[there][0])
}

fn mill() -> Mill<RobotLocation> {
    let after = JoinWith::new(NextLocation::fields().time + 10, AfterLocation::fields().time);
    Mill::new(turn)
        .join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time).join(after))
}

fn points(count: u64) -> Vec<(i64, f64, f64)> {
    let mut numbers = Numbers::new();
    (0..count as i64).map(|time| (time, numbers.coordinate(), numbers.coordinate())).collect()
}

type Locations = (Vec<RobotLocation>, Vec<NextLocation>, Vec<AfterLocation>);

fn locations(count: u64) -> Locations {
    let points = points(count);
    (
        points.iter().map(|&(time, x, y)| RobotLocation { time, x, y }).collect(),
        points.iter().map(|&(time, x, y)| NextLocation { time, x, y }).collect(),
        points.iter().map(|&(time, x, y)| AfterLocation { time, x, y }).collect(),
    )
}

pub(crate) fn by_hand(job: &Job) -> Result<Outcome, Failure> {
    let (left, right, last) = locations(job.size);
    let mut turns = Vec::new();
    Outcome::timed(|| {
        let (mut left, mut right, mut last) = (left.into_iter(), right.into_iter(), last.into_iter());
        let masters = merge(
            || Ok(left.next()),
            || Ok(right.next()),
            || Ok(last.next()),
            |turn| {
                turns.push(turn);
                Ok(())
            },
        )?;
        Ok((masters, turns.len() as u64))
    })
}

pub(crate) fn watermill(job: &Job) -> Result<Outcome, Failure> {
    run(mill(), job)
}

/// What the last call was given is kept.
pub(crate) fn with_checkpoint(job: &Job) -> Result<Outcome, Failure> {
    run(mill().checkpoint(), job)
}

fn run(mill: Mill<RobotLocation>, job: &Job) -> Result<Outcome, Failure> {
    let (left, right, last) = locations(job.size);
    let turns = Collected::<Turn>::new();
    let broker = MemoryBroker::new().read(left).read(right).read(last).write(&turns);
    Outcome::timed(|| {
        let report = mill.run_blocking(broker)?;
        Ok((report.calls, report.results))
    })
}

pub(crate) fn files_by_hand(job: &Job) -> Result<Outcome, Failure> {
    let (mut left, mut right, mut last) =
        (Lines::open(&job.input)?, Lines::open(&job.input)?, Lines::open(&job.input)?);
    let mut out = BufWriter::with_capacity(1 << 17, File::create(&job.output)?);
    let masters = merge(
        || left.next(),
        || right.next(),
        || last.next(),
        |turn| {
            serde_json::to_writer(&mut out, &turn)?;
            Ok(out.write_all(b"\n")?)
        },
    )?;
    out.flush()?;
    Ok(Outcome::new(masters, masters))
}

pub(crate) fn files_watermill(job: &Job) -> Result<Outcome, Failure> {
    let files = JsonFileBroker::new()
        .read::<RobotLocation>(&job.input)
        .read::<NextLocation>(&job.input)
        .read::<AfterLocation>(&job.input)
        .write::<Turn>(&job.output);
    let report = mill().run_blocking(files)?;
    Ok(Outcome::new(report.calls, report.results))
}
