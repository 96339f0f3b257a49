//! A function that takes about 100 microseconds a call.

use watermill::prelude::*;

use super::Job;
use crate::Failure;
use crate::inputs::Numbers;
use crate::measure::Outcome;
use crate::records::{RobotLocation, Turn};

/// Steps of a number generator; each waits for the one before.
const STEPS: u64 = 60_000;

fn work(location: &RobotLocation) -> Turn {
    let mut state = location.time as u64 + 1;
    for _ in 0..STEPS {
        state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
    }
    Turn { time: location.time, across: (state >> 40) as f64 }
}

fn locations(count: u64) -> Vec<RobotLocation> {
    let mut numbers = Numbers::new();
    (0..count as i64)
        .map(|time| RobotLocation { time, x: numbers.coordinate(), y: numbers.coordinate() })
        .collect()
}

pub(crate) fn by_hand(job: &Job) -> Result<Outcome, Failure> {
    let locations = locations(job.size);
    let mut turns = Vec::new();
    Outcome::timed(|| {
        turns.extend(locations.iter().map(work));
        Ok((turns.len() as u64, turns.len() as u64))
    })
}

fn mill(job: &Job, workers: usize) -> Result<Outcome, Failure> {
    let turns = Collected::<Turn>::new();
    let broker = MemoryBroker::new().read(locations(job.size)).write(&turns);
    let mill = Mill::new(work).workers(workers);
    Outcome::timed(|| {
        let report = mill.run_blocking(broker)?;
        Ok((report.calls, report.results))
    })
}

pub(crate) fn one(job: &Job) -> Result<Outcome, Failure> {
    mill(job, 1)
}

pub(crate) fn two(job: &Job) -> Result<Outcome, Failure> {
    mill(job, 2)
}
