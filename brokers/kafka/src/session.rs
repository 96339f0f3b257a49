//! One run on Kafka: the group, the clients, and the lanes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use watermill_core::broker::{
    AnySource, BoxFuture, Checkpoint, InputEnd, Job, Lane, LaneOutputs, Owned, Ownership, Position, Session,
};
use watermill_core::error::BrokerError;

use crate::broker::{Input, KafkaBroker, Output};
use crate::committer::{Delivery, Ended, LaneCommitter, Work};
use crate::failure::{Told, failure};
use crate::fault::fault_point;
use crate::fetch::Fetcher;
use crate::group::{Found, Group, Layout, Recorded};
use crate::lanes::{Lanes, News, Walked};
use crate::marks::Passed;
use crate::membership::Membership;
use crate::offset_metadata::LaneState;
use crate::options::Options;
use crate::producer::LaneProducer;
use crate::sink::SinkSettings;
use crate::source::SourceSettings;
use crate::topics::Looker;

/// A run.
pub(crate) struct KafkaSession {
    plan: Arc<RunPlan>,
    looker: Arc<Looker>,
    /// `None` when the master is read by another broker.
    membership: Option<Membership>,
    lanes: Lanes,
    news: UnboundedReceiver<News>,
    /// Lanes that are being made ready.
    preparing: JoinSet<(u32, Walked, Result<Prepared, BrokerError>)>,
    prepared: HashMap<u32, (Walked, Prepared)>,
    /// For each lane that is open, what its sources need to know.
    passed: HashMap<u32, BTreeMap<usize, Passed>>,
    /// Clients that fetch: for each thread's worth of lanes, and for each reading of the same partition.
    fetchers: HashMap<(u32, usize), Arc<Fetcher>>,
    /// The only lane was handed out, where there is no group.
    handed_out: bool,
}

/// What is known of a run from its beginning on.
pub(crate) struct RunPlan {
    options: Options,
    function: String,
    inputs: Vec<PlannedInput>,
    outputs: Vec<PlannedOutput>,
    /// How many nodes the mill has, whoever reads them.
    nodes: usize,
    mill: u32,
    lanes: u32,
    partitions: BTreeMap<String, i32>,
    anchor: Option<String>,
    /// So many clients fetch, at most; lanes share them.
    clients: u32,
}

struct PlannedInput {
    input: Input,
    stream: String,
    node: usize,
    keep_raw: bool,
    /// It is the how-manieth that reads its topic.
    reading: usize,
}

struct PlannedOutput {
    output: Output,
    leave_out: bool,
}

/// A lane whose predecessor can do nothing any more, and where he stopped.
struct Prepared {
    producer: LaneProducer,
    found: Option<Found>,
    /// The committed offsets from which `found` is.
    recorded: Recorded,
}

impl RunPlan {
    fn new(broker: &KafkaBroker, job: &Job, looker: &Looker) -> Result<Self, BrokerError> {
        let mut inputs: Vec<PlannedInput> = Vec::new();
        for request in &job.inputs {
            let Some(input) = broker.inputs.get(request.input) else { continue };
            let reading = inputs.iter().filter(|other| other.input.topic == input.topic).count();
            inputs.push(PlannedInput {
                input: input.clone(),
                stream: request.stream.clone(),
                node: request.node,
                keep_raw: request.keep_raw,
                reading,
            });
        }
        let outputs: Vec<PlannedOutput> = job
            .outputs
            .iter()
            .filter_map(|request| {
                let output = broker.outputs.get(request.output)?.clone();
                Some(PlannedOutput { output, leave_out: request.leave_out })
            })
            .collect();
        let mut topics: Vec<&str> = inputs.iter().map(|input| input.input.topic.as_str()).collect();
        topics.extend(outputs.iter().map(|output| output.output.topic.as_str()));
        topics.sort_unstable();
        topics.dedup();
        let partitions = looker.partitions(&topics, &broker.options)?;
        let master = inputs.iter().find(|input| input.node == 0);
        let of = |topic: &str| partitions.get(topic).copied().unwrap_or(0);
        let lanes = master.map_or(1, |master| of(&master.input.topic).cast_unsigned());
        check_partitions(&inputs, &outputs, lanes, master.is_some(), &partitions)?;
        let anchor = master
            .map(|master| master.input.topic.clone())
            .or_else(|| outputs.first().map(|output| output.output.topic.clone()));
        Ok(Self {
            options: broker.options.clone(),
            function: job.function.clone(),
            nodes: job.streams.len(),
            mill: crc32fast::hash(job.mill.as_bytes()),
            inputs,
            outputs,
            lanes,
            partitions,
            anchor,
            clients: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        })
    }

    /// Results are in other hands: so are the positions.
    fn delivery(&self) -> Delivery {
        if self.outputs.is_empty() {
            Delivery::Offsets
        } else if self.options.exactly_once {
            Delivery::Transaction
        } else {
            Delivery::Offsets
        }
    }

    fn layout(&self, lane: u32) -> Option<Layout> {
        let mut topics: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for input in &self.inputs {
            topics.entry(input.input.topic.clone()).or_default().push(input.node);
        }
        Some(Layout {
            application: self.options.application.clone(),
            lane,
            topics,
            anchor: self.anchor.clone()?,
            nodes: self.nodes,
            mill: self.mill,
            passed: BTreeMap::new(),
        })
    }

    /// Takes a lane over: its former owner is fenced, and only then is looked where he stopped.
    fn prepare(&self, lane: u32, group: &Group, walked: Option<&Walked>) -> Result<Prepared, BrokerError> {
        let transactional = self.delivery() == Delivery::Transaction;
        let topics = self.outputs.iter().map(|output| output.output.topic.clone()).collect();
        let config = self.options.producer(lane, transactional);
        let (retry_for, health) = (self.options.retry_for, &group.looker.health);
        let mut producer = LaneProducer::new(config, topics, lane, transactional, retry_for, health);
        if !self.outputs.is_empty()
            && let Err(error) = producer.start()
        {
            if let Some(walked) = walked.filter(|_| producer.is_fenced()) {
                walked.fenced();
            }
            return Err(error);
        }
        let (mut found, mut recorded) = (None, Recorded::default());
        if let Some(layout) = self.layout(lane) {
            recorded = layout.recorded(group)?;
            found = layout.find(&recorded)?;
        }
        fault_point!("found");
        Ok(Prepared { producer, found, recorded })
    }
}

/// Partition i of every topic belongs to lane i.
fn check_partitions(
    inputs: &[PlannedInput],
    outputs: &[PlannedOutput],
    lanes: u32,
    has_master: bool,
    partitions: &BTreeMap<String, i32>,
) -> Result<(), BrokerError> {
    let of = |topic: &str| partitions.get(topic).copied().unwrap_or(0);
    let own = lanes.cast_signed();
    if inputs.iter().any(|input| of(&input.input.topic) != own) {
        let mut counts: Vec<String> = inputs
            .iter()
            .map(|input| format!("`{}` has {}", input.input.topic, of(&input.input.topic)))
            .collect();
        counts.dedup();
        let why = if has_master {
            "partition i of each is joined to partition i of the others, so all need the same number, and the same partitioner"
        } else {
            "the master is read by a broker without partitions, so each needs a single one"
        };
        let cause = format!("{}; {why}", counts.join(", "));
        return Err(failure("join", "topics with different numbers of partitions", Told(cause)));
    }
    for output in outputs {
        let count = of(&output.output.topic);
        if !output.output.crosses_lanes && count < own {
            let cause = format!(
                "lane i writes to partition i, and there are {lanes} lanes but only {count} partitions; make more of them, or place the results by `ResultTopic::key`"
            );
            return Err(failure("write", format_args!("topic `{}`", output.output.topic), Told(cause)));
        }
    }
    Ok(())
}

impl KafkaSession {
    /// Blocks.
    pub(crate) fn open(broker: &KafkaBroker, job: &Job) -> Result<Self, BrokerError> {
        let looker = Looker::new(&broker.options)?;
        let plan = Arc::new(RunPlan::new(broker, job, &looker)?);
        let (lanes, news) = Lanes::new();
        let master = plan.inputs.iter().find(|input| input.node == 0);
        let membership = match master {
            Some(master) => {
                let (options, topic) = (&plan.options, &master.input.topic);
                Some(Membership::join(options, topic, lanes.clone(), &looker.health)?)
            }
            None => None,
        };
        tracing::info!(
            target: "watermill",
            function = %plan.function,
            lanes = plan.lanes,
            application = %plan.options.application,
            exactly_once = plan.delivery() == Delivery::Transaction,
            "Kafka is reached"
        );
        Ok(Self {
            plan,
            looker: Arc::new(looker),
            membership,
            lanes,
            news,
            preparing: JoinSet::new(),
            prepared: HashMap::new(),
            passed: HashMap::new(),
            fetchers: HashMap::new(),
            handed_out: false,
        })
    }

    fn group(&self) -> Group {
        Group { looker: Arc::clone(&self.looker), member: self.membership.as_ref().map(Membership::handle) }
    }

    fn lane(&self, index: u32) -> Lane {
        Lane { index, count: self.plan.lanes }
    }

    fn prepare(&mut self, lane: u32) {
        // Else it was taken already.
        let Some(walked) = self.lanes.begin(lane) else { return };
        let (plan, group) = (Arc::clone(&self.plan), self.group());
        self.preparing.spawn_blocking(move || {
            let result = plan.prepare(lane, &group, Some(&walked));
            (lane, walked, result)
        });
    }

    /// The next lane that the group gives.
    async fn next_of_group(&mut self) -> Result<Option<Lane>, BrokerError> {
        loop {
            if self.preparing.is_empty() && self.lanes.all_done() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                news = self.news.recv() => match news {
                    Some(News::Given(lane)) => self.prepare(lane),
                    Some(News::Changed) => {}
                    Some(News::Failed(error)) => return Err(error),
                    None => return Ok(None),
                },
                Some(ready) = self.preparing.join_next() => {
                    let (lane, walked, result) = ready.map_err(|cause| failure("open", "a lane", cause))?;
                    match result {
                        // It was taken while it was made ready, so whatever happened is of no interest.
                        _ if walked.ownership().state() != Owned::Mine => {}
                        Ok(prepared) => {
                            self.prepared.insert(lane, (walked, prepared));
                            return Ok(Some(self.lane(lane)));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    async fn open_outputs(&mut self, lane: &Lane) -> Result<LaneOutputs, BrokerError> {
        let index = lane.index;
        let (walked, prepared) = match self.prepared.remove(&index) {
            Some((walked, prepared)) => (Some(Arc::new(walked)), prepared),
            None => {
                let (plan, group) = (Arc::clone(&self.plan), self.group());
                let prepared = tokio::task::spawn_blocking(move || plan.prepare(index, &group, None))
                    .await
                    .map_err(|cause| failure("open", "a lane", cause))??;
                (None, prepared)
            }
        };
        let Prepared { producer, found, recorded } = prepared;
        let producer = Arc::new(Mutex::new(producer));
        let plan = &self.plan;
        let mut sinks = Vec::new();
        for (topic, planned) in plan.outputs.iter().enumerate() {
            let settings = SinkSettings {
                topic,
                name: planned.output.topic.clone(),
                partitions: plan.partitions.get(&planned.output.topic).copied().unwrap_or(0),
                lane: index.cast_signed(),
                most_bytes: plan.options.most_bytes(),
                leave_out: planned.leave_out,
                producer: Arc::clone(&producer),
            };
            sinks.push((planned.output.open)(settings));
        }
        let marks = found.as_ref().map(|found| found.marks.clone()).unwrap_or_default();
        let passed: BTreeMap<usize, Passed> = plan
            .inputs
            .iter()
            .map(|input| (input.node, Passed::of(marks.get(input.node).map_or(&[], Vec::as_slice))))
            .collect();
        self.passed.insert(index, passed.clone());
        let resume = found.as_ref().map(|found| self.checkpoint(index, found)).transpose()?;
        if resume.as_ref().is_some_and(|checkpoint| checkpoint.finished)
            && let Some(walked) = &walked
        {
            walked.done();
        }
        let state = found.and_then(|found| found.lane).unwrap_or_default();
        let work = plan.layout(index).map(|layout| {
            Box::new(Work {
                layout: Layout { passed, ..layout },
                group: self.group(),
                delivery: plan.delivery(),
                has_outputs: !plan.outputs.is_empty(),
                outputs: plan.outputs.iter().map(|planned| planned.ended(plan)).collect(),
                ended: resume.as_ref().map(|resume| resume.ended_outputs.clone()).unwrap_or_default(),
                lanes: plan.lanes,
                state: LaneState { mill: plan.mill, ..state },
                recorded,
                until_current_end: plan.options.until_current_end,
                producer: Arc::clone(&producer),
                walked: walked.clone(),
            })
        });
        let most_uncommitted = plan.options.most_uncommitted;
        let committer = LaneCommitter { work, walked, producer, most_uncommitted };
        Ok(LaneOutputs { sinks, committer: Box::new(committer), resume })
    }

    /// What was found, as the engine wants it. Blocks for streams without a position.
    fn checkpoint(&self, lane: u32, found: &Found) -> Result<Checkpoint, BrokerError> {
        let options = &self.plan.options;
        let mut checkpoint = Checkpoint::default();
        for (node, position) in found.positions.iter().enumerate() {
            let own = self.plan.inputs.iter().find(|input| input.node == node);
            let position = match (position, own) {
                (Some(position), _) => position.clone(),
                // It was not read at the last commit, or its offset was deleted.
                (None, Some(input)) => {
                    Position::at(self.looker.start(&input.input.topic, lane.cast_signed(), options.start)?)
                }
                (None, None) => Position::default(),
            };
            checkpoint.positions.push(position);
        }
        if let Some(lane) = &found.lane {
            checkpoint.finished = lane.finished;
            checkpoint.ended_outputs.clone_from(&lane.ended_outputs);
            checkpoint.window.clone_from(&lane.window);
        }
        if options.continue_after_eos && checkpoint.finished {
            checkpoint.finished = false;
            checkpoint.ended_outputs.clear();
            for position in &mut checkpoint.positions {
                (position.ended, position.marked) = (false, false);
            }
        }
        Ok(checkpoint)
    }

    async fn open_sources(
        &mut self,
        lane: &Lane,
        from: &[Option<Position>],
    ) -> Result<Vec<AnySource>, BrokerError> {
        let (plan, looker) = (Arc::clone(&self.plan), Arc::clone(&self.looker));
        let mut sources = Vec::new();
        for (number, planned) in plan.inputs.iter().enumerate() {
            let topic = planned.input.topic.clone();
            let partition = lane.index.cast_signed();
            let position = from.get(number).cloned().flatten();
            let passed = self.passed.get(&lane.index).and_then(|all| all.get(&planned.node)).cloned();
            let (asked, start) = (Arc::clone(&looker), plan.options.start);
            let (topic_asked, known) = (topic.clone(), position.is_some());
            // Both are questions to the servers, which block.
            let (begin, (low, high)) = tokio::task::spawn_blocking(move || {
                let ends = asked.ends(&topic_asked, partition)?;
                let begin = if known { 0 } else { asked.start(&topic_asked, partition, start)? };
                Ok::<_, BrokerError>((begin, ends))
            })
            .await
            .map_err(|cause| failure("open", format_args!("topic `{topic}`"), cause))??;
            let marked = position.as_ref().is_some_and(|position| position.marked);
            let next = match &position {
                None => begin,
                Some(position) => beginning(position, low, high, &topic, partition)?,
            };
            let stop = plan.options.until_current_end.then_some(high);
            // What has ended is not read again; what has nothing to be read needs no client.
            let ended = if marked {
                Some(InputEnd::Mark)
            } else {
                stop.filter(|stop| next >= *stop).map(|_| InputEnd::Exhausted)
            };
            let fetched = if ended.is_some() {
                None
            } else {
                let fetcher = self.fetcher(lane.index, planned.reading, &topic)?;
                Some(fetcher.open(&topic, partition, next)?)
            };
            let settings = SourceSettings {
                stream: planned.stream.clone(),
                topic,
                partition,
                keep_raw: planned.keep_raw,
                next,
                stop,
                passed: passed.unwrap_or_default(),
                retry_for: plan.options.retry_for,
                ended,
                end_at_start: high,
            };
            sources.push((planned.input.open)(settings, fetched));
        }
        Ok(sources)
    }

    fn fetcher(&mut self, lane: u32, reading: usize, topic: &str) -> Result<Arc<Fetcher>, BrokerError> {
        let key = (lane % self.plan.clients.max(1), reading);
        if let Some(fetcher) = self.fetchers.get(&key) {
            return Ok(Arc::clone(fetcher));
        }
        let fetcher = Fetcher::new(&self.plan.options, &self.looker.health, topic)?;
        self.fetchers.insert(key, Arc::clone(&fetcher));
        Ok(fetcher)
    }
}

impl PlannedOutput {
    fn ended(&self, plan: &RunPlan) -> Ended {
        // Its own topic stands at its own place.
        let topic = plan.outputs.iter().position(|other| std::ptr::eq(other, self)).unwrap_or(0);
        let partitions = plan.partitions.get(&self.output.topic).copied().unwrap_or(0);
        Ended { topic, partitions, crosses_lanes: self.output.crosses_lanes }
    }
}

/// Where reading begins for `position`, of which what lies before `low` is gone.
fn beginning(
    position: &Position,
    low: u64,
    high: u64,
    topic: &str,
    partition: i32,
) -> Result<u64, BrokerError> {
    if position.next < low || position.next > high {
        let (what, why) = if position.next < low {
            (format!("begins at {low}"), "records were deleted that were not read yet")
        } else {
            (format!("ends at {high}"), "the topic was made anew, or records were lost")
        };
        let cause = format!(
            "this offset is gone: the partition {what} now, since {why}; to go on with what there is, reset the offsets of the group by `kafka-consumer-groups.sh --reset-offsets --to-earliest`, or take another application name"
        );
        let place = format!("topic `{topic}`, partition {partition}, offset {}", position.next);
        return Err(failure("read on at", place, Told(cause)));
    }
    // The record before it is there to be compared with; where it is gone, it is not.
    Ok(position.last.as_ref().map_or(position.next, |last| last.offset.min(position.next)).max(low))
}

impl Session for KafkaSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        Box::pin(async move {
            if self.membership.is_some() {
                return self.next_of_group().await;
            }
            let first = !std::mem::replace(&mut self.handed_out, true);
            Ok(first.then(|| self.lane(0)))
        })
    }

    fn ownership(&mut self, lane: &Lane) -> Option<Ownership> {
        self.prepared.get(&lane.index).map(|(walked, _)| walked.ownership().clone())
    }

    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        Box::pin(self.open_outputs(lane))
    }

    fn sources<'a>(
        &'a mut self,
        lane: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        Box::pin(self.open_sources(lane, from))
    }
}
