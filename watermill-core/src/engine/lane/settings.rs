//! How a lane runs: when it commits, when it ends, how its calls are made, and what happens to those that fail.

use std::time::{Duration, SystemTime};

use crate::retry::OnError;

/// How often, in calls, results are collected and the clock is looked at, at most.
const CALLS_BETWEEN_LOOKS: u32 = 512;

/// The clock is looked at more often where it takes longer than this from one look to the next.
const TIME_BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// All that can be set about a run, apart from its tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) commits: CommitEvery,
    pub(crate) ending: Ending,
    pub(crate) on_error: OnError,
    /// How long a call may take.
    pub(crate) timeout: Option<Duration>,
    pub(crate) workers: Option<usize>,
    pub(crate) in_flight: Option<usize>,
    /// How often a run goes back to its last commit when the storage fails.
    pub(crate) restart: OnError,
    /// What the last call was given is kept.
    pub(crate) checkpoint: bool,
    /// Signals stop the run.
    #[cfg(feature = "signals")]
    pub(crate) signals: bool,
}

/// When a run commits before its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommitEvery {
    /// When this much time has passed since the last commit, where the mill says so.
    pub(crate) time: Option<Duration>,
    /// When the function was called this often since the last commit.
    pub(crate) calls: Option<u64>,
}

/// When a run ends though its streams have not.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ending {
    /// When no record has come for so long.
    pub(crate) idle: Option<Duration>,
    /// When it has run for so long.
    pub(crate) lifetime: Option<Duration>,
    /// After so many commits.
    pub(crate) commits: Option<u64>,
    /// When so many masters are done with.
    pub(crate) records: Option<u64>,
    /// With an error, when nothing was committed for so long.
    pub(crate) stuck: Option<Duration>,
}

/// When to look at the clock again: reading it costs as much as a small call.
pub(super) struct Looks {
    last: SystemTime,
    between: u32,
    left: u32,
}

impl Looks {
    pub(super) fn new(now: SystemTime) -> Self {
        Self { last: now, between: 1, left: 1 }
    }

    /// How many calls may be made before the next look.
    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// Counts calls; says whether it is time to look.
    pub(super) fn count(&mut self, calls: u32) -> bool {
        self.left = self.left.saturating_sub(calls);
        self.left == 0
    }

    pub(super) fn looked(&mut self, now: SystemTime) {
        let slow = elapsed(self.last, now) > TIME_BETWEEN_LOOKS;
        self.between =
            if slow { (self.between / 2).max(1) } else { (self.between * 2).min(CALLS_BETWEEN_LOOKS) };
        (self.last, self.left) = (now, self.between);
    }
}

/// How much time lies between the two.
pub(super) fn elapsed(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}

/// That much later, or as good as never.
pub(crate) fn later(from: SystemTime, by: Duration) -> SystemTime {
    /// A hundred years.
    const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    from.checked_add(by.min(NEVER)).unwrap_or(from)
}

/// That much earlier.
pub(super) fn earlier_by(from: SystemTime, by: Duration) -> SystemTime {
    from.checked_sub(by).unwrap_or(from)
}

/// The earlier of two times, where there are any.
pub(super) fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
