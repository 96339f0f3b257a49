//! What brokers a test asks for.

use crate::error::ServerError;

/// Brokers of one's own: one of 512 MB, unless told otherwise.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    pub(super) brokers: usize,
    pub(super) properties: Vec<(String, String)>,
    pub(super) heap: String,
    pub(super) secured: bool,
    pub(super) benchmarked: bool,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl KafkaOptions {
    /// One broker.
    #[must_use]
    pub fn new() -> Self {
        Self {
            brokers: 1,
            properties: Vec::new(),
            heap: "512m".to_owned(),
            secured: false,
            benchmarked: false,
        }
    }

    /// So many brokers: 1, or a cluster of 3, where everything has three replicas and two must have what is acknowledged.
    #[must_use]
    pub fn brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
        self
    }

    /// A line of each broker's `server.properties`. It takes precedence over ours.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The memory of each broker's virtual machine: `512m`, `1g`.
    #[must_use]
    pub fn heap(mut self, heap: &str) -> Self {
        heap.clone_into(&mut self.heap);
        self
    }

    /// With two more listeners, one with TLS and one with TLS and SASL: [`Kafka::security`](super::Kafka::security) tells how to reach them.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }

    /// For benchmarks: with the compiler and the garbage collector that Java chooses itself. They make brokers faster that run for long, and
    /// their start twice as slow.
    #[must_use]
    pub fn benchmarked(mut self) -> Self {
        self.benchmarked = true;
        self
    }

    pub(super) fn check(&self) -> Result<(), ServerError> {
        if matches!(self.brokers, 1 | 3) {
            return Ok(());
        }
        Err(ServerError::Unfit {
            what: format!("a cluster of {} brokers", self.brokers),
            remedy: "a cluster has 1 or 3 brokers",
        })
    }
}
