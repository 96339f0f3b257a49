//! Servers end with the process that started them, and their data with them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A process that holds a broker.
struct Holder {
    child: Child,
    broker: u32,
    address: String,
}

fn hold(arguments: &[&str]) -> Holder {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hold-kafka"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (broker, address) = line.trim().split_once(' ').unwrap_or_else(|| panic!("it says {line:?}"));
    Holder { broker: broker.parse().unwrap(), address: address.to_owned(), child }
}

/// Whether there is a process of this number.
fn is_there(process: u32) -> bool {
    let asked = Command::new("sh").args(["-c", "kill -0 \"$1\"", "sh", &process.to_string()]).output();
    asked.unwrap().status.success()
}

/// The directories of the brokers that a process has started.
fn data_of(process: u32) -> Vec<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_hold-kafka")).ancestors().nth(2).unwrap();
    let all = std::fs::read_dir(target.join("servers/data")).unwrap();
    let of = format!("kafka-{process}-");
    let paths = all.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&of)).collect()
}

fn assert_soon(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn assert_all_ends(holder: &mut Holder) {
    let process = holder.child.id();
    holder.child.wait().unwrap();
    assert_soon("the broker is still there", || !is_there(holder.broker));
    assert_soon("its data is still there", || data_of(process).is_empty());
    assert!(TcpStream::connect(&holder.address).is_err());
}

#[test]
fn a_broker_ends_with_a_process_that_is_killed() {
    let mut holder = hold(&[]);
    assert!(is_there(holder.broker));
    assert_eq!(data_of(holder.child.id()).len(), 1);
    TcpStream::connect(&holder.address).unwrap();
    // SIGKILL, which leaves it no time for anything.
    holder.child.kill().unwrap();
    assert_all_ends(&mut holder);
}

#[test]
fn a_broker_ends_with_a_process_that_panics() {
    assert_all_ends(&mut hold(&["panic"]));
}

#[test]
fn a_broker_that_cannot_start_leaves_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hold-kafka"));
    let child = command.arg("wrong").stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("log.retention.ms"), "{output:?}");
    assert_soon("its data is still there", || data_of(process).is_empty());
}
