//! The walk alone: records that are in memory already. Making them does not count.

use std::hint::black_box;

use watermill::prelude::*;

use super::Job;
use crate::Failure;
use crate::inputs::Numbers;
use crate::measure::Outcome;
use crate::records::{NextLocation, RobotLocation, RobotSpeed};

/// The same locations for both sides.
fn locations(count: u64) -> (Vec<RobotLocation>, Vec<NextLocation>) {
    let mut numbers = Numbers::new();
    let points: Vec<(i64, f64, f64)> =
        (0..count as i64).map(|time| (time, numbers.coordinate(), numbers.coordinate())).collect();
    (
        points.iter().map(|&(time, x, y)| RobotLocation { time, x, y }).collect(),
        points.iter().map(|&(time, x, y)| NextLocation { time, x, y }).collect(),
    )
}

/// The loop one would write, which knows that no time comes twice.
fn merge(
    left: &[RobotLocation],
    right: &[NextLocation],
    mut give: impl FnMut(&RobotLocation, &NextLocation),
) -> u64 {
    let mut masters = 0;
    let mut next = 0;
    for here in left {
        while right.get(next).is_some_and(|there| there.time < here.time + 10) {
            next += 1;
        }
        let Some(there) = right.get(next) else { break };
        if there.time == here.time + 10 {
            give(here, there);
            masters += 1;
        }
    }
    masters
}

pub(crate) fn by_hand(job: &Job) -> Result<Outcome, Failure> {
    let (left, right) = locations(job.size);
    Outcome::timed(|| {
        let masters = merge(&left, &right, |here, there| {
            black_box(there.x - here.x);
        });
        Ok((masters, 0))
    })
}

pub(crate) fn by_hand_with_results(job: &Job) -> Result<Outcome, Failure> {
    let (left, right) = locations(job.size);
    let mut speeds = Vec::new();
    Outcome::timed(|| {
        let masters = merge(&left, &right, |here, there| speeds.push(RobotSpeed::between(here, there)));
        Ok((masters, speeds.len() as u64))
    })
}

fn look(here: &RobotLocation, next: &Joined<RobotLocation, NextLocation>) {
    black_box(next[here][0].x - here.x);
}

fn robot_speed(here: &RobotLocation, next: &Joined<RobotLocation, NextLocation>) -> RobotSpeed {
    RobotSpeed::between(here, &next[here][0])
}

fn run(mill: Mill<RobotLocation>, broker: MemoryBroker) -> Result<Outcome, Failure> {
    let mill = mill.join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time));
    Outcome::timed(|| {
        let report = mill.run_blocking(broker)?;
        Ok((report.calls, report.results))
    })
}

pub(crate) fn watermill(job: &Job) -> Result<Outcome, Failure> {
    let (left, right) = locations(job.size);
    run(Mill::new(look), MemoryBroker::new().read(left).read(right))
}

/// What the last call was given is kept.
pub(crate) fn with_checkpoint(job: &Job) -> Result<Outcome, Failure> {
    let (left, right) = locations(job.size);
    run(Mill::new(look).checkpoint(), MemoryBroker::new().read(left).read(right))
}

pub(crate) fn watermill_with_results(job: &Job) -> Result<Outcome, Failure> {
    let (left, right) = locations(job.size);
    let speeds = Collected::<RobotSpeed>::new();
    run(Mill::new(robot_speed), MemoryBroker::new().read(left).read(right).write(&speeds))
}
