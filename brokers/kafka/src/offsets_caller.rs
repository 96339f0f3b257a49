//! Offsets are added to a transaction by a thread of its own, from which an answer is waited for only so long.
//!
//! The call takes a time limit, but librdkafka (2.12) does not heed it while it looks for the group's coordinator: when that was asked for at the moment at which
//! one server goes and another takes over, the call may wait for ever. Then the thread is left to it, with the producer, and a new producer takes
//! the place of that one. Whatever the call does later, it is fenced.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};

use crate::context::Context;

/// How long the call may take.
const CALL: Duration = Duration::from_secs(5);

/// How much later its answer is not waited for any more.
const GRACE: Duration = Duration::from_secs(1);

/// The thread.
pub(crate) struct OffsetsCaller {
    jobs: Sender<Job>,
    answers: Receiver<Result<(), KafkaError>>,
}

/// One call.
struct Job {
    producer: Arc<BaseProducer<Context>>,
    offsets: TopicPartitionList,
    group: Arc<ConsumerGroupMetadata>,
    within: Duration,
}

impl OffsetsCaller {
    pub(crate) fn start(lane: u32) -> io::Result<Self> {
        let (jobs, work) = channel::<Job>();
        let (answer, answers) = channel();
        // It ends when the other ends of the channels are gone.
        let serve = move || {
            while let Ok(Job { producer, offsets, group, within }) = work.recv() {
                let result = producer.send_offsets_to_transaction(&offsets, &group, within);
                // Before the answer: who gets it may let go of the producer, and then is the last one to do so.
                drop(producer);
                if answer.send(result).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name(format!("watermill-txn-{lane}")).spawn(serve)?;
        Ok(Self { jobs, answers })
    }

    /// Has the call made, which is given no more than `within`. Returns until when its answer is to be waited for.
    pub(crate) fn begin(
        &self,
        producer: &Arc<BaseProducer<Context>>,
        offsets: &TopicPartitionList,
        group: Arc<ConsumerGroupMetadata>,
        within: Duration,
    ) -> Instant {
        let within = within.min(CALL);
        let job = Job { producer: Arc::clone(producer), offsets: offsets.clone(), group, within };
        // Where the thread is gone, no answer comes.
        let _ = self.jobs.send(job);
        Instant::now() + within + GRACE
    }

    /// What came of it. `None` when no answer comes: then this and the producer are of no use any more.
    pub(crate) fn answer(&self, until: Instant) -> Option<Result<(), KafkaError>> {
        self.answers.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }
}
