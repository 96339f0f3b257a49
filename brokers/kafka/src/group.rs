//! The offsets of the application's group: what a commit writes there, and what a restart finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use watermill_core::broker::{Checkpoint, Position};
use watermill_core::error::BrokerError;

use crate::context::Context;
use crate::failure::{Told, client_failure, failure};
use crate::marks::Passed;
use crate::membership::MemberHandle;
use crate::offset_metadata::{LONGEST, LaneState, NodePosition, OffsetMetadata};
use crate::topics::{ANSWER_WITHIN, Looker};

/// Who commits to the group: its member, where there is one.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) looker: Arc<Looker>,
    pub(crate) member: Option<MemberHandle>,
}

impl Group {
    pub(crate) fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        match &self.member {
            Some(member) => member.metadata(),
            None => self.looker.consumer.group_metadata(),
        }
    }

    /// Commits offsets without a transaction.
    pub(crate) fn commit(&self, offsets: &TopicPartitionList) -> Result<(), KafkaError> {
        match &self.member {
            Some(member) => member.commit(offsets),
            None => self.looker.consumer.commit(offsets, rdkafka::consumer::CommitMode::Sync),
        }
    }
}

/// What the offsets of one lane look like.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) application: String,
    pub(crate) lane: u32,
    /// The topics that are read, and for each the nodes that read it, by their places in the mill.
    pub(crate) topics: BTreeMap<String, Vec<usize>>,
    /// The topic whose offset says, too, what belongs to no other one.
    pub(crate) anchor: String,
    /// How many nodes the mill has, whoever reads them.
    pub(crate) nodes: usize,
    /// A checksum of what the mill looks like.
    pub(crate) mill: u32,
    /// For each node the marks that its source has passed.
    pub(crate) passed: BTreeMap<usize, Passed>,
}

/// Committed offsets of one lane, with their metadata, by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recorded(BTreeMap<String, (i64, String)>);

impl Recorded {
    pub(crate) fn of(list: &TopicPartitionList) -> Self {
        let one = |element: TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => {
                Some((element.topic().to_owned(), (offset, element.metadata().to_owned())))
            }
            _ => None,
        };
        Self(list.elements().into_iter().filter_map(one).collect())
    }
}

/// What a restart finds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// For each node of the mill; `None` starts at the beginning.
    pub(crate) positions: Vec<Option<Position>>,
    /// For each node the lanes whose marks were passed.
    pub(crate) marks: Vec<Vec<u32>>,
    /// What the last commit said of the lane, unless the offsets were reset since.
    pub(crate) lane: Option<LaneState>,
}

/// Where the committed offsets stand, beside those of a commit that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// Where they stood before: it was not made.
    Before,
    /// It was made.
    Behind,
    /// Somebody else has committed: the lane was another's meanwhile.
    Elsewhere,
}

impl Layout {
    pub(crate) fn partition(&self) -> i32 {
        i32::try_from(self.lane).unwrap_or(i32::MAX)
    }

    pub(crate) fn place(&self) -> String {
        format!("the offsets of the group `{}`, partition {}", self.application, self.lane)
    }

    /// The topics whose offsets are committed.
    fn all_topics(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let read = self.topics.iter().map(|(topic, nodes)| (topic.as_str(), nodes.as_slice()));
        let anchor = (!self.topics.contains_key(&self.anchor)).then_some((self.anchor.as_str(), &[][..]));
        read.chain(anchor)
    }

    /// The offsets that say where `checkpoint` stands.
    pub(crate) fn offsets(
        &self,
        checkpoint: &Checkpoint,
        state: LaneState,
    ) -> Result<TopicPartitionList, BrokerError> {
        let mut list = TopicPartitionList::new();
        let mut state = Some(state);
        for (topic, nodes) in self.all_topics() {
            let node_position = |node: usize| {
                let position = checkpoint.positions.get(node).cloned().unwrap_or_default();
                let marks =
                    self.passed.get(&node).map(|passed| passed.before(position.next)).unwrap_or_default();
                NodePosition { node, position, marks }
            };
            let mut metadata =
                OffsetMetadata { lane: None, nodes: nodes.iter().map(|node| node_position(*node)).collect() };
            let offset = metadata.nodes.iter().map(|node| node.position.next).min().unwrap_or(0);
            if topic == self.anchor {
                metadata.lane = state.take();
                // What others read has no offset of its own.
                let elsewhere =
                    (0..self.nodes).filter(|node| !self.topics.values().flatten().any(|own| own == node));
                metadata.nodes.extend(elsewhere.map(node_position));
            }
            let text = metadata.text(offset);
            if text.len() > LONGEST {
                let cause = format!(
                    "what has to be kept beside the offset of topic `{topic}` takes {} bytes, more than the {LONGEST} that the servers allow; lower `reorder_within`, or write to a broker that keeps positions of any length",
                    text.len()
                );
                return Err(failure("commit", self.place(), Told(cause)));
            }
            let raw = i64::try_from(offset).unwrap_or(i64::MAX);
            let added = list.add_partition_offset(topic, self.partition(), Offset::Offset(raw));
            added.map_err(|cause| client_failure("commit", self.place(), cause))?;
            if let Some(mut element) = list.find_partition(topic, self.partition()) {
                element.set_metadata(text);
            }
        }
        Ok(list)
    }

    /// The committed offsets.
    pub(crate) fn recorded(&self, group: &Group) -> Result<Recorded, BrokerError> {
        let ask = || self.ask(&group.looker.consumer, ANSWER_WITHIN);
        group.looker.patiently(ask).map_err(|cause| client_failure("look up", self.place(), cause))
    }

    /// Asks for the committed offsets, once.
    pub(crate) fn ask(
        &self,
        consumer: &BaseConsumer<Context>,
        within: Duration,
    ) -> Result<Recorded, KafkaError> {
        let mut asked = TopicPartitionList::new();
        for (topic, _) in self.all_topics() {
            asked.add_partition(topic, self.partition());
        }
        let found = consumer.committed_offsets(asked, within)?;
        found.elements().iter().try_for_each(TopicPartitionListElem::error)?;
        Ok(Recorded::of(&found))
    }

    /// Offsets of this lane for all its topics: those of `last`, or the beginning.
    pub(crate) fn any_offsets(&self, Recorded(last): &Recorded) -> Result<TopicPartitionList, BrokerError> {
        let mut list = TopicPartitionList::new();
        for (topic, _) in self.all_topics() {
            let offset = last.get(topic).map_or(0, |(offset, _)| *offset);
            let added = list.add_partition_offset(topic, self.partition(), Offset::Offset(offset));
            added.map_err(|cause| client_failure("look up", self.place(), cause))?;
        }
        Ok(list)
    }

    /// Where the last commit stands; `None` when there was none.
    pub(crate) fn find(&self, Recorded(recorded): &Recorded) -> Result<Option<Found>, BrokerError> {
        let mut found =
            Found { positions: vec![None; self.nodes], marks: vec![Vec::new(); self.nodes], lane: None };
        for (topic, nodes) in self.all_topics() {
            let Some((offset, metadata)) = recorded.get(topic) else { continue };
            let offset = (*offset).max(0).cast_unsigned();
            match OffsetMetadata::read(metadata, offset) {
                Some(metadata) => {
                    for NodePosition { node, position, marks } in metadata.nodes {
                        if let Some(place) = found.positions.get_mut(node) {
                            *place = Some(position);
                            found.marks[node] = marks;
                        }
                    }
                    found.lane = found.lane.or(metadata.lane);
                }
                None => {
                    tracing::info!(
                        target: "watermill",
                        topic,
                        partition = self.lane,
                        offset,
                        "the offset was reset: all that reads this topic begins there"
                    );
                    for node in nodes {
                        found.positions[*node] = Some(Position::at(offset));
                    }
                }
            }
        }
        if let Some(lane) = &found.lane
            && lane.mill != self.mill
        {
            let cause = "they belong to another mill: its arguments, joins or window have changed since; go on by resetting the offsets with `kafka-consumer-groups.sh --reset-offsets`, or under another application name";
            return Err(failure("take up", self.place(), Told(cause.to_owned())));
        }
        Ok((!recorded.is_empty()).then_some(found))
    }
}

impl Stands {
    /// Where `recorded` stands beside `commit`, which was made from `before` on. It tells that for certain when nobody has a transaction open.
    pub(crate) fn of(recorded: &Recorded, before: &Recorded, commit: &TopicPartitionList) -> Self {
        if *recorded == Recorded::of(commit) {
            Self::Behind
        } else if recorded == before {
            Self::Before
        } else {
            Self::Elsewhere
        }
    }
}
