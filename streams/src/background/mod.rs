//! What runs in the background, and is started again when it fails.

mod status;
mod stop;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use status::{BackgroundStatus, Kind, State};
pub(crate) use stop::Stop;
use watermill_core::error::BoxError;
use watermill_core::{Backoff, MillHandle, RunError};

use crate::error::StreamsError;

/// Pauses before something that has failed is started again, where nothing else was asked for.
pub(crate) const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Why something ended that should not have.
pub(crate) enum Failure {
    /// It is started again.
    Again(BoxError),
    /// That would not help.
    Final(BoxError),
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            // A mill that cannot be built is the same the next time.
            error @ RunError::Build(_) => Self::Final(error.into()),
            error => Self::Again(error.into()),
        }
    }
}

impl From<StreamsError> for Failure {
    fn from(error: StreamsError) -> Self {
        match error {
            // Another process has it now, or nobody may.
            error @ (StreamsError::Displaced { .. }
            | StreamsError::Closed { .. }
            | StreamsError::Missing { .. }
            | StreamsError::Name { .. }
            | StreamsError::Misuse { .. }) => Self::Final(error.into()),
            error => Self::Again(error.into()),
        }
    }
}

/// Finds out whether what is behind an error of a user's function says that starting again would not help.
pub(crate) fn failure_of(error: BoxError) -> Failure {
    match error.downcast::<StreamsError>() {
        Ok(error) => Failure::from(*error),
        Err(error) => match error.downcast::<RunError>() {
            Ok(error) => Failure::from(*error),
            Err(error) => Failure::Again(error),
        },
    }
}

/// Something that runs in the background: from [`Stream::attach`](crate::Stream::attach) and [`Stream::forward`](crate::Stream::forward).
///
/// What fails is started again after a pause, which doubles each time it fails without having come any further. What cannot be mended so, such as a stream that was closed, ends it.
/// Dropping the handle does not stop it.
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
/// assert_eq!(attached.wait()?.state, State::Ended);
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
}

struct Progress {
    state: State,
    since: SystemTime,
    restarts: u64,
    last_error: Option<String>,
    last_failure: Option<SystemTime>,
    /// Why it failed for good, until somebody asks.
    error: Option<BoxError>,
}

impl Told {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        let mut progress = self.progress();
        (progress.state, progress.since) = (state, SystemTime::now());
        drop(progress);
        self.changed.notify_all();
    }

    /// Runs a mill to its end.
    pub(crate) fn run(&self, mill: MillHandle) -> Result<(), Failure> {
        self.stop.wait_for(mill).map(drop).map_err(Failure::from)
    }

    /// How far it has come: a number that grows.
    fn done(&self) -> u64 {
        let commits = self.stop.mill().map_or(0, |mill| mill.watch().commits);
        self.appended.load(Ordering::Relaxed).saturating_add(commits)
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
        };
        let told = Arc::new(Told {
            name: name.to_owned(),
            kind,
            stop: Stop::default(),
            appended: AtomicU64::new(0),
            progress: Mutex::new(progress),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&told);
        let thread = std::thread::Builder::new().name(format!("watermill-{}", kind.as_str()));
        let started = thread.spawn(move || supervise(&own, backoff, &mut work));
        started.map_err(|cause| StreamsError::storage("a thread in the background", "start", cause))?;
        Ok(Self { told })
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
    /// attached.wait()?;
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
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// numbers.close()?;
    /// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
    /// let error = numbers.attach("one", one)?.wait().unwrap_err();
    /// assert!(error.to_string().contains("source `one`"));
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn wait(&self) -> Result<BackgroundStatus, StreamsError> {
        let over = |progress: &mut Progress| !matches!(progress.state, State::Ended | State::Failed);
        let progress = self.told.changed.wait_while(self.told.progress(), over);
        let mut progress = progress.unwrap_or_else(PoisonError::into_inner);
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
pub(crate) fn whole(error: &(dyn std::error::Error + 'static)) -> String {
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

/// The thread.
fn supervise(told: &Arc<Told>, backoff: Backoff, work: &mut dyn FnMut(&Arc<Told>) -> Result<(), Failure>) {
    let mut failed = 0;
    let mut before = told.done();
    loop {
        told.set(State::Running);
        let result = catch_unwind(AssertUnwindSafe(|| work(told))).unwrap_or_else(|_| {
            Err(Failure::Again(StreamsError::misuse("it has panicked", "mend it").into()))
        });
        let (error, last) = match result {
            Ok(()) => return told.set(State::Ended),
            Err(Failure::Again(error)) => (error, told.stop.is_asked()),
            Err(Failure::Final(error)) => (error, true),
        };
        let now = SystemTime::now();
        let done = told.done();
        failed = if done == before { failed + 1 } else { 1 };
        before = done;
        let mut progress = told.progress();
        progress.last_error = Some(whole(&*error));
        progress.last_failure = Some(now);
        if last {
            progress.error = Some(error);
            drop(progress);
            tracing::error!(target: "watermill", name = told.name, kind = told.kind.as_str(), error = told.progress().last_error, "it has failed for good");
            return told.set(State::Failed);
        }
        drop(progress);
        let pause = backoff.pause(failed, now);
        tracing::warn!(
            target: "watermill",
            name = told.name,
            kind = told.kind.as_str(),
            error = &*error as &dyn std::error::Error,
            seconds = pause.as_secs_f64(),
            "it has failed and will be started again"
        );
        told.set(State::Restarting);
        if told.stop.within(pause) {
            return told.set(State::Ended);
        }
        told.progress().restarts += 1;
    }
}
