//! The examples over named streams, as their readers run them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use watermill::prelude::*;

fn example(name: &str) -> Command {
    // This test is `<target>/<profile>/deps/streams_example-<hash>`.
    let this = env::current_exe().unwrap();
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path: PathBuf = this.ancestors().nth(2).unwrap().join("examples").join(file);
    assert!(
        path.exists(),
        "{} is missing; run `cargo build --examples --features app` first",
        path.display()
    );
    let mut command = Command::new(path);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn run(name: &str, arguments: &[&str]) -> String {
    let output = example(name).args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn every_word_is_counted_once_however_often_it_is_run() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/alice.ndjson")).unwrap();
    let mut counts = BTreeMap::<String, u64>::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let line = line["text"].as_str().unwrap().to_lowercase();
        for word in line.split(|c: char| !c.is_alphabetic() && c != '\'').filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("watermill.db").display().to_string();
    for turn in 0..2 {
        let told = run("named_streams", &[&file]);
        let shown: Vec<(&str, u64)> = told
            .lines()
            .rev()
            .take(5)
            .map(|line| line.trim().rsplit_once(' ').unwrap())
            .map(|(word, count)| (word.trim(), count.parse().unwrap()))
            .collect();
        assert!(shown.iter().all(|(word, count)| counts[*word] == *count), "{told}");
        assert!(shown.iter().any(|(word, _)| *word == "the"), "{told}");
        // Ten parts at a time; what is left waits for more.
        let jobs = told.matches("10 more parts").count();
        assert_eq!(jobs, if turn == 0 { text.lines().count().div_ceil(100) / 10 } else { 0 }, "{told}");
    }
}

#[test]
fn a_scheduled_job_takes_a_dozen_when_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("scheduled.db").display().to_string();
    let turns: Vec<String> = (0..5).map(|_| run("scheduled_job", &[&file])).collect();
    let waits = [5, 10, 3, 8, 1];
    for (turn, (told, waiting)) in turns.iter().zip(waits).enumerate() {
        assert!(told.contains(&format!("{waiting} readings wait")), "{turn}: {told}");
        assert_eq!(told.contains("readings 0 to 11"), turn == 2, "{told}");
        assert_eq!(told.contains("readings 12 to 23"), turn == 4, "{told}");
    }
}

#[test]
fn an_emitter_takes_the_even_ones_in_order() {
    let told = run("stream_emitter", &[]);
    let lines: Vec<&str> = told.lines().collect();
    // At the end of the stream what is left is a window, too.
    assert_eq!(lines[0], "window 0: [2, 4, 8]", "{told}");
    assert_eq!(lines.iter().filter(|line| line.contains("was made of")).count(), lines.len() / 2, "{told}");
    assert!(told.contains("was made of the messages [2, 1, 4]"), "{told}");
}

#[test]
fn a_join_of_streams_tells_what_is_open() {
    let told = run("stream_join", &[]);
    for line in ["order 1: 0 cents", "order 2: 100 cents", "order 3: 90 cents"] {
        assert!(told.contains(line), "{told}");
    }
}

/// An app under way.
struct App {
    child: Child,
    address: String,
}

impl App {
    fn start(folder: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = free.to_string();
        let mut command = example("streaming_app");
        command.args([folder, &address]).stdout(Stdio::null()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), address }
    }

    fn get(&self, path: &str) -> Option<(u16, Value)> {
        let mut connection = TcpStream::connect(&self.address).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let code = answer.split(' ').nth(1)?.parse().ok()?;
        Some((code, serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_app_takes_means_of_what_grows_through_a_kill_and_ends_on_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().display().to_string();
    let (input, output) = (directory.path().join("celsius.ndjson"), directory.path().join("means.ndjson"));
    let mut file = OpenOptions::new().create(true).append(true).open(&input).unwrap();
    let means = || -> Vec<f64> {
        let text = fs::read_to_string(&output).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.contains("eos__"));
        lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["celsius"].as_f64().unwrap()).collect()
    };
    let mut wanted = Vec::new();
    let mut app = App::start(&folder);
    for turn in 0..3 {
        for celsius in 0..5 {
            writeln!(file, "{{\"celsius\":{}}}", turn * 10 + celsius).unwrap();
        }
        wanted.push(f64::from(turn * 10 + 2));
        if turn == 1 {
            // With SIGKILL, wherever it is.
            drop(app);
            app = App::start(&folder);
        }
        let since = Instant::now();
        while means() != wanted {
            assert!(since.elapsed() < Duration::from_secs(60), "{:?}, {:?}", means(), wanted);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let (code, status) = app.get("/status").unwrap();
    assert_eq!((code, &status["healthy"]), (200, &Value::Bool(true)), "{status}");
    let names: Vec<&str> =
        status["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["thermometer", "mean", "file"]);
    assert_eq!(app.get("/healthz").unwrap().0, 200);
    let asked = Command::new("kill").args(["-TERM", &app.child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let mut told = String::new();
    app.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(app.child.wait().unwrap().success(), "{told}");
    assert_eq!(means(), wanted);
    let streams = Streams::open(&format!("sqlite:{folder}/celsius.db")).unwrap();
    assert_eq!(streams.metadata("readings").unwrap().waiting, 0);
}
