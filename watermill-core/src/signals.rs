//! SIGINT and SIGTERM.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::error::RunError;
use crate::handle::Control;
use crate::report::EndReason;

/// The first signal stops the run, the second gives it up. Returns when the run is over.
pub(crate) fn obey(control: &Control) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!(target: "watermill", %error, "signals cannot be listened to");
            return;
        }
    };
    let obeyed = runtime.block_on(async {
        let mut signals = Signals::new()?;
        for again in [false, true] {
            if over_before(control.until_over(), signals.next()).await {
                return Ok(());
            }
            tracing::info!(target: "watermill", again, "a signal asks the run to end");
            if again {
                control.abort(RunError::Aborted);
            } else {
                control.stop(EndReason::Signal);
            }
        }
        Ok::<(), std::io::Error>(())
    });
    if let Err(error) = obeyed {
        tracing::warn!(target: "watermill", %error, "signals cannot be listened to");
    }
}

/// Whether the run is over before the signal comes.
async fn over_before(over: impl Future<Output = ()>, signal: impl Future<Output = ()>) -> bool {
    let (mut over, mut signal) = (pin!(over), pin!(signal));
    poll_fn(|context| {
        if over.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        signal.as_mut().poll(context).map(|()| false)
    })
    .await
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        poll_fn(|context| {
            if self.interrupt.poll_recv(context).is_ready() {
                return Poll::Ready(());
            }
            self.terminate.poll_recv(context).map(|_| ())
        })
        .await;
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler there is nothing to wait for but the end of the run.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
