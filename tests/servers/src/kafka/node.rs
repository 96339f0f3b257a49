//! One broker: killed, stopped, paused and started again, at the same address and with the same data.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::START;
use super::client::Client;
use super::config::{Layout, Listener};
use super::security;
use crate::error::ServerError;
use crate::install::{self, Installed};
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
    directory: PathBuf,
    command: Vec<std::ffi::OsString>,
    state: Mutex<State>,
    /// How many nodes of the cluster are up.
    up: Arc<AtomicUsize>,
    client: Option<Arc<Client>>,
}

#[derive(Debug)]
struct State {
    /// The process, or what is left of it. Absent only when a start has failed.
    process: Option<Supervised>,
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
        let mut java = vec![
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
        ];
        if !layout.options().benchmarked {
            // Half of the work until it answers.
            java.extend(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        }
        let mut command = install::java(&layout.options().heap, installed.classes.as_ref(), &java);
        command.push("Broker".into());
        command.push(file.into_os_string());
        // The id of the cluster, as it is written: 16 bytes. Ports keep clusters apart.
        command.push("d2F0ZXJtaWxsLXRlc3RzIQ".into());
        if layout.options().secured {
            command.extend(["--add-scram".into(), security::scram().into()]);
        }
        let node = Self {
            id: u32::try_from(index + 1).unwrap_or(u32::MAX),
            address: layout.address(index, Listener::Plain),
            directory,
            command,
            state: Mutex::new(State { process: None, up: false }),
            up: Arc::clone(up),
            client: None,
        };
        node.state().process = Some(node.launch()?);
        Ok(node)
    }

    /// Tells the node by which client it is asked whether it is ready.
    pub(super) fn introduce(&mut self, client: &Arc<Client>) {
        self.client = Some(Arc::clone(client));
    }

    fn launch(&self) -> Result<Supervised, ServerError> {
        Supervised::start(Launch {
            name: format!("Kafka's node {} at {}", self.id, self.address),
            command: self.command.clone(),
            log: self.directory.join("server.log"),
            remove: Some(self.directory.clone()),
            after: None,
        })
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
            let Some(process) = state.process.take() else {
                return Err(self.absent());
            };
            if process.is_gone() {
                return Err(process.ended(DOING));
            }
            if answers {
                state.process = Some(process);
                self.count(state, true);
                return Ok(());
            }
            if since.elapsed() > START {
                return Err(process.slow(DOING, START));
            }
            state.process = Some(process);
        }
    }

    fn absent(&self) -> ServerError {
        ServerError::Unfit {
            what: format!("Kafka's node {} could not be started before", self.id),
            remedy: "look at the error of that start",
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
    pub fn process_id(&self) -> Option<u32> {
        self.state().process.as_ref().map(Supervised::id)
    }

    /// Whether its process is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state().process.as_ref().is_some_and(|process| !process.is_gone())
    }

    /// What it has written to its log: warnings and errors, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        self.state().process.as_ref().map(Supervised::log).unwrap_or_default()
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
        let process = state.process.as_ref().ok_or_else(|| self.absent())?;
        for signal in signals {
            process.signal(signal)?;
        }
        let up = up && !process.is_gone();
        self.count(&mut state, up);
        Ok(())
    }

    fn end(&self, signals: &[&str], doing: &str) -> Result<(), ServerError> {
        self.signal(signals, false)?;
        let state = self.state();
        match &state.process {
            Some(process) if !process.wait(STOP) => Err(process.slow(doing, STOP)),
            _ => Ok(()),
        }
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
            let new = self.launch()?;
            if let Some(old) = state.process.replace(new) {
                old.end();
            }
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
