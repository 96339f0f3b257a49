//! Reads a few records of a topic aside from the run: to see how its keys are placed, and whether it has ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use watermill_core::error::BrokerError;

use crate::context::Context;
use crate::failure::client_failure;
use crate::options::Options;

/// A client that reads here and there. Its calls block, for a bounded time.
pub(crate) struct Peeker {
    consumer: BaseConsumer<Context>,
}

impl Peeker {
    pub(crate) fn new(options: &Options) -> Result<Self, BrokerError> {
        let consumer = options.peeker().create_with_context(Context::default()).map_err(|cause| {
            client_failure("make a client for", format_args!("`{}`", options.servers), cause)
        })?;
        Ok(Self { consumer })
    }

    /// Shows `look` the messages of partitions of `topic`, each from an offset on, until it says that it has seen enough of one, or the partition ends. True when
    /// that came about in time.
    pub(crate) fn read(
        &self,
        topic: &str,
        from: &[(i32, u64)],
        within: Duration,
        mut look: impl FnMut(&BorrowedMessage<'_>) -> bool,
    ) -> Result<bool, BrokerError> {
        let asked = |cause| client_failure("look into", format_args!("topic `{topic}`"), cause);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in from {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            list.add_partition_offset(topic, *partition, offset).map_err(asked)?;
        }
        let mut open: BTreeSet<i32> = from.iter().map(|(partition, _)| *partition).collect();
        self.consumer.assign(&list).map_err(asked)?;
        let until = Instant::now() + within;
        while !open.is_empty() && Instant::now() < until {
            match self.consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) if open.contains(&message.partition()) => {
                    if !look(&message) {
                        open.remove(&message.partition());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                // What is wrong is told by those who have to read.
                Some(Ok(_) | Err(_)) | None => {}
            }
        }
        self.consumer.unassign().map_err(asked)?;
        Ok(open.is_empty())
    }
}
