//! Sources: what fills a stream in the background, and where it stands.
//!
//! | to fill a stream from | attach |
//! |---|---|
//! | a topic of Kafka, a collection of MongoDB or its changes, files that are followed: any broker | [`from_broker`] |
//! | an asynchronous stream of values | [`from_values`], or [`from_positions`] where it can go on at a place |
//! | anything else | a closure that appends, or a [`Source`] of your own |
//!
//! **Nothing twice, nothing lost.** A source that can go on at a place keeps that place in the store of the stream, in the transaction that appends: [`Intake::append_at`]. Brokers do, as
//! mills do.

mod broker;
mod intake;
mod runtime;
mod values;

use std::sync::Arc;

pub use broker::{FromBroker, from_broker};
pub use intake::Intake;
pub use values::{FromPositions, FromValues, from_positions, from_values};

use serde::Serialize;
use watermill_core::Backoff;
use watermill_core::broker::{Broker, BrokerExt};
use watermill_core::error::BoxError;
use watermill_core::prelude::*;

use crate::background::{Background, Kind, PAUSES};
use crate::error::StreamsError;
use crate::name;
use crate::source::runtime::SourceRuntime;
use crate::stream::Stream;

/// What fills a stream with messages of type `T`: [`Stream::attach`].
///
/// Closures are sources. One of your own, that goes on where it was:
///
/// ```
/// use watermill_core::error::BoxError;
/// use watermill_core::record::Json;
/// use watermill_streams::Streams;
/// use watermill_streams::source::{Intake, Source};
///
/// /// Counts to a hundred, once.
/// struct Counter;
///
/// impl Source<Json> for Counter {
///     fn stream(&mut self, intake: &mut Intake<Json>) -> Result<(), BoxError> {
///         for number in intake.position()?.unwrap_or(0)..100 {
///             intake.append_at([&Json(number.into())], &(number + 1))?;
///         }
///         Ok(())
///     }
/// }
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// for _ in 0..2 {
///     numbers.attach("counter", Counter)?.wait_blocking()?;
/// }
/// assert_eq!(numbers.len()?, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Source<T>: Send + 'static {
    /// Appends what there is, and what comes, until there is no more or [`Intake::is_stopped`] says so. On a thread of its own.
    ///
    /// # Errors
    /// Whatever keeps it from going on. It is called again after a pause.
    fn stream(&mut self, intake: &mut Intake<T>) -> Result<(), BoxError>;
}

impl<T, E, F> Source<T> for F
where
    E: Into<BoxError>,
    F: FnMut(&mut Intake<T>) -> Result<(), E> + Send + 'static,
{
    fn stream(&mut self, intake: &mut Intake<T>) -> Result<(), BoxError> {
        self(intake).map_err(Into::into)
    }
}

/// A source that closes the stream when it has come to its end.
///
/// ```
/// use watermill_core::record::Json;
/// use watermill_streams::source::{Intake, then_close};
/// use watermill_streams::{Status, Streams};
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// let one = |intake: &mut Intake<Json>| intake.append(&Json(1.into()));
/// numbers.attach("one", then_close(one))?.wait_blocking()?;
/// assert_eq!(numbers.info()?.status, Status::Closed);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
pub fn then_close<S>(source: S) -> ThenClose<S> {
    ThenClose(source)
}

/// A source with whose end the stream is closed, from [`then_close`].
///
/// ```
/// use watermill_streams::source::{ThenClose, then_close};
///
/// fn closing<S>(source: S) -> ThenClose<S> {
///     then_close(source)
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ThenClose<S>(S);

impl<T, S: Source<T>> Source<T> for ThenClose<S> {
    fn stream(&mut self, intake: &mut Intake<T>) -> Result<(), BoxError> {
        self.0.stream(intake)?;
        if !intake.is_stopped() {
            intake.stream().close()?;
        }
        Ok(())
    }
}

impl<T: 'static> Stream<T> {
    /// Fills the stream from a source, in the background, as long as the process lives or until the source ends. A source that fails is started again.
    ///
    /// Under its name the source finds its place again: the same name, the same place. Of two that are attached to one stream under one name, in whichever process, the later one goes
    /// on, and the other one ends.
    ///
    /// # Errors
    /// When it cannot be called that, or no thread can be started.
    ///
    /// ```
    /// use watermill_core::prelude::*;
    /// use watermill_streams::Streams;
    /// use watermill_streams::source::from_broker;
    ///
    /// let events = Streams::open("memory:")?.get("events")?;
    /// let elsewhere = MemoryBroker::new().read(vec![Json(1.into()), Json(2.into())]);
    /// events.attach("elsewhere", from_broker(elsewhere))?.wait_blocking()?;
    /// assert_eq!(events.len()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attach(&self, name: &str, source: impl Source<T>) -> Result<Background, StreamsError> {
        self.attach_with(name, source, Backoff::exponential(PAUSES.0, PAUSES.1))
    }

    /// As [`attach`](Self::attach), with other pauses before a source that has failed is started again.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::Backoff;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// # use watermill_streams::source::Intake;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let mut tries = 0;
    /// let third_time = move |intake: &mut Intake<Json>| {
    ///     tries += 1;
    ///     if tries < 3 {
    ///         return Err("not yet".into());
    ///     }
    ///     intake.append(&Json(tries.into())).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    /// };
    /// let attached = numbers.attach_with("third time", third_time, Backoff::fixed(Duration::from_millis(5)))?;
    /// assert_eq!(attached.wait_blocking()?.restarts, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn attach_with(
        &self,
        name: &str,
        mut source: impl Source<T>,
        backoff: Backoff,
    ) -> Result<Background, StreamsError> {
        name::check(name, "source")?;
        let (stream, own) = (self.clone(), name.to_owned());
        let (runtime, mut epoch) = (SourceRuntime::here(), None);
        Background::start(name, Kind::Source, backoff, move |told| {
            let mut intake = Intake::begin(&stream, &own, told, runtime.clone(), &mut epoch)?;
            Ok(source.stream(&mut intake)?)
        })
    }
}

impl<T> Stream<T>
where
    T: StreamRecord + Clone + Serialize + serde::de::DeserializeOwned,
{
    /// Forwards every message to another broker, in the background: a topic of Kafka, a collection, a file. Under a subscription of this name, so it sees every message, whoever else
    /// consumes the stream, and goes on where it was.
    ///
    /// Exactly once, where the broker can: it keeps the position beside what it writes. A stream is forwarded to as many places as one likes, each under a name of its own.
    ///
    /// # Errors
    /// When it cannot be called that, or no thread can be started.
    ///
    /// ```
    /// use watermill_core::prelude::*;
    /// use watermill_streams::Streams;
    ///
    /// let streams = Streams::open("memory:")?;
    /// let numbers = streams.get("numbers")?;
    /// let (one, other) = (Collected::<Json>::new(), Collected::<Json>::new());
    /// let sinks = [
    ///     numbers.forward("to one", MemoryBroker::new().write(&one))?,
    ///     numbers.forward("to other", MemoryBroker::new().write(&other))?,
    /// ];
    /// numbers.append(&Json(1.into()))?;
    /// numbers.close()?;
    /// for sink in sinks {
    ///     sink.wait_blocking()?;
    /// }
    /// assert_eq!((one.take(), other.take()), (vec![Json(1.into())], vec![Json(1.into())]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forward(&self, name: &str, to: impl Broker) -> Result<Background, StreamsError> {
        self.forward_with(name, to, Backoff::exponential(PAUSES.0, PAUSES.1))
    }

    /// As [`forward`](Self::forward), with other pauses before it is started again.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::Backoff;
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// # numbers.close()?;
    /// let to = MemoryBroker::new().write(&Collected::<Json>::new());
    /// numbers.forward_with("elsewhere", to, Backoff::fixed(Duration::from_secs(1)))?.wait_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forward_with(
        &self,
        name: &str,
        to: impl Broker,
        backoff: Backoff,
    ) -> Result<Background, StreamsError> {
        // From now on nothing is missed, however long the thread takes.
        self.subscribe(name)?;
        let (stream, own, to) = (self.clone(), name.to_owned(), Arc::new(to));
        Background::start(name, Kind::Sink, backoff, move |told| {
            let from = stream.consumer().subscription(&own);
            told.run(copying::<T>().start(from.and(Arc::clone(&to)))?)
        })
    }
}

/// The mill that hands records on.
fn copying<T: StreamRecord + Clone>() -> Mill<T> {
    Mill::new(|record: &T| record.clone())
}
