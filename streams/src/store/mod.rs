//! The storage contract: rows of a handful of tables, changed in transactions.
//!
//! All that streams promise stands in `ledger/`, above this contract and once for all stores. A store keeps rows, and sees to it that a transaction is
//! seen whole or not at all, one after the other, and is durable when it returns.

pub(crate) mod memory;
#[cfg(feature = "mongodb")]
pub(crate) mod mongodb;
mod row;
pub(crate) mod sqlite;
mod texts;

use std::ops::Range;

use crate::error::StreamsError;

/// Where streams are kept.
///
/// A store is one file beside `memory.rs` and `sqlite.rs`, and passes `streams/tests/stores`. What it has to do for a transaction:
///
/// ```
/// use watermill_streams::StreamsError;
/// use watermill_streams::store::{MemoryStore, Store, StreamRow};
///
/// let store = MemoryStore::new();
/// store.write(true, &mut |rows| {
///     let mut readings = StreamRow::new("readings", 0);
///     rows.put_stream(&mut readings)
/// })?;
/// // What fails leaves nothing.
/// let failed = store.write(true, &mut |rows| {
///     let mut others = StreamRow::new("others", 0);
///     rows.put_stream(&mut others)?;
///     Err(StreamsError::Closed { stream: "others".to_owned() })
/// });
/// assert!(failed.is_err());
/// store.read(&mut |rows| {
///     assert_eq!(rows.streams()?.len(), 1);
///     Ok(())
/// })?;
/// # Ok::<(), StreamsError>(())
/// ```
pub trait Store: Send + Sync + 'static {
    /// What it is called in messages: a path.
    fn name(&self) -> &str;

    /// Has `work` done in one transaction, which nobody sees until it is over, and of which nothing is there when `work` fails. Transactions come one after the other. A `durable` one
    /// is on disk when this returns; another one must still be seen by everybody.
    ///
    /// # Errors
    /// What `work` returns, or what the storage tells.
    fn write(&self, durable: bool, work: &mut Work<'_>) -> Result<(), StreamsError>;

    /// Has `work` read from what is there now, all of it as of the same moment.
    ///
    /// # Errors
    /// What `work` returns, or what the storage tells.
    fn read(&self, work: &mut Work<'_>) -> Result<(), StreamsError>;

    /// A number that is another one when anybody, in this process or elsewhere, may have changed something. Asked often by those who wait.
    ///
    /// # Errors
    /// When the storage fails.
    fn version(&self) -> Result<u64, StreamsError>;

    /// Appends messages without a transaction, where the store gives them their numbers later ([`Rows::add`]) and is faster so: all of each entry or nothing of it, durable when this
    /// returns. For each entry it tells how old messages of its stream may become. `None`, as from most stores, where it is to be done in a transaction.
    fn append(&self, _: i64, _: &[Append<'_>]) -> Option<Vec<Result<Option<u64>, StreamsError>>> {
        None
    }
}

/// Messages for a stream.
///
/// ```
/// use watermill_streams::store::{Append, MemoryStore, Store, Texts};
///
/// let texts = Texts::of([b"20".as_slice()]);
/// let one = Append { stream: 1, name: "readings", texts: &texts };
/// // It appends in transactions.
/// assert!(MemoryStore::new().append(0, &[one]).is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// The number of the stream.
    pub stream: u64,
    /// Its name.
    pub name: &'a str,
    /// The messages.
    pub texts: &'a Texts,
}

/// What is done in a transaction.
///
/// ```
/// use watermill_streams::store::Work;
///
/// let work: &mut Work<'_> = &mut |rows| rows.streams().map(|streams| assert!(streams.is_empty()));
/// # use watermill_streams::store::{MemoryStore, Store};
/// # MemoryStore::new().read(work)?;
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
pub type Work<'a> = dyn FnMut(&mut dyn Rows) -> Result<(), StreamsError> + 'a;

/// The rows of a store, within a transaction.
///
/// Numbers of rows begin with 1; a row with the number 0 is a new one, and is given its number when it is put.
///
/// ```
/// use watermill_streams::store::{MemoryStore, Store, StreamRow, Texts};
///
/// let store = MemoryStore::new();
/// store.write(true, &mut |rows| {
///     let mut stream = StreamRow::new("readings", 0);
///     rows.put_stream(&mut stream)?;
///     rows.append(stream.number, 0, 0, &Texts::of([b"20".as_slice(), b"21"]))?;
///     let mut seen = Vec::new();
///     rows.messages(stream.number, 1..9, &mut |id, _, text| {
///         seen.push((id, text.to_vec()));
///         true
///     })?;
///     assert_eq!(seen, [(1, b"21".to_vec())]);
///     Ok(())
/// })?;
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
pub trait Rows {
    /// All streams, by name.
    fn streams(&mut self) -> Result<Vec<StreamRow>, StreamsError>;
    /// The stream of this name.
    fn stream_named(&mut self, name: &str) -> Result<Option<StreamRow>, StreamsError>;
    /// The stream of this number.
    fn stream(&mut self, number: u64) -> Result<Option<StreamRow>, StreamsError>;
    /// Writes a row, a new one or over the one of its number. Names are unique.
    fn put_stream(&mut self, row: &mut StreamRow) -> Result<(), StreamsError>;
    /// Takes a stream away, with all its messages, subscriptions, claims, marks and windows.
    fn remove_stream(&mut self, number: u64) -> Result<(), StreamsError>;

    /// The subscriptions to a stream.
    fn subscriptions(&mut self, stream: u64) -> Result<Vec<SubscriptionRow>, StreamsError>;
    /// The subscription of this number.
    fn subscription(&mut self, number: u64) -> Result<Option<SubscriptionRow>, StreamsError>;
    /// Writes a row.
    fn put_subscription(&mut self, row: &mut SubscriptionRow) -> Result<(), StreamsError>;
    /// Takes a row away.
    fn remove_subscription(&mut self, number: u64) -> Result<(), StreamsError>;

    /// The claims under a subscription, in the order of their messages.
    fn claims(&mut self, subscription: u64) -> Result<Vec<ClaimRow>, StreamsError>;
    /// Writes a row.
    fn put_claim(&mut self, row: &mut ClaimRow) -> Result<(), StreamsError>;
    /// Takes a row away.
    fn remove_claim(&mut self, number: u64) -> Result<(), StreamsError>;

    /// Writes messages, the first of them under the number `first`, each under the one after that.
    fn append(&mut self, stream: u64, first: u64, at: i64, texts: &Texts) -> Result<(), StreamsError>;
    /// Writes messages that are given their numbers later, by [`number`](Self::number). Says `false`, and does nothing, where messages have numbers from the beginning, as in most
    /// stores; then there is never one without, and what follows has nothing to do.
    fn add(&mut self, _stream: u64, _at: i64, _texts: &Texts) -> Result<bool, StreamsError> {
        Ok(false)
    }
    /// Gives numbers to messages that have none, to so many at most, in their order, and puts the row. Returns how many that are.
    fn number(&mut self, _stream: &mut StreamRow, _most: u64) -> Result<u64, StreamsError> {
        Ok(0)
    }
    /// How many messages have no numbers yet; they are counted up to `most`.
    fn unnumbered(&mut self, _stream: u64, _most: u64) -> Result<u64, StreamsError> {
        Ok(0)
    }
    /// Shows the messages that have no numbers yet, with those that they would be given now.
    fn ahead(&mut self, _stream: u64, _each: &mut EachMessage<'_>) -> Result<(), StreamsError> {
        Ok(())
    }
    /// Takes away messages that have no numbers yet and came before this time. Returns how many there were.
    fn remove_unnumbered(&mut self, _stream: u64, _before: i64) -> Result<u64, StreamsError> {
        Ok(0)
    }
    /// Whether all that was appended to a stream before it was closed can be seen by now.
    fn is_settled(&mut self, _stream: &StreamRow) -> bool {
        true
    }
    /// Shows the messages of a range in their order, with number, time and text, until `each` says no.
    fn messages(
        &mut self,
        stream: u64,
        range: Range<u64>,
        each: &mut EachMessage<'_>,
    ) -> Result<(), StreamsError>;
    /// Takes the messages of a range away. What was taken before costs nothing.
    fn remove_messages(&mut self, stream: u64, range: Range<u64>) -> Result<(), StreamsError>;

    /// The messages of a range that were left out as no subscriber could read them, with the subscription that did so; in order.
    fn refused(&mut self, stream: u64, range: Range<u64>) -> Result<Vec<(u64, u64)>, StreamsError>;
    /// Marks a message as left out.
    fn refuse(&mut self, stream: u64, message: u64, subscription: u64) -> Result<(), StreamsError>;
    /// Takes such marks away, of all messages of a range.
    fn forgive(&mut self, stream: u64, range: Range<u64>) -> Result<(), StreamsError>;

    /// Writes a new window, which is given its number: one above all that were there before.
    fn put_window(&mut self, row: &mut WindowRow) -> Result<(), StreamsError>;
    /// Shows the windows of a stream in their order, from this number on, until `each` says no.
    fn windows(&mut self, stream: u64, from: u64, each: &mut EachWindow<'_>) -> Result<(), StreamsError>;
    /// Takes the windows away whose messages all stand before this one. Returns how many there were.
    fn remove_windows(&mut self, stream: u64, before: u64) -> Result<u64, StreamsError>;

    /// What the last commit of a lane recorded.
    fn checkpoint(&mut self, name: &str, lane: u32) -> Result<Option<CheckpointRow>, StreamsError>;
    /// Writes a row, a new one or over the one of its name and lane.
    fn put_checkpoint(&mut self, row: &CheckpointRow) -> Result<(), StreamsError>;
    /// Takes the rows of all lanes away.
    fn remove_checkpoints(&mut self, name: &str) -> Result<(), StreamsError>;
}

/// What is shown of a message: number, time, text. Says whether more is wanted.
///
/// ```
/// use watermill_streams::store::EachMessage;
///
/// let mut bytes = 0;
/// let sum: &mut EachMessage<'_> = &mut |_, _, text| {
///     bytes += text.len();
///     true
/// };
/// assert!(sum(0, 0, b"20"));
/// ```
pub type EachMessage<'a> = dyn FnMut(u64, i64, &[u8]) -> bool + 'a;

/// What is shown of windows. Says whether more are wanted.
///
/// ```
/// use watermill_streams::store::{EachWindow, WindowRow};
///
/// let mut count = 0;
/// let all: &mut EachWindow<'_> = &mut |_| {
///     count += 1;
///     true
/// };
/// assert!(all(&WindowRow::default()));
/// ```
pub type EachWindow<'a> = dyn FnMut(&WindowRow) -> bool + 'a;

pub use memory::MemoryStore;
#[cfg(feature = "mongodb")]
pub use mongodb::MongoStore;
pub use row::{CheckpointRow, ClaimRow, StreamRow, SubscriptionRow, WindowRow};
pub use sqlite::SqliteStore;
pub use texts::Texts;

/// Has `work` done in a transaction, and returns what it does.
pub(crate) fn writing<T>(
    store: &dyn Store,
    durable: bool,
    mut work: impl FnMut(&mut dyn Rows) -> Result<T, StreamsError>,
) -> Result<T, StreamsError> {
    let mut result = None;
    store.write(durable, &mut |rows| {
        result = Some(work(rows)?);
        Ok(())
    })?;
    result.ok_or_else(|| undone(store))
}

/// Has `work` read, and returns what it does.
pub(crate) fn reading<T>(
    store: &dyn Store,
    mut work: impl FnMut(&mut dyn Rows) -> Result<T, StreamsError>,
) -> Result<T, StreamsError> {
    let mut result = None;
    store.read(&mut |rows| {
        result = Some(work(rows)?);
        Ok(())
    })?;
    result.ok_or_else(|| undone(store))
}

#[cold]
fn undone(store: &dyn Store) -> StreamsError {
    StreamsError::storage(store.name(), "work", "the store has not done what it was asked to")
}
