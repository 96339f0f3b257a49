//! What users build: which topics are read and written, and how.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use watermill_core::broker::codec::{Decode, Encode, JsonCodec, ReplayCodec};
use watermill_core::broker::{
    AnySink, AnySource, BoxFuture, Broker, Catalog, InputDecl, Job, OutputDecl, Session,
};
use watermill_core::error::{BadCause, BrokerError};
use watermill_core::record::{RecordType, StreamRecord};

use crate::failure::{NAME, failure};
use crate::fetch::Fetched;
use crate::message::{ByFunction, ByValue, DecodeMessage, KafkaMessage};
use crate::options::Options;
use crate::result_topic::ResultTopic;
use crate::session::KafkaSession;
use crate::sink::{KafkaSink, SinkSettings};
use crate::source::{KafkaSource, SourceSettings};

/// Reads and writes topics of Apache Kafka.
///
/// Each partition of the master's topic is a lane, which joins it to the same partition of every other topic. Lanes are walked on threads, and
/// spread over all processes that run the same application. Results, EndOfStream marks and positions are committed in one transaction, so every record counts
/// exactly once, whatever is killed. No method here panics or touches the network: mistakes are reported when the mill is built or started.
///
/// ```
/// use watermill_core::broker::Broker;
/// use watermill_core::record::Json;
/// use watermill_kafka::KafkaBroker;
///
/// let kafka = KafkaBroker::new("localhost:9092", "robot-speed")
///     .read::<Json>("robot-locations")
///     .write::<Json>("robot-speed");
/// assert_eq!(kafka.catalog()?.inputs[0].location, "topic `robot-locations`");
/// # Ok::<(), watermill_core::RunError>(())
/// ```
///
/// # Topics
/// All topics that are joined need the same number of partitions, and the same partitioner. Values are JSON unless a codec says otherwise; a message without a value (a tombstone of a
/// compacted topic) is no record. The message `{"eos__": true}` ends its partition. Topics must be there, unless [`create_topics`](Self::create_topics) makes them.
///
/// # The application
/// Its name is that of the consumer group, and transactional ids are made from it. The group's offsets are where a restart goes on: nothing has to be set for that, and Kafka's own
/// tools show the lag and reset them.
#[derive(Clone)]
#[must_use]
pub struct KafkaBroker {
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) options: Options,
}

/// A declared input.
#[derive(Clone)]
pub(crate) struct Input {
    record: RecordType,
    name: Option<String>,
    pub(crate) topic: String,
    pub(crate) open: OpenSource,
}

/// Makes a source; knows record and codec.
pub(crate) type OpenSource = Arc<dyn Fn(SourceSettings, Option<Fetched>) -> AnySource + Send + Sync>;

/// A declared output.
#[derive(Clone)]
pub(crate) struct Output {
    record: RecordType,
    pub(crate) topic: String,
    /// Any lane may write to any partition of it.
    pub(crate) crosses_lanes: bool,
    pub(crate) open: OpenSink,
}

/// Makes a sink; knows record, codec and placement.
pub(crate) type OpenSink = Arc<dyn Fn(SinkSettings) -> AnySink + Send + Sync>;

impl KafkaBroker {
    /// The Kafka at `servers` (`host:port`, with commas between several), for `application`.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("kafka-1:9092,kafka-2:9092", "robot-speed");
    /// ```
    pub fn new(servers: impl Into<String>, application: impl Into<String>) -> Self {
        let options = Options::new(servers.into(), application.into());
        Self { inputs: Vec::new(), outputs: Vec::new(), options }
    }

    /// Reads records of type `R` from `topic`, as JSON.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").read::<Json>("events");
    /// ```
    pub fn read<R: StreamRecord + DeserializeOwned>(self, topic: impl Into<String>) -> Self {
        self.read_with::<R>(topic, JsonCodec)
    }

    /// Reads a further stream of records of type `R`, told apart from the others by `name`.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events")
    ///     .read_as::<Json>("left", "left-events")
    ///     .read_as::<Json>("right", "right-events");
    /// ```
    pub fn read_as<R: StreamRecord + DeserializeOwned>(
        self,
        name: impl Into<String>,
        topic: impl Into<String>,
    ) -> Self {
        self.read_as_with::<R>(name, topic, JsonCodec)
    }

    /// Reads records of type `R` from `topic`, by a codec of the values.
    ///
    /// ```
    /// # use watermill_core::{broker::codec::JsonCodec, record::Json};
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").read_with::<Json>("events", JsonCodec);
    /// ```
    pub fn read_with<R: StreamRecord>(self, topic: impl Into<String>, codec: impl Decode<R>) -> Self {
        self.input::<R>(None, topic.into(), Arc::new(ByValue(codec)))
    }

    /// Reads a further stream of records of type `R`, by a codec of the values.
    ///
    /// ```
    /// # use watermill_core::{broker::codec::JsonCodec, record::Json};
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").read_as_with::<Json>("left", "events", JsonCodec);
    /// ```
    pub fn read_as_with<R: StreamRecord>(
        self,
        name: impl Into<String>,
        topic: impl Into<String>,
        codec: impl Decode<R>,
    ) -> Self {
        self.input::<R>(Some(name.into()), topic.into(), Arc::new(ByValue(codec)))
    }

    /// Reads records that are made of more than the value of a message: of its key, time or headers. See [`KafkaMessage`].
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").read_by("events", |message| {
    ///     Ok(Json(serde_json::json!({"time": message.timestamp(), "length": message.value().len()})))
    /// });
    /// ```
    pub fn read_by<R: StreamRecord>(
        self,
        topic: impl Into<String>,
        make: impl Fn(&KafkaMessage<'_>) -> Result<R, BadCause> + Send + Sync + 'static,
    ) -> Self {
        self.input::<R>(None, topic.into(), Arc::new(ByFunction(make)))
    }

    /// Reads dead letters of the stream of `R` back as that stream: what a run has put aside is fed back in, by the same mill under an application name of
    /// its own. Letters of other streams in the same topic are passed over.
    ///
    /// Each message is a [`DeadLetter`](watermill_core::DeadLetter), whose `raw` is the record's text: write the letter again with it mended, or with the record itself in
    /// its place (`"raw": {"time": 20, "x": 1.5}`). Nothing else needs to be changed. A letter that still holds no record is a bad record, whose
    /// error names both places; put aside again, it can be replayed again.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events-mended").replay::<Json>("events-dead-letters").until_current_end();
    /// ```
    pub fn replay<R: StreamRecord + DeserializeOwned>(self, topic: impl Into<String>) -> Self {
        self.replay_with::<R>(topic, JsonCodec)
    }

    /// As [`replay`](Self::replay), of one of several streams of `R`: the one with this name, under which it was read first.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events-mended").replay_as::<Json>("left", "events-dead-letters");
    /// ```
    pub fn replay_as<R: StreamRecord + DeserializeOwned>(
        self,
        name: impl Into<String>,
        topic: impl Into<String>,
    ) -> Self {
        let name = name.into();
        let codec = ReplayCodec::new::<R>(Some(&name), JsonCodec);
        self.input::<R>(Some(name), topic.into(), Arc::new(ByValue(codec)))
    }

    /// As [`replay`](Self::replay), of records that are read with a codec of your own.
    ///
    /// ```
    /// # use watermill_core::{broker::codec::JsonCodec, record::Json};
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events-mended").replay_with::<Json>("events-dead-letters", JsonCodec);
    /// ```
    pub fn replay_with<R: StreamRecord>(self, topic: impl Into<String>, codec: impl Decode<R>) -> Self {
        self.input::<R>(None, topic.into(), Arc::new(ByValue(ReplayCodec::new::<R>(None, codec))))
    }

    fn input<R: StreamRecord>(
        mut self,
        name: Option<String>,
        topic: String,
        decoder: Arc<dyn DecodeMessage<R>>,
    ) -> Self {
        let open: OpenSource = Arc::new(move |settings, fetched| {
            AnySource::new::<R>(KafkaSource::new(settings, Arc::clone(&decoder), fetched))
        });
        self.inputs.push(Input { record: RecordType::of::<R>(), name, topic, open });
        self
    }

    /// Writes results of type `R` to a topic, as JSON: its name, or a [`ResultTopic`] that says more.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").write::<Json>("copies");
    /// ```
    pub fn write<R: StreamRecord + Serialize>(self, topic: impl Into<ResultTopic<R>>) -> Self {
        self.write_with::<R>(topic, JsonCodec)
    }

    /// Writes results of type `R` to a topic, by a codec.
    ///
    /// ```
    /// # use watermill_core::{broker::codec::JsonCodec, record::Json};
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").write_with::<Json>("copies", JsonCodec);
    /// ```
    pub fn write_with<R: StreamRecord>(
        mut self,
        topic: impl Into<ResultTopic<R>>,
        codec: impl Encode<R>,
    ) -> Self {
        let ResultTopic { topic, placement } = topic.into();
        let codec = Arc::new(codec);
        let crosses_lanes = placement.crosses_lanes();
        let open: OpenSink = Arc::new(move |settings| {
            AnySink::new::<R>(KafkaSink::new(settings, placement.clone(), Arc::clone(&codec)))
        });
        self.outputs.push(Output { record: RecordType::of::<R>(), topic, crosses_lanes, open });
        self
    }

    /// Declarations that contradict each other.
    fn check(&self) -> Result<(), BrokerError> {
        self.options.check()?;
        let named = |name: &str| format!("topic `{name}`");
        for (index, input) in self.inputs.iter().enumerate() {
            if !is_topic_name(&input.topic) {
                return Err(failure("read", named(&input.topic), NO_NAME));
            }
            if let Some(other) = self.inputs[..index]
                .iter()
                .find(|other| other.record == input.record && other.name == input.name)
            {
                let cause = format!(
                    "`{}` is read from `{}` already; give each a name with `read_as`",
                    input.record, other.topic
                );
                return Err(failure("read", named(&input.topic), cause));
            }
        }
        for output in &self.outputs {
            if !is_topic_name(&output.topic) {
                return Err(failure("write", named(&output.topic), NO_NAME));
            }
            if self.inputs.iter().any(|input| input.topic == output.topic) {
                let cause = "it is read by the same broker; a mill that reads its own results has no end";
                return Err(failure("write", named(&output.topic), cause));
            }
        }
        Ok(())
    }
}

const NO_NAME: &str = "that is no name of a topic: up to 249 letters, digits, `.`, `_` and `-`";

fn is_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.bytes().all(legal)
}

impl Broker for KafkaBroker {
    fn name(&self) -> &str {
        NAME
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        self.check()?;
        let location = |topic: &str| format!("topic `{topic}`");
        Ok(Catalog {
            inputs: self
                .inputs
                .iter()
                .map(|input| InputDecl {
                    record: input.record,
                    name: input.name.clone(),
                    location: location(&input.topic),
                })
                .collect(),
            outputs: self
                .outputs
                .iter()
                .map(|output| OutputDecl { record: output.record, location: location(&output.topic) })
                .collect(),
        })
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        let (broker, job) = (self.clone(), job.clone());
        Box::pin(async move {
            let opened = tokio::task::spawn_blocking(move || KafkaSession::open(&broker, &job)).await;
            let opened = opened.map_err(|cause| failure("reach", "Kafka", cause))??;
            Ok(Box::new(opened) as Box<dyn Session>)
        })
    }
}

impl fmt::Debug for KafkaBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = |all: Vec<(&RecordType, &String)>| {
            all.iter().map(|(record, topic)| format!("{record}: {topic}")).collect::<Vec<_>>()
        };
        // Not the options: there may be a password among them.
        f.debug_struct("KafkaBroker")
            .field("servers", &self.options.servers)
            .field("application", &self.options.application)
            .field("inputs", &topics(self.inputs.iter().map(|input| (&input.record, &input.topic)).collect()))
            .field(
                "outputs",
                &topics(self.outputs.iter().map(|output| (&output.record, &output.topic)).collect()),
            )
            .finish_non_exhaustive()
    }
}
