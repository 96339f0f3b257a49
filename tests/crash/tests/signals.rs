//! Programs that are asked to end by SIGINT and SIGTERM: once, and once more.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use watermill_crash::harness::{Running, run, start};

const RECORDS: i64 = 600;

fn program(directory: &Path, workers: usize, time: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signal-mill"));
    command.arg(directory).arg(workers.to_string()).arg(time);
    command
}

fn trial() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let records: String =
        (0..RECORDS).map(|id| format!("{{\"id\":{id},\"time\":{id},\"robot\":0}}\n")).collect();
    std::fs::write(directory.path().join("a.ndjson"), records).unwrap();
    directory
}

/// Waits until the tenth record was called.
fn begun(directory: &Path, running: &mut Running) {
    let start = Instant::now();
    while !directory.join("begun").exists() {
        assert!(running.is_there() && start.elapsed() < Duration::from_secs(30), "it does not begin");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_signal_finishes_the_commit_and_the_next_run_goes_on() {
    let undisturbed = trial();
    let _ = run(program(undisturbed.path(), 1, "0")).expect_success("an undisturbed run");
    let expected = std::fs::read(undisturbed.path().join("saw.ndjson")).unwrap();
    for (signal, workers) in [("INT", 1), ("TERM", 1), ("INT", 3), ("TERM", 3)] {
        let directory = trial();
        let mut running = start(program(directory.path(), workers, "3000"));
        begun(directory.path(), &mut running);
        running.signal(signal);
        let ended = running.wait().expect_success("a run that gets a signal");
        assert!(ended.out.contains("stopped by a signal"), "{}", ended.out);
        assert!(ended.took < Duration::from_secs(5), "it took {:?}", ended.took);
        assert!(!directory.path().join("saw.ndjson").exists());
        let ended = run(program(directory.path(), workers, "0")).expect_success("the run that goes on");
        // It has not done all of it again.
        assert!(!ended.out.contains(&format!("{RECORDS} calls")), "{}", ended.out);
        assert!(std::fs::read(directory.path().join("saw.ndjson")).unwrap() == expected);
    }
}

#[test]
fn a_second_signal_ends_a_program_whose_call_hangs() {
    for workers in [1, 3] {
        let directory = trial();
        let mut running = start(program(directory.path(), workers, "hangs"));
        begun(directory.path(), &mut running);
        running.signal("INT");
        thread::sleep(Duration::from_millis(300));
        assert!(running.is_there(), "the call under way is waited for");
        running.signal("TERM");
        let second = Instant::now();
        let error = running.wait().expect_error("a run that is given up");
        assert!(second.elapsed() < Duration::from_secs(2));
        assert!(error.contains("the run was given up"), "{error}");
        // Nothing is lost with it.
        let _ = run(program(directory.path(), workers, "0")).expect_success("the run that goes on");
        let lines = std::fs::read_to_string(directory.path().join("saw.ndjson")).unwrap();
        assert_eq!(lines.lines().count() as i64, RECORDS);
    }
}
