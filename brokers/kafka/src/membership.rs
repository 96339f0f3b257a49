//! The group: which partitions of the master are this process's, and how they are given back.
//!
//! The member of the group fetches nothing. It is polled by a thread of its own and nothing else, so however long a function runs or a lane waits for
//! one of its inputs, the group sees that this process lives. Its partitions are paused as soon as they come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use watermill_core::broker::Ownership;
use watermill_core::error::BrokerError;

use crate::context::{Context, Health};
use crate::failure::{Told, client_failure, failure};
use crate::options::Options;

/// How long a lane that is revoked may take to commit what it has done.
const FINISH_WITHIN: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(100);

/// The member of the group, and the lanes it was given.
pub(crate) struct Membership {
    consumer: Arc<BaseConsumer<MemberContext>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What comes from the group.
pub(crate) enum News {
    /// A partition of the master is this process's.
    Given(u32),
    /// Something has changed: lanes were taken.
    Changed,
    /// The member cannot go on.
    Failed(BrokerError),
}

/// The lanes that this process was given.
#[derive(Clone)]
pub(crate) struct Lanes(Arc<Table>);

struct Table {
    lanes: Mutex<BTreeMap<u32, Entry>>,
    released: Condvar,
    news: UnboundedSender<News>,
}

struct Entry {
    ownership: Ownership,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody walks it yet.
    Waiting,
    Walked,
    /// It has come to its end.
    Done,
}

impl Lanes {
    pub(crate) fn new() -> (Self, UnboundedReceiver<News>) {
        let (news, receive) = unbounded_channel();
        let table = Table { lanes: Mutex::default(), released: Condvar::new(), news };
        (Self(Arc::new(table)), receive)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<u32, Entry>> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: News) {
        // Nobody listens any more when the session is over.
        let _ = self.0.news.send(news);
    }

    pub(crate) fn give(&self, lane: u32) {
        self.table().insert(lane, Entry { ownership: Ownership::new(), stage: Stage::Waiting });
        self.tell(News::Given(lane));
    }

    pub(crate) fn ownership(&self, lane: u32) -> Option<Ownership> {
        Some(self.table().get(&lane)?.ownership.clone())
    }

    /// Somebody begins to walk `lane`; `None` when it was taken meanwhile.
    pub(crate) fn walk(&self, lane: u32) -> Option<Walked> {
        let mut table = self.table();
        let entry = table.get_mut(&lane)?;
        entry.stage = Stage::Walked;
        Some(Walked { lanes: self.clone(), lane, ownership: entry.ownership.clone() })
    }

    /// Whether there are lanes, and all of them have come to their end.
    pub(crate) fn all_done(&self) -> bool {
        let table = self.table();
        !table.is_empty() && table.values().all(|entry| entry.stage == Stage::Done)
    }

    fn set(&self, lane: u32, ownership: &Ownership, stage: Stage) {
        let mut table = self.table();
        // By another one of the same number it was taken and given again.
        if let Some(entry) = table.get_mut(&lane).filter(|entry| entry.ownership.is_same(ownership)) {
            entry.stage = stage;
        }
        drop(table);
        self.0.released.notify_all();
        self.tell(News::Changed);
    }

    /// Takes lanes back. Where there is `time`, they may commit what they have done.
    fn take(&self, lanes: &[u32], time: Option<Duration>) {
        let mut table = self.table();
        let taken = |table: &BTreeMap<u32, Entry>| {
            lanes.iter().any(|lane| table.get(lane).is_some_and(|entry| entry.stage == Stage::Walked))
        };
        for entry in lanes.iter().filter_map(|lane| table.get(lane)) {
            if time.is_some() && entry.stage == Stage::Walked {
                entry.ownership.revoke();
            } else {
                entry.ownership.lose();
            }
        }
        let until = Instant::now() + time.unwrap_or_default();
        while taken(&table) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            table = self.0.released.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        for lane in lanes {
            if let Some(entry) = table.remove(lane) {
                if entry.stage == Stage::Walked && time.is_some() {
                    tracing::warn!(target: "watermill", lane, "a lane took too long to finish its work; it is done again elsewhere");
                }
                entry.ownership.lose();
            }
        }
        drop(table);
        self.tell(News::Changed);
    }
}

/// A lane that is walked; it is given back when this goes.
pub(crate) struct Walked {
    lanes: Lanes,
    lane: u32,
    ownership: Ownership,
}

impl Walked {
    /// It has come to its end.
    pub(crate) fn done(&self) {
        self.lanes.set(self.lane, &self.ownership, Stage::Done);
    }

    pub(crate) fn ownership(&self) -> &Ownership {
        &self.ownership
    }
}

impl Drop for Walked {
    fn drop(&mut self) {
        let ended = self
            .lanes
            .table()
            .get(&self.lane)
            .is_some_and(|entry| entry.stage == Stage::Done && entry.ownership.is_same(&self.ownership));
        if !ended {
            self.lanes.set(self.lane, &self.ownership, Stage::Waiting);
        }
    }
}

impl Membership {
    /// Joins the group of the application for the partitions of `topic`.
    pub(crate) fn join(options: &Options, topic: &str, lanes: Lanes) -> Result<Self, BrokerError> {
        let context = MemberContext { inner: Context::default(), lanes: lanes.clone() };
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
            place: place.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("watermill-group".to_owned())
            .spawn(move || member.stay())
            .map_err(|cause| failure("join", &place, cause))?;
        Ok(Self { consumer, stop, thread: Some(thread) })
    }

    /// Who this is to the group, as of now: it goes into every transaction, so that the group can refuse those of a former member.
    pub(crate) fn handle(&self) -> MemberHandle {
        MemberHandle(Arc::clone(&self.consumer))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // Its panic was told by the panic hook.
            let _ = thread.join();
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
    place: String,
}

impl Member {
    /// Polls until it is told to stop.
    fn stay(self) {
        while !self.stop.load(Ordering::Acquire) {
            // What comes is an error, told to the context too, or a message that was fetched before the partition was paused.
            if let Some(Err(error)) = self.consumer.poll(POLL) {
                self.health.told(&error, &error.to_string());
                if let KafkaError::MessageConsumptionFatal(_) = &error {
                    self.lanes.tell(News::Failed(client_failure("stay in", &self.place, error)));
                    break;
                }
            }
            let down = self.health.down_for().is_some_and(|time| time > self.retry_for);
            if let Some(reason) = self.health.fatal().or_else(|| self.health.last().filter(|_| down)) {
                self.lanes.tell(News::Failed(failure("stay in", &self.place, Told(reason))));
                break;
            }
        }
        self.consumer.unsubscribe();
        // Lanes that are still walked are given back; the run is over, so nobody waits for them.
        let lanes: Vec<u32> = self.lanes.table().keys().copied().collect();
        self.lanes.take(&lanes, None);
    }
}

/// The context of the member.
pub(crate) struct MemberContext {
    inner: Context,
    lanes: Lanes,
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
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => {}
            Rebalance::Revoke(partitions) => {
                let lanes = lanes_of(partitions);
                let lost = consumer.assignment_lost();
                tracing::info!(target: "watermill", ?lanes, lost, "the group takes lanes back");
                self.lanes.take(&lanes, (!lost).then_some(FINISH_WITHIN));
            }
            Rebalance::Error(error) => {
                tracing::warn!(target: "watermill", error = error as &dyn std::error::Error, "the group could not be divided anew");
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(partitions) = rebalance else { return };
        self.inner.health.well();
        if let Err(error) = consumer.pause(partitions) {
            // What it fetches is dropped, then.
            tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "not paused");
        }
        let lanes = lanes_of(partitions);
        tracing::info!(target: "watermill", ?lanes, "the group gives lanes");
        for lane in lanes {
            self.lanes.give(lane);
        }
    }
}
