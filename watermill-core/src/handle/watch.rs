//! The state of a run: of each of its lanes, and of all together.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::broker::Position;
use crate::report::InputReport;

/// The state of a run, as it was when it last waited for an input.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// let readings = (0..100).map(|_| Reading { celsius: 20.0 }).collect();
/// let handle = Mill::new(|_: &Reading| ()).start(MemoryBroker::new().read::<Reading>(readings))?;
/// let watch = handle.watch();
/// if let Some(total) = watch.total {
///     println!("{} of {total} records, {} calls", watch.progress, watch.calls);
/// }
/// assert!(watch.records <= 100 && watch.total.is_none_or(|total| total == 100));
/// assert_eq!(handle.wait_blocking()?.calls, 100);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Watch {
    /// Calls of the function.
    pub calls: u64,
    /// Attempts that were made again.
    pub retries: u64,
    /// Calls that failed for good and were left out.
    pub given_up: u64,
    /// Calls that wait for their `Ack`.
    pub unfinished: u64,
    /// Results handed to the sinks.
    pub results: u64,
    /// Commits.
    pub commits: u64,
    /// When the last commit was made, by the mill's clock.
    pub last_commit: Option<SystemTime>,
    /// Records read, over all inputs.
    pub records: u64,
    /// How far the inputs were read, in the units of [`total`](Watch::total): bytes of files, records of memory.
    pub progress: u64,
    /// The size of all inputs, where it is known.
    pub total: Option<u64>,
    /// The stream that the walk waits for, or waited for last.
    pub waiting_for: Option<String>,
    /// Nothing happens unless something comes from outside.
    pub(crate) parked: bool,
    /// Since when it does nothing but wait for records, where there are several lanes.
    pub(crate) quiet_since: Option<SystemTime>,
    /// The accounting of each input; kept up to date only where it was asked for (by the test driver).
    pub(crate) inputs: Vec<InputReport>,
    pub(crate) positions: Vec<Position>,
    pub(crate) window: Option<String>,
}

impl Watch {
    /// Adds what another lane has done.
    fn count(&mut self, other: &Self) {
        self.calls += other.calls;
        self.retries += other.retries;
        self.given_up += other.given_up;
        self.unfinished += other.unfinished;
        self.results += other.results;
        self.commits += other.commits;
        self.last_commit = self.last_commit.max(other.last_commit);
        self.records += other.records;
        self.progress += other.progress;
    }
}

/// What is known of the lanes of a run.
#[derive(Default)]
pub(super) struct Lanes {
    open: BTreeMap<u32, Watch>,
    /// What those have done that are not walked any more.
    past: Watch,
}

impl Lanes {
    pub(super) fn change(&mut self, lane: u32, change: impl FnOnce(&mut Watch)) {
        change(self.open.entry(lane).or_default());
    }

    pub(super) fn over(&mut self, lane: u32, done: bool) {
        let Some(mut watch) = self.open.remove(&lane) else { return };
        if !done {
            // It goes back to its last commit: what it did is done again, and counted then.
            watch = Watch { commits: watch.commits, last_commit: watch.last_commit, ..Watch::default() };
        }
        self.past.count(&watch);
        self.past.waiting_for = watch.waiting_for;
        self.past.total = match (self.past.total, watch.total) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        (self.past.inputs, self.past.positions) = (watch.inputs, watch.positions);
        self.past.window = watch.window;
    }

    pub(super) fn together(&self) -> Watch {
        let mut all = self.past.clone();
        if self.open.is_empty() {
            return all;
        }
        for (nth, watch) in self.open.values().enumerate() {
            all.count(watch);
            if nth == 0 {
                all.waiting_for.clone_from(&watch.waiting_for);
                (all.parked, all.quiet_since) = (watch.parked, watch.quiet_since);
                (all.inputs, all.positions) = (watch.inputs.clone(), watch.positions.clone());
                all.window.clone_from(&watch.window);
            } else {
                // The run waits for a stream when all of its lanes wait.
                all.waiting_for = all.waiting_for.take().filter(|_| watch.waiting_for.is_some());
            }
            all.total = match (all.total, watch.total) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) if nth == 0 => one.or(other),
                _ => None,
            };
        }
        all
    }

    pub(super) fn are_parked(&self) -> bool {
        !self.open.is_empty() && self.open.values().all(|watch| watch.parked)
    }

    pub(super) fn quiet_since(&self) -> Option<SystemTime> {
        let mut latest = None;
        for watch in self.open.values() {
            latest = latest.max(Some(watch.quiet_since?));
        }
        latest
    }
}
