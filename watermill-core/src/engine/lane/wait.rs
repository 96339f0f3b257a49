//! Waiting: for records, for calls under way, for a time, or for a request to stop.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use super::LaneRun;
use super::settings::{earlier, elapsed, later};
use crate::broker::BoxFuture;
use crate::clock::Clock;
use crate::engine::node::Loaded;
use crate::error::{BoxError, RunError};
use crate::function::{CallResult, Called};
use crate::report::EndReason;

/// What ended a wait.
pub(super) enum Woken {
    Loaded(Loaded),
    /// The time has come at which something is to be done.
    Deadline,
    Stopped,
}

/// The timer of a lane. It is kept from wait to wait, since most of them end before it does: one that rings too early only has the lane
/// look once more.
#[derive(Default)]
pub(super) struct Timer(Option<(SystemTime, BoxFuture<'static, ()>)>);

impl Timer {
    /// Whether it has rung, `deadline` at the latest.
    pub(super) fn poll(
        &mut self,
        deadline: Option<SystemTime>,
        clock: &dyn Clock,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let (_, sleep) = match &mut self.0 {
            Some(timer) if timer.0 <= deadline => timer,
            other => other.insert((deadline, clock.sleep_until(deadline))),
        };
        let rung = sleep.as_mut().poll(context);
        if rung.is_ready() {
            self.0 = None;
        }
        rung
    }
}

impl LaneRun {
    /// Reads what the stream has at once, if it has something: then nobody needs to be told of a wait.
    pub(super) async fn load_what_is_there(&mut self, node: usize) -> Result<Option<Loaded>, RunError> {
        let mut load = self.walk.nodes[node].node.load();
        poll_fn(|context| match load.as_mut().poll(context) {
            Poll::Ready(loaded) => Poll::Ready(loaded.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        })
        .await
    }

    /// Waits for records of this stream, for the time of something to do, or for a request to stop.
    pub(super) async fn wait(&mut self, node: usize) -> Result<Woken, RunError> {
        self.waits(true);
        let deadline = earlier(earlier(self.idle_at(), self.next_commit()), self.deadline(Some(node)));
        let Self { walk, steering, clock, timer, .. } = self;
        let mut load = walk.nodes[node].node.load();
        let mut stopped = pin!(steering.stopped());
        poll_fn(|context| {
            if let Poll::Ready(loaded) = load.as_mut().poll(context) {
                return Poll::Ready(loaded.map(Woken::Loaded));
            }
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Woken::Stopped));
            }
            timer.poll(deadline, &**clock, context).map(|()| Ok(Woken::Deadline))
        })
        .await
    }

    /// Tells what is waited for from now on.
    pub(super) fn tell_waiting(&mut self, node: Option<usize>) {
        if let Some(meter) = &mut self.meter {
            meter.calls_wait();
            meter.wait_for(node, &*self.clock);
        }
    }

    /// When the walk or the life of the lane has something to do even if nothing comes.
    pub(super) fn deadline(&self, waiting_for: Option<usize>) -> Option<SystemTime> {
        let ending = &self.settings.ending;
        let walk = waiting_for.and_then(|node| self.walk.deadline(node));
        earlier(walk, ending.lifetime.map(|lifetime| later(self.started, lifetime)))
    }

    /// The lane has nothing to do but to wait for records, or has.
    pub(super) fn waits(&mut self, for_records: bool) {
        if for_records == self.quiet_since.is_some() {
            return;
        }
        self.quiet_since = for_records.then(|| self.clock.now());
        self.steering.tell_quiet(self.quiet_since);
    }

    /// When the run has waited for records for too long.
    pub(super) fn idle_at(&self) -> Option<SystemTime> {
        let limit = self.settings.ending.idle?;
        Some(later(self.steering.quiet_since(self.quiet_since)?, limit))
    }

    /// Whether it has, as of now: to be asked only when there was no record just now.
    pub(super) fn is_idle(&self) -> bool {
        self.idle_at().is_some_and(|at| at <= self.clock.now())
    }

    /// Why the run is to end here, if it is.
    pub(super) fn over(&self, now: SystemTime) -> Option<EndReason> {
        let ending = &self.settings.ending;
        if ending.lifetime.is_some_and(|lifetime| elapsed(self.started, now) >= lifetime) {
            Some(EndReason::Lifetime)
        } else if ending.commits.is_some_and(|commits| self.tally.commits >= commits) {
            Some(EndReason::Commits)
        } else {
            None
        }
    }
}

/// The call took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("it took longer than the timeout of {0:?}")]
pub(super) struct TimedOut(pub(super) Duration);

/// What a call comes to, within its time.
pub(super) async fn within(call: Called<'_>, limit: Option<Duration>, clock: &dyn Clock) -> CallResult {
    let mut future = match call {
        Called::Done(result) => return result,
        Called::Pending(future) => future,
    };
    let Some(limit) = limit else { return future.await };
    let mut timer = clock.sleep_until(later(clock.now(), limit));
    poll_fn(|context| {
        if let Poll::Ready(result) = future.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        timer.as_mut().poll(context).map(|()| Err(BoxError::from(TimedOut(limit))))
    })
    .await
}
