//! The tables of a file, and what is done with files that have others.

use rusqlite::{Connection, TransactionBehavior};

use super::failure::Failures;
use crate::error::StreamsError;

/// Says in the header of a file whose it is: `WMST`.
const APPLICATION: i64 = 0x574d_5354;

/// The layout that this version writes.
const LAYOUT: i64 = 2;

/// What makes of a layout the one after it: the first step is that from layout 1.
const STEPS: [&str; 1] = ["ALTER TABLE subscription ADD COLUMN emitted INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE claim ADD COLUMN emitted INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE window (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, subscription INTEGER NOT NULL,
        created INTEGER NOT NULL, until INTEGER NOT NULL, messages TEXT NOT NULL
    );
    CREATE INDEX window_of ON window (stream, until);"];

/// A message stands under one number that is made of those of its stream and its own. So the messages of a stream stand side by side in the table, in their order, without an index:
/// appending, reading on and deleting are each one walk along it, however many others there are. Nothing is written to a message when it is claimed or
/// done with: claims are ranges, and few. Numbers of streams never come again, since somebody may still hold one of a stream that was dropped.
const TABLES: &str = "
    CREATE TABLE stream (
        number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, first INTEGER NOT NULL,
        next INTEGER NOT NULL, closed INTEGER, interval INTEGER NOT NULL, max_age INTEGER
    );
    CREATE TABLE message (place INTEGER PRIMARY KEY, appended INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE subscription (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL,
        next INTEGER NOT NULL, keep INTEGER NOT NULL, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
        expires INTEGER NOT NULL, lease INTEGER NOT NULL, ended INTEGER NOT NULL, processed INTEGER NOT NULL,
        last_read INTEGER, hold INTEGER, emitted INTEGER NOT NULL DEFAULT 0, UNIQUE (stream, name)
    );
    CREATE TABLE claim (
        number INTEGER PRIMARY KEY, subscription INTEGER NOT NULL, first INTEGER NOT NULL, until INTEGER NOT NULL,
        owner TEXT NOT NULL, epoch INTEGER NOT NULL, expires INTEGER NOT NULL, lease INTEGER NOT NULL,
        emitted INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX claim_of ON claim (subscription, first);
    CREATE TABLE refused (
        place INTEGER NOT NULL, subscription INTEGER NOT NULL, PRIMARY KEY (place, subscription)
    ) WITHOUT ROWID;
    CREATE TABLE checkpoint (
        name TEXT NOT NULL, lane INTEGER NOT NULL, epoch INTEGER NOT NULL, state TEXT NOT NULL,
        PRIMARY KEY (name, lane)
    ) WITHOUT ROWID;
    CREATE TABLE window (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, subscription INTEGER NOT NULL,
        created INTEGER NOT NULL, until INTEGER NOT NULL, messages TEXT NOT NULL
    );
    CREATE INDEX window_of ON window (stream, until);
";

/// What is in a file.
enum Found {
    Nothing,
    /// The tables of this layout, which this version knows.
    Tables(i64),
}

/// Makes sure that the file has the tables.
pub(super) fn prepare(connection: &mut Connection, failures: &Failures) -> Result<(), StreamsError> {
    let told = |cause| failures.of("open it", cause);
    let found = look(connection, failures)?;
    // Files that were copied may have lost it.
    log_ahead(connection, failures)?;
    if let Found::Tables(LAYOUT) = found {
        return Ok(());
    }
    let made = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(told)?;
    // Another process may have been faster.
    match look(&made, failures)? {
        Found::Nothing => {
            made.execute_batch(TABLES).map_err(told)?;
            made.pragma_update(None, "application_id", APPLICATION).map_err(told)?;
        }
        Found::Tables(layout) => {
            let done = usize::try_from(layout - 1).unwrap_or(usize::MAX);
            for step in STEPS.iter().skip(done) {
                made.execute_batch(step).map_err(told)?;
            }
        }
    }
    made.pragma_update(None, "user_version", LAYOUT).map_err(told)?;
    made.commit().map_err(told)
}

fn look(connection: &Connection, failures: &Failures) -> Result<Found, StreamsError> {
    let told = |cause| failures.of("open it", cause);
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(told)?;
    let found = number("user_version").map_err(told)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(told)?;
    let foreign = |why: &str| StreamsError::Foreign { store: failures.store.clone(), why: why.to_owned() };
    match (application, tables) {
        (APPLICATION, _) if (1..=LAYOUT).contains(&found) => Ok(Found::Tables(found)),
        (APPLICATION, _) => Err(StreamsError::Layout { store: failures.store.clone(), found, known: LAYOUT }),
        (0, 0) if found == 0 => Ok(Found::Nothing),
        _ => Err(foreign("it is a database of another program")),
    }
}

fn log_ahead(connection: &Connection, failures: &Failures) -> Result<(), StreamsError> {
    let told = |cause| failures.of("open it", cause);
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(told)?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let cause = format!(
        "SQLite keeps no write-ahead log there, but a journal of the kind `{mode}`; put the file on a local disk"
    );
    Err(StreamsError::storage(&failures.store, "open it", cause))
}
