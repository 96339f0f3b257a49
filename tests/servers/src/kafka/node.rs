//! One broker: killed, stopped, paused and started again, at the same address and with the same data.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::config::{Layout, Listener};
use super::installed::{Installed, Pace};
use super::{START, security};
use crate::error::ServerError;
use crate::place;
use crate::supervise::{Launch, Supervised};

/// What a broker's log has when somebody else listens at its port.
pub(super) const TAKEN: &str = "Address already in use";

/// How long a broker may take to end in order.
const STOP: Duration = Duration::from_secs(60);

/// A broker, whose process may be under way or not.
#[derive(Debug)]
pub struct Node {
    id: u32,
    address: String,
    launch: Launch,
    state: Mutex<State>,
    /// How many nodes of the cluster are up.
    up: Arc<AtomicUsize>,
    client: Option<Arc<Client>>,
}

#[derive(Debug)]
struct State {
    /// The process, or what is left of it.
    process: Supervised,
    /// Whether it counts as up.
    up: bool,
}

impl Node {
    /// Starts the process of a new node.
    pub(super) fn start(
        layout: &Layout,
        index: usize,
        installed: &Installed,
        up: &Arc<AtomicUsize>,
    ) -> Result<Self, ServerError> {
        let directory = layout.directory(index);
        let data = directory.join("data");
        place::create(&data)?;
        let file = directory.join("server.properties");
        place::write(&file, &layout.properties(index, &data))?;
        let pace = if layout.options().benchmarked { Pace::Long } else { Pace::Soon };
        let mut command = installed.java(&layout.options().heap, pace, "warn");
        command.push("Broker".into());
        command.push(file.into_os_string());
        command.push(layout.cluster().into());
        if layout.options().secured {
            command.extend(["--add-scram".into(), security::scram().into()]);
        }
        let id = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let address = layout.address(index, Listener::Plain);
        let launch = Launch {
            name: format!("Kafka's node {id} at {address}"),
            command,
            log: directory.join("server.log"),
            remove: Some(directory),
            after: None,
        };
        let state = Mutex::new(State { process: Supervised::start(&launch)?, up: false });
        Ok(Self { id, address, launch, state, up: Arc::clone(up), client: None })
    }

    /// Tells the node by which client it is asked whether it is ready.
    pub(super) fn introduce(&mut self, client: &Arc<Client>) {
        self.client = Some(Arc::clone(client));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the broker answers, and knows of so many.
    pub(super) fn await_ready(&self, nodes: usize) -> Result<(), ServerError> {
        let mut state = self.state();
        self.ready(&mut state, nodes)
    }

    fn ready(&self, state: &mut State, nodes: usize) -> Result<(), ServerError> {
        const DOING: &str = "starting";
        let Some(client) = &self.client else { return Ok(()) };
        let since = Instant::now();
        loop {
            let answers = client.is_ready(&self.address, self.id, nodes, Duration::from_secs(2))?;
            if state.process.is_gone() {
                return Err(state.process.ended(DOING));
            }
            if answers {
                self.count(state, true);
                return Ok(());
            }
            if since.elapsed() > START {
                return Err(state.process.slow(DOING, START));
            }
        }
    }

    fn count(&self, state: &mut State, up: bool) {
        match (state.up, up) {
            (false, true) => self.up.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.up.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        state.up = up;
    }

    /// Its id in the cluster, from 1.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its address, `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The number of its process, the last one if it has ended.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.state().process.id()
    }

    /// Whether its process is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.state().process.is_gone()
    }

    /// What it has written to its log: warnings and errors, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        self.state().process.log()
    }

    /// Kills it by SIGKILL, and returns when it is gone.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.end(&["KILL"], "being killed")
    }

    /// Stops it in order by SIGTERM, and returns when it is gone. One that is paused is resumed for that.
    ///
    /// # Errors
    /// When it takes longer than a minute.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.end(&["TERM", "CONT"], "stopping")
    }

    /// Halts it by SIGSTOP: its connections stay, but nothing answers. The other nodes take over after four seconds.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn pause(&self) -> Result<(), ServerError> {
        self.signal(&["STOP"], false)
    }

    /// Lets it go on, by SIGCONT.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.signal(&["CONT"], true)
    }

    fn signal(&self, signals: &[&str], up: bool) -> Result<(), ServerError> {
        let mut state = self.state();
        for signal in signals {
            state.process.signal(signal)?;
        }
        let up = up && !state.process.is_gone();
        self.count(&mut state, up);
        Ok(())
    }

    fn end(&self, signals: &[&str], doing: &str) -> Result<(), ServerError> {
        self.signal(signals, false)?;
        let process = &self.state().process;
        if process.wait(STOP) { Ok(()) } else { Err(process.slow(doing, STOP)) }
    }

    /// Starts it again at the same address and with the same data, and returns when it answers and knows all nodes that are up. One that is
    /// still running is stopped in order before.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&self) -> Result<(), ServerError> {
        if self.is_running() {
            self.stop()?;
        }
        let mut state = self.state();
        let mut attempts = 0;
        loop {
            attempts += 1;
            // The new one before the old one is let go: there is no moment in which nobody would remove the data.
            let new = Supervised::start(&self.launch)?;
            mem::replace(&mut state.process, new).release();
            let nodes = self.up.load(Ordering::Relaxed) + 1;
            match self.ready(&mut state, nodes) {
                Err(ServerError::Ended { log, .. }) if log.contains(TAKEN) && attempts < 5 => {
                    thread::sleep(Duration::from_millis(500));
                }
                other => return other,
            }
        }
    }
}
