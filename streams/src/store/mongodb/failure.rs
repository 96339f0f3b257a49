//! What the driver tells, in our words.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::error::StreamsError;

/// Makes errors of a store.
#[derive(Debug, Clone)]
pub(super) struct Failures {
    /// Where it is, without user and password.
    pub(super) store: String,
}

impl Failures {
    pub(super) fn of(&self, action: &str, cause: Error) -> StreamsError {
        let action = format!("{action}{}", hint(&cause));
        StreamsError::storage(&self.store, &action, Driver(cause))
    }

    pub(super) fn told(&self, action: &str, cause: &str) -> StreamsError {
        StreamsError::storage(&self.store, action, cause)
    }
}

/// An error of the driver in as many words as it needs; its own text has all of the server's answer in it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.kind)]
struct Driver(#[source] Error);

/// The code of an error that the server has answered with.
pub(super) fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        ErrorKind::InsertMany(many) => {
            let first = many.write_errors.iter().flatten().next().map(|write| write.code);
            first.or_else(|| many.write_concern_error.as_ref().map(|concern| concern.code))
        }
        _ => None,
    }
}

/// What to do, where the error tells.
fn hint(error: &Error) -> &'static str {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } => {
            " (check that the server is up and can be reached, and that the URL names it rightly)"
        }
        ErrorKind::Authentication { .. } => " (check user, password and `authSource` in the URL)",
        ErrorKind::InvalidTlsConfig { .. } => " (check the certificates that the URL names)",
        ErrorKind::DnsResolve { .. } => {
            " (addresses `mongodb+srv://` need the feature `mongodb-srv`, and a name that resolves)"
        }
        _ => match code(error) {
            Some(13) => " (ask for the right to do so)",
            Some(18) => " (check user, password and `authSource` in the URL)",
            Some(121) => " (the collection has a validator that refuses it: change it by `collMod`)",
            Some(10334 | 17280) => " (a document is larger than 16 MiB)",
            Some(14031) => " (the disk of the server is full)",
            _ => "",
        },
    }
}
