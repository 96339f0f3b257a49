//! Renews the leases of a lane, three times while they last.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use watermill_core::clock::Clock;

use crate::error::StreamsError;
use crate::lane::Hold;

/// Renews until it is dropped.
pub(crate) struct Keeper {
    stop: Arc<Notify>,
}

impl Keeper {
    pub(crate) fn start(hold: &Arc<Hold>, lease: Duration) -> Result<Self, StreamsError> {
        let told = |cause| StreamsError::storage("the thread that renews leases", "start", cause);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(told)?;
        let stop = Arc::new(Notify::new());
        let (weak, clock, stopped) = (Arc::downgrade(hold), Arc::clone(&hold.inner.clock), Arc::clone(&stop));
        let keep = move || runtime.block_on(keep(&weak, &*clock, &stopped, lease / 3));
        std::thread::Builder::new().name("watermill-leases".to_owned()).spawn(keep).map_err(told)?;
        Ok(Self { stop })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

async fn keep(weak: &Weak<Hold>, clock: &dyn Clock, stopped: &Notify, every: Duration) {
    let mut stopped = pin!(stopped.notified());
    loop {
        let mut timer = clock.sleep_until(clock.now() + every);
        let stop = poll_fn(|context| {
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            timer.as_mut().poll(context).map(|()| false)
        })
        .await;
        let Some(hold) = weak.upgrade().filter(|_| !stop) else { return };
        if let Err(error) = hold.renew() {
            tracing::warn!(target: "watermill", error = &error as &dyn std::error::Error, "a lease could not be renewed");
        }
    }
}
