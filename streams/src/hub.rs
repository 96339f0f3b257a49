//! Those who wait for messages are woken by those who append in the same process.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Counts what was written.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Hub {
    /// Something was written.
    pub(crate) fn tell(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    pub(crate) fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was written since the count was `seen`, but not longer than that.
    pub(crate) fn wait(&self, seen: u64, most: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(count, most, |count| *count == seen));
    }
}
