//! Fetching: one client for many partitions, each with a queue of its own.
//!
//! A queue of its own, because a merge reads from the stream that lags behind: a queue that all partitions share would deliver one of them far ahead of the other.
//! One client reads a partition once. Where several nodes of a mill read the same one, at different places, each has its own client.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use watermill_core::error::BrokerError;

use crate::closing::close;
use crate::context::{Context, Ends, Health};
use crate::failure::{client_failure, failure};
use crate::native::Queue;
use crate::options::Options;

/// How soon it is seen that the run is over.
const POLL: Duration = Duration::from_millis(25);

/// A client that fetches.
pub(crate) struct Fetcher {
    consumer: Arc<BaseConsumer<Context>>,
    health: Health,
    ends: Ends,
    /// Assignments are changed by one at a time.
    assigning: Mutex<()>,
    /// Those who may wait for messages, to be woken when none will come.
    waiting: Arc<Mutex<Vec<Weak<Notify>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fetcher {
    /// `topic` is one that it reads.
    pub(crate) fn new(options: &Options, health: &Health, topic: &str) -> Result<Arc<Self>, BrokerError> {
        let ends = Ends::default();
        let context = Context {
            health: health.sibling(),
            ends: Some(ends.clone()),
            statistics_are_own: options.statistics.is_none(),
            ..Context::default()
        };
        let health = context.health.clone();
        let place = format!("`{}`", options.servers);
        let consumer: BaseConsumer<Context> = options
            .fetcher()
            .create_with_context(context)
            .map_err(|cause| client_failure("make a client for", &place, cause))?;
        let consumer = Arc::new(consumer);
        let stop = Arc::new(AtomicBool::new(false));
        let waiting = Arc::new(Mutex::new(Vec::new()));
        let server = Server {
            consumer: Arc::clone(&consumer),
            stop: Arc::clone(&stop),
            health: health.clone(),
            waiting: Arc::clone(&waiting),
            topic: topic.to_owned(),
        };
        let thread = std::thread::Builder::new()
            .name("watermill-events".to_owned())
            .spawn(move || server.serve())
            .map_err(|cause| failure("make a client for", &place, cause))?;
        Ok(Arc::new(Self {
            consumer,
            health,
            ends,
            assigning: Mutex::new(()),
            waiting,
            stop,
            thread: Some(thread),
        }))
    }

    /// Begins to fetch a partition at `offset`.
    pub(crate) fn open(
        self: &Arc<Self>,
        topic: &str,
        partition: i32,
        offset: u64,
    ) -> Result<Fetched, BrokerError> {
        let place = format!("topic `{topic}`, partition {partition}");
        let asked = |cause| client_failure("read", &place, cause);
        // Before it is assigned: what is fetched then goes to this queue from the first message on.
        let mut callback = self
            .consumer
            .split_partition_queue(topic, partition)
            .ok_or_else(|| failure("read", &place, "there is no such partition"))?;
        let queue = Queue::of(&self.consumer, topic, partition)
            .ok_or_else(|| failure("read", &place, "there is no such partition"))?;
        let more = Arc::new(Notify::new());
        let notify = Arc::clone(&more);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiting| waiting.strong_count() > 0);
        waiting.push(Arc::downgrade(&more));
        drop(waiting);
        callback.set_nonempty_callback(move || notify.notify_one());
        let mut list = TopicPartitionList::new();
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(asked)?;
        let assigning = self.assigning.lock().unwrap_or_else(PoisonError::into_inner);
        self.consumer.incremental_assign(&list).map_err(asked)?;
        drop(assigning);
        let end = self.ends.follow(topic, partition);
        Ok(Fetched { queue, _callback: callback, more, end, fetcher: Arc::clone(self), list })
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }
}

impl Fetcher {
    /// It is needed no more. Dropping waits until it is closed; those that were told before close at the same time.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic was told by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Takes what belongs to no partition.
struct Server {
    consumer: Arc<BaseConsumer<Context>>,
    stop: Arc<AtomicBool>,
    health: Health,
    waiting: Arc<Mutex<Vec<Weak<Notify>>>>,
    topic: String,
}

impl Server {
    /// Errors and statistics go to the context.
    fn serve(&self) {
        while !self.stop.load(Ordering::Acquire) {
            match self.consumer.poll(POLL) {
                Some(Err(error)) => self.health.told(&error, &error.to_string()),
                Some(Ok(_)) => {
                    tracing::error!(target: "watermill", "a message came that belongs to no queue");
                }
                None => {}
            }
            self.health.look(|time| self.consumer.fetch_metadata(Some(&self.topic), time).is_ok());
            if self.health.down_for().is_some() || self.health.fatal().is_some() {
                // They look for themselves whether it has been too long.
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.iter().filter_map(Weak::upgrade).for_each(|waiting| waiting.notify_one());
            }
        }
        close(&self.consumer);
    }
}

/// A partition that is fetched.
pub(crate) struct Fetched {
    pub(crate) queue: Queue,
    /// Wakes who waits; the messages are taken by `queue`.
    _callback: PartitionQueue<Context>,
    /// Notified when the queue is not empty any more.
    pub(crate) more: Arc<Notify>,
    /// Where it ends, as far as that was told; 0 before.
    pub(crate) end: Arc<AtomicU64>,
    fetcher: Arc<Fetcher>,
    list: TopicPartitionList,
}

impl Fetched {
    pub(crate) fn health(&self) -> &Health {
        self.fetcher.health()
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let assigning = self.fetcher.assigning.lock().unwrap_or_else(PoisonError::into_inner);
        let result: Result<(), KafkaError> = self.fetcher.consumer.incremental_unassign(&self.list);
        drop(assigning);
        if let Err(error) = result {
            tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "not unassigned");
        }
    }
}
