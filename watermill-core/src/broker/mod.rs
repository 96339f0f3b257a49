//! The broker contract: what a storage tells the engine.
//!
//! A broker tells three things: how to open a typed [`Source`] for a record type, how to open a [`Sink`], and how to make
//! "these outputs, and these positions of the inputs" durable in one step (a [`Committer`]). Sources hand over decoded
//! [`Batch`]es and where each record stood; the engine awaits only at batch boundaries, so the walk itself is plain
//! synchronous code. A mill never knows which broker it runs on.
//!
//! The life of a run:
//! 1. [`Broker::catalog`] says which streams were declared; the mill's plan picks the ones its function names and
//!    writes them into a [`Job`].
//! 2. [`Broker::open`] starts a [`Session`].
//! 3. The session of the broker that reads the master hands out lanes ([`Session::next_lane`]). A lane is one independent
//!    walk of the join tree: a partition, or everything a file broker has.
//! 4. For each lane the broker that writes opens its outputs ([`Session::outputs`]): they know the positions of the last
//!    commit. Every broker then opens its sources there ([`Session::sources`]).
//! 5. The engine loads batches, walks, writes, and commits: [`Committer::commit`] with a [`Checkpoint`].

mod batch;
mod call_log;
mod catalog;
pub mod codec;
pub(crate) mod feed;
pub mod memory;
mod ownership;
mod pair;
mod position;
mod tokens;

pub use crate::origin::Origin;
pub use batch::{Batch, Fault, Headers, InputEnd, Offsets, Places, RawRecords};
pub use call_log::{CallLog, EmittedWindow};
pub use catalog::{AnySink, AnySource, Catalog, InputDecl, InputRequest, Job, OutputDecl, OutputRequest};
pub use ownership::{Owned, Ownership};
pub use pair::{BrokerExt, Pair};
pub use position::{Checkpoint, FinishedRange, LastRecord, Position};
pub use tokens::{CountedOffsets, Tokens};

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::error::{BoxError, BrokerError, RecordPlace};

/// A boxed future, as the contracts return it. Allocated per batch or rarer.
///
/// ```
/// use watermill_core::broker::BoxFuture;
///
/// fn answer<'a>(question: &'a str) -> BoxFuture<'a, usize> {
///     Box::pin(async move { question.len() })
/// }
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// assert_eq!(runtime.block_on(answer("how long?")), 9);
/// # Ok::<(), std::io::Error>(())
/// ```
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A storage of streams, with the streams that were declared on it.
///
/// A broker can stand before another one:
///
/// ```
/// use watermill_core::broker::{BoxFuture, Catalog, Job, Session};
/// use watermill_core::error::BrokerError;
/// use watermill_core::prelude::*;
///
/// /// Refuses to write anything.
/// struct ReadOnly<B>(B);
///
/// impl<B: Broker> Broker for ReadOnly<B> {
///     fn name(&self) -> &str {
///         self.0.name()
///     }
///
///     fn catalog(&self) -> Result<Catalog, BrokerError> {
///         Ok(Catalog { outputs: Vec::new(), ..self.0.catalog()? })
///     }
///
///     fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
///         self.0.open(job)
///     }
/// }
///
/// let broker = || MemoryBroker::new().read(Vec::<Json>::new()).write(&Collected::<Json>::new());
/// assert_eq!(Mill::new(|_: &Json| ()).run_blocking(ReadOnly(broker()))?.calls, 0);
/// let error = Mill::new(|event: &Json| event.clone()).run_blocking(ReadOnly(broker())).unwrap_err();
/// assert!(error.to_string().contains("no broker writes the results `Json`"));
/// # Ok::<(), watermill_core::RunError>(())
/// ```
pub trait Broker: Send + Sync + 'static {
    /// What the broker is called in messages: `JsonFileBroker`.
    fn name(&self) -> &str;

    /// The streams that were declared on it.
    ///
    /// # Errors
    /// When the declarations contradict each other (one file as input and output), before anything is opened.
    fn catalog(&self) -> Result<Catalog, BrokerError>;

    /// Starts a run. `job` names the inputs and outputs this run needs from this broker, by their place in the catalog.
    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>>;
}

/// A broker that several runs have in hand.
impl<B: Broker + ?Sized> Broker for std::sync::Arc<B> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        (**self).catalog()
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        (**self).open(job)
    }
}

/// One run of one mill on one broker.
///
/// What the engine does with one, by hand:
///
/// ```
/// use watermill_core::broker::{InputRequest, Job, Source};
/// use watermill_core::prelude::*;
///
/// let broker = MemoryBroker::new().read(vec![Json(serde_json::json!({"time": 1}))]);
/// let job = Job {
///     inputs: vec![InputRequest { input: 0, stream: "Json".to_owned(), node: 0, keep_raw: false }],
///     ..Job::default()
/// };
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut session = broker.open(&job).await?;
/// let lane = session.next_lane().await?.expect("the first lane");
/// let mut outputs = session.outputs(&lane).await?;
/// let mut sources = session.sources(&lane, &[None]).await?;
/// let mut source = sources.remove(0).typed::<Json>().expect("a source of what was asked for");
/// assert_eq!(source.next().await?.records.len(), 1);
/// outputs.committer.abort().await?;
/// assert!(session.next_lane().await?.is_none());
/// # Ok::<(), watermill_core::RunError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Session: Send {
    /// The next lane this process is to walk, or `None` when there are no more, now or later; without any, the run ends with
    /// [`EndReason::EndedBefore`](crate::EndReason::EndedBefore). Asked only of the broker that reads the
    /// master; a broker without partitions hands out lane 0 once.
    ///
    /// While lanes are walked this is asked for more of them, and waits. Dropping the future must lose no lane.
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>>;

    /// How the broker takes `lane` back while it is walked, where it can. Asked once, of the broker that handed it out.
    fn ownership(&mut self, lane: &Lane) -> Option<Ownership> {
        let _ = lane;
        None
    }

    /// Opens the outputs of `lane`: a sink for each of [`Job::outputs`], in that order, and what commits them.
    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>>;

    /// Opens the inputs of `lane`: a source for each of [`Job::inputs`], in that order. `from` holds, in the same order, where
    /// the last commit left each of them; `None` starts at the beginning. A source may begin at [`Position::last`] instead of
    /// [`Position::next`], where that is before it.
    fn sources<'a>(
        &'a mut self,
        lane: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>>;
}

/// One independent walk of the join tree.
///
/// ```
/// use watermill_core::broker::Lane;
///
/// /// Which of several partitions a lane walks.
/// fn partitions(lane: &Lane, of: u32) -> Vec<u32> {
///     (lane.index..of).step_by(lane.count as usize).collect()
/// }
///
/// assert_eq!(partitions(&Lane { index: 1, count: 2 }, 6), [1, 3, 5]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Which one, from 0.
    pub index: u32,
    /// How many there are in all, over every process.
    pub count: u32,
}

/// The outputs of one lane.
///
/// ```
/// use watermill_core::broker::{BoxFuture, Checkpoint, Committer, LaneOutputs};
/// # use watermill_core::error::BrokerError;
///
/// /// For a mill without results.
/// struct Nothing;
/// # impl Committer for Nothing {
/// #     fn commit<'a>(&'a mut self, _: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
/// #         Box::pin(std::future::ready(Ok(())))
/// #     }
/// #     fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
/// #         Box::pin(std::future::ready(Ok(())))
/// #     }
/// # }
///
/// let outputs = LaneOutputs { sinks: Vec::new(), committer: Box::new(Nothing), resume: None };
/// // The lane has never committed: it starts at the beginning.
/// assert!(outputs.resume.is_none());
/// ```
pub struct LaneOutputs {
    /// A sink for each requested output, in the order of the request.
    pub sinks: Vec<AnySink>,
    /// Makes what the sinks were given durable, together with the positions of the inputs.
    pub committer: Box<dyn Committer>,
    /// What the last commit of this lane recorded.
    pub resume: Option<Checkpoint>,
}

/// Where the records of one stream come from.
///
/// ```
/// use watermill_core::broker::{Batch, BoxFuture, InputEnd, Places, Source};
/// use watermill_core::error::BrokerError;
/// use watermill_core::record::Json;
///
/// /// The numbers from 0 on, a hundred at a time.
/// struct Numbers { next: u64, total: u64 }
///
/// impl Source<Json> for Numbers {
///     fn next(&mut self) -> BoxFuture<'_, Result<Batch<Json>, BrokerError>> {
///         let end = self.total.min(self.next + 100);
///         let records: Vec<Json> = (self.next..end).map(|number| Json(number.into())).collect();
///         let mut batch = Batch::new(records, Places::memory(self.next, (end - self.next) as usize));
///         batch.end = (end == self.total).then_some(InputEnd::Exhausted);
///         self.next = end;
///         Box::pin(std::future::ready(Ok(batch)))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut numbers = Numbers { next: 0, total: 120 };
/// assert!(numbers.next().await?.end.is_none());
/// let rest = numbers.next().await?;
/// assert_eq!((rest.records.len(), rest.places.offset(0), rest.end), (20, 100, Some(InputEnd::Exhausted)));
/// # Ok::<(), watermill_core::RunError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Source<R>: Send {
    /// The next records, in stream order. An empty batch is allowed; after a batch with an
    /// [`end`](Batch::end) the source is not asked again.
    ///
    /// Dropping the future must not lose records: the engine may wait for several sources at once.
    ///
    /// # Errors
    /// When the storage fails. A record that cannot be decoded is not an error of the source but a
    /// [`Fault`] in its batch.
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>>;

    /// How many bytes (or other units) this source will deliver in all, as far as it can be known: for progress bars. Compared with
    /// the sum of [`Batch::progress`].
    fn size(&self) -> Option<u64> {
        None
    }

    /// The start of the text of the record that was delivered from `place`, short and on one line: for the message of a run that stops at
    /// its key. Asked once, so it may look into the storage again.
    fn excerpt(&self, place: &RecordPlace) -> Option<String> {
        let _ = place;
        None
    }

    /// How much is still to be read, as far as it is known now: for metrics. Asked after every batch, so it must be quick to tell.
    fn lag(&self) -> Option<Lag> {
        None
    }
}

/// How much of a stream is still to be read: [`Source::lag`].
///
/// ```
/// use watermill_core::broker::{Batch, BoxFuture, Lag, Source};
/// # use watermill_core::error::BrokerError;
/// # use watermill_core::record::Json;
///
/// /// The partition of a log, of which the offset behind its last record is known.
/// struct Partition { next: u64, end: u64 }
///
/// impl Source<Json> for Partition {
///     # fn next(&mut self) -> BoxFuture<'_, Result<Batch<Json>, BrokerError>> { Box::pin(std::future::pending()) }
///     // fn next(..)
///     fn lag(&self) -> Option<Lag> {
///         Some(Lag::Records(self.end - self.next))
///     }
/// }
///
/// assert_eq!(Partition { next: 30, end: 42 }.lag(), Some(Lag::Records(12)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// So many bytes.
    Bytes(u64),
    /// So many records.
    Records(u64),
}

/// Where the results of one type go.
///
/// ```
/// use watermill_core::broker::{BoxFuture, Sink};
/// use watermill_core::error::BrokerError;
/// use watermill_core::record::Json;
///
/// /// A line a result, shown by a committer when its time has come.
/// #[derive(Default)]
/// struct Text(String);
///
/// impl Sink<Json> for Text {
///     fn write(&mut self, results: Vec<Json>) -> BoxFuture<'_, Result<(), BrokerError>> {
///         for result in results {
///             self.0 += &format!("{}\n", *result);
///         }
///         Box::pin(std::future::ready(Ok(())))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut text = Text::default();
/// text.write(vec![Json(1.into()), Json(2.into())]).await?;
/// assert_eq!(text.0, "1\n2\n");
/// # Ok::<(), watermill_core::RunError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Sink<R>: Send {
    /// Takes results in their order. They become visible with the next commit.
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Waits until all that was written until now is encoded, and tells which results were left out since this was asked last. Only asked
    /// where [`OutputRequest::leave_out`] was set; a sink that never leaves a result out needs no code.
    ///
    /// # Errors
    /// When the storage fails.
    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// A result that a sink could not write, and left out.
///
/// ```
/// use watermill_core::broker::Refused;
///
/// let refused = Refused { number: 7, error: "it is larger than the topic allows".into() };
/// assert_eq!(refused.error.to_string(), "it is larger than the topic allows");
/// ```
#[derive(Debug)]
pub struct Refused {
    /// Its number among the results that this sink was given, from 0.
    pub number: u64,
    /// Why.
    pub error: BoxError,
}

/// Makes outputs and input positions durable in one step.
///
/// ```
/// use watermill_core::broker::{BoxFuture, Checkpoint, Committer, Position};
/// use watermill_core::error::BrokerError;
///
/// /// What was written, and what of it everybody sees, beside the positions that belong to it.
/// #[derive(Default)]
/// struct Table { written: Vec<u64>, seen: Vec<u64>, checkpoint: Checkpoint }
///
/// impl Committer for Table {
///     fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
///         self.seen.append(&mut self.written);
///         self.checkpoint = checkpoint.clone();
///         Box::pin(std::future::ready(Ok(())))
///     }
///
///     fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
///         self.written.clear();
///         Box::pin(std::future::ready(Ok(())))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut table = Table { written: vec![1, 2], ..Table::default() };
/// # let mut checkpoint = Checkpoint::default();
/// # checkpoint.positions = vec![Position::at(2)];
/// table.commit(&checkpoint).await?;
/// table.written.push(3);
/// table.abort().await?;
/// assert_eq!((table.seen.as_slice(), table.checkpoint.positions[0].next), (&[1, 2][..], 2));
/// # Ok::<(), watermill_core::RunError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Committer: Send {
    /// All that the sinks were given until now and `checkpoint` become durable together, or neither does.
    ///
    /// When [`Checkpoint::finished`] is set this is the last commit of the lane: the streams of
    /// [`Checkpoint::ended_outputs`] get their EndOfStream in the same step, and a file appears under its name.
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Waits until every commit is durable.
    ///
    /// [`commit`](Self::commit) may return while the disk is still written, so that the walk goes on meanwhile. Commits have to become durable in
    /// their order, one that fails fails the next call, and the last one of a lane that is [`finished`](Checkpoint::finished) returns when it is
    /// durable. A run that ends without finishing calls this before it reports what it has committed. The default has nothing to wait for.
    fn settle(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// How often suits this storage, where the mill does not say how often it commits.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// So much was written since the last commit that the next one should come soon. Asked every few calls.
    fn is_full(&self) -> bool {
        false
    }

    /// Where the engine tells which windows it calls the function for, if the broker wants to know; asked once, before the walk begins. The default does
    /// not: whoever does pays for it with each master.
    fn call_log(&self) -> Option<CallLog> {
        None
    }

    /// The lane stops without finishing: what was written since the last commit is dropped.
    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>>;
}
