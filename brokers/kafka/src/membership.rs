//! The group: which partitions of the master are this process's, and how they are given back.
//!
//! The member of the group fetches nothing. It is polled by a thread of its own and nothing else, so however long a function runs or a lane waits for
//! one of its inputs, the group sees that this process lives. Its partitions are paused as soon as they come.
//!
//! The thread does not wait for lanes that are to be given back either: it polls on, and tells the group when they are done. Only then does the group
//! give them to others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use watermill_core::error::BrokerError;

use crate::closing::close_within;
use crate::context::{Context, Health};
use crate::failure::{Told, client_failure, failure};
use crate::lanes::{Lanes, News};
use crate::options::Options;

/// How long a lane that is revoked may take to commit what it has done.
const FINISH_WITHIN: Duration = Duration::from_secs(30);

/// How soon it is seen that the run is over.
const POLL: Duration = Duration::from_millis(25);

/// How long the end of a run waits until the group has let go of its member.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// While lanes finish their work.
const POLL_SOON: Duration = Duration::from_millis(5);

/// The member of the group, and the lanes it was given.
pub(crate) struct Membership {
    consumer: Arc<BaseConsumer<MemberContext>>,
    stop: Arc<AtomicBool>,
    /// Told when the member has left the group.
    has_left: Mutex<Receiver<()>>,
}

impl Membership {
    /// Joins the group of the application for the partitions of `topic`.
    pub(crate) fn join(
        options: &Options,
        topic: &str,
        lanes: Lanes,
        health: &Health,
    ) -> Result<Self, BrokerError> {
        let context = MemberContext {
            inner: Context { health: health.sibling(), ..Context::default() },
            lanes: lanes.clone(),
            leaving: Mutex::new(None),
            closing: AtomicBool::new(false),
        };
        let health = context.inner.health.clone();
        let place = format!("the group `{}`", options.application);
        let consumer: BaseConsumer<MemberContext> = options
            .member()
            .create_with_context(context)
            .map_err(|cause| client_failure("join", &place, cause))?;
        consumer.subscribe(&[topic]).map_err(|cause| client_failure("join", &place, cause))?;
        let consumer = Arc::new(consumer);
        let stop = Arc::new(AtomicBool::new(false));
        let member = Member {
            consumer: Arc::clone(&consumer),
            stop: Arc::clone(&stop),
            lanes,
            health,
            retry_for: options.retry_for,
            topic: topic.to_owned(),
            place: place.clone(),
        };
        let (left, has_left) = channel();
        std::thread::Builder::new()
            .name("watermill-group".to_owned())
            .spawn(move || {
                member.stay();
                // Nobody listens where it took too long.
                let _ = left.send(());
            })
            .map_err(|cause| failure("join", &place, cause))?;
        Ok(Self { consumer, stop, has_left: Mutex::new(has_left) })
    }

    /// Who this is to the group, as of now: it goes into every transaction, so that the group can refuse those of a former member.
    pub(crate) fn handle(&self) -> MemberHandle {
        MemberHandle(Arc::clone(&self.consumer))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let has_left = self.has_left.lock().unwrap_or_else(PoisonError::into_inner);
        if has_left.recv_timeout(LEAVE_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(target: "watermill", "the group does not let this member go; it is left to do so by itself");
        }
    }
}

/// The member, for those who commit.
#[derive(Clone)]
pub(crate) struct MemberHandle(Arc<BaseConsumer<MemberContext>>);

impl MemberHandle {
    pub(crate) fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.0.group_metadata()
    }

    /// Commits offsets without a transaction.
    pub(crate) fn commit(&self, offsets: &TopicPartitionList) -> Result<(), KafkaError> {
        self.0.commit(offsets, rdkafka::consumer::CommitMode::Sync)
    }
}

/// What the member's thread has.
struct Member {
    consumer: Arc<BaseConsumer<MemberContext>>,
    stop: Arc<AtomicBool>,
    lanes: Lanes,
    health: Health,
    retry_for: Duration,
    topic: String,
    place: String,
}

impl Member {
    /// Polls until it is told to stop.
    fn stay(self) {
        let context = self.consumer.context();
        while !self.stop.load(Ordering::Acquire) {
            let pause = if context.is_giving_back() { POLL_SOON } else { POLL };
            // What comes is an error, told to the context too, or a message that was fetched before the partition was paused.
            if let Some(Err(error)) = self.consumer.poll(pause) {
                self.health.told(&error, &error.to_string());
                if let KafkaError::MessageConsumptionFatal(_) = &error {
                    self.lanes.tell(News::Failed(client_failure("stay in", &self.place, error)));
                    break;
                }
            }
            context.give_back(&self.consumer, false);
            self.lanes.give_again();
            self.health.look(|time| self.consumer.fetch_metadata(Some(&self.topic), time).is_ok());
            if let Some(reason) = self.health.hopeless(self.retry_for) {
                self.lanes.tell(News::Failed(failure("stay in", &self.place, Told(reason))));
                break;
            }
        }
        // Lanes that are still worked at are given back as they are; the run is over, so nobody waits for them.
        context.closing.store(true, Ordering::Release);
        context.give_back(&self.consumer, true);
        self.lanes.remove(&self.lanes.all());
        self.consumer.unsubscribe();
        // Closed here, and not wherever the last handle is dropped: in the middle of a rebalance this may take long, even for ever, and here nobody waits for
        // longer than makes sense.
        close_within(&self.consumer, None);
    }
}

/// The context of the member.
pub(crate) struct MemberContext {
    inner: Context,
    lanes: Lanes,
    /// What is to be given back to the group when nobody works at it any more. There is no other rebalance before that.
    leaving: Mutex<Option<Leaving>>,
    /// The member leaves: nothing is waited for.
    closing: AtomicBool,
}

struct Leaving {
    partitions: TopicPartitionList,
    lanes: Vec<u32>,
    until: Instant,
}

impl MemberContext {
    fn is_giving_back(&self) -> bool {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Gives back what is to be given back, if nobody works at it any more, or it has taken too long, or `now`.
    fn give_back(&self, consumer: &BaseConsumer<Self>, now: bool) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |leaving: &mut Leaving| {
            now || Instant::now() >= leaving.until || !self.lanes.are_busy(&leaving.lanes)
        };
        let Some(Leaving { partitions, lanes, .. }) = leaving.take_if(over) else { return };
        let late = self.lanes.remove(&lanes);
        if !late.is_empty() && !now {
            tracing::warn!(target: "watermill", lanes = ?late, "lanes took too long to finish their work; it is done again elsewhere");
        }
        unassign(consumer, &partitions);
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        self.inner.health.well();
        let result = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
            _ => consumer.assign(partitions),
        };
        // What it fetches is dropped when it cannot be paused.
        if let Err(error) = result.and_then(|()| consumer.pause(partitions)) {
            tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "not assigned, or not paused");
        }
        let lanes = lanes_of(partitions);
        if !lanes.is_empty() {
            tracing::info!(target: "watermill", ?lanes, "the group gives lanes");
        }
        for lane in lanes {
            self.lanes.give(lane);
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let lanes = lanes_of(partitions);
        let lost = consumer.assignment_lost();
        if !lanes.is_empty() {
            tracing::info!(target: "watermill", ?lanes, lost, "the group takes lanes back");
        }
        if lost || self.closing.load(Ordering::Acquire) {
            self.lanes.remove(&lanes);
            unassign(consumer, partitions);
            return;
        }
        self.lanes.revoke(&lanes);
        let until = Instant::now() + FINISH_WITHIN;
        let leaving = Leaving { partitions: partitions.clone(), lanes, until };
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaving);
        self.give_back(consumer, false);
    }
}

/// The answer to a revocation, without which the group waits.
fn unassign(consumer: &BaseConsumer<MemberContext>, partitions: &TopicPartitionList) {
    let result = match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        _ => consumer.unassign(),
    };
    if let Err(error) = result {
        tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "not unassigned");
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.inner.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.inner.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.inner.error(error, reason);
    }
}

fn lanes_of(partitions: &TopicPartitionList) -> Vec<u32> {
    partitions.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, partitions),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoked(consumer, partitions),
            error => {
                let error = KafkaError::Rebalance(RDKafkaErrorCode::from(error));
                tracing::warn!(target: "watermill", error = &error as &dyn std::error::Error, "the group could not be divided anew");
                self.lanes.remove(&lanes_of(partitions));
                unassign(consumer, partitions);
            }
        }
    }
}
