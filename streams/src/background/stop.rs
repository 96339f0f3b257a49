//! Asking what runs in the background to end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use watermill_core::{MillControl, MillHandle, RunError, RunReport};

/// Whether it was asked to end.
#[derive(Default)]
pub(crate) struct Stop {
    asked: Mutex<Asked>,
    changed: Condvar,
    notify: Notify,
}

#[derive(Default)]
struct Asked {
    stopped: bool,
    /// The mill that runs just now.
    mill: Option<MillControl>,
}

impl Stop {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ask(&self) {
        let mut asked = self.lock();
        asked.stopped = true;
        if let Some(mill) = &asked.mill {
            mill.stop();
        }
        drop(asked);
        self.changed.notify_all();
        self.notify.notify_waiters();
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.lock().stopped
    }

    /// Waits so long. Says whether it is to end, and does so at once.
    pub(crate) fn within(&self, time: Duration) -> bool {
        // Longer than a clock can tell is for ever.
        let until = Instant::now().checked_add(time);
        let mut asked = self.lock();
        while !asked.stopped {
            let left = until.map_or(time, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            asked = self.changed.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Comes back when it is to end.
    pub(crate) async fn asked(&self) {
        loop {
            let notified = self.notify.notified();
            if self.is_asked() {
                return;
            }
            notified.await;
        }
    }

    /// Waits for the end of a run, which ends soon when it is asked to.
    pub(crate) fn wait_for(&self, run: MillHandle) -> Result<RunReport, RunError> {
        let mut asked = self.lock();
        if asked.stopped {
            run.stop();
        }
        asked.mill = Some(run.control());
        drop(asked);
        run.wait_blocking()
    }

    /// The mill that runs, or that ran last.
    pub(crate) fn mill(&self) -> Option<MillControl> {
        self.lock().mill.clone()
    }
}
