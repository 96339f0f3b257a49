//! What is known of what runs in the background.

use std::time::SystemTime;

/// What runs in the background, and how it does: [`Background::status`](crate::Background::status).
///
/// ```
/// use watermill_core::record::Json;
/// use watermill_streams::source::Intake;
/// use watermill_streams::{State, Streams, StreamsError};
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// let three = |intake: &mut Intake<Json>| (0..3).try_for_each(|number| intake.append(&Json(number.into())));
/// let attached = numbers.attach("three", three)?;
/// let status = attached.wait()?;
/// assert_eq!((status.state, status.appended, status.restarts), (State::Ended, 3, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackgroundStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What it does.
    pub state: State,
    /// Since when.
    pub since: SystemTime,
    /// How often it has failed and was started again.
    pub restarts: u64,
    /// Why it failed, the last time.
    pub last_error: Option<String>,
    /// When that was.
    pub last_failure: Option<SystemTime>,
    /// How many messages it has appended, of sources that append themselves.
    pub appended: u64,
    /// Calls of its function since it was started last, of mills.
    pub calls: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Calls that were given up.
    pub given_up: u64,
    /// Records that it has read.
    pub records: u64,
    /// Results that it has written.
    pub results: u64,
    /// Commits.
    pub commits: u64,
    /// When the last one was made.
    pub last_commit: Option<SystemTime>,
    /// The stream that it waits for, or waited for last.
    pub waiting_for: Option<String>,
}

/// What runs in the background.
///
/// ```
/// assert_eq!(watermill_streams::Kind::Source.as_str(), "source");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A source, from which a stream is filled.
    Source,
    /// A mill.
    Mill,
    /// A sink, to which a stream is forwarded.
    Sink,
}

impl Kind {
    /// In one word.
    ///
    /// ```
    /// assert_eq!(watermill_streams::Kind::Mill.as_str(), "mill");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Mill => "mill",
            Self::Sink => "sink",
        }
    }
}

/// What becomes of something that runs in the background.
///
/// ```
/// assert_eq!(watermill_streams::State::Restarting.as_str(), "restarting");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is at work.
    Running,
    /// It has failed, and is started again after a pause.
    Restarting,
    /// It has come to its end, or was stopped.
    Ended,
    /// It has failed for good.
    Failed,
}

impl State {
    /// In one word.
    ///
    /// ```
    /// assert_eq!(watermill_streams::State::Running.as_str(), "running");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}
