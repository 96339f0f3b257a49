//! Several lanes, whose results all go to the same outputs: the partitions of a topic into one file.
//!
//! What a lane writes waits until its commit. Then it goes to the writers, and all of it is made durable together with the positions of this lane and
//! those that the other lanes had at their last commits. So the outputs hold at any commit what every lane has committed, and no more; the results of one lane
//! are in their order. The outputs are complete when every lane is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use watermill_core::broker::{AnySink, BoxFuture, Checkpoint, Committer, Lane, LaneOutputs, Sink};
use watermill_core::error::BrokerError;
use watermill_core::record::StreamRecord;

use crate::committer::FileCommitter;
use crate::failure::failure;
use crate::sink::FileSink;
use crate::state_file::LaneRecord;

/// So many results of a lane may wait before it commits early.
const MOST_WAITING: usize = 64 * 1024;

/// The outputs of a run, shared by its lanes.
pub(crate) struct SharedOutputs {
    committer: FileCommitter,
    /// For each lane what it has committed.
    lanes: BTreeMap<u32, LaneRecord>,
    count: u32,
    /// How many lanes are walked.
    open: u32,
    /// An error has left them in a state that is known only to the next run.
    broken: bool,
}

/// As lanes and their session hold them.
pub(crate) type Shared = Arc<tokio::sync::Mutex<SharedOutputs>>;

impl SharedOutputs {
    pub(crate) fn new(committer: FileCommitter, lanes: BTreeMap<u32, LaneRecord>, count: u32) -> Shared {
        Arc::new(tokio::sync::Mutex::new(Self { committer, lanes, count, open: 0, broken: false }))
    }

    /// No lane is walked any more, and the outputs are let go of: they have to be opened anew.
    pub(crate) fn is_closed(&self) -> bool {
        self.open == 0 && self.committer.finished
    }

    /// Opens `lane` on these outputs.
    pub(crate) fn open_lane(&mut self, lane: &Lane, shared: &Shared) -> LaneOutputs {
        let resume = self.lanes.get(&lane.index).map(LaneRecord::checkpoint);
        // One that has ended is not walked.
        self.open += u32::from(!resume.as_ref().is_some_and(|checkpoint| checkpoint.finished));
        let (mut sinks, mut waiting) = (Vec::new(), Vec::new());
        for output in &self.committer.outputs {
            let (sink, buffer) = output.writer.for_lane();
            sinks.push(sink);
            waiting.push(buffer);
        }
        let committer =
            Box::new(LaneCommitter { lane: lane.index, waiting, shared: Some(Arc::clone(shared)) });
        LaneOutputs { sinks, committer, resume }
    }

    async fn commit(
        &mut self,
        lane: u32,
        waiting: &mut [Box<dyn LaneBuffer>],
        checkpoint: &Checkpoint,
    ) -> Result<(), BrokerError> {
        if self.broken {
            return Err(failure("commit", "the outputs", "an earlier commit of another lane has failed"));
        }
        self.broken = true;
        for buffer in waiting {
            buffer.release().await?;
        }
        let inputs = self.committer.input_states(&checkpoint.positions)?;
        let record = LaneRecord {
            lane,
            finished: checkpoint.finished,
            inputs,
            ended: checkpoint.ended_outputs.clone(),
            window: checkpoint.window.clone(),
        };
        self.lanes.insert(lane, record);
        let mut whole = Checkpoint::default();
        whole.finished =
            self.lanes.len() >= self.count as usize && self.lanes.values().all(|lane| lane.finished);
        let ended = |output: usize| {
            self.lanes.len() >= self.count as usize
                && self.lanes.values().all(|lane| lane.ended.get(output).copied().unwrap_or(false))
        };
        whole.ended_outputs = (0..self.committer.outputs.len()).map(ended).collect();
        self.committer.lanes = self.lanes.values().cloned().collect();
        self.committer.commit_all(&whole).await?;
        self.broken = false;
        Ok(())
    }

    /// A lane is not walked any more. With the last one the outputs are let go of.
    async fn close_lane(&mut self) -> Result<(), BrokerError> {
        self.open = self.open.saturating_sub(1);
        if self.open > 0 || self.committer.finished {
            return Ok(());
        }
        let result = self.committer.abort().await;
        self.committer.finished = true;
        result
    }
}

/// The commits of one lane.
struct LaneCommitter {
    lane: u32,
    /// For each output what waits for the next commit.
    waiting: Vec<Box<dyn LaneBuffer>>,
    /// `None` when the lane was let go of.
    shared: Option<Shared>,
}

impl Committer for LaneCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let Some(shared) = &self.shared else {
                return Err(failure("commit", "the outputs", "the lane was let go of"));
            };
            let mut shared = shared.lock().await;
            let result = shared.commit(self.lane, &mut self.waiting, checkpoint).await;
            if checkpoint.finished && result.is_ok() {
                shared.open = shared.open.saturating_sub(1);
                drop(shared);
                self.shared = None;
            }
            result
        })
    }

    fn is_full(&self) -> bool {
        self.waiting.iter().any(|buffer| buffer.len() >= MOST_WAITING)
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.waiting.clear();
            match self.shared.take() {
                Some(shared) => shared.lock().await.close_lane().await,
                None => Ok(()),
            }
        })
    }
}

/// What a lane has written to one output since its last commit.
pub(crate) trait LaneBuffer: Send {
    /// Hands it to the writer.
    fn release(&mut self) -> BoxFuture<'_, Result<(), BrokerError>>;
    fn len(&self) -> usize;
}

/// Results that wait for the commit of their lane.
type Waiting<R> = Arc<Mutex<Vec<R>>>;

/// What a lane writes to.
struct LaneSink<R>(Waiting<R>);

impl<R: StreamRecord> Sink<R> for LaneSink<R> {
    fn write(&mut self, mut results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut results);
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Buffer<R> {
    waiting: Waiting<R>,
    sink: FileSink<R>,
}

impl<R: StreamRecord> LaneBuffer for Buffer<R> {
    fn release(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        let results = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        self.sink.write(results)
    }

    fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A sink for one lane, and what it waits in.
pub(crate) fn for_lane<R: StreamRecord>(sink: FileSink<R>) -> (AnySink, Box<dyn LaneBuffer>) {
    let waiting = Waiting::default();
    (AnySink::new::<R>(LaneSink(Arc::clone(&waiting))), Box::new(Buffer { waiting, sink }))
}
