//! What is seen of a run from outside: its report, its log, its progress bar.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Debug;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use watermill::RunReport;
use watermill::prelude::*;

#[derive(Clone, Serialize, Deserialize, StreamRecord)]
struct Order {
    id: i64,
}

#[derive(Clone, Serialize, Deserialize, StreamRecord)]
struct Line {
    order: i64,
}

#[derive(Debug, Serialize, StreamRecord)]
struct Count {
    lines: usize,
}

fn count(order: &Order, lines: &Joined<Order, Line>) -> Count {
    Count { lines: lines[order].len() }
}

/// Five orders, one of them bad; of the lines, one is of no order.
fn run() -> RunReport {
    let broker = MemoryBroker::new()
        .read([1, 2, 1, 3, 4].map(|id| Order { id }).into())
        .read([0, 1, 1, 3].map(|order| Line { order }).into())
        .write(&Collected::<Count>::new());
    Mill::new(count)
        .join(JoinWith::new(Order::fields().id, Line::fields().order))
        .on_bad::<Order>(OnBad::Skip)
        .run_blocking(broker)
        .unwrap()
}

#[test]
fn a_report_is_text_and_a_value() {
    let mut report = run();
    report.elapsed = Duration::from_millis(2500);
    assert_eq!(
        report.to_string(),
        "count: 2 calls, 2 results in 2.500 s (4 records/s), end of Line\n  \
         stream       records      matched    unmatched   skipped      dead   pending\n  \
         Order              5            2            2         1         0         0\n  \
         Line               4            3            1         0         0         0\n  \
         -> Count: 2 results"
    );
    let value = serde_json::to_value(&report).unwrap();
    assert_eq!(value["inputs"][0]["stream"], "Order");
    assert_eq!((&value["inputs"][0]["skipped"], &value["inputs"][1]["unmatched"]), (&1.into(), &1.into()));
    assert_eq!((&value["results"], &value["outputs"][0]["records"]), (&2.into(), &2.into()));
    assert_eq!(serde_json::from_value::<RunReport>(value).unwrap(), report);
}

/// Everything that was logged under our target: its name or message, and its fields.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Log;

impl Log {
    fn put(metadata: &Metadata<'_>, fields: impl FnOnce(&mut Shown)) {
        if metadata.target().starts_with("watermill") {
            let mut shown = Shown(format!("{} {} {}:", metadata.target(), metadata.level(), metadata.name()));
            fields(&mut shown);
            LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push(shown.0);
        }
    }
}

struct Shown(String);

impl Visit for Shown {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
        if let Some(cause) = value.source() {
            self.record_error(field, cause);
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        Self::put(span.metadata(), |shown| span.record(shown));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        Self::put(event.metadata(), |shown| event.record(shown));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_run_is_logged_under_one_target() {
    tracing::subscriber::set_global_default(Log).unwrap();
    run();
    let logged = LOGGED.lock().unwrap().clone();
    let has = |parts: &[&str]| logged.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(&["watermill INFO lane:", "function=count", "lane=0"]), "{logged:#?}");
    assert!(has(&["watermill INFO", "message=walk begins", "inputs=2", "outputs=1"]), "{logged:#?}");
    assert!(
        has(&["watermill WARN", "message=bad record skipped", "stream=Order", "goes down"]),
        "{logged:#?}"
    );
    assert!(has(&["watermill INFO", "message=walk ended", "calls=2"]), "{logged:#?}");
    assert!(logged.iter().all(|line| line.starts_with("watermill ")), "{logged:#?}");
}

/// Set in the process that runs the slow mill.
const SLOW: &str = "WATERMILL_TEST_SLOW";

/// A run over a file that takes two seconds: nothing by itself, the work of the tests below.
#[test]
fn slow() {
    let Ok(what) = std::env::var(SLOW) else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders.ndjson");
    std::fs::write(&path, (0..2000).map(|id| format!("{{\"id\":{id}}}\n")).collect::<String>()).unwrap();
    fn orders(_: &Order) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let files = JsonFileBroker::new().read::<Order>(&path).batch_bytes(1000);
    Mill::new(orders).progress(what != "off").run_blocking(files).unwrap();
}

fn slow_run(what: &str) -> [String; 3] {
    let program = std::env::current_exe().unwrap().display().to_string();
    [program, format!("{SLOW}={what}"), "slow --exact --nocapture".to_owned()]
}

#[test]
fn no_progress_is_shown_in_a_pipe() {
    let [program, set, _] = slow_run("on");
    let (name, value) = set.split_once('=').unwrap();
    let mut command = Command::new(program);
    command.args(["slow", "--exact", "--nocapture"]).env(name, value).env("TERM", "xterm");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn progress_is_shown_on_a_terminal_unless_turned_off() {
    for (what, shows) in [("on", true), ("off", false)] {
        let [program, set, arguments] = slow_run(what);
        let line = format!("{set} TERM=xterm '{program}' {arguments}");
        // `script` gives the program a terminal, which takes what is no shell or `unsafe`.
        let terminal =
            Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        let output = match terminal {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("not run: there is no `script`");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert_eq!(
            text.contains("records/s") && text.contains('%') && text.contains(" left"),
            shows,
            "{text:?}"
        );
        assert_eq!(text.contains("orders ["), shows, "{text:?}");
    }
}
