//! What is looked up before a run: that topics are there, how many partitions they have, where they end.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Runtime;
use watermill_core::error::{BoxError, BrokerError};

use crate::closing::close;
use crate::context::{Context, Health};
use crate::failure::{Told, client_failure, failure, hint};
use crate::options::{Options, Start};

/// How long a question may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What there is of a partition, when its lane is opened. Looked up once, so that all nodes that read it agree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) low: u64,
    pub(crate) high: u64,
    /// Where reading begins that was never committed.
    pub(crate) start: u64,
}

/// How long one attempt to reach them may take, so that what is hopeless is seen soon.
const ATTEMPT: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(50);

/// The pause before it is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Whether an error may be over by itself: of servers that are gone for now, or have just taken something over. There are many of these, so those
/// are listed that stay.
pub(crate) fn may_pass(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        error.rdkafka_error_code(),
        None | Some(
            Code::Authentication
                | Code::ClusterAuthorizationFailed
                | Code::Fatal
                | Code::GroupAuthorizationFailed
                | Code::InvalidArgument
                | Code::InvalidGroupId
                | Code::InvalidTopic
                | Code::NotImplemented
                | Code::SaslAuthenticationFailed
                | Code::TopicAuthorizationFailed
                | Code::UnknownPartition
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnsupportedFeature
                | Code::UnsupportedVersion
        )
    )
}

/// Asks the servers. Its calls block: it is used on threads where that is allowed.
pub(crate) struct Looker {
    pub(crate) consumer: BaseConsumer<Context>,
    pub(crate) health: Health,
    options: Options,
}

impl Drop for Looker {
    fn drop(&mut self) {
        close(&self.consumer);
    }
}

impl Looker {
    pub(crate) fn new(options: &Options) -> Result<Self, BrokerError> {
        Self::with(options, &options.looker())
    }

    /// Another one, that sees what is not decided, too: the ends of partitions, and the last committed offsets beside those of a transaction.
    pub(crate) fn loose(&self) -> Result<Self, BrokerError> {
        Self::with(&self.options, self.options.looker().set("isolation.level", "read_uncommitted"))
    }

    fn with(options: &Options, config: &ClientConfig) -> Result<Self, BrokerError> {
        let context = Context { late: true, ..Context::default() };
        let health = context.health.clone();
        let consumer = config.create_with_context(context).map_err(|cause| {
            client_failure("make a client for", format_args!("`{}`", options.servers), cause)
        })?;
        Ok(Self { consumer, health, options: options.clone() })
    }

    /// Asks again while the servers cannot answer, for as long as they may be gone.
    pub(crate) fn patiently<T>(&self, ask: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let until = self.health.until(self.options.retry_for);
        loop {
            let answer = ask();
            // Nobody else takes what this client tells.
            while self.consumer.poll(Duration::ZERO).is_some() {}
            match answer {
                Err(error) if may_pass(&error) && Instant::now() < until => {
                    tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "asked again");
                    std::thread::sleep(AGAIN);
                }
                answer => return answer,
            }
        }
    }

    /// How many partitions each of `topics` has, those that are missing being made where that was asked for.
    pub(crate) fn partitions(
        &self,
        topics: &[&str],
        options: &Options,
    ) -> Result<BTreeMap<String, i32>, BrokerError> {
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for topic in topics {
            match self.partitions_of(topic, options)? {
                Some(count) => drop(found.insert((*topic).to_owned(), count)),
                None => missing.push(*topic),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let Some((partitions, replicas)) = options.create else {
            let list = missing.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
            let cause = format!(
                "there is no such topic; make it by `kafka-topics.sh --bootstrap-server {} --create --topic {} --partitions 3 --replication-factor 1`, or have missing topics made by `.create_topics(partitions, replication)`",
                options.servers, missing[0]
            );
            return Err(failure("find", format_args!("topic {list}"), Told(cause)));
        };
        create(&options.looker(), &missing, partitions, replicas)?;
        for topic in missing {
            // The servers tell each other; until then some say that there is no such topic.
            let mut tries = 0;
            let count = loop {
                match self.partitions_of(topic, options)? {
                    Some(count) => break count,
                    None if tries < 100 => {
                        tries += 1;
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    None => {
                        let cause = Told("it was made, but the servers do not know it yet".to_owned());
                        return Err(failure("find", format_args!("topic `{topic}`"), cause));
                    }
                }
            };
            found.insert(topic.to_owned(), count);
        }
        Ok(found)
    }

    fn partitions_of(&self, topic: &str, options: &Options) -> Result<Option<i32>, BrokerError> {
        let metadata = self.metadata(topic, options)?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error() {
            None => {
                Ok(Some(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))
                    .filter(|count| *count > 0))
            }
            Some(error) => match RDKafkaErrorCode::from(error) {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
                RDKafkaErrorCode::LeaderNotAvailable => Ok(None),
                code => {
                    let cause = KafkaError::MetadataFetch(code);
                    Err(client_failure("look up", format_args!("topic `{topic}`"), cause))
                }
            },
        }
    }

    /// Asks until somebody answers, it is hopeless, or time is up.
    fn metadata(&self, topic: &str, options: &Options) -> Result<Metadata, BrokerError> {
        let until = Instant::now() + ANSWER_WITHIN.min(options.retry_for);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let cause = match self.consumer.fetch_metadata(Some(topic), left.clamp(PAUSE, ATTEMPT)) {
                Ok(metadata) => return Ok(metadata),
                Err(cause) => cause,
            };
            // Why is told to the context, by events that nobody else takes.
            while self.consumer.poll(Duration::ZERO).is_some() {}
            if self.health.fatal().is_some() || Instant::now() >= until {
                return Err(unreached(&options.servers, cause, &self.health));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The first offset of a partition, and that behind its last record that readers of committed records can see.
    pub(crate) fn ends(&self, topic: &str, partition: i32) -> Result<(u64, u64), BrokerError> {
        let (low, high) = self
            .patiently(|| self.consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN))
            .map_err(|cause| {
                client_failure(
                    "find the ends of",
                    format_args!("topic `{topic}`, partition {partition}"),
                    cause,
                )
            })?;
        Ok((low.max(0).cast_unsigned(), high.max(0).cast_unsigned()))
    }

    /// What there is of a partition, and where reading it begins.
    pub(crate) fn extent(&self, topic: &str, partition: i32, start: Start) -> Result<Extent, BrokerError> {
        let (low, high) = self.ends(topic, partition)?;
        let time = match start {
            Start::Earliest => return Ok(Extent { low, high, start: low }),
            Start::Latest => return Ok(Extent { low, high, start: high }),
            Start::At(time) => time,
        };
        let place = format!("topic `{topic}`, partition {partition}");
        let asked = |cause| client_failure("find a time in", &place, cause);
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(topic, partition, Offset::Offset(time)).map_err(asked)?;
        let found = self
            .patiently(|| self.consumer.offsets_for_times(times.clone(), ANSWER_WITHIN))
            .map_err(asked)?;
        let start = match found.find_partition(topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => offset.max(0).cast_unsigned(),
            // There is nothing as new as that.
            _ => high,
        };
        Ok(Extent { low, high, start })
    }

    /// Behind the last record of each partition that readers of committed records can see.
    pub(crate) fn all_ends(&self, topic: &str, partitions: i32) -> Result<Vec<u64>, BrokerError> {
        let place = format!("topic `{topic}`");
        let asked = |cause| client_failure("find the ends of", &place, cause);
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::End).map_err(asked)?;
        }
        let found = self.consumer.offsets_for_times(list, ANSWER_WITHIN).map_err(asked)?;
        let of = |partition| match found.find_partition(topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => offset.max(0).cast_unsigned(),
            _ => 0,
        };
        Ok((0..partitions).map(of).collect())
    }
}

/// How large a batch of messages topics take: asked for while the run goes on to open, since that takes a client of its own.
pub(crate) struct Limits {
    asking: Mutex<Option<JoinHandle<BTreeMap<String, usize>>>>,
    known: OnceLock<BTreeMap<String, usize>>,
}

impl Limits {
    /// Asks for those of `topics`.
    pub(crate) fn ask(options: &Options, topics: &[&str]) -> Self {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let config = options.looker();
        let ask = move || {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            config_values(&config, &topics, "max.message.bytes").unwrap_or_else(|error| {
                // Not everybody may ask. What is too large is found when it is sent, then.
                tracing::debug!(target: "watermill", error = &error as &dyn std::error::Error, "the limits of topics are not known");
                BTreeMap::new()
            })
        };
        let asking = std::thread::Builder::new().name("watermill-limits".to_owned()).spawn(ask).ok();
        Self { asking: Mutex::new(asking), known: OnceLock::new() }
    }

    /// Those that told. Blocks.
    pub(crate) fn known(&self) -> &BTreeMap<String, usize> {
        self.known.get_or_init(|| {
            let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner).take();
            asking.and_then(|asking| asking.join().ok()).unwrap_or_default()
        })
    }
}

/// Why the servers cannot be reached: what the client was told last says more than that time was up.
fn unreached(servers: &str, cause: KafkaError, health: &Health) -> BrokerError {
    match health.last() {
        Some(reason) => {
            let code = health.code().or(cause.rdkafka_error_code());
            failure("reach", format_args!("`{servers}`{}", code.map_or("", hint)), Told(reason))
        }
        None => client_failure("reach", format_args!("`{servers}`"), cause),
    }
}

type Admin = AdminClient<Context>;

fn admin(config: &ClientConfig) -> Result<(Admin, AdminOptions, Runtime), BoxError> {
    let admin: Admin = config.create_with_context(Context::default())?;
    let options =
        AdminOptions::new().operation_timeout(Some(ANSWER_WITHIN)).request_timeout(Some(ANSWER_WITHIN));
    Ok((admin, options, tokio::runtime::Builder::new_current_thread().build()?))
}

/// The value of a setting, as a number, of each topic that tells.
fn config_values(
    config: &ClientConfig,
    topics: &[&str],
    name: &str,
) -> Result<BTreeMap<String, usize>, BrokerError> {
    let place = || format!("topic {}", topics.join(", "));
    let (admin, options, runtime) = admin(config).map_err(|cause| failure("look at", place(), cause))?;
    let asked: Vec<ResourceSpecifier<'_>> =
        topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let told = runtime
        .block_on(admin.describe_configs(&asked, &options))
        .map_err(|cause| client_failure("look at", place(), cause))?;
    let mut values = BTreeMap::new();
    for resource in told.into_iter().flatten() {
        let value = resource.get(name).and_then(|entry| entry.value.as_ref()?.parse().ok());
        if let (OwnedResourceSpecifier::Topic(topic), Some(value)) = (&resource.specifier, value) {
            values.insert(topic.clone(), value);
        }
    }
    Ok(values)
}

/// Makes topics.
fn create(config: &ClientConfig, topics: &[&str], partitions: i32, replicas: i32) -> Result<(), BrokerError> {
    let list = topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
    let place = format!("topic {list}");
    let asked = |cause| client_failure("make", &place, cause);
    let (admin, options, runtime) = admin(config).map_err(|cause| failure("make", &place, cause))?;
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas)))
        .collect();
    let made = runtime.block_on(admin.create_topics(&new, &options)).map_err(asked)?;
    for result in made {
        match result {
            Ok(topic) => tracing::info!(target: "watermill", topic, partitions, replicas, "topic made"),
            // Another process was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                let cause = KafkaError::AdminOp(code);
                return Err(client_failure("make", format_args!("topic `{topic}`"), cause));
            }
        }
    }
    Ok(())
}
