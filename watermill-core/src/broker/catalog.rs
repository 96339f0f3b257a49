//! What was declared on a broker, and what a mill asks of it.

use std::any::Any;
use std::fmt;

use super::{Sink, Source};
use crate::record::{RecordType, StreamRecord};

/// The streams declared on a broker.
///
/// ```
/// use watermill_core::prelude::*;
///
/// let catalog = MemoryBroker::new().read_as("left", Vec::<Json>::new()).catalog()?;
/// assert_eq!(catalog.inputs[0].name.as_deref(), Some("left"));
/// assert!(catalog.outputs.is_empty());
/// # Ok::<(), watermill_core::RunError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Every `.read::<R>(..)` and `.read_as::<R>(name, ..)`.
    pub inputs: Vec<InputDecl>,
    /// Every `.write::<R>(..)`.
    pub outputs: Vec<OutputDecl>,
}

/// A declared input.
///
/// ```
/// use watermill_core::broker::InputDecl;
/// use watermill_core::record::{Json, RecordType};
///
/// let input = InputDecl {
///     record: RecordType::of::<Json>(),
///     name: None,
///     location: "data/events.ndjson".to_owned(),
/// };
/// assert_eq!(input.record.name(), "Json");
/// ```
#[derive(Debug, Clone)]
pub struct InputDecl {
    /// What the stream is made of.
    pub record: RecordType,
    /// Its name, when it was declared by `read_as`.
    pub name: Option<String>,
    /// Where it is, for messages: a path or a topic.
    pub location: String,
}

/// A declared output.
///
/// ```
/// use watermill_core::broker::OutputDecl;
/// use watermill_core::record::{Json, RecordType};
///
/// let output = OutputDecl { record: RecordType::of::<Json>(), location: "out/events.ndjson".to_owned() };
/// assert_eq!(output.record, RecordType::of::<Json>());
/// ```
#[derive(Debug, Clone)]
pub struct OutputDecl {
    /// What the stream is made of.
    pub record: RecordType,
    /// Where it is, for messages.
    pub location: String,
}

/// What a run needs from one broker.
///
/// ```
/// use watermill_core::broker::{InputRequest, Job};
///
/// let job = Job {
///     function: "speed".to_owned(),
///     streams: vec!["Location".to_owned(), "Next".to_owned()],
///     inputs: vec![InputRequest { input: 0, stream: "Next".to_owned(), node: 1, keep_raw: false }],
///     ..Job::default()
/// };
/// // Of the two streams this broker reads one.
/// assert_eq!(job.streams[job.inputs[0].node], job.inputs[0].stream);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The name of the mill's function.
    pub function: String,
    /// The mill as [`Mill::explain`](crate::Mill::explain) shows it, without the name of its function: arguments, joins and window. A run that
    /// is taken up must have the same.
    pub mill: String,
    /// All inputs of the mill, whoever reads them, as messages call them: [`Checkpoint::positions`](super::Checkpoint::positions) are in
    /// this order.
    pub streams: Vec<String>,
    /// For each of `streams` the orders that joins and window ask of its records, the one of its own join first: key expressions as
    /// [`Mill::explain`](crate::Mill::explain) shows them, without constants that are added. A broker that can sort reads them so.
    pub orders: Vec<Vec<String>>,
    /// The inputs, one for each node of the join tree that this broker reads.
    pub inputs: Vec<InputRequest>,
    /// The outputs that this broker writes.
    pub outputs: Vec<OutputRequest>,
    /// Results are written by another broker, so the positions are in its hands, too.
    pub results_elsewhere: bool,
    /// Its masters may be dealt out to several runs, in whatever order, in lots of so many: there are no joins and no keys, and a window needs nothing but its own masters. A window of
    /// a number of masters wants lots of that number, else a run would hold a window open that others could fill. `None` where a run has to see all of the
    /// stream in its order.
    pub lot: Option<usize>,
}

/// One input that a run needs.
///
/// ```
/// # use watermill_core::broker::InputRequest;
/// # use watermill_core::prelude::*;
/// let request = InputRequest { input: 0, stream: "Json \"left\"".to_owned(), node: 0, keep_raw: false };
/// let catalog = MemoryBroker::new().read_as("left", Vec::<Json>::new()).catalog()?;
/// assert_eq!(catalog.inputs[request.input].name.as_deref(), Some("left"));
/// # Ok::<(), watermill_core::RunError>(())
/// ```
#[derive(Debug, Clone)]
pub struct InputRequest {
    /// Its place in [`Catalog::inputs`].
    pub input: usize,
    /// How messages call the stream: `RobotLocation`, or `RobotLocation "left camera"`.
    pub stream: String,
    /// Its place in [`Job::streams`].
    pub node: usize,
    /// The raw bytes of its records are needed, for dead letters: [`Places::raw`](super::Places::raw).
    pub keep_raw: bool,
}

/// One output that a run needs.
///
/// ```
/// # use watermill_core::broker::OutputRequest;
/// # use watermill_core::prelude::*;
/// let request = OutputRequest { output: 0, stream: "Json".to_owned(), letters: false, leave_out: false };
/// let catalog = MemoryBroker::new().write(&Collected::<Json>::new()).catalog()?;
/// assert_eq!(catalog.outputs[request.output].record.name(), "Json");
/// # Ok::<(), watermill_core::RunError>(())
/// ```
#[derive(Debug, Clone)]
pub struct OutputRequest {
    /// Its place in [`Catalog::outputs`].
    pub output: usize,
    /// How messages call the stream.
    pub stream: String,
    /// It is where the dead letters of the mill go; the last of [`Job::outputs`] then.
    pub letters: bool,
    /// Results that cannot be written are left out, and told of by [`Sink::refused`].
    pub leave_out: bool,
}

/// A source whose record type is known only to the engine's typed parts.
///
/// ```
/// use watermill_core::broker::{AnySource, Batch, BoxFuture, InputEnd, Places, Source};
/// # use watermill_core::error::BrokerError;
/// use watermill_core::record::Json;
///
/// struct Empty;
/// # impl Source<Json> for Empty {
/// #     fn next(&mut self) -> BoxFuture<'_, Result<Batch<Json>, BrokerError>> {
/// #         let mut batch = Batch::new(Vec::new(), Places::memory(0, 0));
/// #         batch.end = Some(InputEnd::Exhausted);
/// #         Box::pin(std::future::ready(Ok(batch)))
/// #     }
/// # }
///
/// let source = AnySource::new::<Json>(Empty);
/// assert_eq!(format!("{source:?}"), "AnySource(Json)");
/// assert!(source.typed::<Json>().is_some());
/// ```
pub struct AnySource {
    record: RecordType,
    inner: Box<dyn Any + Send>,
}

impl AnySource {
    /// Wraps a typed source.
    ///
    /// ```
    /// use watermill_core::broker::{AnySource, Batch, BoxFuture, InputEnd, Places, Source};
    /// # use watermill_core::error::BrokerError;
    /// use watermill_core::record::Json;
    ///
    /// struct Empty;
    /// # impl Source<Json> for Empty {
    /// #     fn next(&mut self) -> BoxFuture<'_, Result<Batch<Json>, BrokerError>> {
    /// #         let mut batch = Batch::new(Vec::new(), Places::memory(0, 0));
    /// #         batch.end = Some(InputEnd::Exhausted);
    /// #         Box::pin(std::future::ready(Ok(batch)))
    /// #     }
    /// # }
    ///
    /// let sources = vec![AnySource::new::<Json>(Empty), AnySource::new::<Json>(Empty)];
    /// assert_eq!(sources.len(), 2);
    /// ```
    #[must_use]
    pub fn new<R: StreamRecord>(source: impl Source<R> + 'static) -> Self {
        let typed: Box<dyn Source<R>> = Box::new(source);
        Self { record: RecordType::of::<R>(), inner: Box::new(typed) }
    }

    /// The typed source, if it is one of `R`.
    ///
    /// ```
    /// use watermill_core::broker::{AnySource, Batch, BoxFuture, InputEnd, Places, Source};
    /// # use watermill_core::error::BrokerError;
    /// use watermill_core::record::Json;
    ///
    /// struct Empty;
    /// # impl Source<Json> for Empty {
    /// #     fn next(&mut self) -> BoxFuture<'_, Result<Batch<Json>, BrokerError>> {
    /// #         let mut batch = Batch::new(Vec::new(), Places::memory(0, 0));
    /// #         batch.end = Some(InputEnd::Exhausted);
    /// #         Box::pin(std::future::ready(Ok(batch)))
    /// #     }
    /// # }
    ///
    /// # extern crate watermill_core as watermill;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// assert!(AnySource::new::<Json>(Empty).typed::<Reading>().is_none());
    /// ```
    #[must_use]
    pub fn typed<R: StreamRecord>(self) -> Option<Box<dyn Source<R>>> {
        self.inner.downcast::<Box<dyn Source<R>>>().ok().map(|inner| *inner)
    }
}

impl fmt::Debug for AnySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnySource({})", self.record)
    }
}

/// A sink whose record type is known only to the engine's typed parts.
///
/// ```
/// use watermill_core::broker::{AnySink, BoxFuture, Sink};
/// # use watermill_core::error::BrokerError;
/// use watermill_core::record::Json;
///
/// struct Forget;
/// # impl Sink<Json> for Forget {
/// #     fn write(&mut self, _: Vec<Json>) -> BoxFuture<'_, Result<(), BrokerError>> {
/// #         Box::pin(std::future::ready(Ok(())))
/// #     }
/// # }
///
/// let sink = AnySink::new::<Json>(Forget);
/// assert_eq!(format!("{sink:?}"), "AnySink(Json)");
/// assert!(sink.typed::<Json>().is_some());
/// ```
pub struct AnySink {
    record: RecordType,
    inner: Box<dyn Any + Send>,
}

impl AnySink {
    /// Wraps a typed sink.
    ///
    /// ```
    /// use watermill_core::broker::{AnySink, BoxFuture, Sink};
    /// # use watermill_core::error::BrokerError;
    /// use watermill_core::record::Json;
    ///
    /// struct Forget;
    /// # impl Sink<Json> for Forget {
    /// #     fn write(&mut self, _: Vec<Json>) -> BoxFuture<'_, Result<(), BrokerError>> {
    /// #         Box::pin(std::future::ready(Ok(())))
    /// #     }
    /// # }
    ///
    /// let sinks = vec![AnySink::new::<Json>(Forget), AnySink::new::<Json>(Forget)];
    /// assert_eq!(sinks.len(), 2);
    /// ```
    #[must_use]
    pub fn new<R: StreamRecord>(sink: impl Sink<R> + 'static) -> Self {
        let typed: Box<dyn Sink<R>> = Box::new(sink);
        Self { record: RecordType::of::<R>(), inner: Box::new(typed) }
    }

    /// The typed sink, if it is one of `R`.
    ///
    /// ```
    /// use watermill_core::broker::{AnySink, BoxFuture, Sink};
    /// # use watermill_core::error::BrokerError;
    /// use watermill_core::record::Json;
    ///
    /// struct Forget;
    /// # impl Sink<Json> for Forget {
    /// #     fn write(&mut self, _: Vec<Json>) -> BoxFuture<'_, Result<(), BrokerError>> {
    /// #         Box::pin(std::future::ready(Ok(())))
    /// #     }
    /// # }
    ///
    /// # extern crate watermill_core as watermill;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// assert!(AnySink::new::<Json>(Forget).typed::<Reading>().is_none());
    /// ```
    #[must_use]
    pub fn typed<R: StreamRecord>(self) -> Option<Box<dyn Sink<R>>> {
        self.inner.downcast::<Box<dyn Sink<R>>>().ok().map(|inner| *inner)
    }
}

impl fmt::Debug for AnySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnySink({})", self.record)
    }
}
