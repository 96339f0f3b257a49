//! Transactions that the servers have left undecided.
//!
//! Apache Kafka 4.3 can lose the end of a transaction. A server that was killed while one was being ended goes on with that when it
//! comes back: it tells the partitions that took part, and then notes that all is done. But partitions that have no leader at that moment, because the same server has not
//! got them back yet, are taken for deleted ones and left out (`TransactionMarkerChannelManager`, which asks `KRaftMetadataCache.getPartitionLeaderEndpoint`). So the
//! transaction is over, and its results are not to be seen, and the group's offsets that were in it are not to be looked up, for ever.
//!
//! A lane that is taken over finds that: nobody has a transaction of its id open any more, but its offsets stay undecided. What belongs to this lane alone is undecided
//! as well then, so it is aborted with them, and made again. Where any of the results may be decided, and only the offsets are not, nobody can say how: aborting would write
//! them twice, so that is an error. That nobody else has a transaction open in this lane's partitions just then is taken for granted.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use watermill_core::error::BrokerError;

use crate::failure::{Told, failure};
use crate::group::{Group, Layout, Recorded};
use crate::producer::LaneProducer;
use crate::topics::Looker;

/// How long decided offsets may take, of servers that answer.
const DECIDED_WITHIN: Duration = Duration::from_secs(5);

impl LaneProducer {
    /// The committed offsets of this producer's lane, once nothing of it is undecided.
    pub(crate) fn recorded(&mut self, layout: &Layout, group: &Group) -> Result<Recorded, BrokerError> {
        if !self.is_transactional() {
            return layout.recorded(group);
        }
        if let Asked::Answered(recorded) = ask(layout, &group.looker) {
            return recorded.or_else(|_| layout.recorded(group));
        }
        let loose = group.looker.loose()?;
        let Asked::Answered(Ok(last)) = ask(layout, &loose) else { return layout.recorded(group) };
        // It may have been asked first when the servers were just coming back.
        if let Asked::Answered(recorded) = ask(layout, &group.looker) {
            return recorded.or_else(|_| layout.recorded(group));
        }
        let (lane, partition) = (layout.lane, layout.partition());
        let (mut undecided, mut unclear) = (Vec::new(), false);
        for (number, topic) in self.topics() {
            if !self.is_own(number) {
                unclear = true;
                continue;
            }
            let (low, decided) = group.looker.ends(topic, partition)?;
            let (_, end) = loose.ends(topic, partition)?;
            if decided < end {
                undecided.push(number);
            } else {
                // What was decided here last may have been part of it.
                unclear |= low < end;
            }
        }
        if undecided.is_empty() || unclear {
            let cause = format!(
                "a server that was killed has lost the end of a transaction, and it cannot be seen whether its results were committed; look at the last results of partition {lane}, end it by `kafka-transactions.sh abort --topic __consumer_offsets` (`find-hanging` shows where), and set the offsets by `kafka-consumer-groups.sh --reset-offsets`"
            );
            return Err(failure("look up", layout.place(), Told(cause)));
        }
        tracing::warn!(
            target: "watermill",
            lane,
            "the servers have lost the end of a transaction of this lane; it is aborted and made again"
        );
        // Aborted with the rest: what they say does not matter.
        let offsets = layout.any_offsets(&last)?;
        self.abort_at(&undecided, partition, &offsets, group)?;
        layout.recorded(group)
    }
}

/// What came of a question for the offsets.
enum Asked {
    Answered(Result<Recorded, KafkaError>),
    /// That is also what servers answer that are gone.
    Undecided,
}

fn ask(layout: &Layout, looker: &Looker) -> Asked {
    let answer = layout.ask(&looker.consumer, DECIDED_WITHIN);
    // Nobody else takes what this client tells.
    while looker.consumer.poll(Duration::ZERO).is_some() {}
    match answer {
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => {
            Asked::Undecided
        }
        answer => Asked::Answered(answer),
    }
}
