//! The collections, their indexes, and what is done with databases that have others.

use bson::{Document, doc};
use mongodb::IndexModel;
use mongodb::options::IndexOptions;
use std::time::Duration;

use super::driver::{Driver, wait};
use super::failure::code;
use crate::error::StreamsError;

/// The streams, as minibatch has them.
pub(super) const STREAM: &str = "stream";
/// The messages, as minibatch has them.
pub(super) const BUFFER: &str = "buffer";
/// The windows, as minibatch has them.
pub(super) const WINDOW: &str = "window";
/// For each stream what its consumers have: one document.
pub(super) const LEDGERS: &str = "watermill_streams";
/// Which messages have which numbers.
pub(super) const SEGMENTS: &str = "watermill_segments";
/// Messages that were left out.
pub(super) const REFUSED: &str = "watermill_refused";
/// Where mills stand.
pub(super) const CHECKPOINTS: &str = "watermill_checkpoints";
/// Who writes.
pub(super) const WRITERS: &str = "watermill_writers";
/// The layout, and the number of the last stream.
pub(super) const LAYOUT: &str = "watermill_layout";

/// The layout that this version writes. One that is older is migrated by a step in [`prepare`]; there is none yet.
const VERSION: i64 = 1;

/// What a writer leaves behind is removed after this time.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Makes sure that the database has the collections.
pub(super) fn prepare(driver: &Driver) -> Result<(), StreamsError> {
    let told = |cause| driver.failures.of("open it", cause);
    let layout = driver.collection(LAYOUT);
    let find = || wait(async { layout.find_one(doc! { "_id": "layout" }).await });
    let found = match find().map_err(told)? {
        Some(found) => found,
        None => {
            indexes(driver)?;
            let new = doc! { "_id": "layout", "version": VERSION, "last": 0_i64 };
            // Another process may be faster.
            if let Err(error) = wait(async { layout.insert_one(&new).await })
                && code(&error) != Some(11000)
            {
                return Err(told(error));
            }
            find().map_err(told)?.unwrap_or(new)
        }
    };
    match found.get_i64("version").or_else(|_| found.get_i32("version").map(i64::from)) {
        Ok(VERSION) => Ok(()),
        Ok(found) => {
            Err(StreamsError::Layout { store: driver.failures.store.clone(), found, known: VERSION })
        }
        Err(_) => Err(StreamsError::Foreign {
            store: driver.failures.store.clone(),
            why: format!("its collection `{LAYOUT}` was not written by watermill"),
        }),
    }
}

/// Indexes as minibatch declares them, and our own. With them come the collections, which transactions would have to make otherwise.
#[allow(deprecated, reason = "servers ignore `background`, but compare it with what minibatch asks for")]
fn indexes(driver: &Driver) -> Result<(), StreamsError> {
    // Just as minibatch asks for them: the same one with other options would be an error to whoever comes second.
    let theirs = || Some(IndexOptions::builder().background(false).build());
    let unique = || Some(IndexOptions::builder().background(false).unique(true).build());
    let expires = || Some(IndexOptions::builder().expire_after(FORGOTTEN).build());
    let all: [(&str, Document, Option<IndexOptions>); 13] = [
        (STREAM, doc! { "created": 1 }, theirs()),
        (STREAM, doc! { "name": 1 }, unique()),
        (BUFFER, doc! { "created": 1 }, theirs()),
        (BUFFER, doc! { "stream": 1 }, theirs()),
        // What waits, in its order, however much else there is.
        (BUFFER, doc! { "stream": 1, "processed": 1, "_id": 1 }, None),
        (WINDOW, doc! { "created": 1 }, theirs()),
        (WINDOW, doc! { "stream": 1 }, theirs()),
        (WINDOW, doc! { "stream": 1, "watermill.number": 1 }, None),
        (LEDGERS, doc! { "name": 1 }, None),
        (SEGMENTS, doc! { "stream": 1, "until": 1 }, None),
        (REFUSED, doc! { "stream": 1, "message": 1 }, None),
        (CHECKPOINTS, doc! { "name": 1 }, None),
        (WRITERS, doc! { "seen": 1 }, expires()),
    ];
    for (collection, keys, options) in all {
        let index = IndexModel::builder().keys(keys).options(options).build();
        let made = wait(async { driver.collection(collection).create_index(index).await });
        if let Err(error) = made {
            let action = format!("make an index of collection `{collection}`");
            return Err(driver.failures.of(&action, error));
        }
    }
    Ok(())
}
