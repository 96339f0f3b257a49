//! What can go wrong with streams: what happened, where, and what to do.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use watermill_core::error::{BoxError, BrokerError};

/// Why something could not be done with a stream.
///
/// ```
/// use watermill_streams::{Streams, StreamsError};
///
/// let error = Streams::open("redis:streams").unwrap_err();
/// assert!(matches!(error, StreamsError::Url { .. }));
/// assert!(error.to_string().contains("write `sqlite:` and a path"));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StreamsError {
    /// The URL names no store that is known here.
    #[error(
        "`{url}` names no store of streams: {why}; write `sqlite:` and a path, `mongodb://host/database`, or `memory:`"
    )]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A stream or a subscription cannot be called that.
    #[error("`{name}` cannot be a name: {why}")]
    Name {
        /// The name, or its beginning.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such stream.
    #[error(
        "{store} has no stream `{stream}`; it may have been dropped, or has another name: `streams.list(\"*\")` tells all"
    )]
    Missing {
        /// Where it was looked for.
        store: String,
        /// Its name.
        stream: String,
    },
    /// The stream was closed: it takes no more messages.
    #[error(
        "stream `{stream}` is closed and takes no more messages; append to another one, or call `.reopen()` on it"
    )]
    Closed {
        /// Its name.
        stream: String,
    },
    /// A value cannot be written as a message.
    #[error("a value for stream `{stream}` cannot be written as JSON")]
    Encode {
        /// Where it was to go.
        stream: String,
        /// Why.
        #[source]
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// The file is something else.
    #[error(
        "{store} is no store of streams: {why}; give the path of a new file, or of one that streams were kept in before"
    )]
    Foreign {
        /// Which file.
        store: String,
        /// What it is.
        why: String,
    },
    /// The file was written by another version of this library.
    #[error(
        "{store} has the layout {found}, and this version of watermill knows {known}; open it with the version that wrote it, or a newer one"
    )]
    Layout {
        /// Which file.
        store: String,
        /// What it says.
        found: i64,
        /// The layout of this version.
        known: i64,
    },
    /// The file is damaged.
    #[error("{store} is damaged; put a copy in its place, or save what can be read with SQLite's `.recover`")]
    Corrupt {
        /// Which file.
        store: String,
        /// What was found.
        #[source]
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// Others kept the store to themselves for too long.
    #[error(
        "{store} was locked by others for {waited:?}; find who keeps a transaction open, or let it wait longer"
    )]
    Locked {
        /// Which store.
        store: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no room left.
    #[error(
        "there is no room left for {store}; nothing of what was to be written is there: free some space and try again"
    )]
    Full {
        /// Which store.
        store: String,
        /// What the system says.
        #[source]
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// Anything else that the storage tells.
    #[error("{store}: cannot {action}")]
    Storage {
        /// Which store.
        store: String,
        /// What was attempted.
        action: String,
        /// Why it failed.
        #[source]
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// What this consumer had claimed has been taken by another one, since its lease had expired.
    #[error(
        "messages of stream `{stream}` were taken by another consumer, since the lease on them was not renewed in time; what was done with them here is not committed"
    )]
    Lost {
        /// Which stream.
        stream: String,
    },
    /// What ran in the background has failed for good.
    #[error("{kind} `{name}` has failed")]
    Background {
        /// What it was: a source, a mill, a sink.
        kind: &'static str,
        /// How it was called.
        name: String,
        /// Why.
        #[source]
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// Another one has taken its place over: a source that was attached once more under the same name, or a mill that was started once more with the same positions. What this one had
    /// read since its last commit is read there.
    #[error(
        "`{name}` was started once more under the same name, and goes on there; run it once, or give each a name of its own"
    )]
    Displaced {
        /// What it is.
        name: String,
    },
    /// The consumer cannot do that.
    #[error("{what}; {fix}")]
    Misuse {
        /// What is wrong.
        what: String,
        /// What to do.
        fix: String,
    },
}

impl StreamsError {
    pub(crate) fn misuse(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Misuse { what: what.into(), fix: fix.into() }
    }

    pub(crate) fn storage(store: &str, action: &str, cause: impl Into<BoxError>) -> Self {
        Self::Storage { store: store.to_owned(), action: action.to_owned(), cause: Arc::from(cause.into()) }
    }

    pub(crate) fn background(kind: &'static str, name: &str, cause: BoxError) -> Self {
        Self::Background { kind, name: name.to_owned(), cause: Arc::from(cause) }
    }

    /// As the engine takes it.
    pub(crate) fn of_broker(self, action: &str, location: &str) -> BrokerError {
        BrokerError {
            broker: "Streams".to_owned(),
            action: action.to_owned(),
            location: location.to_owned(),
            cause: Box::new(self),
        }
    }
}
