//! What is shared between a run and whoever steers it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::watch::{Lanes, Watch};
use crate::clock::Clock;
use crate::engine::lane::later;
use crate::error::RunError;
use crate::last_call::LastCall;
use crate::report::{EndReason, RunReport};

/// What is shared between a run and its handle.
#[derive(Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    given_up: AtomicBool,
    reason: Mutex<Option<EndReason>>,
    wake: Notify,
    details: bool,
    watch: Mutex<Lanes>,
    last_call: Mutex<Option<LastCall>>,
    last_commit: Mutex<Option<Instant>>,
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

    /// Changes what is known of a lane.
    pub(crate) fn publish(&self, lane: u32, change: impl FnOnce(&mut Watch)) {
        lock(&self.watch).change(lane, change);
    }

    /// A lane is not walked any more; `done` says whether what it did counts.
    pub(crate) fn lane_over(&self, lane: u32, done: bool) {
        lock(&self.watch).over(lane, done);
    }

    /// Since when all lanes do nothing but wait for records.
    pub(crate) fn quiet_since(&self) -> Option<SystemTime> {
        lock(&self.watch).quiet_since()
    }

    pub(crate) fn put_last_call(&self, call: LastCall) {
        // What the one before holds is let go of when nobody waits for the lock.
        let before = lock(&self.last_call).replace(call);
        drop(before);
    }

    pub(crate) fn last_call(&self) -> Option<LastCall> {
        lock(&self.last_call).clone()
    }

    /// All lanes together.
    pub(crate) fn watch(&self) -> Watch {
        lock(&self.watch).together()
    }

    /// Whether nothing happens unless something comes from outside.
    pub(crate) fn is_parked(&self) -> bool {
        lock(&self.watch).are_parked()
    }

    pub(crate) fn committed(&self, lane: u32, now: SystemTime) {
        *lock(&self.last_commit) = Some(Instant::now());
        self.publish(lane, |watch| {
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
    pub(super) async fn outcome(&self) -> Result<RunReport, RunError> {
        loop {
            let mut over = pin!(self.over.notified());
            over.as_mut().enable();
            if let Some(result) = Self::take(&mut lock(&self.outcome)) {
                return result;
            }
            over.await;
        }
    }

    pub(super) fn outcome_blocking(&self) -> Result<RunReport, RunError> {
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
                let waiting_for = self.watch().waiting_for;
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
