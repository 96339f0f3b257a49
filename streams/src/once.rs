//! [`RunOnce`]: one window, if there is one, for jobs that are run now and then.

use std::time::Duration;

use watermill_core::error::RunError;
use watermill_core::record::StreamRecord;
use watermill_core::{Mill, RunReport};

use crate::consumer::IntoConsumer;

/// Mills that take one window of a stream, if one is ready, and return at once: for jobs that a scheduler starts.
///
/// What is ready depends on the window: of a number of masters, so many have to be there; one that closes by time of arrival takes all that is there. A mill without a window takes one
/// message. What is not taken stays for the next time, or for others.
///
/// ```
/// # use watermill_core::prelude::*;
/// use watermill_streams::{RunOnce, Streams};
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// let job = || Mill::new(|window: &[Json]| assert_eq!(window.len(), 2)).window(Window::count(2));
/// numbers.append_all(&[1, 2, 3].map(|number| Json(number.into())))?;
/// assert_eq!(job().run_once_blocking(&numbers)?.calls, 1);
/// assert_eq!(job().run_once_blocking(&numbers)?.calls, 0);
/// assert_eq!(numbers.len()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait RunOnce {
    /// Takes one window, if one is ready.
    ///
    /// # Errors
    /// As [`Mill::run`].
    fn run_once(self, from: impl IntoConsumer) -> impl Future<Output = Result<RunReport, RunError>> + Send;

    /// As [`run_once`](RunOnce::run_once), on this thread.
    ///
    /// # Errors
    /// As [`Mill::run_blocking`].
    fn run_once_blocking(self, from: impl IntoConsumer) -> Result<RunReport, RunError>;
}

/// A year: no job takes so long.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl<M: StreamRecord> RunOnce for Mill<M> {
    fn run_once(self, from: impl IntoConsumer) -> impl Future<Output = Result<RunReport, RunError>> + Send {
        one(self).run(from.into_consumer().once())
    }

    fn run_once_blocking(self, from: impl IntoConsumer) -> Result<RunReport, RunError> {
        one(self).run_blocking(from.into_consumer().once())
    }
}

/// Commits after one call, and stops then. A commit because time has passed would stop it before the call, on a machine that is slow.
fn one<M: StreamRecord>(mill: Mill<M>) -> Mill<M> {
    mill.commit_every(NEVER).commit_after_calls(1).stop_after_commits(1)
}
