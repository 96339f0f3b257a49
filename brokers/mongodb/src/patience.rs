//! How long a reader bears with a server that is gone.

use std::fmt;
use std::time::{Duration, Instant};

use mongodb::error::Error;
use watermill_core::error::BrokerError;

use crate::driver::pause;
use crate::failure::{driver_failure, may_pass};

/// Attempts that have failed one behind the other.
pub(crate) struct Patience {
    retry_for: Duration,
    since: Option<Instant>,
    failed: u32,
}

impl Patience {
    pub(crate) fn new(retry_for: Duration) -> Self {
        Self { retry_for, since: None, failed: 0 }
    }

    /// Something has worked.
    pub(crate) fn restore(&mut self) {
        (self.since, self.failed) = (None, 0);
    }

    /// Waits until it is time for another attempt.
    ///
    /// # Errors
    /// `error`, when it does not pass, or has not for too long.
    pub(crate) async fn after(
        &mut self,
        error: Error,
        action: &str,
        location: impl fmt::Display,
    ) -> Result<(), BrokerError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !may_pass(&error) || since.elapsed() >= self.retry_for {
            return Err(driver_failure(action, location, error));
        }
        self.failed += 1;
        tracing::debug!(target: "watermill", %location, error = %error.kind, failed = self.failed, "the server is asked again");
        tokio::time::sleep(pause(self.failed)).await;
        Ok(())
    }
}
