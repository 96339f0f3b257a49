//! Running a program that is killed at any moment, until it ends by itself. Knows neither brokers nor files.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::seed::Seed;

/// A program that runs longer than this hangs.
const TOO_LONG: Duration = Duration::from_secs(60);

/// What a program came to.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// Whether it died by this signal.
    #[must_use]
    pub fn died_by(&self, signal: i32) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.status.signal() == Some(signal)
    }

    /// Panics unless the program ended well.
    #[must_use]
    pub fn expect_success(self, what: &str) -> Self {
        assert!(self.status.success(), "{what}: {:?}\n{}", self.status, self.err);
        self
    }

    /// Panics unless the program ended with an error that it reported itself.
    #[must_use]
    pub fn expect_error(self, what: &str) -> String {
        assert_eq!(self.status.code(), Some(1), "{what}: {:?}\n{}{}", self.status, self.out, self.err);
        self.err
    }
}

/// The number of `kill -9`.
pub const KILLED: i32 = 9;
/// The number of the signal of `abort()`.
pub const ABORTED: i32 = 6;

/// How often a program was started, and how many of its runs were killed before they ended by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Kills that came before the end.
    pub kills: u64,
    /// Starts in all.
    pub starts: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.starts += other.starts;
    }
}

/// A program under way.
pub struct Running {
    child: Child,
    since: Instant,
    out: thread::JoinHandle<String>,
    err: thread::JoinHandle<String>,
}

/// Starts a program.
#[must_use]
pub fn start(mut command: Command) -> Running {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let out = read_aside(child.stdout.take());
    let err = read_aside(child.stderr.take());
    Running { child, since: Instant::now(), out, err }
}

/// Pipes are read while the program runs: a full one would stop it.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Running {
    /// Waits for the end.
    ///
    /// # Panics
    /// When it takes too long.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return self.ended(status);
            }
            if self.since.elapsed() > TOO_LONG {
                let _ = self.child.kill();
                panic!("the program hangs");
            }
            thread::sleep(Duration::from_micros(300));
        }
    }

    /// Sends it a signal: `INT`, `TERM`.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("there is a `kill`").success(), "the program is gone");
    }

    /// Whether it is still there.
    ///
    /// # Panics
    /// When that cannot be found out.
    pub fn is_there(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Kills it after `delay`, if it is still there then.
    #[must_use]
    pub fn kill_after(mut self, delay: Duration) -> Ended {
        if let Some(rest) = delay.checked_sub(self.since.elapsed()) {
            thread::sleep(rest);
        }
        self.child.kill().expect("a child can be killed");
        let status = self.child.wait().expect("a child can be waited for");
        self.ended(status)
    }

    fn ended(self, status: ExitStatus) -> Ended {
        let took = self.since.elapsed();
        let out = self.out.join().expect("a pipe can be read");
        let err = self.err.join().expect("a pipe can be read");
        Ended { status, out, err, took }
    }
}

/// Runs a program to its end.
#[must_use]
pub fn run(command: Command) -> Ended {
    start(command).wait()
}

/// Starts a program again and again, and kills it each time after a random delay of at most `longest`, until it ends by itself.
/// `after_kill` may look at what each kill has left. The delays grow slowly, so that a slow machine comes to the end as well.
///
/// # Panics
/// When the program ends with an error, or never comes to its end.
pub fn kill_until_done(
    mut command: impl FnMut() -> Command,
    seed: &mut Seed,
    mut longest: Duration,
    mut after_kill: impl FnMut(),
) -> Tally {
    let mut tally = Tally::default();
    loop {
        tally.starts += 1;
        assert!(tally.starts < 2000, "the program makes no headway between kills");
        let delay = Duration::from_micros(seed.below(longest.as_micros() as u64));
        let ended = start(command()).kill_after(delay);
        if ended.died_by(KILLED) {
            tally.kills += 1;
            longest += longest / 50;
            after_kill();
        } else {
            let _ = ended.expect_success("a run between kills");
            return tally;
        }
    }
}
