//! Steering a run from outside: stop it, wait for it, watch it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Notify, oneshot};

use crate::broker::Position;
use crate::error::RunError;
use crate::report::{InputReport, RunReport};

/// What is shared between a run and its handle.
#[derive(Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    wake: Notify,
    details: bool,
    watch: Mutex<Watch>,
}

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
    /// Results handed to the sinks.
    pub results: u64,
    /// Records read, over all inputs.
    pub records: u64,
    /// How far the inputs were read, in the units of [`total`](Watch::total): bytes of files, records of memory.
    pub progress: u64,
    /// The size of all inputs, where it is known.
    pub total: Option<u64>,
    /// The stream that the walk waits for, or waited for last.
    pub waiting_for: Option<String>,
    /// The accounting of each input; kept up to date only where it was asked for (by the test driver).
    pub(crate) inputs: Vec<InputReport>,
    pub(crate) positions: Vec<Position>,
    pub(crate) report: Option<RunReport>,
}

impl Control {
    pub(crate) fn with_details() -> Self {
        Self { details: true, ..Self::default() }
    }

    pub(crate) fn wants_details(&self) -> bool {
        self.details
    }

    pub(crate) fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    pub(crate) async fn stopped(&self) {
        while !self.should_stop() {
            self.wake.notified().await;
        }
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut Watch)) {
        change(&mut self.watch());
    }

    pub(crate) fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) done: oneshot::Receiver<Result<RunReport, RunError>>,
    pub(crate) thread: JoinHandle<()>,
}

/// Stops the run when the future that waits for it is dropped.
pub(crate) struct StopOnDrop(pub(crate) Arc<Control>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl MillHandle {
    /// Asks the run to stop: it finishes the call it is in, commits, and returns its report.
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
        self.control.stop();
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
        self.control.watch().clone()
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
        match self.done.await {
            Ok(result) => result,
            Err(gone) => {
                Err(RunError::Runtime { what: "its thread is gone".to_owned(), cause: Box::new(gone) })
            }
        }
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
    pub fn wait_blocking(mut self) -> Result<RunReport, RunError> {
        let died = self.thread.join().is_err();
        match self.done.try_recv() {
            Ok(result) => result,
            Err(gone) => {
                let what = if died { "its thread panicked" } else { "its thread is gone" };
                Err(RunError::Runtime { what: what.to_owned(), cause: Box::new(gone) })
            }
        }
    }
}
