//! How the broker is reached, and how the clients of a run are made.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use watermill_core::error::BrokerError;

use crate::failure::failure;

/// What the broker sets by itself, and what would break its promises otherwise.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is the first argument of `KafkaBroker::new`"),
    ("metadata.broker.list", "it is the first argument of `KafkaBroker::new`"),
    ("group.id", "it is the application, the second argument of `KafkaBroker::new`"),
    ("transactional.id", "it is made from the application and the lane"),
    ("enable.auto.commit", "offsets are committed together with the results"),
    ("enable.auto.offset.store", "offsets are committed together with the results"),
    ("auto.offset.reset", "call `from_latest` or `from_time`"),
    ("enable.partition.eof", "the ends of partitions are needed"),
    ("group.instance.id", "call `static_member`"),
    ("delivery.report.only.error", "only errors are looked at"),
    ("statistics.interval.ms", "call `statistics`"),
    ("isolation.level", "records of transactions that were aborted are never read"),
    ("partitioner", "place results by `ResultTopic::key` or `ResultTopic::partition`"),
];

/// Options of producers alone: consumers would warn of them.
const PRODUCER: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "max.in.flight",
    "message.send.max.retries",
    "message.timeout.ms",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
];

/// Options of consumers alone.
const CONSUMER: &[&str] = &[
    "check.crcs",
    "client.rack",
    "coordinator.query.interval.ms",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// How large the client makes its batches unless told otherwise.
const BATCH_BYTES: usize = 1_000_000;

/// Where a stream begins that was never committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    /// At the first record that is not older, in milliseconds since the epoch.
    At(i64),
}

/// All that can be set about a broker, apart from its streams.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) servers: String,
    pub(crate) application: String,
    pub(crate) client: Vec<(String, String)>,
    pub(crate) exactly_once: bool,
    pub(crate) start: Start,
    /// Streams end where their partitions did when the run began.
    pub(crate) until_current_end: bool,
    pub(crate) continue_after_eos: bool,
    /// A mark in one partition ends the whole topic.
    pub(crate) eos_per_topic: bool,
    /// Partitions and replicas of topics that are missing.
    pub(crate) create: Option<(i32, i32)>,
    pub(crate) member: Option<String>,
    pub(crate) retry_for: Duration,
    pub(crate) statistics: Option<Duration>,
    /// So many bytes of results may wait for a commit before one is made early.
    pub(crate) most_uncommitted: usize,
}

impl Options {
    pub(crate) fn new(servers: String, application: String) -> Self {
        Self {
            servers,
            application,
            client: Vec::new(),
            exactly_once: true,
            start: Start::Earliest,
            until_current_end: false,
            continue_after_eos: false,
            eos_per_topic: false,
            create: None,
            member: None,
            retry_for: Duration::from_secs(300),
            statistics: None,
            most_uncommitted: 16 << 20,
        }
    }

    /// Sets an option of the clients; the last one of a name counts.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        self.client.retain(|(other, _)| *other != name);
        self.client.push((name, value));
    }

    /// What cannot be, before anything is opened.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let problem = |location: &str, cause: String| Err(failure("use", location, cause));
        if self.servers.trim().is_empty() {
            return problem(
                "the servers",
                "there are none; name one or more as `host:port`, with commas between".to_owned(),
            );
        }
        if self.application.trim().is_empty() {
            let cause = "its name is empty; its consumer group and its transactional ids are made from it";
            return problem("the application", cause.to_owned());
        }
        for (name, _) in &self.client {
            if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| reserved == name) {
                return problem(&format!("the option `{name}`"), format!("it cannot be set: {why}"));
            }
        }
        if let Some((partitions, replicas)) = self.create
            && (partitions < 1 || replicas < 1)
        {
            let cause =
                format!("{partitions} partitions with {replicas} replicas cannot be; both are at least 1");
            return problem("the topics to be made", cause);
        }
        Ok(())
    }

    fn base(&self, client: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.servers)
            .set("client.id", format!("{}-{client}", self.application))
            .set("log_level", "5")
            // Requests are small, and somebody waits for the answer of nearly each.
            .set("socket.nagle.disable", "true")
            // Some seconds between two attempts to reach a server that is gone are long for those who wait for it to come back.
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "60000");
        if let Some(every) = self.statistics {
            config.set("statistics.interval.ms", every.as_millis().to_string());
        }
        config
    }

    fn user(&self, mut config: ClientConfig, not: &[&str]) -> ClientConfig {
        for (name, value) in &self.client {
            if !not.contains(&name.as_str()) {
                config.set(name, value);
            }
        }
        config
    }

    fn group(&self, client: &str) -> ClientConfig {
        let mut config = self.base(client);
        config
            .set("group.id", &self.application)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed");
        config
    }

    /// Looks things up: topics, ends of partitions, committed offsets.
    pub(crate) fn looker(&self) -> ClientConfig {
        self.user(self.group("looker"), PRODUCER)
    }

    /// The member of the group. It fetches nothing.
    pub(crate) fn member(&self) -> ClientConfig {
        let mut config = self.group("member");
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "latest")
            .set("queued.min.messages", "1")
            .set("fetch.message.max.bytes", "1024");
        if let Some(instance) = &self.member {
            config.set("group.instance.id", instance);
        }
        self.user(config, PRODUCER)
    }

    /// Fetches. It joins no group: what it reads is assigned to it by hand.
    pub(crate) fn fetcher(&self) -> ClientConfig {
        let mut config = self.group("fetcher");
        config
            .set("enable.partition.eof", "true")
            // For so long it may stay unnoticed that another server leads a partition, when the one before was killed.
            .set("topic.metadata.refresh.interval.ms", "2000")
            // Where an offset is gone, that is an error to be told, not a place to jump to.
            .set("auto.offset.reset", "error")
            // The default of a second stalls a merge each time its queue was full.
            .set("fetch.queue.backoff.ms", "5")
            // A client asks a server for one batch at a time: while it waits for records of a quiet partition, it does not ask for those of a busy one whose queue
            // was full. The default of half a second would let that run dry.
            .set("fetch.wait.max.ms", "50")
            // Much less than the defaults is as fast and takes a third of the memory.
            .set("fetch.message.max.bytes", "262144")
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", "8192");
        if self.statistics.is_none() {
            // They tell where partitions end, without a question to the servers.
            config.set("statistics.interval.ms", "2000");
        }
        self.user(config, PRODUCER)
    }

    /// Reads a few records aside from the run, and waits for none.
    pub(crate) fn peeker(&self) -> ClientConfig {
        let mut config = self.fetcher();
        config
            .set("statistics.interval.ms", "0")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "10")
            .set("queued.min.messages", "100");
        config
    }

    /// The producer of one lane; in a transaction where `transactional`. `most_bytes` is the least that one of its topics takes in one batch.
    pub(crate) fn producer(&self, lane: u32, transactional: bool, most_bytes: usize) -> ClientConfig {
        let mut config = self.base(&format!("lane-{lane}"));
        config
            .set("enable.idempotence", "true")
            .set("delivery.report.only.error", "true")
            .set("linger.ms", "1")
            // The order of results is theirs; which partition a key belongs to is decided before.
            .set("partitioner", "murmur2_random");
        if most_bytes < BATCH_BYTES {
            // A topic refuses batches that are larger than it takes, even if each record in them is small.
            config.set("batch.size", most_bytes.to_string());
        }
        if transactional {
            config
                .set("transactional.id", format!("{}-{lane}", self.application))
                // Transactions are open only while they are committed, so this can be short: for so long a killed program may keep others from
                // reading on.
                .set("transaction.timeout.ms", "30000");
        }
        self.user(config, CONSUMER)
    }

    /// Whether results are compressed, so that what they take in a topic is not known before.
    pub(crate) fn compresses(&self) -> bool {
        let names = ["compression.type", "compression.codec"];
        self.client.iter().any(|(name, value)| names.contains(&name.as_str()) && value != "none")
    }

    /// How large a message may be, key and headers included.
    pub(crate) fn most_bytes(&self) -> usize {
        let set = self.client.iter().find(|(name, _)| name == "message.max.bytes");
        set.and_then(|(_, value)| value.parse().ok()).unwrap_or(1_000_000)
    }
}

/// Milliseconds since the epoch.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}
