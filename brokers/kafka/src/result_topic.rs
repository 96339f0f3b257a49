//! Where results go: topic, key, partition, timestamp, headers.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use watermill_core::error::BoxError;
use watermill_core::key::{KeyExpr, KeyValue};
use watermill_core::record::StreamRecord;

/// A topic that results are written to, and how each is placed in it.
///
/// By itself a result has no key, and lane i writes to partition i: a chain of mills stays co-partitioned, and results stay in the order of their masters.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::record::StreamRecord;
/// use watermill_kafka::{KafkaBroker, ResultTopic};
/// # use watermill_derive::StreamRecord;
/// # use serde::Serialize;
///
/// #[derive(StreamRecord, Serialize)]
/// # #[watermill(crate = watermill_core)]
/// struct RobotSpeed { robot: String, time: i64, speed: f64 }
///
/// let speeds = ResultTopic::new("robot-speed")
///     .key(RobotSpeed::fields().robot)
///     .timestamp(|speed: &RobotSpeed| speed.time)
///     .header("unit", |_| Some(b"m/s".to_vec()));
/// let kafka = KafkaBroker::new("localhost:9092", "robot-speed").write(speeds);
/// ```
pub struct ResultTopic<R> {
    pub(crate) topic: String,
    pub(crate) placement: Placement<R>,
}

/// How results are placed.
pub(crate) struct Placement<R> {
    pub(crate) key: Option<KeyOf<R>>,
    pub(crate) partition: PartitionOf<R>,
    pub(crate) timestamp: Option<TimestampOf<R>>,
    pub(crate) headers: Vec<(String, HeaderOf<R>)>,
}

/// Writes the key of a result; false when it has none.
pub(crate) type KeyOf<R> = Arc<dyn Fn(&R, &mut Vec<u8>) -> Result<bool, BoxError> + Send + Sync>;
type CustomPartition<R> = Arc<dyn Fn(&R, i32) -> i32 + Send + Sync>;
type TimestampOf<R> = Arc<dyn Fn(&R) -> i64 + Send + Sync>;
type HeaderOf<R> = Arc<dyn Fn(&R) -> Option<Vec<u8>> + Send + Sync>;

/// Which partition a result goes to.
pub(crate) enum PartitionOf<R> {
    /// That of the lane.
    Lane,
    /// That of its key.
    Key,
    Custom(CustomPartition<R>),
}

impl<R> Clone for PartitionOf<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Lane => Self::Lane,
            Self::Key => Self::Key,
            Self::Custom(choose) => Self::Custom(Arc::clone(choose)),
        }
    }
}

impl<R> Clone for Placement<R> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            partition: self.partition.clone(),
            timestamp: self.timestamp.clone(),
            headers: self.headers.clone(),
        }
    }
}

impl<R> Placement<R> {
    /// Any lane may write to any partition.
    pub(crate) fn crosses_lanes(&self) -> bool {
        !matches!(self.partition, PartitionOf::Lane)
    }
}

impl<R: StreamRecord> ResultTopic<R> {
    /// The topic `topic`: no keys, the lane's own partition.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::{KafkaBroker, ResultTopic};
    /// let kafka = KafkaBroker::new("localhost:9092", "copy").write(ResultTopic::<Json>::new("events"));
    /// ```
    pub fn new(topic: impl Into<String>) -> Self {
        let placement =
            Placement { key: None, partition: PartitionOf::Lane, timestamp: None, headers: Vec::new() };
        Self { topic: topic.into(), placement }
    }

    /// Gives each result the text of `key` as its key, and places it by that as Java's clients do ([`murmur2_partition`](crate::murmur2_partition)).
    /// A result whose key is `None` has none, and goes to the lane's own partition.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::ResultTopic;
    /// // A field expression, or any closure that returns a key value.
    /// let topic = ResultTopic::new("events").key(|event: &Json| event["robot"].as_str().map(str::to_owned));
    /// ```
    #[must_use]
    pub fn key<E>(mut self, key: E) -> Self
    where
        E: KeyExpr<R>,
        for<'a> <E::Value as KeyValue>::View<'a>: Display,
    {
        self.placement.key = Some(Arc::new(move |result: &R, out: &mut Vec<u8>| {
            let Some(key) = key.key(result)? else { return Ok(false) };
            let mut text = Utf8(out);
            write!(text, "{key}")?;
            Ok(true)
        }));
        if let PartitionOf::Lane = self.placement.partition {
            self.placement.partition = PartitionOf::Key;
        }
        self
    }

    /// Gives each result these bytes as its key, and places it by them; `None` is no key.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::ResultTopic;
    /// let topic = ResultTopic::new("events").key_bytes(|event: &Json| Some(event["id"].as_u64()?.to_be_bytes().to_vec()));
    /// ```
    #[must_use]
    pub fn key_bytes(mut self, key: impl Fn(&R) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.placement.key = Some(Arc::new(move |result: &R, out: &mut Vec<u8>| {
            let Some(key) = key(result) else { return Ok(false) };
            out.extend_from_slice(&key);
            Ok(true)
        }));
        if let PartitionOf::Lane = self.placement.partition {
            self.placement.partition = PartitionOf::Key;
        }
        self
    }

    /// Writes to the partition of the master in spite of a key.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::ResultTopic;
    /// let topic = ResultTopic::new("events").key(|event: &Json| event["id"].as_u64()).in_masters_partition();
    /// ```
    #[must_use]
    pub fn in_masters_partition(mut self) -> Self {
        self.placement.partition = PartitionOf::Lane;
        self
    }

    /// Chooses the partition of each result, being told how many there are. One that is not there is an error of the run.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::ResultTopic;
    /// let topic = ResultTopic::new("events")
    ///     .partition(|event: &Json, count| event["shard"].as_i64().unwrap_or(0) as i32 % count);
    /// ```
    #[must_use]
    pub fn partition(mut self, choose: impl Fn(&R, i32) -> i32 + Send + Sync + 'static) -> Self {
        self.placement.partition = PartitionOf::Custom(Arc::new(choose));
        self
    }

    /// Gives each result this time, in milliseconds since the Unix epoch; without, it is the time of writing. To Kafka's clients the
    /// time 0 means "now".
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::ResultTopic;
    /// let topic = ResultTopic::new("events").timestamp(|event: &Json| event["time"].as_i64().unwrap_or(1));
    /// ```
    #[must_use]
    pub fn timestamp(mut self, timestamp: impl Fn(&R) -> i64 + Send + Sync + 'static) -> Self {
        self.placement.timestamp = Some(Arc::new(timestamp));
        self
    }

    /// Gives each result a header of this name, where `value` is some.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::ResultTopic;
    /// let topic = ResultTopic::new("events").header("version", |_: &Json| Some(b"2".to_vec()));
    /// ```
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<String>,
        value: impl Fn(&R) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.placement.headers.push((name.into(), Arc::new(value)));
        self
    }
}

impl<R: StreamRecord> From<&str> for ResultTopic<R> {
    fn from(topic: &str) -> Self {
        Self::new(topic)
    }
}

impl<R: StreamRecord> From<String> for ResultTopic<R> {
    fn from(topic: String) -> Self {
        Self::new(topic)
    }
}

/// Formats into bytes.
struct Utf8<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
