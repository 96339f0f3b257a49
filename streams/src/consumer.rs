//! [`Consumer`]: streams as a broker.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use watermill_core::broker::{AnySource, BoxFuture, Broker, Catalog, InputDecl, Job, OutputDecl, Session};
use watermill_core::error::{BoxError, BrokerError};
use watermill_core::record::{RecordType, StreamRecord};

use crate::error::StreamsError;
use crate::session::StreamSession;
use crate::sink::{AnyPlaces, Function, Places};
use crate::stream::Stream;
use crate::streams::{Inner, Streams};
use crate::{name, reader};

/// For so long a consumer has its messages, when nothing is heard of it.
const LEASE: Duration = Duration::from_secs(30);

/// Streams that a mill reads and writes: the broker of [`Mill::run`](watermill_core::Mill::run). A [`Stream`] alone is one, too.
///
/// **Who gets what.** Consumers of a stream share it: each message goes to one of them, however many there are and wherever they run. Those of a
/// [subscription](Self::subscription) share what is in it, and each subscription sees every message. Messages are claimed under a lease: while their consumer lives it is renewed, and
/// when it has crashed others take them.
///
/// **Mills that need all of a stream in its order** have it alone: those with joins, with windows by a key or an event time, that overlap, may be empty, or choose, and those whose
/// results another broker writes. Others wait until such a mill has ended. [`whole`](Self::whole) asks for this where the order of messages matters otherwise.
///
/// **Exactly once.** When a commit is made, the results that go to streams, what was consumed, and positions are one transaction.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use watermill_derive::StreamRecord;
/// use watermill_core::prelude::*;
/// use watermill_streams::Streams;
///
/// #[derive(Serialize, Deserialize, StreamRecord)]
/// # #[watermill(crate = watermill_core)]
/// struct Order { id: u32 }
/// #[derive(Serialize, Deserialize, StreamRecord)]
/// # #[watermill(crate = watermill_core)]
/// struct Payment { order: u32, cents: u64 }
/// #[derive(Serialize, Deserialize, StreamRecord)]
/// # #[watermill(crate = watermill_core)]
/// struct Paid { order: u32, cents: u64 }
///
/// let streams = Streams::open("memory:")?;
/// let (orders, payments) = (streams.stream::<Order>("orders")?, streams.stream::<Payment>("payments")?);
/// let paid = streams.stream::<Paid>("paid")?;
/// orders.append_all(&[Order { id: 1 }, Order { id: 2 }])?;
/// payments.append_all(&[Payment { order: 1, cents: 500 }, Payment { order: 1, cents: 250 }])?;
/// # orders.close()?;
/// # payments.close()?;
///
/// let sum = |order: &Order, payments: &Joined<Order, Payment>| Paid {
///     order: order.id,
///     cents: payments[order].iter().map(|payment| payment.cents).sum(),
/// };
/// Mill::new(sum)
///     .join(JoinWith::new(Order::fields().id, Payment::fields().order).left())
///     .run_blocking(orders.consumer().read(&payments).write(&paid))?;
/// assert_eq!(paid.buffer()?[0].get::<Paid>()?.cents, 750);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Consumer {
    pub(crate) inner: Arc<Inner>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) subscription: String,
    pub(crate) keep: bool,
    pub(crate) whole: bool,
    pub(crate) lease: Duration,
    pub(crate) application: Option<String>,
    pub(crate) once: bool,
    /// The streams of results stay open when the mill has come to its end.
    pub(crate) leave_open: bool,
    mistake: Option<StreamsError>,
}

/// A stream that is read.
#[derive(Clone)]
pub(crate) struct Input {
    decl: InputDecl,
    pub(crate) stream: u64,
    pub(crate) name: Arc<str>,
    pub(crate) open: fn(reader::Settings) -> Result<AnySource, BrokerError>,
}

/// Where results go.
#[derive(Clone)]
pub(crate) struct Output {
    decl: OutputDecl,
    pub(crate) places: Box<dyn AnyPlaces>,
}

impl Streams {
    /// A broker that reads nothing yet: for mills that write to streams what another broker reads.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// let events = streams.get("events")?;
    /// let elsewhere = MemoryBroker::new().read(vec![Json(1.into()), Json(2.into())]);
    /// Mill::new(|event: &Json| event.clone()).run_blocking(elsewhere.and(streams.broker().write(&events)))?;
    /// assert_eq!(events.len()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn broker(&self) -> Consumer {
        Consumer {
            inner: Arc::clone(self.inner()),
            inputs: Vec::new(),
            outputs: Vec::new(),
            subscription: String::new(),
            keep: false,
            whole: false,
            lease: LEASE,
            application: None,
            once: false,
            leave_open: false,
            mistake: None,
        }
    }
}

impl<T: StreamRecord + DeserializeOwned> Stream<T> {
    /// A broker that reads the stream, and can be told more.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&20, "readings")?;
    /// let readings = streams.get("readings")?;
    /// # readings.close()?;
    /// Mill::new(|_: &Json| ()).run_blocking(readings.consumer().keep())?;
    /// // It was consumed, and is still there.
    /// assert_eq!((readings.len()?, readings.buffer()?.len()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn consumer(&self) -> Consumer {
        Streams::of(Arc::clone(self.inner())).broker().read(self)
    }
}

impl Consumer {
    /// Reads another stream, too: for joins.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// # use serde::Deserialize;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(Deserialize, StreamRecord)] #[watermill(crate = watermill_core)] struct Order { id: u32 }
    /// # #[derive(Deserialize, StreamRecord)] #[watermill(crate = watermill_core)] struct Line { order: u32 }
    /// let streams = Streams::open("memory:")?;
    /// let (orders, lines) = (streams.stream::<Order>("orders")?, streams.stream::<Line>("lines")?);
    /// let both = orders.consumer().read(&lines);
    /// assert_eq!(both.catalog()?.inputs.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn read<R: StreamRecord + DeserializeOwned>(self, stream: &Stream<R>) -> Self {
        self.declare(None, stream)
    }

    /// Reads another stream under a name, for record types that are read from several streams.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// let both = streams.broker().read_as("left", &streams.get("left")?).read_as("right", &streams.get("right")?);
    /// assert_eq!(both.catalog()?.inputs[1].name.as_deref(), Some("right"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn read_as<R: StreamRecord + DeserializeOwned>(self, name: &str, stream: &Stream<R>) -> Self {
        self.declare(Some(name.to_owned()), stream)
    }

    fn declare<R: StreamRecord + DeserializeOwned>(
        mut self,
        name: Option<String>,
        stream: &Stream<R>,
    ) -> Self {
        self.same_store(stream);
        let location = format!("stream `{}`", stream.name());
        self.inputs.push(Input {
            decl: InputDecl { record: RecordType::of::<R>(), name, location },
            stream: stream.number(),
            name: Arc::from(stream.name()),
            open: reader::start::<R>,
        });
        self
    }

    fn same_store<T>(&mut self, stream: &Stream<T>) {
        if !Arc::ptr_eq(&self.inner.store, &stream.inner().store) {
            self.mistake = Some(StreamsError::misuse(
                format!(
                    "stream `{}` is in another store than the others of this mill, or was opened apart from them",
                    stream.name()
                ),
                "open the store once, and take all streams from there; or combine two brokers by `.and(..)`",
            ));
        }
    }

    /// Results of `R` are appended to a stream, in the transaction in which what they are made of is done with.
    ///
    /// When the mill comes to its end, so does the stream: it is closed, unless the consumer [leaves it open](Self::leave_open).
    ///
    /// Several streams and functions that take one type are each given all of its results, in the same commit. To hand them on to other brokers as well, [forward](Stream::forward) the
    /// stream.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::{Status, Streams};
    /// let streams = Streams::open("memory:")?;
    /// let (readings, copies) = (streams.get("readings")?, streams.get("copies")?);
    /// streams.put(&20, "readings")?;
    /// readings.close()?;
    /// Mill::new(|reading: &Json| reading.clone()).run_blocking(readings.consumer().write(&copies))?;
    /// assert_eq!((copies.len()?, copies.info()?.status), (1, Status::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn write<R: StreamRecord + Serialize>(mut self, stream: &Stream<R>) -> Self {
        self.same_store(stream);
        let target = (stream.number(), Arc::from(stream.name()));
        self.places::<R>(&format!("stream `{}`", stream.name()), |places| places.push_stream(target));
        self
    }

    /// Adds to the places to which results of `R` go.
    fn places<R: StreamRecord>(&mut self, location: &str, add: impl FnOnce(&mut Places<R>)) {
        let record = RecordType::of::<R>();
        let found = self.outputs.iter_mut().find(|output| output.decl.record == record);
        if let Some(output) = found
            && let Some(places) = output.places.as_any().downcast_mut::<Places<R>>()
        {
            output.decl.location = format!("{}, {location}", output.decl.location);
            return add(places);
        }
        let mut places = Places::new();
        add(&mut places);
        let decl = OutputDecl { record, location: location.to_owned() };
        self.outputs.push(Output { decl, places: Box::new(places) });
    }

    /// Results of `R` are given to a function, just before what they are made of is done with. After a crash between the two it is given them again: at least once.
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&20, "readings")?;
    /// let readings = streams.get("readings")?;
    /// # readings.close()?;
    /// let seen = Arc::new(Mutex::new(Vec::new()));
    /// # let shown = Arc::clone(&seen);
    /// let show = move |results: &[Json]| {
    ///     seen.lock().map_err(|_| "another call has panicked")?.extend_from_slice(results);
    ///     Ok::<(), &str>(())
    /// };
    /// Mill::new(|reading: &Json| reading.clone()).run_blocking(readings.consumer().write_with(show))?;
    /// # assert_eq!(shown.lock().unwrap().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn write_with<R, E>(
        mut self,
        function: impl Fn(&[R]) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self
    where
        R: StreamRecord,
        E: Into<BoxError>,
    {
        let function: Function<R> = Arc::new(move |results| function(results).map_err(Into::into));
        self.places::<R>("a function", |places| places.push_function(function));
        self
    }

    /// Consumes under a subscription of its own, which sees every message, whoever else consumes the stream. It begins with what is in the stream when it is first
    /// used, and is remembered: [`Stream::unsubscribe`] ends it.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&20, "readings")?;
    /// let readings = streams.get("readings")?;
    /// # readings.close()?;
    /// # readings.subscribe("audit")?;
    /// for name in ["billing", "audit"] {
    ///     let report = Mill::new(|_: &Json| ()).run_blocking(readings.consumer().subscription(name))?;
    ///     assert_eq!(report.calls, 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscription(mut self, name: &str) -> Self {
        if let Err(error) = name::check(name, "subscription") {
            self.mistake = Some(error);
        }
        name.clone_into(&mut self.subscription);
        self
    }

    /// Messages stay in the stream when they are done with, until [`Stream::max_age`] or [`Stream::clear`] takes them.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::{MessageState, Streams};
    /// # let streams = Streams::open("memory:")?;
    /// # streams.put(&20, "readings")?;
    /// # let readings = streams.get("readings")?;
    /// # readings.close()?;
    /// Mill::new(|_: &Json| ()).run_blocking(readings.consumer().keep())?;
    /// assert_eq!(readings.buffer()?[0].state, MessageState::Processed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Has the stream alone, and so gets all messages in their order, whatever the mill needs. Others of the same subscription wait.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// # let readings = Streams::open("memory:")?.get("readings")?;
    /// # readings.close()?;
    /// let report = Mill::new(|_: &Json| ()).run_blocking(readings.consumer().whole())?;
    /// # assert_eq!(report.calls, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// How long messages stay this consumer's after it was last heard of, half a minute at first. It is heard of three times in that time, whatever its function does; so this is how
    /// long others wait when it has crashed. By the clock of the streams.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// # let readings = Streams::open("memory:")?.get("readings")?;
    /// # readings.close()?;
    /// Mill::new(|_: &Json| ()).run_blocking(readings.consumer().lease(Duration::from_secs(5)))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        if lease < Duration::from_millis(3) {
            self.mistake = Some(StreamsError::misuse(
                format!("a lease of {lease:?} cannot be renewed in time"),
                "let it last some seconds",
            ));
        }
        self.lease = lease;
        self
    }

    /// Under which name the positions of a mill are kept that writes here what another broker reads. The default is the name of the first stream of results.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// let events = streams.get("events")?;
    /// let elsewhere = MemoryBroker::new().read(vec![Json(1.into())]);
    /// let here = streams.broker().application("copy").write(&events);
    /// Mill::new(|event: &Json| event.clone()).run_blocking(elsewhere.and(here))?;
    /// # assert_eq!(events.len()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn application(mut self, name: &str) -> Self {
        if let Err(error) = name::check(name, "mill") {
            self.mistake = Some(error);
        }
        self.application = Some(name.to_owned());
        self
    }

    /// The streams of results stay open when the mill has come to its end: others write to them, too, or there is more to come.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// # use watermill_streams::{Status, Streams};
    /// let streams = Streams::open("memory:")?;
    /// let events = streams.get("events")?;
    /// for number in [1, 2] {
    ///     let day = MemoryBroker::new().read(vec![Json(number.into())]);
    ///     let here = streams.broker().application(&format!("day {number}")).leave_open().write(&events);
    ///     Mill::new(|event: &Json| event.clone()).run_blocking(day.and(here))?;
    /// }
    /// assert_eq!((events.len()?, events.info()?.status), (2, Status::Open));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn leave_open(mut self) -> Self {
        self.leave_open = true;
        self
    }

    /// As [`application`](Self::application), under a name that is made here.
    pub(crate) fn positions(mut self, name: &str) -> Self {
        self.application = Some(name.to_owned());
        self
    }

    /// What is there is all that is wanted.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

impl Broker for Consumer {
    fn name(&self) -> &str {
        "Streams"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        if let Some(mistake) = &self.mistake {
            return Err(mistake.clone().of_broker("use", "the streams of this mill"));
        }
        let written = |input: &Input| {
            let mut streams = self.outputs.iter().flat_map(|output| output.places.streams());
            streams.any(|(number, _)| *number == input.stream)
        };
        if let Some(both) = self.inputs.iter().find(|input| written(input)) {
            let mistake = StreamsError::misuse(
                format!("stream `{}` is read and written by the same mill, which would never end", both.name),
                "let the results go to another stream",
            );
            return Err(mistake.of_broker("use", &both.decl.location));
        }
        Ok(Catalog {
            inputs: self.inputs.iter().map(|input| input.decl.clone()).collect(),
            outputs: self.outputs.iter().map(|output| output.decl.clone()).collect(),
        })
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        let opened = StreamSession::open(self, job);
        let opened = opened.map_err(|error| error.of_broker("open", "the streams of this mill"));
        Box::pin(std::future::ready(opened.map(|session| Box::new(session) as Box<dyn Session>)))
    }
}

impl<T: StreamRecord + DeserializeOwned> Broker for Stream<T> {
    fn name(&self) -> &str {
        "Streams"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        self.consumer().catalog()
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        Box::pin(async move { self.consumer().open(job).await })
    }
}

/// What [`RunOnce`](crate::RunOnce) takes: a [`Stream`] or a [`Consumer`].
///
/// ```
/// use watermill_core::prelude::*;
/// use watermill_streams::{IntoConsumer, Streams};
///
/// fn inputs(of: impl IntoConsumer) -> Result<usize, watermill_core::RunError> {
///     Ok(of.into_consumer().catalog()?.inputs.len())
/// }
///
/// let readings = Streams::open("memory:")?.get("readings")?;
/// assert_eq!(inputs(&readings)? + inputs(readings.consumer())?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait IntoConsumer {
    /// The consumer.
    fn into_consumer(self) -> Consumer;
}

impl IntoConsumer for Consumer {
    fn into_consumer(self) -> Consumer {
        self
    }
}

impl<T: StreamRecord + DeserializeOwned> IntoConsumer for Stream<T> {
    fn into_consumer(self) -> Consumer {
        self.consumer()
    }
}

impl<T: StreamRecord + DeserializeOwned> IntoConsumer for &Stream<T> {
    fn into_consumer(self) -> Consumer {
        self.consumer()
    }
}
