//! The thread that answers for an app, and the one that listens to signals.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{AppStatus, Shared, page};
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
        let thread = thread.spawn(move || serve(&runtime, listener, shared, stopped)).map_err(told)?;
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

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<Duration>,
) {
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
    match look(shared).await {
        Ok(app) => {
            let code = if app.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (code, Json(page::health(&app))).into_response()
        }
        Err(failed) => failed,
    }
}

/// Calls `end` when SIGINT or SIGTERM (Ctrl-C, elsewhere) asks the program to end, from now on.
pub(super) fn on_signal(end: impl FnOnce() + Send + 'static) -> Result<(), StreamsError> {
    let told = |cause: io::Error| StreamsError::storage("the app", "listen to signals", cause);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(told)?;
    let listening = {
        let _within = runtime.enter();
        Signals::listen().map_err(told)?
    };
    let wait = move || {
        runtime.block_on(listening.next());
        tracing::info!(target: "watermill", "a signal asks the app to end");
        end();
    };
    std::thread::Builder::new().name("watermill-signals".to_owned()).spawn(wait).map_err(told)?;
    Ok(())
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

    async fn next(mut self) {
        let interrupt = self.interrupt.recv();
        let mut terminate = std::pin::pin!(self.terminate.recv());
        let mut interrupt = std::pin::pin!(interrupt);
        std::future::poll_fn(|context| {
            if interrupt.as_mut().poll(context).is_ready() || terminate.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
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

    async fn next(self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
