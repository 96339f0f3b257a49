//! One run on Kafka: the group, the clients, and the lanes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use watermill_core::broker::{
    AnySource, BoxFuture, Checkpoint, InputEnd, Job, Lane, LaneOutputs, Owned, Ownership, Position, Session,
};
use watermill_core::error::BrokerError;

use crate::broker::KafkaBroker;
use crate::committer::{Delivery, LaneCommitter, Work};
use crate::failure::{Told, failure};
use crate::fetch::Fetcher;
use crate::group::{Found, Group, Layout};
use crate::lanes::{Lanes, News, Walked};
use crate::marks::Passed;
use crate::membership::Membership;
use crate::offset_metadata::LaneState;
use crate::plan::{Prepared, RunPlan};
use crate::sink::SinkSettings;
use crate::source::SourceSettings;
use crate::topic_ends::TopicEnds;
use crate::topics::{Extent, Looker};

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
    extents: HashMap<u32, BTreeMap<String, Extent>>,
    /// Looks for marks in partitions that are not read here, where one of them ends its topic.
    topic_ends: Option<TopicEnds>,
    /// Clients that fetch: for each thread's worth of lanes, and for each reading of the same partition.
    fetchers: HashMap<(u32, usize), Arc<Fetcher>>,
    /// The only lane was handed out, where there is no group.
    handed_out: bool,
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
        let looker = Arc::new(looker);
        let topic_ends =
            plan.options.eos_per_topic.then(|| TopicEnds::start(&plan, Arc::clone(&looker))).transpose()?;
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
            looker,
            membership,
            lanes,
            news,
            preparing: JoinSet::new(),
            prepared: HashMap::new(),
            passed: HashMap::new(),
            extents: HashMap::new(),
            topic_ends,
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
        let Prepared { producer, mut found, recorded, extents } = prepared;
        let producer = Arc::new(Mutex::new(producer));
        let plan = &self.plan;
        let mut sinks = Vec::new();
        for (topic, planned) in plan.outputs.iter().enumerate() {
            let settings = SinkSettings {
                topic,
                name: planned.output.topic.clone(),
                partitions: plan.partitions.get(&planned.output.topic).copied().unwrap_or(0),
                lane: index.cast_signed(),
                most_bytes: plan.most_bytes(&planned.output.topic),
                leave_out: planned.leave_out,
                producer: Arc::clone(&producer),
            };
            sinks.push((planned.output.open)(settings));
        }
        if plan.options.continue_after_eos
            && let Some(found) =
                found.as_mut().filter(|found| found.lane.as_ref().is_some_and(|lane| lane.finished))
        {
            // The marks that ended it belong to what was before.
            found.marks.iter_mut().for_each(Vec::clear);
        }
        let marks = found.as_ref().map(|found| found.marks.clone()).unwrap_or_default();
        let passed: BTreeMap<usize, Passed> = plan
            .inputs
            .iter()
            .map(|input| (input.node, Passed::of(marks.get(input.node).map_or(&[], Vec::as_slice))))
            .collect();
        self.passed.insert(index, passed.clone());
        let resume = found.as_ref().map(|found| self.checkpoint(found, &extents));
        self.extents.insert(index, extents);
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
                retry_for: plan.options.retry_for,
                producer: Arc::clone(&producer),
                walked: walked.clone(),
            })
        });
        let most_uncommitted = plan.options.most_uncommitted;
        let until_current_end = plan.options.until_current_end;
        let committer = LaneCommitter { work, walked, producer, most_uncommitted, until_current_end };
        Ok(LaneOutputs { sinks, committer: Box::new(committer), resume })
    }

    /// What was found, as the engine wants it.
    fn checkpoint(&self, found: &Found, extents: &BTreeMap<String, Extent>) -> Checkpoint {
        let options = &self.plan.options;
        let mut checkpoint = Checkpoint::default();
        for (node, position) in found.positions.iter().enumerate() {
            let own = self.plan.inputs.iter().find(|input| input.node == node);
            let position = match (position, own) {
                (Some(position), _) => position.clone(),
                // It was not read at the last commit, or its offset was deleted.
                (None, Some(input)) => {
                    Position::at(extents.get(&input.input.topic).map_or(0, |extent| extent.start))
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
        checkpoint
    }

    fn open_sources(
        &mut self,
        lane: &Lane,
        from: &[Option<Position>],
    ) -> Result<Vec<AnySource>, BrokerError> {
        let plan = Arc::clone(&self.plan);
        let mut sources = Vec::new();
        for (number, planned) in plan.inputs.iter().enumerate() {
            let topic = planned.input.topic.clone();
            let partition = lane.index.cast_signed();
            let position = from.get(number).cloned().flatten();
            let passed = self.passed.get(&lane.index).and_then(|all| all.get(&planned.node)).cloned();
            let unknown = || failure("open", format_args!("topic `{topic}`"), "its lane was not made ready");
            let extent = self.extents.get(&lane.index).and_then(|all| all.get(&topic)).ok_or_else(unknown)?;
            let Extent { low, high, start } = *extent;
            let marked = position.as_ref().is_some_and(|position| position.marked);
            let next = match &position {
                None => start,
                Some(position) => beginning(position, low, high, &topic, partition)?,
            };
            let stop = plan.options.until_current_end.then_some(high);
            // What has ended is not read again; what has nothing to be read needs no client.
            let ended = if marked {
                Some(InputEnd::Mark)
            } else {
                stop.filter(|stop| next >= *stop).map(|_| InputEnd::Paused)
            };
            let fetched = if ended.is_some() {
                None
            } else {
                let fetcher = self.fetcher(lane.index, planned.reading, &topic)?;
                Some(fetcher.open(&topic, partition, next)?)
            };
            let topic_end = self.topic_ends.as_ref().map(|ends| ends.of(&topic, partition));
            let settings = SourceSettings {
                stream: planned.stream.clone(),
                topic,
                partition,
                keep_raw: planned.keep_raw,
                next,
                seen_before: position.as_ref().map_or(next, |position| position.next),
                stop,
                passed: passed.unwrap_or_default(),
                retry_for: plan.options.retry_for,
                ended,
                end_at_start: high,
                topic_end,
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

impl Drop for KafkaSession {
    fn drop(&mut self) {
        // All at once, since each takes a moment.
        self.fetchers.values().for_each(|fetcher| fetcher.stop());
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
        Box::pin(std::future::ready(self.open_sources(lane, from)))
    }
}
