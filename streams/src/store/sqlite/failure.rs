//! What SQLite tells, in our words.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Error, ErrorCode, ffi};

use crate::error::StreamsError;

/// Makes errors of a store.
pub(super) struct Failures {
    /// Its path.
    pub(super) store: String,
    /// For how long it waits for others.
    pub(super) patience: Duration,
}

impl Failures {
    pub(super) fn of(&self, action: &str, cause: Error) -> StreamsError {
        let store = self.store.clone();
        let exact = cause.sqlite_error().map(|error| error.extended_code);
        if exact == Some(ffi::SQLITE_IOERR_SHMSIZE) {
            // The index of the log could not grow.
            return StreamsError::Full { store, cause: Arc::new(cause) };
        }
        if exact == Some(ffi::SQLITE_IOERR_WRITE) {
            let action = format!(
                "{action}, since the file cannot be written: it may be as large as it may become, or the disk fails"
            );
            return StreamsError::storage(&store, &action, cause);
        }
        match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StreamsError::Locked { store, waited: self.patience }
            }
            Some(ErrorCode::DiskFull) => StreamsError::Full { store, cause: Arc::new(cause) },
            Some(ErrorCode::DatabaseCorrupt) => StreamsError::Corrupt { store, cause: Arc::new(cause) },
            Some(ErrorCode::NotADatabase) => StreamsError::Foreign {
                store,
                why: "it is no file of SQLite, or its beginning is damaged".to_owned(),
            },
            _ => StreamsError::storage(&store, action, cause),
        }
    }
}
