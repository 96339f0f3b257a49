//! [`Stream`]: a named stream in hand.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use watermill_core::clock::Clock;

use crate::append_queue::Request;
use crate::appender::Appender;
use crate::error::StreamsError;
use crate::store::{Rows, StreamRow, Texts, reading};
use crate::streams::{Inner, encode};
use crate::{ledger, name};

/// A named stream of messages of type `T`, which are kept as JSON. From [`Streams::stream`](crate::Streams::stream) and [`Streams::get`](crate::Streams::get).
///
/// Clones are the same stream; any number of threads use one at once. A mill runs over it as over any broker: see [`Consumer`](crate::Consumer).
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use watermill_derive::StreamRecord;
/// use watermill_core::prelude::*;
/// use watermill_streams::Streams;
///
/// #[derive(Serialize, Deserialize, StreamRecord)]
/// # #[watermill(crate = watermill_core)]
/// struct Reading { celsius: f64 }
///
/// let readings = Streams::open("memory:")?.stream::<Reading>("readings")?;
/// readings.append_all(&[Reading { celsius: 20.0 }, Reading { celsius: 21.0 }])?;
/// readings.close()?;
/// assert_eq!(Mill::new(|_: &Reading| ()).run_blocking(readings.clone())?.calls, 2);
/// // What was consumed is gone.
/// assert!(readings.is_empty()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stream<T> {
    inner: Arc<Inner>,
    number: u64,
    name: Arc<str>,
    message: PhantomData<fn() -> T>,
}

impl<T> Clone for Stream<T> {
    fn clone(&self) -> Self {
        let (inner, name) = (Arc::clone(&self.inner), Arc::clone(&self.name));
        Self { inner, number: self.number, name, message: PhantomData }
    }
}

impl<T> std::fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.name).finish()
    }
}

impl<T> Stream<T> {
    pub(crate) fn new(inner: Arc<Inner>, number: u64, name: &str) -> Self {
        Self { inner, number, name: Arc::from(name), message: PhantomData }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Its name.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// assert_eq!(Streams::open("memory:")?.get("readings")?.name(), "readings");
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn request(&self, texts: impl Into<Arc<Texts>>) -> Request {
        let texts = texts.into();
        Request { stream: self.number, name: Arc::clone(&self.name), texts }
    }

    pub(crate) fn append_texts(&self, texts: impl Into<Arc<Texts>>) -> Result<(), StreamsError> {
        self.inner.queue.append(&self.inner, self.request(texts)).map(drop)
    }

    /// Looks at the rows of the stream.
    pub(crate) fn look<U>(
        &self,
        mut at: impl FnMut(&mut dyn Rows, &StreamRow) -> Result<U, StreamsError>,
    ) -> Result<U, StreamsError> {
        reading(&*self.inner.store, |rows| match rows.stream(self.number)? {
            Some(stream) => at(rows, &stream),
            None => Err(self.inner.missing(&self.name)),
        })
    }

    /// Changes the rows of the stream.
    fn change<U>(
        &self,
        mut how: impl FnMut(&mut dyn Rows, &mut StreamRow) -> Result<U, StreamsError>,
    ) -> Result<U, StreamsError> {
        self.inner.writing(|rows| match rows.stream(self.number)? {
            Some(mut stream) => how(rows, &mut stream),
            None => Err(self.inner.missing(&self.name)),
        })
    }

    /// Removes all messages, whoever has them: a consumer that is at work on some commits nothing of them.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&20, "readings")?;
    /// let readings = streams.get("readings")?;
    /// readings.clear()?;
    /// assert!(readings.buffer()?.is_empty());
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn clear(&self) -> Result<(), StreamsError> {
        self.change(ledger::clear)
    }

    /// No more messages come: that is EndOfStream to those who consume it, as soon as they are done with what is there.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::{Streams, StreamsError};
    /// let readings = Streams::open("memory:")?.get("readings")?;
    /// readings.close()?;
    /// assert!(matches!(readings.append(&Json(20.into())), Err(StreamsError::Closed { .. })));
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn close(&self) -> Result<(), StreamsError> {
        let now = self.inner.now();
        self.change(|rows, stream| ledger::close(rows, stream, now))
    }

    /// Messages may come again, and mills that had come to the end go on when they are started.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let readings = Streams::open("memory:")?.get("readings")?;
    /// readings.close()?;
    /// readings.reopen()?;
    /// readings.append(&Json(20.into()))?;
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn reopen(&self) -> Result<(), StreamsError> {
        self.change(ledger::reopen)
    }

    /// Messages that are older leave, consumed or not: when something is appended, now and then, and with [`Streams::housekeep`](crate::Streams::housekeep). Messages that a consumer
    /// has just now stay until it is done. `None`, as at first, lets them become as old as they will.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_streams::Streams;
    /// let readings = Streams::open("memory:")?.get("readings")?;
    /// readings.max_age(Some(Duration::from_secs(7 * 24 * 3600)))?;
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn max_age(&self, age: Option<Duration>) -> Result<(), StreamsError> {
        let age = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self.change(|rows, stream| {
            stream.max_age = age;
            rows.put_stream(stream)
        })
    }

    /// How often consumers look whether other processes have appended; every 10 ms at first. What this process appends they see at once.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_streams::Streams;
    /// let readings = Streams::open("memory:")?.get("readings")?;
    /// readings.interval(Duration::from_secs(1))?;
    /// assert_eq!(readings.info()?.interval, Duration::from_secs(1));
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn interval(&self, interval: Duration) -> Result<(), StreamsError> {
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        self.change(|rows, stream| {
            stream.interval = interval;
            rows.put_stream(stream)
        })
    }

    /// Makes the subscription `name`, if there is none: it sees all that is in the stream now, and all that comes. [`Consumer::subscription`](crate::Consumer::subscription)
    /// does so as well, when its mill is started.
    ///
    /// # Errors
    /// When it cannot be called that, the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// let readings = streams.get("readings")?;
    /// readings.subscribe("audit")?;
    /// streams.put(&20, "readings")?;
    /// readings.close()?;
    /// // What all others are done with stays for it.
    /// Mill::new(|_: &Json| ()).run_blocking(readings.clone())?;
    /// assert_eq!(readings.len()?, 1);
    /// let report = Mill::new(|_: &Json| ()).run_blocking(readings.consumer().subscription("audit"))?;
    /// assert_eq!((report.calls, readings.len()?), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(&self, name: &str) -> Result<(), StreamsError> {
        name::check(name, "subscription")?;
        let now = self.inner.now();
        self.change(|rows, stream| ledger::subscribe(rows, stream, name, now).map(drop))
    }

    /// Ends a subscription: nothing stays for it any more. Says whether there was one. The empty name is that of the consumers that share the stream.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_streams::Streams;
    /// let readings = Streams::open("memory:")?.get("readings")?;
    /// readings.subscribe("audit")?;
    /// assert!(readings.unsubscribe("audit")?);
    /// assert!(!readings.unsubscribe("audit")?);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn unsubscribe(&self, name: &str) -> Result<bool, StreamsError> {
        self.change(|rows, stream| ledger::unsubscribe(rows, stream, name))
    }

    /// What consumers have left out, since they could not read it, waits again: for a mill that can. Returns how many messages that are.
    ///
    /// # Errors
    /// When the stream was dropped, or the store fails.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// # use serde::Deserialize;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(Deserialize, StreamRecord)] #[watermill(crate = watermill_core)] struct Reading { celsius: f64 }
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&serde_json::json!({"fahrenheit": 68}), "readings")?;
    /// let readings = streams.stream::<Reading>("readings")?;
    /// let mill = Mill::new(|_: &Reading| ()).on_bad::<Reading>(OnBad::Skip);
    /// # readings.close()?;
    /// assert_eq!(mill.run_blocking(readings.clone())?.inputs[0].skipped, 1);
    /// # readings.reopen()?;
    /// assert_eq!((readings.retry_refused()?, readings.len()?), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry_refused(&self) -> Result<u64, StreamsError> {
        self.change(ledger::retry_refused)
    }
}

impl<T: Serialize> Stream<T> {
    /// Appends a message, which is durable when this returns: neither a crash nor the power loses it. Threads that append at the same time share a commit. Returns its number, which
    /// in MongoDB it has only when a consumer wants it: then there is none yet.
    ///
    /// # Errors
    /// When it cannot be written as JSON, the stream is closed or was dropped, or the store fails: then it is not there.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let readings = Streams::open("memory:")?.get("readings")?;
    /// assert_eq!(readings.append(&Json(20.into()))?, Some(0));
    /// assert_eq!(readings.append(&Json(21.into()))?, Some(1));
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn append(&self, message: &T) -> Result<Option<u64>, StreamsError> {
        let mut texts = Texts::default();
        encode(message, &self.name, &mut texts)?;
        Ok(self.inner.queue.append(&self.inner, self.request(texts))?.map(|range| range.start))
    }

    /// Appends messages in one step: all of them, one behind the other, or none.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// numbers.append_all(&[1, 2, 3].map(|number| Json(number.into())))?;
    /// assert_eq!(numbers.len()?, 3);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn append_all<'a>(&self, messages: impl IntoIterator<Item = &'a T>) -> Result<(), StreamsError>
    where
        T: 'a,
    {
        let mut texts = Texts::default();
        for message in messages {
            encode(message, &self.name, &mut texts)?;
        }
        if texts.is_empty() { Ok(()) } else { self.append_texts(texts) }
    }

    /// As [`append`](Self::append), without blocking the thread: the future is done when the message is durable. It is on its way when this returns, whether or not the future
    /// is waited for.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let (one, two) = (numbers.append_async(&Json(1.into())), numbers.append_async(&Json(2.into())));
    /// assert_eq!((one.await?, two.await?), (Some(0), Some(1)));
    /// # Ok::<(), watermill_streams::StreamsError>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_async(
        &self,
        message: &T,
    ) -> impl Future<Output = Result<Option<u64>, StreamsError>> + Send + use<T> {
        let mut texts = Texts::default();
        let sent = encode(message, &self.name, &mut texts)
            .map(|()| self.inner.queue.send(&self.inner, self.request(texts)));
        // The streams stay while somebody waits.
        let inner = Arc::clone(&self.inner);
        async move {
            let answer = sent?.await;
            drop(inner);
            match answer {
                Ok(range) => Ok(range?.map(|range| range.start)),
                Err(_) => Err(StreamsError::storage(
                    "the store",
                    "append",
                    "the thread that was to do it has ended",
                )),
            }
        }
    }

    /// Appends in batches: of `size` messages, or of what has come `time` after the first of them. See [`Appender`].
    ///
    /// # Errors
    /// When the thread that watches the time cannot be started.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let batched = numbers.batched(100, Duration::from_secs(60))?;
    /// for number in 0..250 {
    ///     batched.push(&Json(number.into()))?;
    /// }
    /// assert_eq!(numbers.len()?, 200);
    /// drop(batched);
    /// assert_eq!(numbers.len()?, 250);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn batched(&self, size: usize, time: Duration) -> Result<Appender<T>, StreamsError>
    where
        T: 'static,
    {
        let clock: Arc<dyn Clock> = Arc::clone(&self.inner.clock);
        Appender::start(self.clone(), size, time, clock)
    }
}
