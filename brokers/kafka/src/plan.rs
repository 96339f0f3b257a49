//! What is known of a run from its beginning on: which topics, how many lanes, and what they need.

use std::collections::BTreeMap;

use watermill_core::broker::Job;
use watermill_core::error::BrokerError;

use crate::broker::{Input, KafkaBroker, Output};
use crate::committer::{Delivery, Ended};
use crate::failure::{Told, failure};
use crate::fault::fault_point;
use crate::group::{Found, Group, Layout, Recorded};
use crate::lanes::Walked;
use crate::options::Options;
use crate::producer::LaneProducer;
use crate::sample;
use crate::topics::{Extent, Limits, Looker};

/// What is known of a run from its beginning on.
pub(crate) struct RunPlan {
    pub(crate) options: Options,
    pub(crate) function: String,
    pub(crate) inputs: Vec<PlannedInput>,
    pub(crate) outputs: Vec<PlannedOutput>,
    /// How many nodes the mill has, whoever reads them.
    pub(crate) nodes: usize,
    pub(crate) mill: u32,
    pub(crate) lanes: u32,
    pub(crate) partitions: BTreeMap<String, i32>,
    /// How large a batch of messages the topics of the results take, where that is known.
    pub(crate) limits: Limits,
    pub(crate) anchor: Option<String>,
    /// So many clients fetch, at most; lanes share them.
    pub(crate) clients: u32,
}

pub(crate) struct PlannedInput {
    pub(crate) input: Input,
    pub(crate) stream: String,
    pub(crate) node: usize,
    pub(crate) keep_raw: bool,
    /// It is the how-manieth that reads its topic.
    pub(crate) reading: usize,
}

pub(crate) struct PlannedOutput {
    pub(crate) output: Output,
    pub(crate) leave_out: bool,
}

/// A lane whose predecessor can do nothing any more, and where he stopped.
pub(crate) struct Prepared {
    pub(crate) producer: LaneProducer,
    pub(crate) found: Option<Found>,
    /// The committed offsets from which `found` is.
    pub(crate) recorded: Recorded,
    pub(crate) extents: BTreeMap<String, Extent>,
}

impl RunPlan {
    pub(crate) fn new(broker: &KafkaBroker, job: &Job, looker: &Looker) -> Result<Self, BrokerError> {
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
        let joined: Vec<&str> = inputs.iter().map(|input| input.input.topic.as_str()).collect();
        sample::check_partitioners(&broker.options, looker, &joined, &partitions)?;
        let written: Vec<&str> = outputs.iter().map(|output| output.output.topic.as_str()).collect();
        let limits = Limits::ask(&broker.options, &written);
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
            limits,
            anchor,
            clients: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        })
    }

    /// How large a result may be.
    pub(crate) fn most_bytes(&self, topic: &str) -> usize {
        let of_client = self.options.most_bytes();
        match self.limits.known().get(topic) {
            // What it takes when it is compressed shows only when it is sent.
            Some(of_topic) if !self.options.compresses() => of_client.min(*of_topic),
            _ => of_client,
        }
    }

    /// Results are in other hands: so are the positions.
    pub(crate) fn delivery(&self) -> Delivery {
        if self.outputs.is_empty() {
            Delivery::Offsets
        } else if self.options.exactly_once {
            Delivery::Transaction
        } else {
            Delivery::Offsets
        }
    }

    pub(crate) fn layout(&self, lane: u32) -> Option<Layout> {
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
    pub(crate) fn prepare(
        &self,
        lane: u32,
        group: &Group,
        walked: Option<&Walked>,
    ) -> Result<Prepared, BrokerError> {
        let looker = &group.looker;
        let transactional = self.delivery() == Delivery::Transaction;
        let topics = self.outputs.iter().map(|output| output.output.topic.clone()).collect();
        let most_bytes = self.limits.known().values().copied().min().unwrap_or(usize::MAX);
        let config = self.options.producer(lane, transactional, most_bytes);
        let (retry_for, health) = (self.options.retry_for, &looker.health);
        let own = (0..).zip(&self.outputs).filter(|(_, output)| !output.output.crosses_lanes);
        let own = own.map(|(number, _)| number).collect();
        let mut producer = LaneProducer::new(config, topics, own, lane, transactional, retry_for, health);
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
            recorded = producer.recorded(&layout, group)?;
            found = layout.find(&recorded)?;
        }
        fault_point!("found");
        let mut extents = BTreeMap::new();
        for input in &self.inputs {
            let topic = &input.input.topic;
            if !extents.contains_key(topic) {
                let extent = looker.extent(topic, lane.cast_signed(), self.options.start)?;
                extents.insert(topic.clone(), extent);
            }
        }
        Ok(Prepared { producer, found, recorded, extents })
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

impl PlannedOutput {
    pub(crate) fn ended(&self, plan: &RunPlan) -> Ended {
        // Its own topic stands at its own place.
        let topic = plan.outputs.iter().position(|other| std::ptr::eq(other, self)).unwrap_or(0);
        let partitions = plan.partitions.get(&self.output.topic).copied().unwrap_or(0);
        let name = self.output.topic.clone();
        Ended { topic, name, partitions, crosses_lanes: self.output.crosses_lanes }
    }
}
