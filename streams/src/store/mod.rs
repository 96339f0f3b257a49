//! The storage contract: rows of a handful of tables, changed in transactions.
//!
//! All that streams promise stands in `ledger/`, above this contract and once for all stores. A store keeps rows, and sees to it that a transaction is
//! seen whole or not at all, one after the other, and is durable when it returns.

pub(crate) mod memory;
#[cfg(feature = "mongodb")]
pub(crate) mod mongodb;
pub(crate) mod sqlite;

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
    /// Takes a stream away, with all its messages, subscriptions, claims and marks.
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

/// A stream. Times are milliseconds since the Unix epoch.
///
/// ```
/// use watermill_streams::store::StreamRow;
///
/// let stream = StreamRow::new("readings", 1_700_000_000_000);
/// assert!(stream.number == 0 && stream.closed.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamRow {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: i64,
    /// No message below this one is there, but for such that were left out.
    pub first: u64,
    /// The number of the next message.
    pub next: u64,
    /// When it was closed.
    pub closed: Option<i64>,
    /// How often consumers look whether other processes have appended, in milliseconds.
    pub interval: u64,
    /// How old messages become, in milliseconds.
    pub max_age: Option<u64>,
}

impl StreamRow {
    /// A new one.
    ///
    /// ```
    /// # use watermill_streams::store::StreamRow;
    /// assert_eq!(StreamRow::new("readings", 0).next, 0);
    /// ```
    #[must_use]
    pub fn new(name: &str, created: i64) -> Self {
        Self { name: name.to_owned(), created, interval: 10, ..Self::default() }
    }
}

/// A subscription: who has seen what of a stream. Unfinished are its claims, and all from `next` on.
///
/// ```
/// use watermill_streams::store::SubscriptionRow;
///
/// assert_eq!(SubscriptionRow::default().owner, "");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionRow {
    /// Its number.
    pub number: u64,
    /// Which stream.
    pub stream: u64,
    /// Its name; that of the consumers that share the stream is empty.
    pub name: String,
    /// When it was made.
    pub created: i64,
    /// The first message that was never claimed.
    pub next: u64,
    /// Messages stay when they are done with.
    pub keep: bool,
    /// Who has the whole of it; empty for nobody.
    pub owner: String,
    /// How often the whole of it has changed hands.
    pub epoch: u64,
    /// Until when the owner has it.
    pub expires: i64,
    /// For how long owners have it when they renew it, in milliseconds.
    pub lease: u64,
    /// All of the stream is done with, and it was closed.
    pub ended: bool,
    /// How many messages were done with.
    pub processed: u64,
    /// When the last ones were.
    pub last_read: Option<i64>,
    /// From this message on all stay, though they are done with: what comes next is compared with it.
    pub hold: Option<u64>,
}

/// Messages that one consumer has, or that were given back.
///
/// ```
/// use watermill_streams::store::ClaimRow;
///
/// let given_back = ClaimRow { first: 10, until: 20, ..ClaimRow::default() };
/// assert_eq!(given_back.owner, "");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimRow {
    /// Its number.
    pub number: u64,
    /// Under which subscription.
    pub subscription: u64,
    /// The first message.
    pub first: u64,
    /// The one behind the last.
    pub until: u64,
    /// Who has them; empty for nobody.
    pub owner: String,
    /// How often they have changed hands.
    pub epoch: u64,
    /// Until when the owner has them.
    pub expires: i64,
    /// For how long owners have them when they renew the claim, in milliseconds.
    pub lease: u64,
}

/// Where the inputs of a lane stand.
///
/// ```
/// use watermill_streams::store::CheckpointRow;
///
/// let new = CheckpointRow { name: "speeds".to_owned(), ..CheckpointRow::default() };
/// assert_eq!((new.lane, new.epoch), (0, 0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointRow {
    /// Of which mill.
    pub name: String,
    /// Of which lane.
    pub lane: u32,
    /// How often the lane has changed hands.
    pub epoch: u64,
    /// What is recorded; empty before the first commit.
    pub state: String,
}

/// Texts of messages, one behind the other in one buffer.
///
/// ```
/// use watermill_streams::store::Texts;
///
/// let mut texts = Texts::default();
/// texts.bytes.extend_from_slice(b"20");
/// texts.end();
/// assert_eq!(texts.iter().collect::<Vec<_>>(), [b"20"]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// All bytes.
    pub bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// These texts.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// assert_eq!(Texts::of([b"20".as_slice(), b"21"]).len(), 2);
    /// ```
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.bytes.extend_from_slice(text);
            all.end();
        }
        all
    }

    /// What was written to `bytes` since the last text is another one.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// let mut texts = Texts::default();
    /// texts.end();
    /// assert_eq!(texts.iter().next(), Some(&b""[..]));
    /// ```
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// How many there are.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// assert_eq!(Texts::default().len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// assert!(Texts::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Each of them.
    ///
    /// ```
    /// # use watermill_streams::store::Texts;
    /// let texts = Texts::of([b"20".as_slice(), b"", b"21"]);
    /// assert_eq!(texts.iter().map(<[u8]>::len).collect::<Vec<_>>(), [2, 0, 2]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let text = self.bytes.get(from..*end).unwrap_or_default();
            from = *end;
            text
        })
    }

    /// Forgets what was written to `bytes` since the last text.
    pub(crate) fn undo(&mut self) {
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

pub use memory::MemoryStore;
#[cfg(feature = "mongodb")]
pub use mongodb::MongoStore;
pub use sqlite::SqliteStore;

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
