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
mod catalog;
pub mod codec;
pub(crate) mod feed;
pub mod memory;
mod pair;
mod position;

pub use crate::origin::Origin;
pub use batch::{Batch, Fault, Headers, InputEnd, Offsets, Places};
pub use catalog::{AnySink, AnySource, Catalog, InputDecl, InputRequest, Job, OutputDecl, OutputRequest};
pub use pair::{BrokerExt, Pair};
pub use position::{Checkpoint, LastRecord, Position};

use std::future::Future;
use std::pin::Pin;

use crate::error::BrokerError;

/// A boxed future, as the contracts return it. Allocated per batch or rarer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A storage of streams, with the streams that were declared on it.
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

/// One run of one mill on one broker.
pub trait Session: Send {
    /// The next lane this process is to walk, or `None` when there are no more. Asked only of the broker that reads the
    /// master; a broker without partitions hands out lane 0 once.
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>>;

    /// Opens the outputs of `lane`: a sink for each of [`Job::outputs`], in that order, and what commits them.
    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>>;

    /// Opens the inputs of `lane`: a source for each of [`Job::inputs`], in that order. `from` holds, in the same order, where
    /// the last commit left each of them; `None` starts at the beginning. A source may begin at [`Position::last`] instead of
    /// [`Position::next`].
    fn sources<'a>(
        &'a mut self,
        lane: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>>;
}

/// One independent walk of the join tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Which one, from 0.
    pub index: u32,
    /// How many there are in all, over every process.
    pub count: u32,
}

/// The outputs of one lane.
pub struct LaneOutputs {
    /// A sink for each requested output, in the order of the request.
    pub sinks: Vec<AnySink>,
    /// Makes what the sinks were given durable, together with the positions of the inputs.
    pub committer: Box<dyn Committer>,
    /// What the last commit of this lane recorded.
    pub resume: Option<Checkpoint>,
}

/// Where the records of one stream come from.
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
}

/// Where the results of one type go.
pub trait Sink<R>: Send {
    /// Takes results in their order. They become visible with the next commit.
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>>;
}

/// Makes outputs and input positions durable in one step.
pub trait Committer: Send {
    /// All that the sinks were given until now and `checkpoint` become durable together, or neither does.
    ///
    /// When [`Checkpoint::finished`] is set this is the last commit of the lane: the streams of
    /// [`Checkpoint::ended_outputs`] get their EndOfStream in the same step, and a file appears under its name.
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// The lane stops without finishing: what was written since the last commit is dropped.
    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>>;
}
