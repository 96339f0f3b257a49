//! Requests to the process of the Java client, and its answers: `java/Helper.java` describes the lines.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{ServerError, last_lines};
use crate::kafka::installed::{Installed, Pace};

/// The client has limits of its own, which are shorter.
const LIMIT: Duration = Duration::from_secs(120);

/// Null, in requests and answers.
const NULL: &str = "\\N";

/// The process, and who waits for its answers.
#[derive(Debug)]
pub(super) struct Pipe {
    process: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
    /// What it wrote to standard error.
    said: Arc<Mutex<String>>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// Whether the process is gone, and nobody will be answered.
    closed: bool,
    by_id: HashMap<u64, Sender<Answer>>,
}

#[derive(Debug)]
enum Answer {
    Row(Row),
    Done,
    Failed { kind: String, message: String },
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pipe {
    pub(super) fn start(installed: &Installed, properties: Vec<String>) -> Result<Self, ServerError> {
        let line = installed.java("128m", Pace::Soon, "error");
        let mut words = line.into_iter();
        // It ends with its input, so it needs nobody who watches over it. In a group of its own, it is not there after the servers it asks.
        let mut process = Command::new(words.next().unwrap_or_default())
            .args(words)
            .arg("Helper")
            .args(properties)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(ServerError::io("run `java`"))?;
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let said = Arc::new(Mutex::new(String::new()));
        if let Some(output) = process.stdout.take() {
            let waiting = Arc::clone(&waiting);
            thread::spawn(move || deliver(BufReader::new(output), &waiting));
        }
        if let Some(output) = process.stderr.take() {
            let said = Arc::clone(&said);
            thread::spawn(move || listen(output, &said));
        }
        let input = Mutex::new(process.stdin.take());
        Ok(Self { process: Mutex::new(process), input, waiting, said })
    }

    /// Asks, and waits for the whole answer.
    pub(super) fn ask(&self, request: Request) -> Result<Vec<Row>, ServerError> {
        let (sender, answers) = mpsc::channel();
        let id = {
            let mut waiting = locked(&self.waiting);
            if waiting.closed {
                return Err(self.gone());
            }
            waiting.last += 1;
            let id = waiting.last;
            waiting.by_id.insert(id, sender);
            id
        };
        let written = match locked(&self.input).as_mut() {
            Some(input) => input.write_all(format!("{id}\t{}\n", request.line).as_bytes()),
            None => return Err(self.gone()),
        };
        if written.is_err() {
            return Err(self.gone());
        }
        let mut rows = Vec::new();
        loop {
            match answers.recv_timeout(LIMIT) {
                Ok(Answer::Row(row)) => rows.push(row),
                Ok(Answer::Done) => return Ok(rows),
                Ok(Answer::Failed { kind, message }) => {
                    return Err(ServerError::Refused { command: request.shown(), kind, message });
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(self.gone()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    locked(&self.waiting).by_id.remove(&id);
                    return Err(ServerError::Slow {
                        server: "Kafka's Java client".to_owned(),
                        doing: request.shown(),
                        limit: LIMIT,
                        log: last_lines(&locked(&self.said)),
                    });
                }
            }
        }
    }

    fn gone(&self) -> ServerError {
        // It has closed its output, so it has ended or is about to.
        let status =
            locked(&self.process).wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        ServerError::Ended {
            server: "Kafka's Java client".to_owned(),
            doing: "it was asked",
            status,
            log: last_lines(&locked(&self.said)),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        locked(&self.input).take();
        let _ = locked(&self.process).wait();
    }
}

/// Hands each line of the process to who waits for it.
fn deliver(mut output: impl BufRead, waiting: &Mutex<Waiting>) {
    let mut line = String::new();
    while matches!(output.read_line(&mut line), Ok(1..)) {
        let mut fields = line.trim_end_matches('\n').split('\t');
        let id = fields.next().and_then(|id| id.parse().ok()).unwrap_or_default();
        let kind = fields.next();
        let mut rest = fields.map(str::to_owned);
        let answer = match kind {
            Some("row") => Answer::Row(Row { fields: rest.collect() }),
            Some("done") => Answer::Done,
            _ => {
                let mut text = || unescaped(&rest.next().unwrap_or_default());
                Answer::Failed { kind: text(), message: text() }
            }
        };
        let mut waiting = locked(waiting);
        if let Answer::Row(_) = answer {
            if let Some(sender) = waiting.by_id.get(&id) {
                let _ = sender.send(answer);
            }
        } else if let Some(sender) = waiting.by_id.remove(&id) {
            let _ = sender.send(answer);
        }
        line.clear();
    }
    let mut waiting = locked(waiting);
    waiting.closed = true;
    waiting.by_id.clear();
}

/// Keeps what the process complains of: the end of it, if it is much.
fn listen(mut output: impl Read, said: &Mutex<String>) {
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut part) {
        let mut said = locked(said);
        said.push_str(&String::from_utf8_lossy(&part[..length]));
        if said.len() > 1 << 16 {
            *said = last_lines(&said);
        }
    }
}

/// A line to the process.
#[derive(Debug)]
pub(super) struct Request {
    line: String,
}

impl Request {
    pub(super) fn new(command: &str) -> Self {
        Self { line: command.to_owned() }
    }

    fn raw(mut self, field: &str) -> Self {
        self.line.push('\t');
        self.line.push_str(field);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        let escaped =
            text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
        self.raw(&escaped)
    }

    pub(super) fn number(self, number: impl Into<i64>) -> Self {
        self.raw(&number.into().to_string())
    }

    pub(super) fn maybe_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw(NULL),
        }
    }

    pub(super) fn maybe_number(self, number: Option<impl Into<i64>>) -> Self {
        match number {
            Some(number) => self.number(number),
            None => self.raw(NULL),
        }
    }

    pub(super) fn maybe_bytes(mut self, bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return self.raw(NULL) };
        self.line.push('\t');
        for byte in bytes {
            let _ = write!(self.line, "{byte:02x}");
        }
        self
    }

    pub(super) fn pairs(self, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self, |request, (name, value)| request.text(name).text(value))
    }

    /// For errors.
    fn shown(&self) -> String {
        const MOST: usize = 200;
        let shown: String = self.line.replace('\t', " ").chars().take(MOST).collect();
        if shown.len() < self.line.len() { shown + " .." } else { shown }
    }
}

/// A line of an answer.
#[derive(Debug)]
pub(super) struct Row {
    fields: Vec<String>,
}

impl Row {
    /// How many fields it has.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Bytes, or nothing for null.
    pub(super) fn bytes(&self, index: usize) -> Option<Vec<u8>> {
        let digit = |letter: u8| char::from(letter).to_digit(16).unwrap_or_default() as u8;
        let field = self.field(index)?.as_bytes();
        Some(
            field
                .chunks(2)
                .map(|pair| pair.iter().fold(0, |byte, letter| byte << 4 | digit(*letter)))
                .collect(),
        )
    }

    fn field(&self, index: usize) -> Option<&str> {
        self.fields.get(index).map(String::as_str).filter(|field| *field != NULL)
    }

    /// A text; an empty one for null.
    pub(super) fn text(&self, index: usize) -> String {
        self.field(index).map(unescaped).unwrap_or_default()
    }

    /// A number, or nothing for null.
    pub(super) fn maybe<N: std::str::FromStr>(&self, index: usize) -> Option<N> {
        self.field(index).and_then(|field| field.parse().ok())
    }

    /// A number.
    pub(super) fn number<N: std::str::FromStr>(&self, index: usize) -> Result<N, ServerError> {
        self.maybe(index).ok_or_else(|| ServerError::Refused {
            command: "an answer of Kafka's Java client".to_owned(),
            kind: "Malformed".to_owned(),
            message: format!("field {index} of {:?} is no number", self.fields),
        })
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}
