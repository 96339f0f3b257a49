//! Records in a file joined to themselves.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use watermill::prelude::*;

use super::Job;
use crate::Failure;
use crate::inputs::Lines;
use crate::measure::Outcome;
use crate::records::{NextLocation, RobotLocation, RobotSpeed};

pub(crate) fn by_hand(job: &Job) -> Result<Outcome, Failure> {
    merge(&job.input, &job.output)
}

pub(crate) fn watermill(job: &Job) -> Result<Outcome, Failure> {
    mill(&job.input, &job.output)
}

/// The loop one would write, which knows that no time comes twice.
pub(super) fn merge(input: &Path, output: &Path) -> Result<Outcome, Failure> {
    let (mut left, mut right) = (Lines::open(input)?, Lines::open(input)?);
    let mut out = BufWriter::with_capacity(1 << 17, File::create(output)?);
    let (mut masters, mut results) = (0, 0);
    let mut there: Option<NextLocation> = right.next()?;
    'masters: while let Some(here) = left.next::<RobotLocation>()? {
        while there.as_ref().is_some_and(|there| there.time < here.time + 10) {
            there = right.next()?;
        }
        let Some(there) = &there else { break 'masters };
        if there.time == here.time + 10 {
            masters += 1;
            serde_json::to_writer(&mut out, &RobotSpeed::between(&here, there))?;
            out.write_all(b"\n")?;
            results += 1;
        }
    }
    out.flush()?;
    Ok(Outcome::new(masters, results))
}

pub(super) fn mill(input: &Path, output: &Path) -> Result<Outcome, Failure> {
    run(new(), input, output)
}

pub(super) fn new() -> Mill<RobotLocation> {
    Mill::new(robot_speed).join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time))
}

pub(super) fn run(mill: Mill<RobotLocation>, input: &Path, output: &Path) -> Result<Outcome, Failure> {
    let files = JsonFileBroker::new()
        .read::<RobotLocation>(input)
        .read::<NextLocation>(input)
        .write::<RobotSpeed>(output);
    let report = mill.run_blocking(files)?;
    Ok(Outcome::new(report.calls, report.results))
}

fn robot_speed(here: &RobotLocation, next: &Joined<RobotLocation, NextLocation>) -> RobotSpeed {
    RobotSpeed::between(here, &next[here][0])
}
