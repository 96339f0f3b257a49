//! Records written and read by the Java client, with transactions or without: what other clients are compared with.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::groups::GroupOffset;
use super::{Client, Request, Row};
use crate::error::ServerError;

/// How many records go into one request.
const BATCH: usize = 1000;

/// A record to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    topic: String,
    partition: Option<u32>,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl NewRecord {
    /// A record without key and value, whose partition Java's partitioner chooses: by the hash of the key, if it has one.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..Self::default() }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Into this partition.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With this timestamp, in milliseconds.
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// With one more header, whose value may be null.
    #[must_use]
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: i64,
    /// The timestamp, in milliseconds.
    pub timestamp: i64,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: i64,
    /// The timestamp, in milliseconds.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Whether records of transactions that were aborted, or are open, are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// They are not, nor what is behind the first record of an open one.
    Committed,
    /// They are.
    Uncommitted,
}

impl Client {
    /// Writes records outside of transactions, and returns where each is when all are acknowledged by all replicas.
    ///
    /// # Errors
    /// When the brokers refuse one of them.
    pub fn produce(&self, records: &[NewRecord]) -> Result<Vec<Placed>, ServerError> {
        let name = {
            let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            match &*plain {
                Some(name) => name.clone(),
                None => plain.insert(self.open(None, &[])?).clone(),
            }
        };
        self.send(&name, records)
    }

    /// A producer with these properties, beside those of this client.
    ///
    /// # Errors
    /// When a property is wrong.
    pub fn producer(&self, properties: &[(&str, &str)]) -> Result<Producer<'_>, ServerError> {
        Ok(Producer { client: self, name: Some(self.open(None, properties)?) })
    }

    /// A producer for transactions, which fences those before it of the same id.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn transactional(&self, id: &str, properties: &[(&str, &str)]) -> Result<Producer<'_>, ServerError> {
        Ok(Producer { client: self, name: Some(self.open(Some(id), properties)?) })
    }

    fn open(&self, transactions: Option<&str>, properties: &[(&str, &str)]) -> Result<String, ServerError> {
        let name = self.producers.fetch_add(1, Ordering::Relaxed).to_string();
        let request = Request::new("producer-open").text(&name).maybe_text(transactions).pairs(properties);
        self.pipe.ask(request)?;
        Ok(name)
    }

    fn send(&self, producer: &str, records: &[NewRecord]) -> Result<Vec<Placed>, ServerError> {
        let mut placed = Vec::with_capacity(records.len());
        for batch in records.chunks(BATCH) {
            let mut request = Request::new("producer-send").text(producer);
            for record in batch {
                request = request
                    .text(&record.topic)
                    .maybe_number(record.partition)
                    .maybe_number(record.timestamp)
                    .maybe_bytes(record.key.as_deref())
                    .maybe_bytes(record.value.as_deref())
                    .number(u32::try_from(record.headers.len()).unwrap_or(u32::MAX));
                for (name, value) in &record.headers {
                    request = request.text(name).maybe_bytes(value.as_deref());
                }
            }
            for row in self.pipe.ask(request)? {
                placed.push(Placed {
                    partition: row.number(0)?,
                    offset: row.number(1)?,
                    timestamp: row.number(2)?,
                });
            }
        }
        Ok(placed)
    }

    /// All records of a topic that are there now, each partition in its order, partition by partition.
    ///
    /// # Errors
    /// When there is no such topic.
    pub fn read(&self, topic: &str, isolation: Isolation) -> Result<Vec<ReadRecord>, ServerError> {
        self.read_from(topic, isolation, &[])
    }

    /// Those of some partitions, from an offset of each.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn read_from(
        &self,
        topic: &str,
        isolation: Isolation,
        from: &[(u32, i64)],
    ) -> Result<Vec<ReadRecord>, ServerError> {
        let isolation = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let request = from
            .iter()
            .fold(Request::new("read").text(topic).text(isolation), |request, (partition, offset)| {
                request.number(*partition).number(*offset)
            });
        let rows = self.pipe.ask(request)?;
        let mut records = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        records.sort_by_key(|record| record.partition);
        Ok(records)
    }
}

fn record(row: &Row) -> Result<ReadRecord, ServerError> {
    Ok(ReadRecord {
        partition: row.number(0)?,
        offset: row.number(1)?,
        timestamp: row.number(2)?,
        key: row.bytes(3),
        value: row.bytes(4),
        headers: (5..row.len()).step_by(2).map(|at| (row.text(at), row.bytes(at + 1))).collect(),
    })
}

/// A producer of the Java client. When it is dropped it is closed, which aborts its open transaction.
#[derive(Debug)]
pub struct Producer<'a> {
    client: &'a Client,
    /// Absent when it is closed.
    name: Option<String>,
}

impl Producer<'_> {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn ask(&self, command: &str) -> Result<(), ServerError> {
        self.client.pipe.ask(Request::new(command).text(self.name())).map(drop)
    }

    /// Writes records, and returns where each is.
    ///
    /// # Errors
    /// When the brokers refuse one of them.
    pub fn send(&self, records: &[NewRecord]) -> Result<Vec<Placed>, ServerError> {
        self.client.send(self.name(), records)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When one is open, or the producer was fenced.
    pub fn begin(&self) -> Result<(), ServerError> {
        self.ask("producer-begin")
    }

    /// Adds offsets of a group to the transaction.
    ///
    /// # Errors
    /// When none is open, or the producer was fenced.
    pub fn commit_offsets(&self, group: &str, offsets: &[GroupOffset]) -> Result<(), ServerError> {
        self.client.offsets_into(self.name(), group, offsets)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// When none is open, or the producer was fenced (`ProducerFencedException`, `InvalidProducerEpochException`).
    pub fn commit(&self) -> Result<(), ServerError> {
        self.ask("producer-commit")
    }

    /// Aborts the transaction.
    ///
    /// # Errors
    /// When none is open, or the producer was fenced.
    pub fn abort(&self) -> Result<(), ServerError> {
        self.ask("producer-abort")
    }

    /// Goes away as a producer does that is killed: an open transaction stays open, until it times out or another producer of the same id
    /// comes.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn abandon(mut self) -> Result<(), ServerError> {
        self.close(0)
    }

    fn close(&mut self, seconds: u32) -> Result<(), ServerError> {
        match self.name.take() {
            Some(name) => {
                self.client.pipe.ask(Request::new("producer-close").text(&name).number(seconds)).map(drop)
            }
            None => Ok(()),
        }
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        let _ = self.close(10);
    }
}
