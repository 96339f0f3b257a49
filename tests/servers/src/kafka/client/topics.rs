//! Nodes, topics and their offsets.

use std::time::Duration;

use super::{Client, Request, Row};
use crate::error::ServerError;

/// A broker, as the cluster tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: u32,
    /// Where clients reach it.
    pub address: String,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 0.
    pub number: u32,
    /// The id of the node that leads it, if one does.
    pub leader: Option<u32>,
    /// The ids of the nodes that have a replica.
    pub replicas: Vec<u32>,
    /// The ids of those whose replica has everything.
    pub in_sync: Vec<u32>,
}

impl Client {
    /// Whether the node with this id answers at this address, and knows of so many nodes.
    pub(crate) fn is_ready(
        &self,
        address: &str,
        id: u32,
        nodes: usize,
        limit: Duration,
    ) -> Result<bool, ServerError> {
        let whole = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        let request = Request::new("ready")
            .text(address)
            .number(id)
            .number(whole(nodes as u128))
            .number(whole(limit.as_millis()));
        Ok(self.pipe.ask(request)?.first().is_some_and(|row| row.text(0) == "ready"))
    }

    /// The nodes that are up.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn nodes(&self) -> Result<Vec<Broker>, ServerError> {
        let rows = self.pipe.ask(Request::new("nodes"))?;
        let node = |row: &Row| {
            let (host, port) = (row.text(1), row.text(2));
            Ok(Broker { id: row.number(0)?, address: format!("{host}:{port}") })
        };
        rows.iter().map(node).collect()
    }

    /// The names of all topics.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn topics(&self) -> Result<Vec<String>, ServerError> {
        Ok(self.pipe.ask(Request::new("topics"))?.iter().map(|row| row.text(0)).collect())
    }

    /// Creates a topic, and returns when every broker that is up knows it. A `replication` of 0 is the brokers' default.
    ///
    /// # Errors
    /// When the brokers refuse it, for example because it is there already (`TopicExistsException`).
    pub fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        replication: u32,
        config: &[(&str, &str)],
    ) -> Result<(), ServerError> {
        // Kafka's own sign for its default.
        let replication = if replication == 0 { -1 } else { i64::from(replication) };
        let request =
            Request::new("create-topic").text(name).number(partitions).number(replication).pairs(config);
        self.pipe.ask(request).map(drop)
    }

    /// Gives a topic more partitions, `count` in all.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn add_partitions(&self, topic: &str, count: u32) -> Result<(), ServerError> {
        self.pipe.ask(Request::new("add-partitions").text(topic).number(count)).map(drop)
    }

    /// Deletes a topic, and returns when it is gone.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn delete_topic(&self, name: &str) -> Result<(), ServerError> {
        self.pipe.ask(Request::new("delete-topic").text(name)).map(drop)
    }

    /// The partitions of a topic, in their order.
    ///
    /// # Errors
    /// When there is no such topic.
    pub fn describe_topic(&self, name: &str) -> Result<Vec<Partition>, ServerError> {
        let rows = self.pipe.ask(Request::new("describe-topic").text(name))?;
        let ids = |text: String| text.split(',').filter_map(|id| id.parse().ok()).collect();
        let partition = |row: &Row| {
            Ok(Partition {
                number: row.number(0)?,
                leader: row.maybe(1),
                replicas: ids(row.text(2)),
                in_sync: ids(row.text(3)),
            })
        };
        rows.iter().map(partition).collect()
    }

    /// The id of the node that leads a partition, if one does.
    ///
    /// # Errors
    /// When there is no such topic.
    pub fn leader(&self, topic: &str, partition: u32) -> Result<Option<u32>, ServerError> {
        let partitions = self.describe_topic(topic)?;
        Ok(partitions.into_iter().find(|one| one.number == partition).and_then(|one| one.leader))
    }

    fn offsets(&self, topic: &str, which: &str) -> Result<Vec<i64>, ServerError> {
        let rows = self.pipe.ask(Request::new("offsets").text(topic).text(which))?;
        rows.iter().map(|row| row.number(1)).collect()
    }

    /// The offset of the first record of each partition.
    ///
    /// # Errors
    /// When there is no such topic.
    pub fn earliest(&self, topic: &str) -> Result<Vec<i64>, ServerError> {
        self.offsets(topic, "earliest")
    }

    /// The offset behind the last record of each partition.
    ///
    /// # Errors
    /// When there is no such topic.
    pub fn latest(&self, topic: &str) -> Result<Vec<i64>, ServerError> {
        self.offsets(topic, "latest")
    }

    /// The offset of the first record of each partition whose timestamp is not before this, in milliseconds; -1 where there is none.
    ///
    /// # Errors
    /// When there is no such topic.
    pub fn since(&self, topic: &str, timestamp: i64) -> Result<Vec<i64>, ServerError> {
        self.offsets(topic, &timestamp.to_string())
    }

    /// Deletes the records of a partition before an offset, and returns the offset of the first that is left.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn delete_records(&self, topic: &str, partition: u32, before: i64) -> Result<i64, ServerError> {
        let request = Request::new("delete-records").text(topic).number(partition).number(before);
        let rows = self.pipe.ask(request)?;
        rows.first().map_or(Ok(before), |row| row.number(0))
    }
}
