//! [`Streams`]: a store of named streams.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use watermill_core::clock::{Clock, SystemClock};
use watermill_core::record::Json;

use crate::append_queue::{AppendQueue, Request};
use crate::error::StreamsError;
use crate::hub::Hub;
use crate::info::StreamInfo;
use crate::store::{MemoryStore, SqliteStore, Store, Texts, reading, writing};
use crate::stream::Stream;
use crate::{ledger, name};

/// A store of named streams. Clones are the same store.
///
/// ```
/// use watermill_streams::Streams;
///
/// let streams = Streams::open("memory:")?;
/// streams.put(&serde_json::json!({"celsius": 20}), "readings")?;
/// assert_eq!(streams.list("read*")?, ["readings"]);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
#[derive(Clone)]
pub struct Streams {
    inner: Arc<Inner>,
}

/// What all handles of a store share.
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hub: Hub,
    pub(crate) queue: AppendQueue,
}

impl Inner {
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        milliseconds(self.clock.now())
    }

    pub(crate) fn missing(&self, stream: &str) -> StreamsError {
        StreamsError::Missing { store: self.store.name().to_owned(), stream: stream.to_owned() }
    }

    /// Writes, and wakes those who wait.
    pub(crate) fn writing<T>(
        &self,
        work: impl FnMut(&mut dyn crate::store::Rows) -> Result<T, StreamsError>,
    ) -> Result<T, StreamsError> {
        let done = writing(&*self.store, true, work);
        self.hub.tell();
        done
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

pub(crate) fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn time(milliseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds.max(0).cast_unsigned())
}

impl Streams {
    /// The streams at `url`: `sqlite:` and the path of a file, which is made if there is none, `memory:` for streams that end with the process, or with
    /// the feature `mongodb` a database of MongoDB, `mongodb://host/database`, which Python's minibatch may share.
    ///
    /// # Errors
    /// When the URL is of another kind, or the file cannot be opened, is something else, is damaged, or has a layout of another version.
    ///
    /// ```
    /// use watermill_streams::Streams;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let file = directory.path().join("watermill.db");
    /// let streams = Streams::open(&format!("sqlite:{}", file.display()))?;
    /// streams.put(&20, "readings")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(url: &str) -> Result<Self, StreamsError> {
        let refuse = |why: &str| Err(StreamsError::Url { url: url.to_owned(), why: why.to_owned() });
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::on(MemoryStore::new())),
            Some(("memory", _)) => refuse("nothing follows `memory:`"),
            Some(("sqlite", "")) => refuse("the path of the file is missing"),
            Some(("sqlite", path)) => Ok(Self::on(SqliteStore::open(path)?)),
            #[cfg(feature = "mongodb")]
            Some(("mongodb" | "mongodb+srv", _)) => Ok(Self::on(crate::store::MongoStore::open(url)?)),
            #[cfg(not(feature = "mongodb"))]
            Some(("mongodb" | "mongodb+srv", _)) => {
                refuse("streams in MongoDB need the feature `mongodb` of watermill")
            }
            Some((scheme, _)) => refuse(&format!("there is no store `{scheme}`")),
            None => refuse("it does not say what kind of store it is"),
        }
    }

    /// The streams in a store of your own.
    ///
    /// ```
    /// use watermill_streams::Streams;
    /// use watermill_streams::store::MemoryStore;
    ///
    /// assert!(Streams::on(MemoryStore::new()).list("*")?.is_empty());
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    #[must_use]
    pub fn on(store: impl Store) -> Self {
        Self::with(Arc::new(store), Arc::new(SystemClock::new()))
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    fn with(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::new(Inner { store, clock, hub: Hub::default(), queue: AppendQueue::default() }) }
    }

    /// The same streams under another clock, by which messages get their time, grow old, and leases expire.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use watermill_core::clock::ManualClock;
    /// use watermill_streams::Streams;
    ///
    /// let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(60));
    /// let streams = Streams::open("memory:")?.clock(clock.clone());
    /// let readings = streams.get("readings")?;
    /// readings.max_age(Some(Duration::from_secs(60)))?;
    /// streams.put(&20, "readings")?;
    /// clock.advance(Duration::from_secs(61));
    /// assert_eq!((streams.housekeep()?, readings.len()?), (1, 0));
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self::with(Arc::clone(&self.inner.store), Arc::new(clock))
    }

    /// The stream `name`, of messages of type `T`. It is made if there is none.
    ///
    /// # Errors
    /// When it cannot be called that, or the store fails.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use watermill_derive::StreamRecord;
    /// # use watermill_streams::Streams;
    /// #[derive(Serialize, Deserialize, StreamRecord)]
    /// # #[watermill(crate = watermill_core)]
    /// struct Reading { celsius: f64 }
    ///
    /// let streams = Streams::open("memory:")?;
    /// let readings = streams.stream::<Reading>("readings")?;
    /// readings.append(&Reading { celsius: 20.0 })?;
    /// assert_eq!(readings.len()?, 1);
    /// assert!(streams.stream::<Reading>("").is_err());
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn stream<T>(&self, name: &str) -> Result<Stream<T>, StreamsError> {
        name::check(name, "stream")?;
        // Most often it is there, and nothing is written.
        let found = reading(&*self.inner.store, |rows| rows.stream_named(name))?;
        let number = match found {
            Some(stream) => stream.number,
            None => {
                let now = self.inner.now();
                self.inner.writing(|rows| ledger::stream(rows, name, now))?.number
            }
        };
        Ok(Stream::new(Arc::clone(&self.inner), number, name))
    }

    /// The stream `name`, of messages of any shape.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// use serde_json::json;
    /// use watermill_core::record::Json;
    ///
    /// let events = Streams::open("memory:")?.get("events")?;
    /// events.append(&Json(json!({"door": "open"})))?;
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn get(&self, name: &str) -> Result<Stream<Json>, StreamsError> {
        self.stream(name)
    }

    /// The names of all streams that fit `pattern`, where `*` stands for any text and `?` for any character.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// for name in ["room-1", "room-2", "door"] {
    ///     streams.get(name)?;
    /// }
    /// assert_eq!(streams.list("room-?")?, ["room-1", "room-2"]);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn list(&self, pattern: &str) -> Result<Vec<String>, StreamsError> {
        let all = reading(&*self.inner.store, |rows| rows.streams())?;
        Ok(all.into_iter().map(|stream| stream.name).filter(|name| name::fits(name, pattern)).collect())
    }

    /// What there is to know of a stream, without making it.
    ///
    /// # Errors
    /// When there is none of that name, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::{Streams, StreamsError};
    /// let streams = Streams::open("memory:")?;
    /// assert!(matches!(streams.metadata("readings"), Err(StreamsError::Missing { .. })));
    /// streams.put(&20, "readings")?;
    /// assert_eq!(streams.metadata("readings")?.waiting, 1);
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn metadata(&self, name: &str) -> Result<StreamInfo, StreamsError> {
        let now = self.inner.now();
        let found = reading(&*self.inner.store, |rows| match rows.stream_named(name)? {
            Some(stream) => StreamInfo::of(rows, &stream, now).map(Some),
            None => Ok(None),
        })?;
        found.ok_or_else(|| self.inner.missing(name))
    }

    /// What there is to know of all streams without looking at their messages.
    #[cfg(feature = "app")]
    pub(crate) fn overview(&self) -> Result<Vec<StreamInfo>, StreamsError> {
        let now = self.inner.now();
        reading(&*self.inner.store, |rows| {
            let streams = rows.streams()?;
            streams.iter().map(|stream| StreamInfo::without_messages(rows, stream, now)).collect()
        })
    }

    /// Appends a value to the stream `name`, which is made if there is none. It is durable when this returns.
    ///
    /// A [`Stream`] that is kept spares the look for its name.
    ///
    /// # Errors
    /// When the value cannot be written as JSON, the stream is closed or cannot be called that, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&serde_json::json!({"celsius": 20}), "readings")?;
    /// assert_eq!(streams.get("readings")?.len()?, 1);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn put<T: Serialize>(&self, value: &T, name: &str) -> Result<(), StreamsError> {
        let stream = self.stream::<T>(name)?;
        let mut texts = Texts::default();
        encode(value, name, &mut texts)?;
        let request = Request { stream: stream.number(), name: Arc::from(name), texts: texts.into() };
        self.inner.queue.append(&self.inner, request).map(drop)
    }

    /// Drops a stream with all its messages and subscriptions. Says whether there was one.
    ///
    /// Who still has it in hand is told that it is missing.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&20, "readings")?;
    /// assert!(streams.drop_stream("readings")?);
    /// assert!(!streams.drop_stream("readings")?);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn drop_stream(&self, name: &str) -> Result<bool, StreamsError> {
        self.inner.writing(|rows| match rows.stream_named(name)? {
            Some(stream) => ledger::drop(rows, &stream).map(|()| true),
            None => Ok(false),
        })
    }

    /// Removes messages that are older than their streams let them become: see [`Stream::max_age`]. Appending does so now and then by itself. Returns how many there were.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// assert_eq!(Streams::open("memory:")?.housekeep()?, 0);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn housekeep(&self) -> Result<u64, StreamsError> {
        let now = self.inner.now();
        self.inner.writing(|rows| {
            let mut count = 0;
            for mut stream in rows.streams()? {
                count += ledger::sweep::old(rows, &mut stream, now)?;
            }
            Ok(count)
        })
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Streams").field(&self.inner.store.name()).finish()
    }
}

/// Writes a value as the next text.
pub(crate) fn encode<T: Serialize>(value: &T, stream: &str, texts: &mut Texts) -> Result<(), StreamsError> {
    match serde_json::to_writer(&mut texts.bytes, value) {
        Ok(()) => {
            texts.end();
            Ok(())
        }
        Err(cause) => {
            texts.undo();
            Err(StreamsError::Encode { stream: stream.to_owned(), cause: Arc::new(cause) })
        }
    }
}
