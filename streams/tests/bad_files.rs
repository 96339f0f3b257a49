//! Files that are something else, damaged, of another layout, or locked.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::error::Error;
use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use watermill_core::prelude::*;
use watermill_streams::store::SqliteStore;
use watermill_streams::{Streams, StreamsError};

fn file() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("streams.db");
    (directory, path)
}

fn open(path: &std::path::Path) -> Result<Streams, StreamsError> {
    Streams::open(&format!("sqlite:{}", path.display()))
}

#[test]
fn urls_that_name_no_store_are_refused() {
    for url in ["", "streams.db", "sqlite:", "redis:x", "mongodb://localhost", "memory:x"] {
        let error = Streams::open(url).unwrap_err();
        assert!(matches!(error, StreamsError::Url { .. }), "{url}: {error}");
    }
}

#[cfg(not(feature = "mongodb"))]
#[test]
fn a_url_of_mongodb_is_told_which_feature_it_needs() {
    let error = Streams::open("mongodb://localhost/streams").unwrap_err();
    assert!(error.to_string().contains("need the feature `mongodb`"), "{error}");
}

#[test]
fn files_of_others_are_refused_and_not_touched() {
    let (_directory, path) = file();
    for text in ["Dear Ada, this is no database. ".repeat(100), "short".to_owned()] {
        fs::write(&path, &text).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StreamsError::Foreign { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let (_directory, path) = file();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipe (name TEXT)").unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("database of another program"), "{error}");
    let tables: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
    let (directory, _path) = file();
    let error = open(&directory.path().join("no/such/folder.db")).unwrap_err();
    assert!(matches!(error, StreamsError::Storage { .. }) && error.source().is_some(), "{error}");
}

#[test]
fn files_of_an_older_or_newer_layout_are_refused() {
    for layout in [-1, 0, 3, 77] {
        let (_directory, path) = file();
        drop(open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", layout).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StreamsError::Layout { found, known: 2, .. } if found == layout), "{error}");
    }
}

/// The tables as the first versions of this library made them.
const LAYOUT_1: &str = "
    CREATE TABLE stream (
        number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, first INTEGER NOT NULL,
        next INTEGER NOT NULL, closed INTEGER, interval INTEGER NOT NULL, max_age INTEGER
    );
    CREATE TABLE message (place INTEGER PRIMARY KEY, appended INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE subscription (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL,
        next INTEGER NOT NULL, keep INTEGER NOT NULL, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
        expires INTEGER NOT NULL, lease INTEGER NOT NULL, ended INTEGER NOT NULL, processed INTEGER NOT NULL,
        last_read INTEGER, hold INTEGER, UNIQUE (stream, name)
    );
    CREATE TABLE claim (
        number INTEGER PRIMARY KEY, subscription INTEGER NOT NULL, first INTEGER NOT NULL, until INTEGER NOT NULL,
        owner TEXT NOT NULL, epoch INTEGER NOT NULL, expires INTEGER NOT NULL, lease INTEGER NOT NULL
    );
    CREATE INDEX claim_of ON claim (subscription, first);
    CREATE TABLE refused (
        place INTEGER NOT NULL, subscription INTEGER NOT NULL, PRIMARY KEY (place, subscription)
    ) WITHOUT ROWID;
    CREATE TABLE checkpoint (
        name TEXT NOT NULL, lane INTEGER NOT NULL, epoch INTEGER NOT NULL, state TEXT NOT NULL,
        PRIMARY KEY (name, lane)
    ) WITHOUT ROWID;
";

#[test]
fn a_file_of_the_first_layout_is_migrated_with_all_that_is_in_it() {
    let (_directory, path) = file();
    let before = Connection::open(&path).unwrap();
    before.execute_batch(LAYOUT_1).unwrap();
    before
        .execute_batch(
            "PRAGMA application_id = 0x574d5354;
            PRAGMA user_version = 1;
            INSERT INTO stream VALUES (1, 'numbers', 1000, 0, 4, NULL, 10, NULL);
            INSERT INTO message SELECT (1 << 40) | value, 1000, CAST(value AS BLOB) FROM (SELECT 0 AS value UNION SELECT 1 UNION SELECT 2 UNION SELECT 3);
            INSERT INTO subscription VALUES (1, 1, '', 1000, 3, 1, '', 0, 0, 0, 0, 2, NULL, NULL);
            INSERT INTO claim VALUES (1, 1, 2, 3, '', 1, 0, 30000);",
        )
        .unwrap();
    drop(before);
    let numbers = open(&path).unwrap().get("numbers").unwrap();
    assert_eq!((numbers.len().unwrap(), numbers.buffer().unwrap().len()), (2, 4));
    assert!(numbers.windows(0, 9).unwrap().is_empty());
    numbers.close().unwrap();
    let mill = Mill::new(|_: &[Json]| ()).window(Window::count(2));
    assert_eq!(mill.run_blocking(numbers.consumer().keep()).unwrap().calls, 1);
    assert_eq!(numbers.windows(0, 9).unwrap()[0].messages.len(), 2);
    // And once more.
    assert_eq!(open(&path).unwrap().get("numbers").unwrap().windows(0, 9).unwrap().len(), 1);
    let layout: i64 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(layout, 2);
}

#[test]
fn files_that_are_damaged_are_told_of() {
    let (_directory, path) = file();
    let streams = open(&path).unwrap();
    let numbers = streams.get("numbers").unwrap();
    numbers.append_all(&(0..20_000).map(|number| Json(number.into())).collect::<Vec<_>>()).unwrap();
    drop((numbers, streams));
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[4096 * 2..end].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let told = open(&path).and_then(|streams| streams.get("numbers")?.buffer());
    let error = told.unwrap_err();
    assert!(matches!(error, StreamsError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_file_that_others_have_locked_is_waited_for_and_told_of() {
    let (_directory, path) = file();
    drop(open(&path).unwrap());
    let patience = Duration::from_millis(50);
    let streams = Streams::on(SqliteStore::open_waiting(&path, patience).unwrap());
    let numbers = streams.get("numbers").unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = numbers.append(&Json(1.into())).unwrap_err();
    assert!(matches!(error, StreamsError::Locked { waited, .. } if waited == patience), "{error}");
    // Reading needs no lock.
    assert_eq!(numbers.len().unwrap(), 0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(numbers.append(&Json(1.into())).unwrap(), Some(0));
}
