//! How one lane is told to stop, and tells what it does: by its run, and by whoever gave it the lane.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::settings::later;
use crate::broker::Ownership;
use crate::clock::Clock;
use crate::handle::{Control, Watch};
use crate::last_call::LastCall;
use crate::report::EndReason;

/// The run of a lane, as the lane sees it.
#[derive(Clone)]
pub(crate) struct Steering {
    run: Arc<Control>,
    lane: u32,
    /// It is the only lane of its mill.
    alone: bool,
    ownership: Ownership,
}

impl Steering {
    pub(crate) fn new(run: Arc<Control>, lane: u32, alone: bool, ownership: Ownership) -> Self {
        Self { run, lane, alone, ownership }
    }

    /// The only lane of a run, which nobody takes away.
    pub(crate) fn sole(run: Arc<Control>) -> Self {
        Self::new(run, 0, true, Ownership::new())
    }

    /// Its number, for metrics.
    #[cfg(feature = "metrics")]
    pub(crate) fn lane(&self) -> u32 {
        self.lane
    }

    #[inline]
    pub(crate) fn should_stop(&self) -> bool {
        self.run.should_stop() || self.ownership.is_taken()
    }

    /// Nothing may be committed any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.run.is_given_up() || self.ownership.is_lost()
    }

    pub(crate) fn why_stopped(&self) -> EndReason {
        if !self.run.should_stop() && self.ownership.is_taken() {
            return EndReason::Revoked;
        }
        self.run.why_stopped()
    }

    pub(crate) async fn stopped(&self) {
        self.ownership.taken_or(self.run.stopped()).await;
    }

    /// Whether it was stopped before this much time had passed.
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
        self.run.publish(self.lane, change);
    }

    /// Since when the run does nothing but wait for records, where this lane does so since `own`.
    pub(crate) fn quiet_since(&self, own: Option<SystemTime>) -> Option<SystemTime> {
        let own = own?;
        if self.alone { Some(own) } else { self.run.quiet_since() }
    }

    /// Since when this lane does.
    pub(crate) fn tell_quiet(&self, since: Option<SystemTime>) {
        if !self.alone {
            self.publish(|watch| watch.quiet_since = since);
        }
    }

    pub(crate) fn started(&self, now: SystemTime) -> SystemTime {
        self.run.started(now)
    }

    pub(crate) fn committed(&self, now: SystemTime) {
        self.run.committed(self.lane, now);
    }

    pub(crate) fn wants_details(&self) -> bool {
        self.run.wants_details()
    }

    pub(crate) fn put_last_call(&self, call: LastCall) {
        self.run.put_last_call(call);
    }

    pub(crate) fn last_call(&self) -> Option<LastCall> {
        self.run.last_call()
    }
}
