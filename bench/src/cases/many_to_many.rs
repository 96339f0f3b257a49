//! Every key ten times on either side.

use watermill::prelude::*;

use super::Job;
use crate::Failure;
use crate::inputs::Numbers;
use crate::measure::Outcome;
use crate::records::{NextLocation, RobotLocation, Turn};

const REPEATED: i64 = 10;

fn locations(count: u64) -> (Vec<RobotLocation>, Vec<NextLocation>) {
    let mut numbers = Numbers::new();
    let points: Vec<(i64, f64, f64)> = (0..count as i64)
        .map(|index| (index / REPEATED, numbers.coordinate(), numbers.coordinate()))
        .collect();
    (
        points.iter().map(|&(time, x, y)| RobotLocation { time, x, y }).collect(),
        points.iter().map(|&(time, x, y)| NextLocation { time, x, y }).collect(),
    )
}

fn across<'a>(here: &RobotLocation, others: impl Iterator<Item = &'a NextLocation>) -> Turn {
    let across = others.map(|other| here.x * other.y - here.y * other.x).sum();
    Turn { time: here.time, across }
}

pub(crate) fn by_hand(job: &Job) -> Result<Outcome, Failure> {
    let (left, right) = locations(job.size);
    let mut turns = Vec::new();
    Outcome::timed(|| {
        let (mut low, mut high) = (0, 0);
        let mut masters = 0;
        for here in &left {
            while right.get(low).is_some_and(|other| other.time < here.time) {
                low += 1;
            }
            high = high.max(low);
            while right.get(high).is_some_and(|other| other.time == here.time) {
                high += 1;
            }
            if low < high {
                turns.push(across(here, right[low..high].iter()));
                masters += 1;
            }
        }
        Ok((masters, turns.len() as u64))
    })
}

pub(crate) fn watermill(job: &Job) -> Result<Outcome, Failure> {
    let (left, right) = locations(job.size);
    let turns = Collected::<Turn>::new();
    let broker = MemoryBroker::new().read(left).read(right).write(&turns);
    let mill = Mill::new(|here: &RobotLocation, others: &Joined<RobotLocation, NextLocation>| {
        across(here, others[here].iter())
    })
    .join(JoinWith::new(RobotLocation::fields().time, NextLocation::fields().time));
    Outcome::timed(|| {
        let report = mill.run_blocking(broker)?;
        Ok((report.calls, report.results))
    })
}
