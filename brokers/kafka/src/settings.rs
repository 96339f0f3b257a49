//! What can be set about a broker, apart from its streams.

use std::time::{Duration, SystemTime};

use crate::broker::KafkaBroker;
use crate::options::{Start, millis};

impl KafkaBroker {
    /// Sets an option of the clients, as [librdkafka](https://docs.confluent.io/platform/current/clients/librdkafka/html/md_CONFIGURATION.html) calls it. Those that the broker sets by
    /// itself and could not do without are refused.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events")
    ///     .option("compression.type", "lz4")
    ///     .option("session.timeout.ms", "10000");
    /// ```
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.set(name, value);
        self
    }

    /// Speaks TLS. `authority` is the file with the certificates of the authorities that are trusted, in PEM; `None` trusts those of the system.
    /// Needs the feature `tls` or `tls-vendored`.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9093", "events").tls(Some("certificates/ca.pem"));
    /// ```
    pub fn tls(mut self, authority: Option<&str>) -> Self {
        let sasl = self.options.client.iter().any(|(name, _)| name == "sasl.mechanism");
        self.options.set("security.protocol", if sasl { "sasl_ssl" } else { "ssl" });
        if let Some(authority) = authority {
            self.options.set("ssl.ca.location", authority);
        }
        self
    }

    /// Shows the servers a certificate, for TLS: files in PEM.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9093", "events")
    ///     .tls(Some("certificates/ca.pem"))
    ///     .certificate("certificates/client.pem", "certificates/client.key");
    /// ```
    pub fn certificate(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.options.set("ssl.certificate.location", certificate);
        self.options.set("ssl.key.location", key);
        self
    }

    /// Says who this is, by SASL. `mechanism` is `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`, of which the latter two need the feature `tls` or
    /// `tls-vendored`.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9093", "events")
    ///     .tls(None)
    ///     .sasl("SCRAM-SHA-512", "robots", std::env::var("KAFKA_PASSWORD").unwrap_or_default());
    /// ```
    pub fn sasl(
        mut self,
        mechanism: impl Into<String>,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let tls = self
            .options
            .client
            .iter()
            .any(|(name, value)| name == "security.protocol" && (value == "ssl" || value == "sasl_ssl"));
        self.options.set("security.protocol", if tls { "sasl_ssl" } else { "sasl_plaintext" });
        self.options.set("sasl.mechanism", mechanism);
        self.options.set("sasl.username", user);
        self.options.set("sasl.password", password);
        self
    }

    /// Makes topics that are missing, each with so many partitions and replicas. Otherwise a missing topic is an error.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").create_topics(12, 3);
    /// ```
    pub fn create_topics(mut self, partitions: i32, replication: i32) -> Self {
        self.options.create = Some((partitions, replication));
        self
    }

    /// Begins at the end of topics that were never read, instead of at their beginning.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").from_latest();
    /// ```
    pub fn from_latest(mut self) -> Self {
        self.options.start = Start::Latest;
        self
    }

    /// Begins with the first records that are not older than `time` in topics that were never read, instead of at their beginning.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").from_time(SystemTime::now() - Duration::from_secs(3600));
    /// ```
    pub fn from_time(mut self, time: SystemTime) -> Self {
        self.options.start = Start::At(millis(time));
        self
    }

    /// Reads only what is there when the run begins, and stops: for replays and batch jobs. The next run goes on as if this one had not stopped: what cannot be
    /// decided yet, such as the matches of the last records or an open window, is left for it, and no EndOfStream is written. A stream that has its mark ends with
    /// it as always; to take what is there for all there will ever be, use [`Mill::eos_after`](watermill_core::Mill::eos_after) instead.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").until_current_end();
    /// ```
    pub fn until_current_end(mut self) -> Self {
        self.options.until_current_end = true;
        self
    }

    /// Takes a mark in one partition for the end of its whole topic, in every topic that is read: for producers that write one mark a topic, as Python's
    /// watermill does. The other partitions end where they ended a second after the mark was seen, or at marks of their own.
    ///
    /// Without this, a mark ends its own partition, and others go on.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").eos_per_topic();
    /// ```
    pub fn eos_per_topic(mut self) -> Self {
        self.options.eos_per_topic = true;
        self
    }

    /// Goes on behind the EndOfStream of an earlier run, which otherwise says that it has ended.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").continue_after_eos();
    /// ```
    pub fn continue_after_eos(mut self) -> Self {
        self.options.continue_after_eos = true;
        self
    }

    /// Commits without transactions: after a crash, results since the last commit are written again.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").at_least_once();
    /// ```
    pub fn at_least_once(mut self) -> Self {
        self.options.exactly_once = false;
        self
    }

    /// Makes this process a static member of the group, of this name: when it is started again within the session timeout, it has its lanes back
    /// without the others being asked. Every process needs a name of its own.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").static_member("machine-7");
    /// ```
    pub fn static_member(mut self, name: impl Into<String>) -> Self {
        self.options.member = Some(name.into());
        self
    }

    /// How long the servers may be gone before the run fails; five minutes unless set. Until then it tries again and again.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").retry_for(Duration::from_secs(3600));
    /// ```
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.options.retry_for = time;
        self
    }

    /// Has the clients tell their statistics this often, as JSON, to `tracing` under the target `watermill::librdkafka::statistics`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").statistics(Duration::from_secs(60));
    /// ```
    pub fn statistics(mut self, every: Duration) -> Self {
        self.options.statistics = Some(every);
        self
    }

    /// Commits early when so many bytes of results of a lane wait for it; 16 MiB unless set.
    ///
    /// ```
    /// # use watermill_kafka::KafkaBroker;
    /// let kafka = KafkaBroker::new("localhost:9092", "events").most_uncommitted(1 << 20);
    /// ```
    pub fn most_uncommitted(mut self, bytes: usize) -> Self {
        self.options.most_uncommitted = bytes;
        self
    }
}
