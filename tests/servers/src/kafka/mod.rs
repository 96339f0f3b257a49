//! Apache Kafka: real brokers, and its Java client as a witness.

mod client;
mod config;
mod container;
mod installed;
mod node;
mod options;
mod security;
pub mod tools;

use std::env;
use std::process;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use client::Client;
pub use client::groups::{Group, GroupOffset, Member};
pub use client::records::{Isolation, NewRecord, Placed, Producer, ReadRecord};
pub use client::topics::{Broker, Partition};
pub use installed::streams_libraries;
pub use node::Node;
pub use options::KafkaOptions;
pub use security::Security;

use crate::error::ServerError;
use crate::place;
use crate::supervise::Supervised;
use config::Layout;
pub(crate) use container::engine_answers;
use installed::Installed;

/// How long a broker may take until it answers. It takes two seconds on a machine that has nothing else to do.
const START: Duration = Duration::from_secs(90);

/// The environment variable that gives the address of a broker which is there already.
pub const ADDRESS: &str = "WATERMILL_TEST_KAFKA";

/// Apache Kafka: a broker or a cluster of brokers, which ends when this is dropped or the process ends.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    client: Arc<Client>,
    /// None of them, if the brokers are not ours.
    nodes: Vec<Node>,
    /// Whether all tests of the process use it.
    shared: bool,
    security: Option<Security>,
    installed: Installed,
    /// Ends with this.
    _container: Option<Supervised>,
}

impl Kafka {
    /// The broker that all tests of this process share: the first that applies of
    ///
    /// 1. the one at the address in `WATERMILL_TEST_KAFKA`, which is used as it is: nothing is started, and if it does not answer, that is
    ///    an error;
    /// 2. one in a container, if `docker info` succeeds, as the `compose.yaml` of the repository says;
    /// 3. one that is started here, of one node, with the defaults of [`KafkaOptions`].
    ///
    /// Which it is is told on one line of standard error. It lives until the process ends. Tests give their topics and groups names of their
    /// own ([`Kafka::fresh_topic`], [`unique`]), and do it no harm: for that, [`Kafka::start`] gives them brokers of their own.
    ///
    /// [`Kafka::client`] is Kafka's Java client in each case, so Java and Maven are needed even where the broker is not ours.
    ///
    /// # Errors
    /// When there is no broker. The error says what is missing; it is the same for each caller.
    pub fn shared() -> Result<&'static Self, ServerError> {
        static SHARED: OnceLock<Result<Kafka, ServerError>> = OnceLock::new();
        SHARED.get_or_init(Self::find).as_ref().map_err(Clone::clone)
    }

    fn find() -> Result<Self, ServerError> {
        if let Some(address) = env::var_os(ADDRESS).filter(|address| !address.is_empty()) {
            let address = address.to_string_lossy().into_owned();
            place::tell(&format!("Kafka at {address}, as {ADDRESS} says"));
            let installed = Installed::get()?;
            let client = Client::start(&installed, &address, &[])?;
            client.nodes()?;
            return Ok(Self::of_others(address, client, installed, None));
        }
        if engine_answers() {
            match Self::contained() {
                Ok(kafka) => return Ok(kafka),
                Err(error) => place::tell(&format!("Kafka does not start in a container: {error}")),
            }
        }
        let kafka = Self::start(KafkaOptions::new())?;
        place::tell(&format!("Kafka at {}, started here", kafka.bootstrap));
        Ok(Self { shared: true, ..kafka })
    }

    fn contained() -> Result<Self, ServerError> {
        let installed = Installed::get()?;
        let (container, address) = container::start()?;
        place::tell(&format!("Kafka at {address}, in a container"));
        let client = Client::start(&installed, &address, &[])?;
        let container = container::await_ready(container, &client, &address)?;
        Ok(Self::of_others(address, client, installed, Some(container)))
    }

    fn of_others(
        bootstrap: String,
        client: Client,
        installed: Installed,
        container: Option<Supervised>,
    ) -> Self {
        Self {
            bootstrap,
            client: Arc::new(client),
            nodes: Vec::new(),
            shared: true,
            security: None,
            installed,
            _container: container,
        }
    }

    /// Starts brokers for the caller alone, on this machine and without containers, whatever `WATERMILL_TEST_KAFKA` says: they may be
    /// killed, stopped and paused.
    ///
    /// # Errors
    /// When Java or Maven is missing, the libraries cannot be fetched, or a broker does not start.
    pub fn start(options: KafkaOptions) -> Result<Self, ServerError> {
        options.check()?;
        let installed = Installed::get()?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Self::launch(&options, &installed) {
                // Somebody else has taken a port between our look and the broker's.
                Err(ServerError::Ended { log, .. }) if log.contains(node::TAKEN) && attempts < 5 => {}
                other => return other,
            }
        }
    }

    fn launch(options: &KafkaOptions, installed: &Installed) -> Result<Self, ServerError> {
        let layout = Layout::new(options, place::fresh_directory("kafka")?)?;
        let up = Arc::new(AtomicUsize::new(0));
        // All of them first: a node of a cluster is not ready before most of the others are there.
        let mut nodes = Vec::new();
        for index in 0..options.brokers {
            nodes.push(Node::start(&layout, index, installed, &up)?);
        }
        let bootstrap = layout.bootstrap(config::Listener::Plain);
        let client = Arc::new(Client::start(installed, &bootstrap, &[])?);
        for node in &mut nodes {
            node.introduce(&client);
            node.await_ready(options.brokers)?;
        }
        Ok(Self {
            bootstrap,
            client,
            nodes,
            shared: false,
            security: layout.security(),
            installed: installed.clone(),
            _container: None,
        })
    }

    /// The addresses of the brokers, for `bootstrap.servers`: without encryption, and for everyone.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Kafka's Java client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Another Java client, at these addresses and with these properties: of another user, for example.
    ///
    /// # Errors
    /// When it cannot be started. It has asked nothing yet: a wrong password is found by the first question.
    pub fn client_at<N: AsRef<str>, V: AsRef<str>>(
        &self,
        bootstrap: &str,
        properties: &[(N, V)],
    ) -> Result<Client, ServerError> {
        let properties: Vec<(&str, &str)> =
            properties.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        Client::start(&self.installed, bootstrap, &properties)
    }

    /// How the listeners with TLS and SASL are reached.
    ///
    /// # Errors
    /// When there are none: [`KafkaOptions::secured`] asks for them.
    pub fn security(&self) -> Result<&Security, ServerError> {
        self.security.as_ref().ok_or_else(|| ServerError::Unfit {
            what: "this Kafka has no listeners with TLS and SASL".to_owned(),
            remedy: "start brokers of your own by `Kafka::start`, with `KafkaOptions::secured`",
        })
    }

    /// Creates a topic, and returns when every broker knows it. With a `replication` of 0 it has as many replicas as the brokers give it by
    /// default, which is one on each of ours. `config` are settings of the topic: `("cleanup.policy", "compact")`.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        replication: u32,
        config: &[(&str, &str)],
    ) -> Result<(), ServerError> {
        self.client.create_topic(name, partitions, replication, config)
    }

    /// Creates a topic whose name begins with `prefix` and is nobody else's, with the brokers' default of replicas, and returns the name.
    ///
    /// # Errors
    /// When the brokers refuse it.
    pub fn fresh_topic(&self, prefix: &str, partitions: u32) -> Result<String, ServerError> {
        let name = unique(prefix);
        self.create_topic(&name, partitions, 0, &[])?;
        Ok(name)
    }

    /// The nodes, by index: node 0 has the id 1. None where they are not the caller's alone, to be killed and stopped.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        if self.shared { &[] } else { &self.nodes }
    }

    /// A node to be killed, stopped or paused.
    ///
    /// # Errors
    /// When there is no such node, which is so for each of the shared Kafka.
    pub fn node(&self, index: usize) -> Result<&Node, ServerError> {
        self.nodes().get(index).ok_or_else(|| ServerError::Unfit {
            what: format!("there is no node {index} that is the test's own"),
            remedy: "start brokers of its own by `Kafka::start`, with so many nodes",
        })
    }

    /// The node with this id, such as the one that [`Client::leader`] names.
    ///
    /// # Errors
    /// As for [`Kafka::node`].
    pub fn node_of_id(&self, id: u32) -> Result<&Node, ServerError> {
        self.node(usize::try_from(id).unwrap_or_default().wrapping_sub(1))
    }
}

/// A name that nobody else has: not on this machine, and not at a broker that has seen other runs.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{now:x}-{:x}-{number}", process::id())
}
