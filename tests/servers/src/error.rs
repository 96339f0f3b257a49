//! What goes wrong with servers, said so that whoever runs the tests knows what to do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// Why a server is not there, or does not do what it was asked to. It can be cloned, since a shared server that does not start fails
/// every test that wants it.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Something that has to be installed on the machine is not.
    #[error("{wanted} needs {what}: {found}; {remedy}")]
    Missing {
        /// What was to be started.
        wanted: &'static str,
        /// What is missing, by name.
        what: &'static str,
        /// What was found instead.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file or a process could not be used.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A program that should have done its work failed.
    #[error("{program} failed ({status}){hint}\n{output}")]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        status: String,
        /// What to look at.
        hint: &'static str,
        /// The last lines that it wrote.
        output: String,
    },
    /// A server ended by itself.
    #[error("{server} ended while {doing} ({status}); the end of its log:\n{log}")]
    Ended {
        /// Its name.
        server: String,
        /// What was waited for.
        doing: &'static str,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// A server, or its helper, took too long.
    #[error("{server}: {doing} took longer than {limit:?}; the end of its log:\n{log}")]
    Slow {
        /// Its name.
        server: String,
        /// What was waited for.
        doing: String,
        /// How long.
        limit: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// The server, or its client, answered with an error.
    #[error("Kafka refused `{command}`: {kind}: {message}")]
    Refused {
        /// What it was asked to do.
        command: String,
        /// The name of the exception of the Java client, such as `TopicExistsException`.
        kind: String,
        /// What it said, with its causes.
        message: String,
    },
    /// Something was asked of a server that it cannot do as it was started.
    #[error("{what}: {remedy}")]
    Unfit {
        /// What was asked.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl ServerError {
    /// Makes an error of the system one of ours.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source: Arc::new(source) }
    }

    /// The name of the exception, where the server or its client refused something.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Refused { kind, .. } => Some(kind),
            _ => None,
        }
    }
}

/// The last lines of a log, which say why a server ended.
pub(crate) fn last_lines(text: &str) -> String {
    const LINES: usize = 25;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
