//! The commit of a lane: results, EndOfStream marks and positions in one step.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use watermill_core::broker::{BoxFuture, Checkpoint, Committer, Owned};
use watermill_core::error::BrokerError;

use crate::failure::{client_failure, failure};
use crate::group::{Group, Layout, Recorded, Stands};
use crate::lanes::Walked;
use crate::marks;
use crate::offset_metadata::LaneState;
use crate::outbox::Message;
use crate::producer::{Commit, LaneProducer};
use crate::topics::may_pass;

/// What suits Kafka: a transaction takes some milliseconds.
const INTERVAL: Duration = Duration::from_millis(100);

/// The pause before offsets are committed once more.
const PAUSE: Duration = Duration::from_millis(50);

/// An output topic, as marks need to know it.
pub(crate) struct Ended {
    /// The place of its topic among those of the lane.
    pub(crate) topic: usize,
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) crosses_lanes: bool,
}

/// How positions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// With the results, in one transaction.
    Transaction,
    /// After the results have arrived, or where there are none.
    Offsets,
}

/// What commits a lane.
pub(crate) struct LaneCommitter {
    /// `None` while it commits.
    pub(crate) work: Option<Box<Work>>,
    /// The lane is given back when this goes.
    pub(crate) walked: Option<Arc<Walked>>,
    pub(crate) producer: Arc<Mutex<LaneProducer>>,
    pub(crate) most_uncommitted: usize,
    /// A lane that is let go of has no more for this run.
    pub(crate) until_current_end: bool,
}

/// What a commit needs, on a thread where it may block.
pub(crate) struct Work {
    pub(crate) layout: Layout,
    pub(crate) group: Group,
    pub(crate) delivery: Delivery,
    pub(crate) has_outputs: bool,
    pub(crate) outputs: Vec<Ended>,
    /// Which outputs have ended in commits before.
    pub(crate) ended: Vec<bool>,
    pub(crate) lanes: u32,
    pub(crate) state: LaneState,
    /// The offsets of the last commit.
    pub(crate) recorded: Recorded,
    pub(crate) producer: Arc<Mutex<LaneProducer>>,
    pub(crate) walked: Option<Arc<Walked>>,
    /// How long the servers may be gone.
    pub(crate) retry_for: Duration,
}

impl Work {
    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), BrokerError> {
        let shared = Arc::clone(&self.producer);
        let mut producer = shared.lock().unwrap_or_else(PoisonError::into_inner);
        self.put_marks(checkpoint, &mut producer);
        self.state.commit += 1;
        self.state.finished = checkpoint.finished;
        self.state.window.clone_from(&checkpoint.window);
        self.state.ended_outputs.clone_from(&checkpoint.ended_outputs);
        let offsets = self.layout.offsets(checkpoint, self.state.clone())?;
        match self.delivery {
            Delivery::Transaction => self.in_transaction(&mut producer, &offsets)?,
            Delivery::Offsets => {
                if self.has_outputs {
                    producer.send_all()?;
                }
                self.offsets_alone(&offsets)?;
            }
        }
        self.recorded = Recorded::of(&offsets);
        self.ended.clone_from(&checkpoint.ended_outputs);
        if checkpoint.finished
            && let Some(walked) = &self.walked
        {
            walked.done();
        }
        Ok(())
    }

    /// The marks of outputs that end with this commit. A topic that several of them are written to ends with the last one.
    fn put_marks(&self, checkpoint: &Checkpoint, producer: &mut LaneProducer) {
        for (number, output) in self.outputs.iter().enumerate() {
            let same = || self.outputs.iter().enumerate().filter(|(_, other)| other.name == output.name);
            let ended = |all: &[bool]| same().all(|(other, _)| all.get(other).copied().unwrap_or(false));
            let is_first = same().next().is_some_and(|(first, _)| first == number);
            if !is_first || !ended(&checkpoint.ended_outputs) || ended(&self.ended) {
                continue;
            }
            let crosses_lanes = same().any(|(_, other)| other.crosses_lanes);
            let text = marks::text(self.layout.lane, self.lanes, crosses_lanes);
            // Partitions that no lane has for its own are shared out, so that they end, too.
            let own = i32::try_from(self.layout.lane).unwrap_or(i32::MAX);
            let step = if crosses_lanes { 1 } else { self.lanes.max(1) as usize };
            let first = if crosses_lanes { 0 } else { own };
            for partition in (first..output.partitions).step_by(step) {
                let start = producer.outbox.bytes.len();
                producer.outbox.bytes.extend_from_slice(&text);
                let value = start..producer.outbox.bytes.len();
                let (key, timestamp, headers) = (None, None, None);
                let message = Message { topic: output.topic, partition, key, value, timestamp, headers };
                producer.outbox.messages.push(message);
            }
        }
    }

    fn in_transaction(
        &self,
        producer: &mut LaneProducer,
        offsets: &TopicPartitionList,
    ) -> Result<(), BrokerError> {
        let Self { layout, group, recorded, .. } = self;
        let is_lost = || self.walked.as_ref().is_some_and(|walked| walked.ownership().state() == Owned::Lost);
        let stands = |producer: &mut LaneProducer| {
            Ok(Stands::of(&producer.recorded(layout, group)?, recorded, offsets))
        };
        let result = producer.commit(&Commit { offsets, group, stands: &stands, is_lost: &is_lost });
        if let Some(walked) = self.walked.as_ref().filter(|_| producer.is_fenced()) {
            walked.fenced();
        }
        result
    }

    fn offsets_alone(&self, offsets: &TopicPartitionList) -> Result<(), BrokerError> {
        let place = || {
            format!("the offsets of the group `{}`, partition {}", self.layout.application, self.layout.lane)
        };
        let until = Instant::now() + self.retry_for;
        loop {
            let Err(error) = self.group.commit(offsets) else { return Ok(()) };
            let lost = self.walked.as_ref().is_some_and(|walked| walked.ownership().state() == Owned::Lost);
            // The group, or its server, may only be busy with something else.
            let busy =
                may_pass(&error) || error.rdkafka_error_code() == Some(RDKafkaErrorCode::RebalanceInProgress);
            if lost || !busy || Instant::now() >= until {
                return Err(client_failure("commit", place(), error));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Committer for LaneCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let gone =
                || failure("commit", "the results of a lane", "an earlier commit was given up in the middle");
            let mut work = self.work.take().ok_or_else(gone)?;
            let checkpoint = checkpoint.clone();
            let (work, result) = tokio::task::spawn_blocking(move || {
                let result = work.commit(&checkpoint);
                (work, result)
            })
            .await
            .map_err(|cause| failure("commit", "the results of a lane", cause))?;
            self.work = Some(work);
            result
        })
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn is_full(&self) -> bool {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).outbox.size() >= self.most_uncommitted
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.producer.lock().unwrap_or_else(PoisonError::into_inner).outbox.clear();
            if let (Some(walked), true) = (&self.walked, self.until_current_end) {
                // There is no more for this run; where it has failed instead, nobody asks any more.
                walked.done();
            }
            self.walked = None;
            Ok(())
        })
    }
}
