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
        // Each time: one that somebody has removed would be missed by all.
        Ok(VERSION) => indexes(driver),
        Ok(found) => {
            Err(StreamsError::Layout { store: driver.failures.store.clone(), found, known: VERSION })
        }
        Err(_) => Err(StreamsError::Foreign {
            store: driver.failures.store.clone(),
            why: format!("its collection `{LAYOUT}` was not written by watermill"),
        }),
    }
}

/// The indexes that are used here, and with them the collections, which transactions would have to make otherwise. minibatch makes those that it declares besides, at
/// its first access: each of them makes appends slower, so they are not made where it is not.
#[allow(deprecated, reason = "servers ignore `background`, but compare it with what minibatch asks for")]
fn indexes(driver: &Driver) -> Result<(), StreamsError> {
    // Just as minibatch asks for it: the same one with other options would be an error to whoever comes second.
    let unique = IndexOptions::builder().background(false).unique(true).build();
    let expires = IndexOptions::builder().expire_after(FORGOTTEN).build();
    // What waits, in its order. What was processed is not in it, so it costs nothing, however much is kept.
    let waiting = IndexOptions::builder().partial_filter_expression(doc! { "processed": false }).build();
    let all: [(&str, Document, Option<IndexOptions>); 8] = [
        (STREAM, doc! { "name": 1 }, Some(unique)),
        (BUFFER, doc! { "stream": 1, "_id": 1 }, Some(waiting)),
        (WINDOW, doc! { "stream": 1, "watermill.number": 1 }, None),
        (LEDGERS, doc! { "name": 1 }, None),
        (SEGMENTS, doc! { "stream": 1, "until": 1 }, None),
        (REFUSED, doc! { "stream": 1, "message": 1 }, None),
        (CHECKPOINTS, doc! { "name": 1 }, None),
        (WRITERS, doc! { "seen": 1 }, Some(expires)),
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
