//! Steering a run from outside: stop it, wait for it, watch it.

mod control;
mod watch;

use std::sync::Arc;

use crate::error::RunError;
use crate::last_call::LastCall;
use crate::report::{EndReason, RunReport};

pub(crate) use control::{Control, OverOnDrop};
pub use watch::Watch;

/// Stops and watches a run, from as many places as one likes: [`MillHandle::control`].
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
/// let handle = Mill::new(|_: &Reading| ()).start(MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]))?;
/// let control = handle.control();
/// let supervisor = std::thread::spawn(move || control.stop());
/// handle.wait_blocking()?;
/// # supervisor.join().unwrap();
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Clone)]
pub struct MillControl(pub(crate) Arc<Control>);

impl std::fmt::Debug for MillControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MillControl").field(&self.watch()).finish()
    }
}

impl MillControl {
    /// As [`MillHandle::stop`].
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// let handle = Mill::new(|_: &Reading| ()).start(broker)?;
    /// handle.control().stop();
    /// assert!(handle.wait_blocking()?.calls <= 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn stop(&self) {
        self.0.stop(EndReason::Stopped);
    }

    /// As [`MillHandle::abort`].
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// let handle = Mill::new(|_: &Reading| ()).start(broker)?;
    /// handle.control().abort();
    /// // It may have come to its end before.
    /// assert!(matches!(handle.wait_blocking(), Ok(_) | Err(watermill::RunError::Aborted)));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn abort(&self) {
        self.0.abort(RunError::Aborted);
    }

    /// As [`MillHandle::watch`].
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// let handle = Mill::new(|_: &Reading| ()).start(broker)?;
    /// let control = handle.control();
    /// handle.wait_blocking()?;
    /// assert!(control.watch().commits > 0);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.0.watch()
    }

    /// As [`MillHandle::checkpoint`].
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..1000).map(|value| Number { value }).collect());
    /// let handle = Mill::new(|_: &Number| ()).checkpoint().start(broker)?;
    /// if let Some(call) = handle.control().checkpoint() {
    ///     println!("the last call was given {call}");
    /// }
    /// # handle.wait_blocking()?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn checkpoint(&self) -> Option<LastCall> {
        self.0.last_call()
    }
}

/// A run under way, from [`Mill::start`](crate::Mill::start).
///
/// Dropping the handle does not stop the run.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// let readings = (0..1000).map(|_| Reading { celsius: 20.0 }).collect();
/// let handle = Mill::new(|_: &Reading| ()).start(MemoryBroker::new().read::<Reading>(readings))?;
/// assert!(handle.watch().calls <= 1000);
/// handle.stop();
/// assert!(handle.wait_blocking()?.calls <= 1000);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct MillHandle {
    pub(crate) control: Arc<Control>,
}

/// Stops the run when the future that waits for it is dropped.
pub(crate) struct StopOnDrop(pub(crate) Arc<Control>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop(EndReason::Stopped);
    }
}

impl MillHandle {
    /// Asks the run to stop: it finishes the calls it is in, commits, and returns its report. Calls that wait for an `Ack` are not
    /// waited for: a restart makes them again.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::EndReason;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..).take(1_000_000).map(|value| Number { value }).collect());
    /// let handle = Mill::new(|_: &Number| std::thread::yield_now()).start(broker)?;
    /// handle.stop();
    /// let report = handle.wait_blocking()?;
    /// assert!(report.end == EndReason::Stopped && report.calls < 1_000_000);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn stop(&self) {
        self.control.stop(EndReason::Stopped);
    }

    /// Gives the run up: whoever waits for it gets [`RunError::Aborted`] at once, even when a call hangs. What was done since the
    /// last commit is dropped, as when the program dies.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::prelude::*;
    /// # use watermill::RunError;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let hangs = |_: &Reading| std::thread::sleep(Duration::from_secs(3600));
    /// let handle = Mill::new(hangs).start(MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]))?;
    /// handle.abort();
    /// assert!(matches!(handle.wait_blocking(), Err(RunError::Aborted)));
    /// # Ok::<(), RunError>(())
    /// ```
    pub fn abort(&self) {
        self.control.abort(RunError::Aborted);
    }

    /// What stops and watches the run from elsewhere.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// let handle = Mill::new(|_: &Reading| ()).start(broker)?;
    /// let (control, again) = (handle.control(), handle.control());
    /// control.stop();
    /// again.stop();
    /// handle.wait_blocking()?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn control(&self) -> MillControl {
        MillControl(Arc::clone(&self.control))
    }

    /// What the run is doing.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..1000).map(|value| Number { value }).collect());
    /// let handle = Mill::new(|_: &Number| ()).start(broker)?;
    /// let (before, after) = (handle.watch().calls, handle.watch().calls);
    /// assert!(before <= after && after <= 1000);
    /// # handle.wait_blocking()?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.control.watch()
    }

    /// What the last call was given, with [`Mill::checkpoint`](crate::Mill::checkpoint): exact whenever the run waits and when it is over, and else a few
    /// milliseconds old.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..1000).map(|value| Number { value }).collect());
    /// let handle = Mill::new(|_: &Number| ()).checkpoint().start(broker)?;
    /// if let Some(call) = handle.checkpoint() {
    ///     println!("the last call was given {call}");
    /// }
    /// # handle.wait_blocking()?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn checkpoint(&self) -> Option<LastCall> {
        self.control.last_call()
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// Why the run failed.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read(vec![Number { value: 1 }, Number { value: 2 }]);
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let handle = Mill::new(|_: &Number| ()).start(broker)?;
    /// assert_eq!(handle.wait().await?.calls, 2);
    /// # Ok::<(), watermill::RunError>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn wait(self) -> Result<RunReport, RunError> {
        self.control.outcome().await
    }

    /// Waits for the end of the run, blocking this thread. Not for use inside an async runtime.
    ///
    /// # Errors
    /// Why the run failed.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read(vec![Number { value: 1 }, Number { value: 2 }]);
    /// let handle = Mill::new(|_: &Number| ()).start(broker)?;
    /// assert_eq!(handle.wait_blocking()?.calls, 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn wait_blocking(self) -> Result<RunReport, RunError> {
        self.control.outcome_blocking()
    }
}
