//! What runs in the background, and is started again when it fails.

mod status;
mod stop;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use status::{BackgroundStatus, Kind, State};
pub(crate) use stop::Stop;
use tokio::sync::Notify;
use watermill_core::error::BoxError;
use watermill_core::{Backoff, MillHandle, RunError};

use crate::error::StreamsError;
use crate::sink::panicked;

/// Pauses before something that has failed is started again, where nothing else was asked for.
pub(crate) const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Why something ended that should not have.
pub(crate) enum Failure {
    /// It is started again.
    Again(BoxError),
    /// That would not help.
    Final(BoxError),
    /// It goes on elsewhere.
    Displaced(BoxError),
}

impl<E: Into<BoxError>> From<E> for Failure {
    /// What is at the bottom of an error says whether starting again can help.
    fn from(error: E) -> Self {
        let error = error.into();
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
        while let Some(one) = cause {
            // A mill that cannot be built is the same the next time.
            if let Some(RunError::Build(_)) = one.downcast_ref() {
                return Self::Final(error);
            }
            match one.downcast_ref::<StreamsError>() {
                Some(StreamsError::Displaced { .. }) => return Self::Displaced(error),
                Some(
                    StreamsError::Closed { .. }
                    | StreamsError::Missing { .. }
                    | StreamsError::Name { .. }
                    | StreamsError::Misuse { .. },
                ) => return Self::Final(error),
                _ => cause = one.source(),
            }
        }
        Self::Again(error)
    }
}

/// Something that runs in the background: from [`Stream::attach`](crate::Stream::attach) and [`Stream::forward`](crate::Stream::forward).
///
/// What fails is started again after a pause, which doubles each time it fails without having come any further. What cannot be mended so, such as a stream that was closed, ends it. One
/// that goes on elsewhere, under the same name, ends as [`Displaced`](State::Displaced). Dropping the handle does not stop it.
///
/// ```
/// use std::time::Duration;
/// use watermill_core::record::Json;
/// use watermill_streams::source::Intake;
/// use watermill_streams::{State, Streams};
///
/// let ticks = Streams::open("memory:")?.get("ticks")?;
/// let clock = |intake: &mut Intake<Json>| {
///     while !intake.pause(Duration::from_millis(1)) {
///         intake.append(&Json("tick".into()))?;
///     }
///     Ok::<(), watermill_streams::StreamsError>(())
/// };
/// let attached = ticks.attach("clock", clock)?;
/// while ticks.len()? < 3 {
///     std::thread::yield_now();
/// }
/// attached.stop();
/// assert_eq!(attached.wait_blocking()?.state, State::Ended);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Background {
    told: Arc<Told>,
}

/// What the thread tells.
pub(crate) struct Told {
    name: String,
    kind: Kind,
    pub(crate) stop: Stop,
    pub(crate) appended: AtomicU64,
    progress: Mutex<Progress>,
    changed: Condvar,
    over: Notify,
}

struct Progress {
    state: State,
    since: SystemTime,
    restarts: u64,
    last_error: Option<String>,
    last_failure: Option<SystemTime>,
    /// Why it failed for good, until somebody asks.
    error: Option<BoxError>,
    /// To be called when it is over.
    #[cfg(feature = "app")]
    on_over: Option<Box<dyn FnOnce(State) + Send>>,
}

impl Told {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        let mut progress = self.progress();
        (progress.state, progress.since) = (state, SystemTime::now());
        #[cfg(feature = "app")]
        let on_over = if is_over(state) { progress.on_over.take() } else { None };
        drop(progress);
        self.changed.notify_all();
        self.over.notify_waiters();
        #[cfg(feature = "app")]
        if let Some(on_over) = on_over {
            on_over(state);
        }
    }

    /// Runs a mill to its end.
    pub(crate) fn run(&self, mill: MillHandle) -> Result<(), Failure> {
        self.stop.wait_for(mill).map(drop).map_err(Failure::from)
    }

    /// How far it has come: a number that grows.
    fn done(&self) -> u64 {
        self.appended.load(Ordering::Relaxed).saturating_add(self.stop.commits())
    }
}

impl Background {
    /// Starts a thread for it.
    pub(crate) fn start(
        name: &str,
        kind: Kind,
        backoff: Backoff,
        mut work: impl FnMut(&Arc<Told>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Self, StreamsError> {
        let progress = Progress {
            state: State::Running,
            since: SystemTime::now(),
            restarts: 0,
            last_error: None,
            last_failure: None,
            error: None,
            #[cfg(feature = "app")]
            on_over: None,
        };
        let told = Arc::new(Told {
            name: name.to_owned(),
            kind,
            stop: Stop::default(),
            appended: AtomicU64::new(0),
            progress: Mutex::new(progress),
            changed: Condvar::new(),
            over: Notify::new(),
        });
        let own = Arc::clone(&told);
        let thread = std::thread::Builder::new().name(format!("watermill-{}", kind.as_str()));
        let started = thread.spawn(move || supervise(&own, backoff, &mut work));
        started.map_err(|cause| StreamsError::storage("a thread in the background", "start", cause))?;
        Ok(Self { told })
    }

    /// Calls this once when it is over, or now if it is.
    #[cfg(feature = "app")]
    pub(crate) fn on_over(&self, call: impl FnOnce(State) + Send + 'static) {
        let mut progress = self.told.progress();
        let state = progress.state;
        if is_over(state) {
            drop(progress);
            call(state);
        } else {
            progress.on_over = Some(Box::new(call));
        }
    }

    /// Its name.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{Streams, StreamsError, source::Intake};
    /// let nothing = |_: &mut Intake<Json>| Ok::<(), StreamsError>(());
    /// let attached = Streams::open("memory:")?.get("numbers")?.attach("nothing", nothing)?;
    /// assert_eq!(attached.name(), "nothing");
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.told.name
    }

    /// What it does, and how often it has failed.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{Kind, Streams, StreamsError, source::Intake};
    /// # let nothing = |_: &mut Intake<Json>| Ok::<(), StreamsError>(());
    /// # let attached = Streams::open("memory:")?.get("numbers")?.attach("nothing", nothing)?;
    /// let status = attached.status();
    /// assert_eq!((status.kind, status.restarts, status.last_error), (Kind::Source, 0, None));
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn status(&self) -> BackgroundStatus {
        let watch = self.told.stop.mill().map(|mill| mill.watch()).unwrap_or_default();
        let progress = self.told.progress();
        BackgroundStatus {
            name: self.told.name.clone(),
            kind: self.told.kind,
            state: progress.state,
            since: progress.since,
            restarts: progress.restarts,
            last_error: progress.last_error.clone(),
            last_failure: progress.last_failure,
            appended: self.told.appended.load(Ordering::Relaxed),
            calls: watch.calls,
            retries: watch.retries,
            given_up: watch.given_up,
            records: watch.records,
            results: watch.results,
            commits: watch.commits,
            last_commit: watch.last_commit,
            waiting_for: watch.waiting_for,
        }
    }

    /// Asks it to end: what it has begun is finished, and committed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{Streams, StreamsError, source::Intake};
    /// let waits = |intake: &mut Intake<Json>| {
    ///     intake.pause(Duration::MAX);
    ///     Ok::<(), StreamsError>(())
    /// };
    /// let attached = Streams::open("memory:")?.get("numbers")?.attach("waits", waits)?;
    /// attached.stop();
    /// attached.wait_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop(&self) {
        self.told.stop.ask();
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Why it failed for good.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{Streams, StreamsError, source::Intake};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
    /// assert_eq!(numbers.attach("one", one)?.wait().await?.appended, 1);
    /// # Ok::<(), StreamsError>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn wait(&self) -> Result<BackgroundStatus, StreamsError> {
        loop {
            let over = self.told.over.notified();
            if is_over(self.told.progress().state) {
                return self.outcome(self.told.progress());
            }
            over.await;
        }
    }

    /// Waits until it has ended, blocking this thread. Not for use inside an async runtime: what is polled in that runtime would stand still.
    ///
    /// # Errors
    /// Why it failed for good.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{Streams, StreamsError, source::Intake};
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// numbers.close()?;
    /// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
    /// let error = numbers.attach("one", one)?.wait_blocking().unwrap_err();
    /// assert!(error.to_string().contains("source `one`"));
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn wait_blocking(&self) -> Result<BackgroundStatus, StreamsError> {
        let going = |progress: &mut Progress| !is_over(progress.state);
        let progress = self.told.changed.wait_while(self.told.progress(), going);
        self.outcome(progress.unwrap_or_else(PoisonError::into_inner))
    }

    fn outcome(&self, mut progress: MutexGuard<'_, Progress>) -> Result<BackgroundStatus, StreamsError> {
        if let State::Failed = progress.state {
            let told = progress.last_error.clone().unwrap_or_default();
            let cause = progress.error.take().unwrap_or_else(|| told.into());
            return Err(StreamsError::background(self.told.kind.as_str(), &self.told.name, cause));
        }
        drop(progress);
        Ok(self.status())
    }
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Background").field(&self.told.name).finish()
    }
}

/// The error and all that is behind it, on one line.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn is_over(state: State) -> bool {
    matches!(state, State::Ended | State::Failed | State::Displaced)
}

/// The thread.
fn supervise(told: &Arc<Told>, backoff: Backoff, work: &mut dyn FnMut(&Arc<Told>) -> Result<(), Failure>) {
    let mut failed = 0;
    let mut before = told.done();
    loop {
        told.set(State::Running);
        let result = catch_unwind(AssertUnwindSafe(|| work(told))).unwrap_or_else(|panic| {
            let what = format!("{} `{}` has panicked: {}", told.kind.as_str(), told.name, panicked(&*panic));
            Err(Failure::Again(what.into()))
        });
        let (error, over) = match result {
            Ok(()) => return told.set(State::Ended),
            Err(Failure::Again(error)) => (error, told.stop.is_asked().then_some(State::Failed)),
            Err(Failure::Final(error)) => (error, Some(State::Failed)),
            Err(Failure::Displaced(error)) => (error, Some(State::Displaced)),
        };
        let now = SystemTime::now();
        let done = told.done();
        failed = if done == before { failed + 1 } else { 1 };
        before = done;
        let text = whole(&*error);
        {
            let mut progress = told.progress();
            (progress.last_error, progress.last_failure) = (Some(text.clone()), Some(now));
            progress.error = over.map(|_| error);
        }
        let (name, kind) = (told.name.as_str(), told.kind.as_str());
        if let Some(state) = over {
            tracing::error!(target: "watermill", name, kind, error = text, "it has failed, and is not started again");
            return told.set(state);
        }
        let pause = backoff.pause(failed, now);
        let seconds = pause.as_secs_f64();
        tracing::warn!(target: "watermill", name, kind, error = text, seconds, "it has failed and will be started again");
        told.set(State::Restarting);
        if told.stop.within(pause) {
            return told.set(State::Ended);
        }
        told.progress().restarts += 1;
    }
}
