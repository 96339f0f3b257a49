//! Errors of this broker: which file, what was attempted, why.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use watermill_core::error::{BoxError, BrokerError};

/// What the broker is called in messages.
pub(crate) const NAME: &str = "JsonFileBroker";

/// An error of this broker.
pub(crate) fn failure(action: &str, location: impl fmt::Display, cause: impl Into<BoxError>) -> BrokerError {
    BrokerError {
        broker: NAME.to_owned(),
        action: action.to_owned(),
        location: location.to_string(),
        cause: cause.into(),
    }
}

/// An error about one path, with what to do where the cause tells.
pub(crate) fn path_failure(action: &str, path: &Path, cause: std::io::Error) -> BrokerError {
    use std::io::ErrorKind;
    let hint = match cause.kind() {
        ErrorKind::NotFound if action == "open" => {
            " (check the path; it is relative to the working directory)"
        }
        ErrorKind::PermissionDenied => " (check who may use it)",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => " (free some space and run again)",
        ErrorKind::IsADirectory => " (it is a directory; name a file in it)",
        _ => "",
    };
    failure(action, format_args!("`{}`{hint}", path.display()), cause)
}

/// A failure that several calls report: the writer's thread stops at the first one.
#[derive(Debug, Clone)]
pub(crate) struct SharedFailure {
    action: String,
    location: String,
    cause: Arc<BoxError>,
}

impl SharedFailure {
    pub(crate) fn error(&self) -> BrokerError {
        failure(&self.action, &self.location, SharedCause(Arc::clone(&self.cause)))
    }
}

impl From<BrokerError> for SharedFailure {
    fn from(error: BrokerError) -> Self {
        Self { action: error.action, location: error.location, cause: Arc::new(error.cause) }
    }
}

#[derive(Debug)]
struct SharedCause(Arc<BoxError>);

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedCause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
