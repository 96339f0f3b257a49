//! What it costs to be able to go on after a crash: the self-join with commits at different intervals.

use std::time::Duration;

use super::{Job, self_join};
use crate::Failure;
use crate::measure::Outcome;

fn every(job: &Job, time: Duration) -> Result<Outcome, Failure> {
    self_join::run(self_join::new().commit_every(time), &job.input, &job.output)
}

/// Only at the end, when the output gets its name.
pub(crate) fn at_the_end(job: &Job) -> Result<Outcome, Failure> {
    every(job, Duration::from_secs(24 * 3600))
}

/// Every second.
pub(crate) fn default(job: &Job) -> Result<Outcome, Failure> {
    self_join::run(self_join::new(), &job.input, &job.output)
}

pub(crate) fn often(job: &Job) -> Result<Outcome, Failure> {
    every(job, Duration::from_millis(100))
}
