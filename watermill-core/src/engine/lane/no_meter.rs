//! In place of `meter.rs` in a build without metrics: nothing is measured.

use std::time::SystemTime;

use super::LaneRun;
use crate::clock::Clock;

/// How long a call took: nobody asks.
pub(super) struct Took;

/// Measures nothing.
pub(super) struct Stopwatch;

impl Stopwatch {
    pub(super) fn start(_: &dyn Clock) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as in `meter.rs`")]
    pub(super) fn stop(&self, _: &dyn Clock) -> Took {
        Took
    }
}

/// Is never made.
pub(super) enum Meter {}

#[expect(clippy::unused_self, reason = "as in `meter.rs`")]
impl Meter {
    pub(super) fn calls_begin(&mut self, _: SystemTime) {}
    pub(super) fn calls_pause(&mut self, _: SystemTime) {}
    pub(super) fn calls_wait(&mut self) {}
    pub(super) fn calls_made(&mut self, _: u64, _: SystemTime) {}
    pub(super) fn call_took(&self, _: Took) {}
    pub(super) fn in_flight(&mut self, _: usize) {}
    pub(super) fn read(&mut self, _: usize, _: u64) {}
    pub(super) fn wait_for(&mut self, _: Option<usize>, _: &dyn Clock) {}
    pub(super) fn committed(&mut self, _: SystemTime, _: SystemTime) {}
    pub(super) fn call_failed_run(&mut self) {}
}

impl LaneRun {
    pub(super) fn begin_metrics(&mut self) {}
    pub(super) fn tell_metrics(&mut self) {}
}
