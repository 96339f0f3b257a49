//! The clock of a simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use watermill::broker::BoxFuture;
use watermill::clock::{Clock, ManualClock};

/// Whoever looks at the clock so often without anything else happening would never stop.
const TOO_OFTEN: u64 = 50_000;

/// A [`ManualClock`] that notices a run that spins: within one poll nobody else could.
#[derive(Debug, Clone)]
pub struct SimClock {
    clock: ManualClock,
    looks: Arc<AtomicU64>,
}

impl SimClock {
    /// A clock at an hour that is not the epoch.
    #[must_use]
    pub fn new() -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Self { clock: ManualClock::new(start), looks: Arc::default() }
    }

    /// Moves on to `until`.
    pub fn move_to(&self, until: SystemTime) {
        self.advance(until.duration_since(self.clock.now()).unwrap_or_default());
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        if !by.is_zero() {
            self.looks.store(0, Ordering::Relaxed);
        }
        self.clock.advance(by);
    }

    /// The earliest time that somebody sleeps until.
    #[must_use]
    pub fn next_wake(&self) -> Option<SystemTime> {
        self.clock.next_wake()
    }

    fn looked(&self) {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        assert!(looks < TOO_OFTEN, "the run spins: it looks at the clock and never waits");
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        self.looked();
        self.clock.now()
    }

    fn sleep_until(&self, until: SystemTime) -> BoxFuture<'static, ()> {
        self.looked();
        self.clock.sleep_until(until)
    }
}
