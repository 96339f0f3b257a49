//! The `server.properties` of each broker.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::options::KafkaOptions;
use super::security::{self, Certificates, Security};
use crate::error::ServerError;
use crate::ports;

/// Where a broker listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    /// For everyone, without encryption.
    Plain,
    /// For the controllers of the cluster.
    Controller,
    /// For everyone, with TLS.
    Tls,
    /// For users who give their password, with TLS.
    Sasl,
}

impl Listener {
    /// Its name in the properties.
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAINTEXT",
            Self::Controller => "CONTROLLER",
            Self::Tls => "TLS",
            Self::Sasl => "SASL",
        }
    }

    /// The protocol that is spoken there.
    fn protocol(self) -> &'static str {
        match self {
            Self::Plain | Self::Controller => "PLAINTEXT",
            Self::Tls => "SSL",
            Self::Sasl => "SASL_SSL",
        }
    }
}

/// An id that no other cluster has, as Kafka writes such: 16 bytes in the URL alphabet of base64, which are 22 characters of which the last has two bits.
fn fresh_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let own = (u128::from(process::id()) << 32) | u128::from(STARTED.fetch_add(1, Ordering::Relaxed));
    let mut bits = now ^ (own << 64);
    // Kafka refuses ids that begin with a dash.
    let mut id = String::from("w");
    for _ in 0..20 {
        id.push(char::from(ALPHABET[(bits % 64) as usize]));
        bits /= 64;
    }
    id.push('Q');
    id
}

/// A cluster before it is started: its ports and its directories.
#[derive(Debug)]
pub(super) struct Layout {
    options: KafkaOptions,
    /// Its id. Servers that meet one of another cluster, at a port that changed hands, do not listen to it.
    cluster: String,
    directory: PathBuf,
    listeners: Vec<Listener>,
    /// A port for each listener of each node.
    ports: Vec<u16>,
    certificates: Option<Certificates>,
}

impl Layout {
    pub(super) fn new(options: &KafkaOptions, directory: PathBuf) -> Result<Self, ServerError> {
        let mut listeners = vec![Listener::Plain, Listener::Controller];
        let mut certificates = None;
        if options.secured {
            listeners.extend([Listener::Tls, Listener::Sasl]);
            certificates = Some(Certificates::get()?);
        }
        let ports = ports::free(listeners.len() * options.brokers)?;
        let cluster = fresh_id();
        Ok(Self { options: options.clone(), cluster, directory, listeners, ports, certificates })
    }

    pub(super) fn options(&self) -> &KafkaOptions {
        &self.options
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How the secured listeners are reached, if there are some.
    pub(super) fn security(&self) -> Option<Security> {
        let certificates = self.certificates.clone()?;
        Some(Security::new(self.bootstrap(Listener::Tls), self.bootstrap(Listener::Sasl), certificates))
    }

    /// The directory of a node.
    pub(super) fn directory(&self, index: usize) -> PathBuf {
        self.directory.join(format!("node-{}", index + 1))
    }

    /// The address of a listener of a node.
    pub(super) fn address(&self, index: usize, listener: Listener) -> String {
        let at = self.listeners.iter().position(|known| *known == listener);
        let port = at.and_then(|at| self.ports.get(index * self.listeners.len() + at));
        format!("127.0.0.1:{}", port.copied().unwrap_or_default())
    }

    /// The addresses of a listener of all nodes.
    pub(super) fn bootstrap(&self, listener: Listener) -> String {
        let addresses: Vec<String> =
            (0..self.options.brokers).map(|index| self.address(index, listener)).collect();
        addresses.join(",")
    }

    /// The file for a node.
    pub(super) fn properties(&self, index: usize, data: &Path) -> String {
        let brokers = self.options.brokers;
        let list = |of: &dyn Fn(Listener) -> Option<String>| {
            self.listeners.iter().filter_map(|listener| of(*listener)).collect::<Vec<_>>().join(",")
        };
        let all = list(&|one| Some(format!("{}://{}", one.name(), self.address(index, one))));
        let advertised = list(&|one| {
            (one != Listener::Controller).then(|| format!("{}://{}", one.name(), self.address(index, one)))
        });
        let protocols = list(&|one| Some(format!("{}:{}", one.name(), one.protocol())));
        let voters: Vec<String> = (0..brokers)
            .map(|other| format!("{}@{}", other + 1, self.address(other, Listener::Controller)))
            .collect();
        let in_sync = if brokers == 1 { 1 } else { 2 };
        // A node that was killed must not come back before so long after: the cluster takes it for the one before. Others take over after it.
        // With much less, nodes that only have to wait for a busy processor would be taken for dead.
        let session = if brokers == 1 { 2000 } else { 4000 };

        let mut text = format!(
            "process.roles=broker,controller
node.id={}
controller.quorum.voters={}
listeners={all}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map={protocols}
log.dirs={}
default.replication.factor={brokers}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={brokers}
transaction.state.log.replication.factor={brokers}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={brokers}
share.coordinator.state.topic.min.isr={in_sync}
broker.session.timeout.ms={session}
",
            index + 1,
            voters.join(","),
            data.display(),
        );
        text += FIXED;
        if let Some(certificates) = &self.certificates {
            text += &security::properties(certificates);
        }
        for (name, value) in &self.options.properties {
            // Java reads a backslash as the beginning of an escape. Of two lines with one name, it takes the last.
            text += &format!("{name}={}\n", value.replace('\\', "\\\\"));
        }
        text
    }
}

/// What is the same for all. Few partitions of internal topics: each is a directory that has to be made before the first commit, and
/// looked through at each start.
const FIXED: &str = "offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
controlled.shutdown.enable=true
";
