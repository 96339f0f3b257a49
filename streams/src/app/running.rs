//! [`RunningApp`]: an app that was started, and how it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::serve::Server;
use super::shared::Shared;
use crate::background::{Background, BackgroundStatus, State};
use crate::error::StreamsError;
use crate::info::StreamInfo;

/// An app that was started: from [`App::start`](super::App::start). Dropping it does not stop it.
///
/// ```
/// # use std::time::Duration;
/// use watermill_core::record::Json;
/// use watermill_streams::source::Intake;
/// use watermill_streams::{App, State, StreamsError};
///
/// let clock = |intake: &mut Intake<Json>| {
///     while !intake.pause(Duration::from_millis(1)) {
///         intake.append(&Json("tick".into()))?;
///     }
///     Ok::<(), StreamsError>(())
/// };
/// let app = App::new("memory:")?.source("clock", "ticks", clock).start()?;
/// assert_eq!(app.status()?.parts[0].state, State::Running);
/// app.stop();
/// assert_eq!(app.wait_blocking()?.parts[0].state, State::Ended);
/// # Ok::<(), StreamsError>(())
/// ```
#[must_use = "it runs on if it is dropped, and nobody learns how it ends"]
pub struct RunningApp {
    pub(super) shared: Arc<Shared>,
    pub(super) server: Option<Server>,
}

impl RunningApp {
    /// How everything does.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError, source::Intake};
    /// # let nothing = |_: &mut Intake<Json>| Ok::<(), StreamsError>(());
    /// let app = App::new("memory:")?.source("nothing", "numbers", nothing).start()?;
    /// assert_eq!(app.status()?.parts[0].name, "nothing");
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn status(&self) -> Result<AppStatus, StreamsError> {
        self.shared.status()
    }

    /// Where it answers, if it does.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError, source::Intake};
    /// # let nothing = |_: &mut Intake<Json>| Ok::<(), StreamsError>(());
    /// let app = App::new("memory:")?.source("nothing", "numbers", nothing).start()?;
    /// assert_eq!(app.address(), None);
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// Asks all parts to end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError, source::Intake};
    /// # let waits = |intake: &mut Intake<Json>| { let _ = intake.pause(Duration::MAX); Ok::<(), StreamsError>(()) };
    /// let app = App::new("memory:")?.source("waits", "numbers", waits).start()?;
    /// app.stop();
    /// assert!(app.wait_blocking()?.stopping);
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits until all parts have ended.
    ///
    /// # Errors
    /// Why the first of them failed for good.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, Streams, StreamsError, source::Intake};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
    /// let app = App::new("memory:")?.source("one", "numbers", one).start()?;
    /// assert_eq!(app.wait().await?.parts[0].appended, 1);
    /// # Ok::<(), StreamsError>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn wait(self) -> Result<AppStatus, StreamsError> {
        loop {
            let changed = self.shared.changed.notified();
            if !self.shared.lock().are_going() {
                break;
            }
            changed.await;
        }
        self.outcome()
    }

    /// Waits until all parts have ended, blocking this thread. Not for use inside an async runtime: what is polled in that runtime would stand still.
    ///
    /// # Errors
    /// Why the first of them failed for good.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, Streams, StreamsError, source::Intake};
    /// let streams = Streams::open("memory:")?;
    /// streams.get("numbers")?.close()?;
    /// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
    /// let error = App::on(&streams).source("one", "numbers", one).start()?.wait_blocking().unwrap_err();
    /// assert_eq!(error.to_string(), "source `one` has failed");
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn wait_blocking(self) -> Result<AppStatus, StreamsError> {
        drop(self.shared.over.wait_while(self.shared.lock(), |parts| parts.are_going()));
        self.outcome()
    }

    fn outcome(self) -> Result<AppStatus, StreamsError> {
        let (parts, given_up) = {
            let state = self.shared.lock();
            (state.parts.clone(), state.given_up)
        };
        if given_up {
            return Err(StreamsError::misuse(
                "the app was given up while its parts were ending",
                "what was not committed is done again the next time",
            ));
        }
        let ended: Result<Vec<_>, _> = parts.iter().map(Background::wait_blocking).collect();
        if let Some(server) = self.server {
            server.stop(Duration::from_secs(1));
        }
        ended?;
        self.shared.status()
    }
}

impl std::fmt::Debug for RunningApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningApp").field("parts", &self.shared.lock().parts).finish()
    }
}

/// How an app does: [`RunningApp::status`].
///
/// ```
/// use watermill_core::record::Json;
/// use watermill_streams::source::Intake;
/// use watermill_streams::{App, StreamsError};
///
/// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
/// let status = App::new("memory:")?.source("one", "numbers", one).start()?.wait_blocking()?;
/// assert!(status.is_healthy() && !status.stopping);
/// assert_eq!((status.streams[0].name.as_str(), status.streams[0].waiting), ("numbers", 1));
/// # Ok::<(), StreamsError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AppStatus {
    /// When it was started.
    pub started: SystemTime,
    /// It was asked to end.
    pub stopping: bool,
    /// Its sources, mills and sinks, in the order in which they were added.
    pub parts: Vec<BackgroundStatus>,
    /// All streams of the store. Their messages are not counted here: [`StreamInfo::messages`] and [`StreamInfo::bytes`] are 0.
    pub streams: Vec<StreamInfo>,
}

impl AppStatus {
    /// Whether every part runs, or has ended as it should.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{App, StreamsError, source::Intake};
    /// # let nothing = |_: &mut Intake<Json>| Ok::<(), StreamsError>(());
    /// assert!(App::new("memory:")?.source("nothing", "numbers", nothing).start()?.wait_blocking()?.is_healthy());
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.failing().next().is_none()
    }

    /// The parts that have failed, for good or not.
    pub(super) fn failing(&self) -> impl Iterator<Item = &BackgroundStatus> {
        failing(&self.parts)
    }
}

pub(super) fn failing(parts: &[BackgroundStatus]) -> impl Iterator<Item = &BackgroundStatus> {
    parts.iter().filter(|part| matches!(part.state, State::Restarting | State::Failed))
}
