//! Steering a run from outside: stop it, wait for it, watch it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::broker::Position;
use crate::clock::Clock;
use crate::engine::lane::later;
use crate::error::RunError;
use crate::last_call::LastCall;
use crate::report::{EndReason, InputReport, RunReport};

/// What is shared between a run and its handle.
#[derive(Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    given_up: AtomicBool,
    reason: Mutex<Option<EndReason>>,
    wake: Notify,
    details: bool,
    watch: Mutex<Watch>,
    last_call: Mutex<Option<LastCall>>,
    last_commit: Mutex<Option<Instant>>,
    /// What a lane had committed when its storage failed.
    committed: Mutex<Option<RunReport>>,
    /// When the first lane began.
    started: OnceLock<SystemTime>,
    outcome: Mutex<Outcome>,
    is_over: Condvar,
    over: Notify,
}

/// What the run came to.
#[derive(Default)]
enum Outcome {
    #[default]
    Running,
    Over(Box<Result<RunReport, RunError>>),
    /// It was told already.
    Told,
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
    /// The accounting of each input; kept up to date only where it was asked for (by the test driver).
    pub(crate) inputs: Vec<InputReport>,
    pub(crate) positions: Vec<Position>,
    pub(crate) window: Option<String>,
    pub(crate) report: Option<RunReport>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub(crate) fn with_details() -> Self {
        Self { details: true, ..Self::default() }
    }

    pub(crate) fn wants_details(&self) -> bool {
        self.details
    }

    /// When the run began: not anew when it goes back to its last commit.
    pub(crate) fn started(&self, now: SystemTime) -> SystemTime {
        *self.started.get_or_init(|| now)
    }

    pub(crate) fn put_committed(&self, report: RunReport) {
        *lock(&self.committed) = Some(report);
    }

    pub(crate) fn take_committed(&self) -> Option<RunReport> {
        lock(&self.committed).take()
    }

    pub(crate) fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The run was given up: it must not commit any more, since somebody else may have taken its place.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Why the run was asked to stop.
    pub(crate) fn why_stopped(&self) -> EndReason {
        lock(&self.reason).clone().unwrap_or(EndReason::Stopped)
    }

    pub(crate) fn stop(&self, reason: EndReason) {
        lock(&self.reason).get_or_insert(reason);
        self.stop.store(true, Ordering::Relaxed);
        self.wake.notify_waiters();
    }

    /// Gives the run up: whoever waits for it is told so at once, and it ends as soon as it can.
    pub(crate) fn abort(&self, why: RunError) {
        self.given_up.store(true, Ordering::Release);
        self.finish(Err(why));
        self.stop(EndReason::Stopped);
    }

    pub(crate) async fn stopped(&self) {
        let mut woken = pin!(self.wake.notified());
        woken.as_mut().enable();
        // Whoever asked before this was registered has set the flag.
        if !self.should_stop() {
            woken.await;
        }
    }

    /// Lets time pass; true when the run is asked to stop before it has.
    pub(crate) async fn stopped_within(&self, clock: &dyn Clock, time: Duration) -> bool {
        let mut timer = clock.sleep_until(later(clock.now(), time));
        let mut stopped = pin!(self.stopped());
        poll_fn(|context| {
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            timer.as_mut().poll(context).map(|()| false)
        })
        .await
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut Watch)) {
        change(&mut self.watch());
    }

    pub(crate) fn put_last_call(&self, call: LastCall) {
        // What the one before holds is let go of when nobody waits for the lock.
        let before = lock(&self.last_call).replace(call);
        drop(before);
    }

    pub(crate) fn last_call(&self) -> Option<LastCall> {
        lock(&self.last_call).clone()
    }

    pub(crate) fn watch(&self) -> MutexGuard<'_, Watch> {
        lock(&self.watch)
    }

    pub(crate) fn committed(&self, now: SystemTime) {
        *lock(&self.last_commit) = Some(Instant::now());
        self.publish(|watch| {
            watch.commits += 1;
            watch.last_commit = Some(now);
        });
    }

    /// The run is over. Only the first one who says so is heard.
    pub(crate) fn finish(&self, result: Result<RunReport, RunError>) {
        let mut outcome = lock(&self.outcome);
        if matches!(*outcome, Outcome::Running) {
            *outcome = Outcome::Over(Box::new(result));
            self.is_over.notify_all();
            self.over.notify_waiters();
        }
    }

    fn take(outcome: &mut Outcome) -> Option<Result<RunReport, RunError>> {
        match std::mem::replace(outcome, Outcome::Told) {
            Outcome::Running => {
                *outcome = Outcome::Running;
                None
            }
            Outcome::Over(result) => Some(*result),
            Outcome::Told => Some(Err(gone())),
        }
    }

    /// Waits until the run is over, and takes what it came to.
    async fn outcome(&self) -> Result<RunReport, RunError> {
        loop {
            let mut over = pin!(self.over.notified());
            over.as_mut().enable();
            if let Some(result) = Self::take(&mut lock(&self.outcome)) {
                return result;
            }
            over.await;
        }
    }

    fn outcome_blocking(&self) -> Result<RunReport, RunError> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(result) = Self::take(&mut outcome) {
                return result;
            }
            outcome = self.is_over.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the run is over, leaving what it came to for others.
    #[cfg(feature = "signals")]
    pub(crate) async fn until_over(&self) {
        let mut over = pin!(self.over.notified());
        over.as_mut().enable();
        if matches!(*lock(&self.outcome), Outcome::Running) {
            over.await;
        }
    }

    /// Gives the run up when nothing is committed for `limit`, by the machine's time. Returns when the run is over.
    pub(crate) fn watch_commits(&self, limit: Duration) {
        let start = Instant::now();
        let mut outcome = lock(&self.outcome);
        while matches!(*outcome, Outcome::Running) {
            let last = lock(&self.last_commit).unwrap_or(start);
            let left = limit.saturating_sub(last.elapsed());
            if left.is_zero() {
                drop(outcome);
                let waiting_for = self.watch().waiting_for.clone();
                self.abort(RunError::NoCommit { limit, waiting_for });
                return;
            }
            outcome = self.is_over.wait_timeout(outcome, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn gone() -> RunError {
    RunError::Runtime { what: "its thread is gone".to_owned(), cause: "it ended without a result".into() }
}

/// The run is over when this goes, if it was not before: its thread has panicked.
pub(crate) struct OverOnDrop(pub(crate) Arc<Control>);

impl Drop for OverOnDrop {
    fn drop(&mut self) {
        self.0.finish(Err(gone()));
    }
}

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
        self.0.watch().clone()
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
        self.control.watch().clone()
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
