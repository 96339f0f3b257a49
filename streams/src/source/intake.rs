//! [`Intake`]: what a source appends to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::background::Told;
use crate::error::StreamsError;
use crate::ledger;
use crate::store::{CheckpointRow, Texts, reading, writing};
use crate::stream::Stream;
use crate::streams::encode;

/// What a [`Source`](super::Source) appends to: a stream, and where the source stands.
///
/// ```
/// use watermill_core::record::Json;
/// use watermill_streams::source::Intake;
/// use watermill_streams::{Streams, StreamsError};
///
/// let letters = Streams::open("memory:")?.get("letters")?;
/// let alphabet = |intake: &mut Intake<Json>| {
///     let next: u8 = intake.position()?.unwrap_or(b'a');
///     for letter in next..=b'e' {
///         intake.append_at([&Json(char::from(letter).to_string().into())], &(letter + 1))?;
///     }
///     Ok::<(), StreamsError>(())
/// };
/// letters.attach("alphabet", alphabet)?.wait()?;
/// letters.attach("alphabet", alphabet)?.wait()?;
/// assert_eq!(letters.len()?, 5);
/// # Ok::<(), StreamsError>(())
/// ```
pub struct Intake<T> {
    stream: Stream<T>,
    name: String,
    key: String,
    /// `None` until a position is asked for or kept.
    row: Option<CheckpointRow>,
    told: Arc<Told>,
    runtime: Option<Handle>,
}

/// What is kept of a source.
#[derive(Serialize, Deserialize)]
struct Place {
    /// The number of the stream: one that was dropped and made anew is filled anew.
    stream: u64,
    position: Value,
}

impl<T> Intake<T> {
    pub(crate) fn new(stream: &Stream<T>, name: &str, told: &Arc<Told>, runtime: Option<Handle>) -> Self {
        let key = format!("source {name} of {}", stream.name());
        Self {
            stream: stream.clone(),
            name: name.to_owned(),
            key,
            row: None,
            told: Arc::clone(told),
            runtime,
        }
    }

    /// Under which name the place is kept.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    /// The stream that is filled.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::source::Intake;
    /// # use watermill_streams::{Streams, StreamsError};
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let until_there_are_three = |intake: &mut Intake<Json>| {
    ///     while intake.stream().len()? < 3 {
    ///         intake.append(&Json(0.into()))?;
    ///     }
    ///     Ok::<(), StreamsError>(())
    /// };
    /// numbers.attach("three", until_there_are_three)?.wait()?;
    /// assert_eq!(numbers.len()?, 3);
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn stream(&self) -> &Stream<T> {
        &self.stream
    }

    /// The source is to end: soon, and without having its last words.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::source::Intake;
    /// # use watermill_streams::{Streams, StreamsError};
    /// let busy = |intake: &mut Intake<Json>| {
    ///     while !intake.is_stopped() {
    ///         std::thread::yield_now();
    ///     }
    ///     Ok::<(), StreamsError>(())
    /// };
    /// let attached = Streams::open("memory:")?.get("numbers")?.attach("busy", busy)?;
    /// attached.stop();
    /// attached.wait()?;
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.told.stop.is_asked()
    }

    /// Waits so long, for sources that look now and then. Says whether the source is to end, and does so at once.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::source::Intake;
    /// # use watermill_streams::{Streams, StreamsError};
    /// let hourly = |intake: &mut Intake<Json>| {
    ///     while !intake.pause(Duration::from_secs(3600)) {
    ///         intake.append(&Json("cuckoo".into()))?;
    ///     }
    ///     Ok::<(), StreamsError>(())
    /// };
    /// let attached = Streams::open("memory:")?.get("cuckoos")?.attach("hourly", hourly)?;
    /// attached.stop();
    /// attached.wait()?;
    /// # Ok::<(), StreamsError>(())
    /// ```
    #[must_use]
    pub fn pause(&self, time: Duration) -> bool {
        self.told.stop.within(time)
    }

    /// Where the source stood when it last appended; `None` the first time. From here on a source of the same name that was attached before can append nothing any more with its place.
    ///
    /// # Errors
    /// When it is no `P`, or the store fails.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::source::Intake;
    /// # use watermill_streams::{Streams, StreamsError};
    /// let first_time = |intake: &mut Intake<Json>| {
    ///     assert_eq!(intake.position::<u64>()?, None);
    ///     Ok::<(), StreamsError>(())
    /// };
    /// Streams::open("memory:")?.get("numbers")?.attach("source", first_time)?.wait()?;
    /// # Ok::<(), StreamsError>(())
    /// ```
    pub fn position<P: DeserializeOwned>(&mut self) -> Result<Option<P>, StreamsError> {
        let row = self.claim()?;
        if row.state.is_empty() {
            return Ok(None);
        }
        let action = format!("read where source `{}` of stream `{}` stands", self.name, self.stream.name());
        let told = |cause| StreamsError::storage(self.stream.inner().store.name(), &action, cause);
        let place: Place = serde_json::from_str(&row.state).map_err(told)?;
        if place.stream != self.stream.number() {
            return Ok(None);
        }
        serde_json::from_value(place.position).map(Some).map_err(told)
    }

    /// Takes the place over from whoever had it before.
    fn claim(&mut self) -> Result<CheckpointRow, StreamsError> {
        if let Some(row) = &self.row {
            // What this source has appended since stands in the store.
            let found = reading(&*self.stream.inner().store, |rows| rows.checkpoint(&row.name, row.lane))?;
            return Ok(found.unwrap_or_else(|| row.clone()));
        }
        let key = &self.key;
        let row = writing(&*self.stream.inner().store, true, |rows| {
            let new = CheckpointRow { name: key.clone(), ..CheckpointRow::default() };
            let mut row = rows.checkpoint(key, 0)?.unwrap_or(new);
            row.epoch += 1;
            rows.put_checkpoint(&row)?;
            Ok(row)
        })?;
        self.row = Some(row.clone());
        Ok(row)
    }

    fn count(&self, messages: usize) {
        self.told.appended.fetch_add(messages as u64, Ordering::Relaxed);
    }
}

impl<T: Serialize> Intake<T> {
    /// Appends a message, which is durable when this returns. For sources that cannot go on at a place.
    ///
    /// # Errors
    /// As [`Stream::append`].
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::source::Intake;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// numbers.attach("one", |intake: &mut Intake<Json>| intake.append(&Json(1.into())))?.wait()?;
    /// assert_eq!(numbers.len()?, 1);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn append(&mut self, message: &T) -> Result<(), StreamsError> {
        self.append_all([message])
    }

    /// Appends messages in one step.
    ///
    /// # Errors
    /// As [`Stream::append_all`].
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::source::Intake;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let two = |intake: &mut Intake<Json>| intake.append_all(&[1, 2].map(|number| Json(number.into())));
    /// numbers.attach("two", two)?.wait()?;
    /// assert_eq!(numbers.len()?, 2);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn append_all<'a>(&mut self, messages: impl IntoIterator<Item = &'a T>) -> Result<(), StreamsError>
    where
        T: 'a,
    {
        let texts = self.encode(messages)?;
        let count = texts.len();
        if count > 0 {
            self.stream.append_texts(texts)?;
            self.count(count);
        }
        Ok(())
    }

    /// Appends messages, and keeps where the source stands behind them, in one transaction: both are there, or neither. Without messages it keeps the place only.
    ///
    /// # Errors
    /// As [`Stream::append_all`]; or another source of the same name has taken this one's place.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::source::Intake;
    /// # use watermill_streams::Streams;
    /// let lines = Streams::open("memory:")?.get("lines")?;
    /// let text = ["one", "two", "three"];
    /// let read = move |intake: &mut Intake<Json>| {
    ///     let from: usize = intake.position()?.unwrap_or(0);
    ///     let new: Vec<Json> = text[from..].iter().map(|line| Json((*line).into())).collect();
    ///     intake.append_at(&new, &text.len())
    /// };
    /// lines.attach("text", read)?.wait()?;
    /// lines.attach("text", read)?.wait()?;
    /// assert_eq!(lines.len()?, 3);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn append_at<'a, P: Serialize>(
        &mut self,
        messages: impl IntoIterator<Item = &'a T>,
        position: &P,
    ) -> Result<(), StreamsError>
    where
        T: 'a,
    {
        let texts = self.encode(messages)?;
        if self.row.is_none() {
            self.claim()?;
        }
        let Some(own) = &self.row else { return Ok(()) };
        let inner = self.stream.inner();
        let told = |cause| {
            let action = format!("write where source `{}` stands", self.name);
            StreamsError::storage(inner.store.name(), &action, cause)
        };
        let position = serde_json::to_value(position).map_err(told)?;
        let state = Place { stream: self.stream.number(), position };
        let row = CheckpointRow { state: serde_json::to_string(&state).map_err(told)?, ..own.clone() };
        let now = inner.now();
        inner.writing(|rows| {
            if rows.checkpoint(&row.name, row.lane)?.is_none_or(|found| found.epoch != row.epoch) {
                let (source_name, stream) = (self.name.clone(), self.stream.name().to_owned());
                return Err(StreamsError::Displaced { source_name, stream });
            }
            let mut stream =
                rows.stream(self.stream.number())?.ok_or_else(|| inner.missing(self.stream.name()))?;
            if !texts.is_empty() {
                ledger::append(rows, &mut stream, &texts, now)?;
            }
            rows.put_checkpoint(&row)
        })?;
        self.count(texts.len());
        Ok(())
    }

    fn encode<'a>(&self, messages: impl IntoIterator<Item = &'a T>) -> Result<Texts, StreamsError>
    where
        T: 'a,
    {
        let mut texts = Texts::default();
        for message in messages {
            encode(message, self.stream.name(), &mut texts)?;
        }
        Ok(texts)
    }
}

impl<T> fmt::Debug for Intake<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("stream", &self.stream).field("source", &self.name).finish()
    }
}
