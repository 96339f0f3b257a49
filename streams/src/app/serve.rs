//! The thread that answers for an app, and the one that listens to signals.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{AppStatus, Shared, failing, page};
use crate::error::StreamsError;

/// Answers until it is told to stop.
pub(super) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<Duration>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    pub(super) fn start(
        listener: TcpListener,
        address: SocketAddr,
        shared: Arc<Shared>,
    ) -> Result<Self, StreamsError> {
        let told = |cause: io::Error| StreamsError::storage("the app", &format!("serve on {address}"), cause);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(told)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("watermill-app".to_owned());
        let thread = thread.spawn(move || serve(runtime, listener, shared, stopped)).map_err(told)?;
        tracing::info!(target: "watermill", %address, "the app answers");
        Ok(Self { address, stop, thread })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends, and lets those who are just being answered have so much time.
    pub(super) fn stop(self, time: Duration) {
        // If it has ended, nobody listens.
        let _ = self.stop.send(time);
        if self.thread.join().is_err() {
            tracing::warn!(target: "watermill", "the thread that answers for the app has panicked");
        }
    }
}

fn serve(runtime: Runtime, listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<Duration>) {
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router =
            Router::new().route("/status", get(status)).route("/healthz", get(health)).with_state(shared);
        let (send, receive) = oneshot::channel::<()>();
        let ended = async move {
            // Whoever drops the app without waiting for it lets it answer on.
            if receive.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let mut serving =
            tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(ended).into_future());
        let time = match stopped.await {
            Ok(time) => time,
            Err(_) => std::future::pending().await,
        };
        let _ = send.send(());
        if tokio::time::timeout(time, &mut serving).await.is_err() {
            serving.abort();
        }
        Ok::<(), io::Error>(())
    });
    // Who still looks at the store is not waited for.
    runtime.shutdown_background();
    if let Err(error) = served {
        tracing::warn!(target: "watermill", %error, "the app does not answer any more");
    }
}

/// What is asked of the store may take a while: it is asked on a thread for such.
async fn look(shared: Arc<Shared>) -> Result<AppStatus, Response> {
    let failed = |error: &dyn std::error::Error| {
        let told = serde_json::json!({ "error": crate::background::whole(error) });
        (StatusCode::INTERNAL_SERVER_ERROR, Json(told)).into_response()
    };
    match tokio::task::spawn_blocking(move || shared.status()).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match look(shared).await {
        Ok(app) => Json(page::status(&app)).into_response(),
        Err(failed) => failed,
    }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let parts = shared.parts();
    let healthy = failing(&parts).next().is_none();
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(page::health(&parts))).into_response()
}

/// SIGINT and SIGTERM (Ctrl-C, elsewhere), listened to from when this is made.
pub(super) struct Listening {
    runtime: Runtime,
    signals: Signals,
}

impl Listening {
    pub(super) fn start() -> Result<Self, StreamsError> {
        let told = |cause: io::Error| StreamsError::storage("the app", "listen to signals", cause);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(told)?;
        let signals = {
            let _within = runtime.enter();
            Signals::listen().map_err(told)?
        };
        Ok(Self { runtime, signals })
    }

    /// The first signal ends the app, the second gives up waiting for that. Ends with the app.
    pub(super) fn obey(self, shared: &Arc<Shared>) {
        let Self { runtime, mut signals } = self;
        let shared = Arc::clone(shared);
        let obey = move || {
            runtime.block_on(async {
                for again in [false, true] {
                    if over_before(&shared, &mut signals).await {
                        return;
                    }
                    tracing::info!(target: "watermill", again, "a signal asks the app to end");
                    if again { shared.give_up() } else { shared.stop() }
                }
            });
        };
        let thread = std::thread::Builder::new().name("watermill-signals".to_owned()).spawn(obey);
        if let Err(error) = thread {
            tracing::warn!(target: "watermill", %error, "signals cannot be listened to");
        }
    }
}

/// Whether all parts of the app have ended before the signal comes.
async fn over_before(shared: &Shared, signals: &mut Signals) -> bool {
    let mut signal = pin!(signals.next());
    loop {
        let mut changed = pin!(shared.changed.notified());
        if !shared.lock().are_going() {
            return true;
        }
        let came = poll_fn(|context| {
            if signal.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            changed.as_mut().poll(context).map(|()| false)
        });
        if came.await {
            return false;
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        let (mut interrupt, mut terminate) = (pin!(self.interrupt.recv()), pin!(self.terminate.recv()));
        poll_fn(|context| {
            if interrupt.as_mut().poll(context).is_ready() || terminate.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
