//! Errors of this broker: which collection, what was attempted, why, and what to do.

use std::fmt;

use mongodb::error::{Error, ErrorKind};
use watermill_core::error::{BoxError, BrokerError};

/// What the broker is called in messages.
pub(crate) const NAME: &str = "MongoBroker";

/// An error of this broker.
pub(crate) fn failure(action: &str, location: impl fmt::Display, cause: impl Into<BoxError>) -> BrokerError {
    BrokerError {
        broker: NAME.to_owned(),
        action: action.to_owned(),
        location: location.to_string(),
        cause: cause.into(),
    }
}

/// An error of the driver, with what to do where its code tells.
pub(crate) fn driver_failure(action: &str, location: impl fmt::Display, cause: Error) -> BrokerError {
    let hint = hint(&cause);
    failure(action, format_args!("{location}{hint}"), Driver(cause))
}

/// A message of ours, as a cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Told(pub(crate) String);

/// An error of the driver in as many words as it needs. It is no source of this one: its own text says the same once more, and has all of the server's answer in it, as bytes.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.kind)]
struct Driver(Error);

/// The code of an error that the server has answered with.
pub(crate) fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(mongodb::error::WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(mongodb::error::WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        ErrorKind::InsertMany(many) => {
            let first = many.write_errors.iter().flatten().next().map(|write| write.code);
            first.or_else(|| many.write_concern_error.as_ref().map(|concern| concern.code))
        }
        _ => None,
    }
}

/// Codes of servers that are stepping down, shutting down or unreachable for the moment, and of cursors that they have dropped meanwhile.
const PASSING: [i32; 17] =
    [6, 7, 43, 89, 91, 112, 134, 189, 237, 262, 358, 9001, 10107, 11600, 11602, 13435, 13436];

/// Whether the same may work in a moment.
pub(crate) fn may_pass(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. } => {
            true
        }
        _ => {
            error.contains_label("TransientTransactionError")
                || error.contains_label("RetryableWriteError")
                || error.contains_label("ResumableChangeStreamError")
                || code(error).is_some_and(|code| PASSING.contains(&code))
        }
    }
}

/// The same of an error of ours.
pub(crate) fn passes(error: &BrokerError) -> bool {
    error.cause.downcast_ref::<Driver>().is_some_and(|Driver(error)| may_pass(error))
}

pub(crate) fn hint(error: &Error) -> &'static str {
    match &*error.kind {
        // What the last attempts have come to stands in the message alone.
        ErrorKind::ServerSelection { message, .. } if message.contains("certificate") => {
            " (its certificate is not trusted: name the file with the certificate of the authority that has signed it by `tlsCAFile` in the URI, and the server as the certificate does)"
        }
        ErrorKind::ServerSelection { .. } => {
            " (check that the server is up and can be reached, that the URI names it rightly, and that it has `tls=true` where the server wants TLS, and only there)"
        }
        ErrorKind::Authentication { .. } => " (check user, password and `authSource` in the URI)",
        ErrorKind::InvalidTlsConfig { .. } => " (check the certificates that the URI names)",
        ErrorKind::DnsResolve { .. } => {
            " (addresses `mongodb+srv://` need the feature `mongodb-srv`, and a name that resolves)"
        }
        _ => match code(error) {
            Some(13) => {
                " (give user and password in the URI, and the user the role `readWrite` on the database)"
            }
            Some(18) => " (check user, password and `authSource` in the URI)",
            Some(50) => " (it took longer than the server allows)",
            Some(11000) => {
                " (another document has this key already: write by `ResultCollection::replace_by` or `upsert_by`, or take the unique index away)"
            }
            Some(251) => {
                " (the transaction was open for longer than the server's `transactionLifetimeLimitSeconds`, or the server has ended it)"
            }
            Some(10334 | 17280) => " (a document is larger than 16 MiB)",
            _ => "",
        },
    }
}
