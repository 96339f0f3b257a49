//! Topics that one mark ends, in whichever of their partitions it stands: [`KafkaBroker::eos_per_topic`](crate::KafkaBroker::eos_per_topic).
//!
//! A source sees its own partition only, and the mark may be in one that another process reads. So while a source waits at the end of its partition, a
//! thread looks now and then at how the others end. A mark is seen when it is the last record of a partition; where records were written behind it, the
//! committed offsets tell that somebody has passed it.
//!
//! A mark may be faster than records that were sent before it to other partitions. So the others end where they end some time after it was seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use watermill_core::broker::codec::is_eos_mark;
use watermill_core::error::BrokerError;

use crate::failure::{client_failure, failure};
use crate::offset_metadata::OffsetMetadata;
use crate::peek::Peeker;
use crate::plan::RunPlan;
use crate::topics::{ANSWER_WITHIN, Looker};

/// The time between two looks.
const EVERY: Duration = Duration::from_millis(300);

/// So long after the mark was seen, all that was written before it is there.
const SETTLED: Duration = Duration::from_secs(1);

/// A look into the end of a partition begins so far before it, and goes further back where only control records stand there.
const BACK: u64 = 8;

/// The thread that looks.
pub(crate) struct TopicEnds {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    sources: Mutex<Vec<(String, Weak<TopicEnd>)>>,
    stop: AtomicBool,
}

/// The end of one partition, as its source needs it.
#[derive(Debug)]
pub(crate) struct TopicEnd {
    partition: i32,
    /// The source has read all that there is.
    waits: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The topic has ended, and this is behind its last record in this partition.
    end: Option<u64>,
    wake: Option<Arc<Notify>>,
}

impl TopicEnd {
    /// The source waits for more, or for the end; `wake` wakes it.
    pub(crate) fn wait(&self, wake: &Arc<Notify>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.wake.is_none() {
            known.wake = Some(Arc::clone(wake));
        }
        drop(known);
        self.waits.store(true, Ordering::Release);
    }

    /// The offset behind the last record before the end, once that is known.
    pub(crate) fn end(&self) -> Option<u64> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).end
    }

    fn ends_at(&self, end: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.end.get_or_insert(end);
        if let Some(wake) = &known.wake {
            wake.notify_one();
        }
    }
}

impl TopicEnds {
    pub(crate) fn start(plan: &RunPlan, looker: Arc<Looker>) -> Result<Self, BrokerError> {
        let shared = Arc::new(Shared::default());
        let mut watch = Watch {
            shared: Arc::clone(&shared),
            peeker: Peeker::new(&plan.options)?,
            looker,
            partitions: plan.partitions.clone(),
            nodes: plan.inputs.iter().map(|input| (input.input.topic.clone(), input.node)).collect(),
            begun: BTreeMap::new(),
            topics: BTreeMap::new(),
        };
        if plan.options.continue_after_eos {
            watch.begin(plan)?;
        }
        let thread = std::thread::Builder::new()
            .name("watermill-ends".to_owned())
            .spawn(move || watch.watch())
            .map_err(|cause| failure("watch", "the ends of topics", cause))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What the source of a partition has to be told.
    pub(crate) fn of(&self, topic: &str, partition: i32) -> Arc<TopicEnd> {
        let end = Arc::new(TopicEnd { partition, waits: AtomicBool::new(false), known: Mutex::default() });
        let mut sources = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|(_, source)| source.strong_count() > 0);
        sources.push((topic.to_owned(), Arc::downgrade(&end)));
        end
    }
}

impl Drop for TopicEnds {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its panic was told by the panic hook.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Watch {
    shared: Arc<Shared>,
    peeker: Peeker,
    looker: Arc<Looker>,
    partitions: BTreeMap<String, i32>,
    /// Which nodes of the mill read which topic.
    nodes: Vec<(String, usize)>,
    /// For each topic and partition, where the group stood when this run began, if it goes on behind the marks before.
    begun: BTreeMap<String, Vec<u64>>,
    topics: BTreeMap<String, Topic>,
}

/// What is known of a topic.
#[derive(Default)]
struct Topic {
    tails: Vec<Tail>,
    /// Since when a mark is known.
    marked: Option<Instant>,
}

/// How a partition ends.
#[derive(Debug, Clone, Copy, Default)]
struct Tail {
    /// Where it ended when it was looked at last.
    end: u64,
    /// Behind its last record.
    behind: u64,
    is_mark: bool,
}

/// What the group has committed of a partition.
#[derive(Debug, Clone, Copy, Default)]
struct Committed {
    offset: u64,
    /// A lane has passed a mark in it, in this run or before.
    marked: bool,
    /// The lane has come to its end.
    finished: bool,
}

impl Watch {
    fn watch(&mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            for (topic, sources) in self.waiting() {
                if let Err(error) = self.look(&topic, &sources) {
                    tracing::debug!(target: "watermill", topic, error = &error as &dyn std::error::Error, "no look at how it ends");
                }
            }
            std::thread::park_timeout(EVERY);
        }
    }

    /// The topics that somebody waits for, with all their sources that do not know the end yet.
    fn waiting(&self) -> BTreeMap<String, Vec<Arc<TopicEnd>>> {
        let mut topics: BTreeMap<String, Vec<Arc<TopicEnd>>> = BTreeMap::new();
        let sources = self.shared.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, source) in sources.iter() {
            if let Some(source) = source.upgrade().filter(|source| source.end().is_none()) {
                topics.entry(topic.clone()).or_default().push(source);
            }
        }
        topics.retain(|_, sources| sources.iter().any(|source| source.waits.load(Ordering::Acquire)));
        topics
    }

    fn look(&mut self, name: &str, sources: &[Arc<TopicEnd>]) -> Result<(), BrokerError> {
        let partitions = self.partitions.get(name).copied().unwrap_or(0);
        let mut topic = self.topics.remove(name).unwrap_or_default();
        let result = self.look_at(name, partitions, &mut topic, sources);
        self.topics.insert(name.to_owned(), topic);
        result
    }

    fn look_at(
        &self,
        name: &str,
        partitions: i32,
        topic: &mut Topic,
        sources: &[Arc<TopicEnd>],
    ) -> Result<(), BrokerError> {
        let settled = topic.marked.is_some_and(|since| since.elapsed() >= SETTLED);
        self.tails(name, partitions, &mut topic.tails)?;
        if settled {
            for source in sources {
                let tail = topic.tails.get(source.partition.unsigned_abs() as usize);
                source.ends_at(tail.map_or(0, |tail| tail.behind));
            }
            tracing::info!(target: "watermill", topic = name, "a mark in one of its partitions has ended it");
        } else if topic.marked.is_none() {
            let tails = topic.tails.iter().enumerate();
            let seen = tails.clone().any(|(at, tail)| tail.is_mark && tail.behind > self.begun(name, at));
            if seen || self.committed(name, partitions)?.iter().any(|lane| lane.marked) {
                topic.marked = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Where a partition begins, as far as marks matter.
    fn begun(&self, name: &str, partition: usize) -> u64 {
        self.begun.get(name).and_then(|all| all.get(partition)).copied().unwrap_or(0)
    }

    /// Marks that were passed before this run are of no interest, if all lanes had come to an end. If not, those that have not are still to end.
    fn begin(&mut self, plan: &RunPlan) -> Result<(), BrokerError> {
        let mut finished = false;
        for (name, partitions) in &self.partitions {
            if !self.nodes.iter().any(|(topic, _)| topic == name) {
                continue;
            }
            let lanes = self.committed(name, *partitions)?;
            finished |= plan.anchor.as_ref() == Some(name) && lanes.iter().all(|lane| lane.finished);
            self.begun.insert(name.clone(), lanes.iter().map(|lane| lane.offset).collect());
        }
        if !finished {
            self.begun.clear();
        }
        Ok(())
    }

    /// What was committed of each partition.
    fn committed(&self, name: &str, partitions: i32) -> Result<Vec<Committed>, BrokerError> {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition(name, partition);
        }
        let asked = |cause| client_failure("look up", format_args!("the offsets of topic `{name}`"), cause);
        let found = self.looker.consumer.committed_offsets(list, ANSWER_WITHIN).map_err(asked)?;
        let mut all = vec![Committed::default(); partitions.unsigned_abs() as usize];
        for element in found.elements() {
            let Offset::Offset(offset) = element.offset() else { continue };
            let offset = offset.max(0).cast_unsigned();
            let at = element.partition().unsigned_abs() as usize;
            let metadata = OffsetMetadata::read(element.metadata(), offset).unwrap_or_default();
            // What other brokers read stands there, too.
            let reads = |node: usize| self.nodes.iter().any(|(topic, own)| topic == name && *own == node);
            let marked = metadata.nodes.iter().any(|node| {
                node.position.marked && reads(node.node) && node.position.next > self.begun(name, at)
            });
            let finished = metadata.lane.is_some_and(|lane| lane.finished);
            if let Some(place) = all.get_mut(at) {
                *place = Committed { offset, marked, finished };
            }
        }
        Ok(all)
    }

    /// Looks anew at partitions whose end has moved.
    fn tails(&self, name: &str, partitions: i32, tails: &mut Vec<Tail>) -> Result<(), BrokerError> {
        let ends = self.looker.all_ends(name, partitions)?;
        tails.resize(ends.len(), Tail::default());
        let mut back = BACK;
        let mut moved: Vec<usize> = (0..ends.len()).filter(|at| tails[*at].end != ends[*at]).collect();
        while !moved.is_empty() {
            let from: Vec<(i32, u64)> = moved
                .iter()
                .map(|at| (i32::try_from(*at).unwrap_or(i32::MAX), ends[*at].saturating_sub(back)))
                .collect();
            let mut found: BTreeMap<usize, Tail> = BTreeMap::new();
            let whole = self.peeker.read(name, &from, ANSWER_WITHIN, |message| {
                let at = message.partition().unsigned_abs() as usize;
                let behind = message.offset().max(0).cast_unsigned() + 1;
                let is_mark = message.payload().is_some_and(is_eos_mark);
                let end = ends.get(at).copied().unwrap_or(0);
                found.insert(at, Tail { end, behind, is_mark });
                true
            })?;
            if !whole {
                break;
            }
            for at in &moved {
                if let Some(tail) = found.get(at) {
                    tails[*at] = *tail;
                } else if ends[*at] <= back {
                    // There is nothing but control records.
                    tails[*at] = Tail { end: ends[*at], ..Tail::default() };
                }
            }
            moved.retain(|at| tails[*at].end != ends[*at]);
            back = back.saturating_mul(8);
        }
        Ok(())
    }
}
