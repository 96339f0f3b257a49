//! Kafka's own Java client, in a process that is asked over pipes: it creates topics in milliseconds, where Kafka's tools take more than a
//! second, and it is a witness that knows nothing of librdkafka.
//!
//! What can be asked stands in files by subject: `topics.rs`, `groups.rs`, `records.rs`.

pub(super) mod groups;
mod pipe;
pub(super) mod records;
pub(super) mod topics;

use std::sync::{Mutex, atomic::AtomicU64};

use crate::error::ServerError;
use crate::kafka::installed::Installed;
use pipe::{Pipe, Request, Row};

/// A Java client of a cluster. It can be asked from many threads at a time.
#[derive(Debug)]
pub struct Client {
    pipe: Pipe,
    /// How many producers were opened: their names are numbers.
    producers: AtomicU64,
    /// The one that is open for records outside of transactions.
    plain: Mutex<Option<String>>,
}

impl Client {
    /// Starts one, with properties of its own beside the addresses.
    pub(super) fn start(
        installed: &Installed,
        bootstrap: &str,
        properties: &[(&str, &str)],
    ) -> Result<Self, ServerError> {
        let mut all = vec![format!("bootstrap.servers={bootstrap}")];
        all.extend(DEFAULTS.iter().chain(properties).map(|(name, value)| format!("{name}={value}")));
        Ok(Self { pipe: Pipe::start(installed, all)?, producers: AtomicU64::new(0), plain: Mutex::new(None) })
    }
}

/// Tests kill brokers: their client is to find them soon when they are back.
const DEFAULTS: [(&str, &str); 4] = [
    ("reconnect.backoff.ms", "20"),
    ("reconnect.backoff.max.ms", "200"),
    ("default.api.timeout.ms", "30000"),
    ("request.timeout.ms", "10000"),
];
