//! [`SqliteStore`]: streams in one file, for any number of threads and processes.
//!
//! | file | holds |
//! |---|---|
//! | `layout.rs` | the tables, and what is done with files that have others |
//! | `rows.rs` | the rows of a transaction |
//! | `failure.rs` | what SQLite tells, in our words |

mod failure;
mod layout;
mod ranges;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Store, Work};
use crate::error::StreamsError;
use failure::Failures;
use rows::SqliteRows;

/// So long others may keep the file to themselves.
const PATIENCE: Duration = Duration::from_secs(30);

/// The log is copied into the file when it has so many pages, 16 MiB: each time takes two more waits for the disk.
const LOG_PAGES: u32 = 4096;

/// The write-ahead log is cut back to this length when it has grown longer.
const LOG_BYTES: u64 = 64 << 20;

/// Streams in a SQLite file.
///
/// Any number of threads and processes use one file at once, on one machine: SQLite's locks do not work over network file systems. The log of a file (`-wal`) and its
/// index (`-shm`) stand beside it and belong to it.
///
/// ```
/// use watermill_streams::Streams;
/// use watermill_streams::store::SqliteStore;
///
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().join("streams.db");
/// let streams = Streams::on(SqliteStore::open(&path)?);
/// streams.put(&20, "readings")?;
/// // It outlives those who use it.
/// drop(streams);
/// assert_eq!(Streams::on(SqliteStore::open(&path)?).list("*")?, ["readings"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    path: PathBuf,
    failures: Failures,
    /// Writes what must be on disk when it returns.
    durable: Mutex<Connection>,
    /// Writes what may be lost with the power, but not with a process.
    passing: Mutex<Connection>,
    /// What reads, and is not in use.
    readers: Mutex<Vec<Connection>>,
    /// Asks whether others have written.
    watcher: Mutex<Connection>,
    /// How often this process has written.
    written: AtomicU64,
}

impl SqliteStore {
    /// The file at `path`, which is made if there is none.
    ///
    /// # Errors
    /// When it cannot be opened, is something else, is damaged, or has another layout.
    ///
    /// ```
    /// use watermill_streams::StreamsError;
    /// use watermill_streams::store::SqliteStore;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("letter.txt");
    /// std::fs::write(&path, "Dear Ada, this is no database. ".repeat(40))?;
    /// assert!(matches!(SqliteStore::open(&path), Err(StreamsError::Foreign { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StreamsError> {
        Self::open_waiting(path, PATIENCE)
    }

    /// As [`open`](Self::open), and waits for so long, instead of half a minute, when others have locked the file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_streams::store::SqliteStore;
    /// # let directory = tempfile::tempdir()?;
    /// let store = SqliteStore::open_waiting(directory.path().join("streams.db"), Duration::from_secs(2))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_waiting(path: impl AsRef<Path>, patience: Duration) -> Result<Self, StreamsError> {
        let path = path.as_ref().to_owned();
        let failures = Failures { store: path.display().to_string(), patience };
        let open = |synchronous: &str| connect(&path, synchronous, &failures);
        let mut durable = open("FULL")?;
        layout::prepare(&mut durable, &failures)?;
        Ok(Self {
            durable: Mutex::new(durable),
            passing: Mutex::new(open("NORMAL")?),
            readers: Mutex::default(),
            watcher: Mutex::new(open("NORMAL")?),
            written: AtomicU64::new(0),
            failures,
            path,
        })
    }

    fn run(
        &self,
        connection: &mut Connection,
        behavior: TransactionBehavior,
        work: &mut Work<'_>,
    ) -> Result<(), StreamsError> {
        let told = |action: &'static str| move |cause| self.failures.of(action, cause);
        let transaction =
            connection.transaction_with_behavior(behavior).map_err(told("begin a transaction"))?;
        work(&mut SqliteRows { connection: &transaction, failures: &self.failures })?;
        transaction.commit().map_err(told("commit"))
    }
}

impl Store for SqliteStore {
    fn name(&self) -> &str {
        &self.failures.store
    }

    fn write(&self, durable: bool, work: &mut Work<'_>) -> Result<(), StreamsError> {
        let connection = if durable { &self.durable } else { &self.passing };
        let result = self.run(&mut locked(connection), TransactionBehavior::Immediate, work);
        self.written.fetch_add(1, Ordering::Release);
        result
    }

    fn read(&self, work: &mut Work<'_>) -> Result<(), StreamsError> {
        let free = locked(&self.readers).pop();
        let mut connection = match free {
            Some(connection) => connection,
            None => connect(&self.path, "NORMAL", &self.failures)?,
        };
        let result = self.run(&mut connection, TransactionBehavior::Deferred, work);
        locked(&self.readers).push(connection);
        result
    }

    fn version(&self) -> Result<u64, StreamsError> {
        let watcher = locked(&self.watcher);
        let mut asked = watcher
            .prepare_cached("PRAGMA data_version")
            .map_err(|cause| self.failures.of("watch", cause))?;
        let others: i64 =
            asked.query_row([], |row| row.get(0)).map_err(|cause| self.failures.of("watch", cause))?;
        // Of the writes of this process the watcher's number tells as well; with the count they are told at once.
        Ok((others.cast_unsigned() << 32).wrapping_add(self.written.load(Ordering::Acquire)))
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

fn connect(path: &Path, synchronous: &str, failures: &Failures) -> Result<Connection, StreamsError> {
    let told = |cause| failures.of("open it", cause);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags).map_err(told)?;
    connection.busy_timeout(failures.patience).map_err(told)?;
    connection.pragma_update(None, "synchronous", synchronous).map_err(told)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(told)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).map_err(told)?;
    connection.pragma_update(None, "cache_size", -8192).map_err(told)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
