//! The program as a process. What it tells is kept in memory and shown when a test fails.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What ends a process at once.
pub const KILLED: i32 = 9;

/// A process under way; it is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    since: Instant,
    told: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a process came to.
#[derive(Debug)]
pub struct Ended {
    /// What tests call it.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it has told, on both outputs.
    pub told: String,
}

impl Ended {
    /// Whether SIGKILL ended it.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.status.signal() == Some(KILLED)
    }

    /// Panics unless it ended well.
    ///
    /// # Panics
    /// As said.
    #[must_use]
    pub fn expect_success(self, what: &str) -> Self {
        assert!(self.status.success(), "{what}: {} ended with {}\n{}", self.name, self.status, self.told);
        self
    }
}

impl Process {
    /// Starts `command`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let told = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<_>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<_>),
        ];
        for pipe in pipes.into_iter().flatten() {
            let told = Arc::clone(&told);
            readers.push(thread::spawn(move || {
                for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                    let mut told = told.lock().unwrap();
                    told.push_str(&String::from_utf8_lossy(&line));
                    told.push('\n');
                }
            }));
        }
        Self { name: name.to_owned(), child, since: Instant::now(), told, readers }
    }

    /// What it has told up to now.
    ///
    /// # Panics
    /// When a reader has panicked.
    #[must_use]
    pub fn told(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    /// How often it has told `text` up to now.
    #[must_use]
    pub fn times_told(&self, text: &str) -> usize {
        self.told().matches(text).count()
    }

    /// Waits until it tells `text`, if it has not yet.
    ///
    /// # Panics
    /// When it takes too long, or ends before.
    pub fn await_told(&mut self, text: &str, most: Duration) {
        let since = Instant::now();
        while self.times_told(text) == 0 {
            assert!(self.is_there(), "{} ended without telling `{text}`:\n{}", self.name, self.told());
            assert!(since.elapsed() < most, "{} does not tell `{text}`:\n{}", self.name, self.told());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends it a signal: `TERM`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success(), "{} is gone:\n{}", self.name, self.told());
    }

    /// Whether it is still there.
    ///
    /// # Panics
    /// When that cannot be found out.
    pub fn is_there(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How long it has been running.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Kills it by SIGKILL.
    ///
    /// # Panics
    /// When the system does not let us.
    #[must_use]
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.ended()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than `most`.
    #[must_use]
    pub fn wait(mut self, most: Duration) -> Ended {
        let since = Instant::now();
        while self.is_there() {
            if since.elapsed() > most {
                panic!("{} hangs:\n{}", self.name, self.told());
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.ended()
    }

    fn ended(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { name: self.name.clone(), status, told: self.told() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Most often it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
