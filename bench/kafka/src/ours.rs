//! The same as a mill.

use watermill::prelude::*;

use crate::records::{LATER, Location, NextLocation, Speed, speed};
use crate::{Failure, Job};

fn robot_speed(here: &Location, next: &Joined<Location, NextLocation>) -> Speed {
    let there = &next[here][0];
    speed((here.time, here.x, here.y), (there.time, there.x, there.y))
}

pub(crate) fn broker(job: &Job, exactly_once: bool) -> KafkaBroker {
    let kafka = KafkaBroker::new(&job.servers, &job.application)
        .read::<Location>(&job.from)
        .read::<NextLocation>(&job.from)
        .write::<Speed>(job.to.as_str());
    if exactly_once { kafka } else { kafka.at_least_once() }
}

pub(crate) fn mill(job: &Job) -> Mill<Location> {
    Mill::new(robot_speed)
        .join(JoinWith::new(Location::fields().time + LATER, NextLocation::fields().time).unique())
        .commit_every(job.commit_every)
}

pub(crate) fn run(job: &Job, exactly_once: bool) -> Result<u64, Failure> {
    let report = mill(job).run_blocking(broker(job, exactly_once).until_current_end())?;
    Ok(report.results)
}
