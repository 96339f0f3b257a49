//! Servers that end with the process that started them, whatever happens to it.
//!
//! A shell stands between: it starts the server and then reads from a pipe whose other end only this process has. When that end is
//! closed, by us or by the system because this process was killed, the shell kills the server and removes its data. It is in a group of
//! processes of its own, so that what is meant for this process (Ctrl-C, a kill of the group) does not reach it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{ServerError, last_lines};
use crate::place;

/// What the shell does. The server holds the shell's output open, as number 3, for as long as it lives: so we see its end at once. Nobody
/// waits for the server before the last line but one, so until then its number belongs to no other process.
const SCRIPT: &str = r#"
log=$1 remove=$2 after=$3
shift 3
"$@" 3>&1 >>"$log" 2>&1 </dev/null &
server=$!
echo "$server"
exec >/dev/null 2>&1
keep=
while read -r word; do keep=$word; done
kill -9 "$server"
wait "$server"
status=$?
[ -z "$after" ] || sh -c "$after"
if [ -z "$keep" ] && [ -n "$remove" ]; then
    rm -rf "$remove"
    rmdir "$(dirname "$remove")"
fi
exit "$status"
"#;

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// What errors call it.
    pub(crate) name: String,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// What is removed when the server has ended and was not told to keep it, and the directory above, if it is empty then.
    pub(crate) remove: Option<PathBuf>,
    /// A command of the shell that is run after the server has ended: for servers that are no children of ours.
    pub(crate) after: Option<String>,
}

/// A server under way.
#[derive(Debug)]
pub(crate) struct Supervised {
    name: String,
    log: PathBuf,
    server: u32,
    shell: Child,
    /// Closed to end the server.
    pipe: Option<ChildStdin>,
    gone: Arc<Gone>,
    remove: Option<PathBuf>,
}

/// Whether the server has ended.
#[derive(Debug, Default)]
struct Gone {
    flag: Mutex<bool>,
    changed: Condvar,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supervised {
    /// Starts a server. That it is there does not mean that it answers.
    pub(crate) fn start(launch: &Launch) -> Result<Self, ServerError> {
        let Launch { name, command, log, remove, after } = launch.clone();
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watermill-servers"])
            .arg(&log)
            .arg(remove.clone().unwrap_or_default())
            .arg(after.unwrap_or_default())
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(ServerError::io("run `sh`"))?;
        let pipe = shell.stdin.take();
        let mut number = String::new();
        if let Some(output) = shell.stdout.take() {
            let mut output = BufReader::new(output);
            output.read_line(&mut number).map_err(ServerError::io("read what `sh` says"))?;
            let gone = Arc::new(Gone::default());
            if let Ok(server) = number.trim().parse() {
                watch(output, Arc::clone(&gone));
                return Ok(Self { name, log, server, shell, pipe, gone, remove });
            }
        }
        Err(ServerError::Program {
            program: "sh".to_owned(),
            status: "it started no server".to_owned(),
            hint: "",
            output: number,
        })
    }

    /// The number of the server's process.
    pub(crate) fn id(&self) -> u32 {
        self.server
    }

    /// Sends the server a signal: `KILL`, `TERM`, `STOP`, `CONT`. One that has ended does not mind.
    pub(crate) fn signal(&self, signal: &str) -> Result<(), ServerError> {
        // The shell's own `kill`: the program of that name is not on every machine.
        Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &self.server.to_string()])
            .stderr(Stdio::null())
            .status()
            .map_err(ServerError::io("run `sh`"))?;
        Ok(())
    }

    /// Whether the server has ended.
    pub(crate) fn is_gone(&self) -> bool {
        *locked(&self.gone.flag)
    }

    /// Waits for the end of the server, and says whether it has come.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut gone = locked(&self.gone.flag);
        while !*gone {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            gone = self.gone.changed.wait_timeout(gone, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *gone
    }

    /// Kills the server, if it is still there, and keeps its data, for the next one that has taken it over.
    pub(crate) fn release(mut self) {
        self.close(true);
        self.remove = None;
    }

    fn close(&mut self, keep: bool) -> String {
        if let Some(mut pipe) = self.pipe.take()
            && keep
        {
            // The shell is there as long as the pipe is open.
            let _ = pipe.write_all(b"keep\n");
        }
        match self.shell.wait() {
            // The shell tells of a signal by a status above 128.
            Ok(status) => match status.code() {
                Some(code) if code > 128 => format!("signal {}", code - 128),
                Some(code) => format!("exit status {code}"),
                None => status.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }

    /// The last lines of the server's log.
    pub(crate) fn last_log(&self) -> String {
        last_lines(&self.log())
    }

    /// The server's log.
    pub(crate) fn log(&self) -> String {
        read_lossy(&self.log)
    }

    /// The error of a server that ended by itself. Its data stays until this is dropped: it may be started again.
    pub(crate) fn ended(&mut self, doing: &'static str) -> ServerError {
        let status = self.close(true);
        ServerError::Ended { server: self.name.clone(), doing, status, log: self.last_log() }
    }

    /// The error of a server that takes too long.
    pub(crate) fn slow(&self, doing: &str, limit: Duration) -> ServerError {
        ServerError::Slow { server: self.name.clone(), doing: doing.to_owned(), limit, log: self.last_log() }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.pipe.is_some() {
            self.close(false);
        } else if let Some(directory) = &self.remove {
            // The shell is gone already.
            place::remove(directory);
            let _ = directory.parent().map(fs::remove_dir);
        }
    }
}

/// The end of the output is the end of the server.
fn watch(mut output: impl Read + Send + 'static, gone: Arc<Gone>) {
    thread::spawn(move || {
        let _ = output.read_to_end(&mut Vec::new());
        *locked(&gone.flag) = true;
        gone.changed.notify_all();
    });
}

/// A log, which may be in any encoding.
fn read_lossy(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}
