//! [`MemoryBroker`]: streams of vectors.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    AnySink, AnySource, Batch, BoxFuture, Broker, Catalog, Checkpoint, Committer, InputDecl, InputEnd, Job,
    Lag, Lane, LaneOutputs, OutputDecl, Places, Position, Session, Sink, Source,
};
use crate::error::BrokerError;
use crate::record::{RecordType, StreamRecord};

/// Reads vectors and collects results: for tests and small jobs.
///
/// Results appear in their [`Collected`] with the commit that ends the run, or not at all.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Number { value: i64 }
///
/// let doubled = Collected::<Number>::new();
/// let broker = MemoryBroker::new().read(vec![Number { value: 2 }]).write(&doubled);
/// Mill::new(|number: &Number| Number { value: number.value * 2 }).run_blocking(broker)?;
/// assert_eq!(doubled.take(), [Number { value: 4 }]);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Default)]
pub struct MemoryBroker {
    inputs: Vec<MemoryInput>,
    outputs: Vec<MemoryOutput>,
    batch: Option<usize>,
}

struct MemoryInput {
    decl: InputDecl,
    /// Takes the records out, once, as a source that starts at the given index.
    open: Mutex<Option<OpenSource>>,
}

/// Makes a source of batches of a size, from an index on.
type OpenSource = Box<dyn FnOnce(usize, u64) -> AnySource + Send>;

struct MemoryOutput {
    decl: OutputDecl,
    open: Box<dyn Fn() -> (AnySink, Box<dyn Publish>) + Send + Sync>,
}

/// Records that a mill has written: what a test looks at.
///
/// Clones share what is collected.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Number { value: i64 }
///
/// let kept = Collected::<Number>::new();
/// let broker = MemoryBroker::new().read(vec![Number { value: 2 }]).write(&kept);
/// let fail = |number: &Number| if number.value < 0 { Ok(Number { value: 0 }) } else { Err("not negative") };
/// assert!(Mill::new(fail).run_blocking(broker).is_err());
/// // Nothing of a run that failed.
/// assert!(kept.take().is_empty());
/// ```
pub struct Collected<R> {
    records: Arc<Mutex<Vec<R>>>,
}

impl<R> Clone for Collected<R> {
    fn clone(&self) -> Self {
        Self { records: Arc::clone(&self.records) }
    }
}

impl<R> Default for Collected<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Collected<R> {
    /// Nothing collected yet.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// assert!(Collected::<Json>::new().take().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { records: Arc::default() }
    }

    /// Takes all that was committed.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # let kept = Collected::<Number>::new();
    /// # let broker = MemoryBroker::new().read(vec![Number { value: 2 }]).write(&kept);
    /// Mill::new(|number: &Number| Number { value: number.value }).run_blocking(broker)?;
    /// assert_eq!((kept.take().len(), kept.take().len()), (1, 0));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn take(&self) -> Vec<R> {
        std::mem::take(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MemoryBroker {
    /// A broker without streams.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// assert_eq!(MemoryBroker::new().catalog()?.inputs.len(), 0);
    /// # Ok::<(), watermill_core::RunError>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `records` as the stream of `R`. They can be read by one run.
    ///
    /// ```
    /// # use watermill_core::prelude::*;
    /// let events = vec![Json(serde_json::json!({"time": 1})), Json(serde_json::json!({"time": 2}))];
    /// let report = Mill::new(|_: &Json| ()).run_blocking(MemoryBroker::new().read(events))?;
    /// assert_eq!(report.inputs[0].records, 2);
    /// # Ok::<(), watermill_core::RunError>(())
    /// ```
    #[must_use]
    pub fn read<R: StreamRecord>(self, records: Vec<R>) -> Self {
        self.declare(None, records)
    }

    /// Reads `records` as a stream of `R` with a name, for record types that are read from several streams.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sound { frame: u32 }
    /// # #[derive(StreamRecord)] struct Picture { frame: u32 }
    /// let broker = MemoryBroker::new()
    ///     .read(vec![Sound { frame: 1 }])
    ///     .read_as("left", vec![Picture { frame: 1 }])
    ///     .read_as("right", vec![Picture { frame: 2 }]);
    /// let mill = Mill::new(|_: &Sound, seen: &Joined<Sound, Picture>| assert_eq!(seen.only().len(), 1))
    ///     .join(JoinWith::new(Sound::fields().frame, Picture::fields().frame).from("left"));
    /// assert_eq!(mill.run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn read_as<R: StreamRecord>(self, name: &str, records: Vec<R>) -> Self {
        self.declare(Some(name.to_owned()), records)
    }

    /// Collects results of `R` in `collected`.
    ///
    /// Every result stream of a mill needs one; to look at none of it, leave the [`Collected`] alone.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Half { value: i64 }
    ///
    /// let halves = Collected::<Half>::new();
    /// let broker = MemoryBroker::new().read([4, 6].map(|value| Number { value }).into()).write(&halves);
    /// Mill::new(|number: &Number| Half { value: number.value / 2 }).run_blocking(broker)?;
    /// assert_eq!(halves.take(), [Half { value: 2 }, Half { value: 3 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn write<R: StreamRecord>(mut self, collected: &Collected<R>) -> Self {
        let target = collected.clone();
        self.outputs.push(MemoryOutput {
            decl: OutputDecl { record: RecordType::of::<R>(), location: "memory".to_owned() },
            open: Box::new(move || {
                let written = Arc::new(Mutex::new(Vec::new()));
                let sink = MemorySink { written: Arc::clone(&written) };
                let publish = Publisher { written, target: target.clone() };
                (AnySink::new::<R>(sink), Box::new(publish))
            }),
        });
        self
    }

    /// Hands over at most `records` records at a time; the default is 4096. At least one.
    ///
    /// Small batches show whether a function copes with groups that straddle them.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Line { order: u32 }
    /// let broker = MemoryBroker::new()
    ///     .read(vec![Order { id: 1 }])
    ///     .read([1, 1, 1].map(|order| Line { order }).into())
    ///     .batch(2);
    /// let mill = Mill::new(|order: &Order, lines: &Joined<Order, Line>| {
    ///     assert_eq!((lines[order].len(), lines[order].as_slice().is_none()), (3, true));
    /// });
    /// mill.join(JoinWith::new(Order::fields().id, Line::fields().order)).run_blocking(broker)?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn batch(mut self, records: usize) -> Self {
        self.batch = Some(records.max(1));
        self
    }

    fn declare<R: StreamRecord>(mut self, name: Option<String>, records: Vec<R>) -> Self {
        let open: OpenSource = Box::new(|batch, from| {
            let total = records.len() as u64;
            let mut rest = records.into_iter();
            if let Some(skip) = usize::try_from(from).ok().and_then(|from| from.checked_sub(1)) {
                rest.nth(skip);
            }
            AnySource::new::<R>(MemorySource { rest, batch, next: from, total })
        });
        self.inputs.push(MemoryInput {
            decl: InputDecl { record: RecordType::of::<R>(), name, location: "memory".to_owned() },
            open: Mutex::new(Some(open)),
        });
        self
    }
}

impl Broker for MemoryBroker {
    fn name(&self) -> &str {
        "MemoryBroker"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        Ok(Catalog {
            inputs: self.inputs.iter().map(|input| input.decl.clone()).collect(),
            outputs: self.outputs.iter().map(|output| output.decl.clone()).collect(),
        })
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        Box::pin(async move {
            let mut inputs = Vec::with_capacity(job.inputs.len());
            for request in &job.inputs {
                let open = self
                    .inputs
                    .get(request.input)
                    .and_then(|input| input.open.lock().unwrap_or_else(PoisonError::into_inner).take());
                let Some(open) = open else {
                    return Err(BrokerError {
                        broker: self.name().to_owned(),
                        action: "open".to_owned(),
                        location: format!("stream `{}`", request.stream),
                        cause: "its records were read by an earlier run, or are asked for twice".into(),
                    });
                };
                inputs.push(open);
            }
            let outputs = job
                .outputs
                .iter()
                .filter_map(|request| self.outputs.get(request.output))
                .map(|output| (output.open)());
            let (sinks, publish) = outputs.unzip();
            let batch = self.batch.unwrap_or(4096);
            Ok(Box::new(MemorySession { inputs, batch, sinks, publish, handed_out: false })
                as Box<dyn Session>)
        })
    }
}

struct MemorySession {
    inputs: Vec<OpenSource>,
    batch: usize,
    sinks: Vec<AnySink>,
    publish: Vec<Box<dyn Publish>>,
    handed_out: bool,
}

impl Session for MemorySession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        let lane = (!self.handed_out).then_some(Lane { index: 0, count: 1 });
        self.handed_out = true;
        Box::pin(std::future::ready(Ok(lane)))
    }

    fn outputs<'a>(&'a mut self, _: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        let outputs = LaneOutputs {
            sinks: std::mem::take(&mut self.sinks),
            committer: Box::new(MemoryCommitter { publish: std::mem::take(&mut self.publish) }),
            resume: None,
        };
        Box::pin(std::future::ready(Ok(outputs)))
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        let inputs = std::mem::take(&mut self.inputs);
        let batch = self.batch;
        let sources = inputs.into_iter().enumerate().map(|(index, open)| {
            let from = from.get(index).and_then(Option::as_ref).map_or(0, |position| position.next);
            open(batch, from)
        });
        Box::pin(std::future::ready(Ok(sources.collect())))
    }
}

struct MemorySource<R> {
    rest: std::vec::IntoIter<R>,
    batch: usize,
    next: u64,
    total: u64,
}

impl<R: StreamRecord> Source<R> for MemorySource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        let records: Vec<R> = self.rest.by_ref().take(self.batch).collect();
        let count = records.len();
        let mut batch = Batch::new(records, Places::memory(self.next, count));
        batch.progress = count as u64;
        self.next += count as u64;
        if self.rest.as_slice().is_empty() {
            batch.end = Some(InputEnd::Exhausted);
        }
        Box::pin(std::future::ready(Ok(batch)))
    }

    fn size(&self) -> Option<u64> {
        Some(self.total)
    }

    fn lag(&self) -> Option<Lag> {
        Some(Lag::Records(self.rest.len() as u64))
    }
}

struct MemorySink<R> {
    written: Arc<Mutex<Vec<R>>>,
}

impl<R: StreamRecord> Sink<R> for MemorySink<R> {
    fn write(&mut self, mut results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).append(&mut results);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Moves what was written to where the test looks.
trait Publish: Any + Send {
    fn publish(&self);
    fn discard(&self);
}

struct Publisher<R> {
    written: Arc<Mutex<Vec<R>>>,
    target: Collected<R>,
}

impl<R: StreamRecord> Publish for Publisher<R> {
    fn publish(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        self.target.records.lock().unwrap_or_else(PoisonError::into_inner).append(&mut written);
    }

    fn discard(&self) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

struct MemoryCommitter {
    publish: Vec<Box<dyn Publish>>,
}

impl Committer for MemoryCommitter {
    fn commit<'a>(&'a mut self, _: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        for publish in &self.publish {
            publish.publish();
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        for publish in &self.publish {
            publish.discard();
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
