//! Helpers of the tests of files that are followed: a log, and a mill that copies it.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use watermill_core::error::RunError;
use watermill_core::record::Json;
use watermill_core::{EndReason, Mill, MillHandle, OnBad, RunReport};
use watermill_json_file::{Follow, JsonFileBroker};

/// What takes longer than this never comes.
pub const NEVER: Duration = Duration::from_secs(300);

/// Waits for something to become true.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < NEVER, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A directory with a log, and a mill that copies it.
pub struct Trial {
    pub directory: tempfile::TempDir,
    pub follow: Follow,
    pub skip: bool,
    pub batch_bytes: usize,
}

impl Trial {
    pub fn new() -> Self {
        let follow = Follow::new().every(Duration::from_millis(1));
        Self { directory: tempfile::tempdir().unwrap(), follow, skip: false, batch_bytes: 1 << 18 }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn broker(&self) -> JsonFileBroker {
        JsonFileBroker::new()
            .batch_bytes(self.batch_bytes)
            .read::<Json>(self.at("log"))
            .follow_with(self.follow.clone())
            .write::<Json>(self.at("out.ndjson"))
            .append()
    }

    pub fn try_start(&self) -> Result<MillHandle, RunError> {
        let mill = Mill::new(|line: &Json| line.clone()).commit_every(Duration::from_millis(1));
        let mill = if self.skip { mill.on_bad::<Json>(OnBad::Skip) } else { mill };
        mill.start(self.broker())
    }

    pub fn start(&self) -> MillHandle {
        self.try_start().unwrap()
    }

    /// Appends to a file.
    pub fn put(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.at(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// Gives `log.1` and so on the next number.
    pub fn rotate(&self) {
        for old in (1..9).rev() {
            if self.at(&format!("log.{old}")).exists() {
                self.rename(&format!("log.{old}"), &format!("log.{}", old + 1));
            }
        }
    }

    /// Copies the log, and cuts it.
    pub fn copy_and_cut(&self, to: &str) {
        fs::copy(self.at("log"), self.at(to)).unwrap();
        self.cut();
    }

    pub fn cut(&self) {
        OpenOptions::new().write(true).open(self.at("log")).unwrap().set_len(0).unwrap();
    }

    pub fn out(&self) -> String {
        fs::read_to_string(self.at("out.ndjson")).unwrap_or_default()
    }

    /// Waits until these numbers were copied, in this order and no others.
    #[track_caller]
    pub fn until_copied(&self, numbers: std::ops::Range<i64>) {
        let wanted: String = numbers.map(line).collect();
        until("a copy", || {
            let out = self.out();
            assert!(wanted.starts_with(&out), "{out}\ninstead of\n{wanted}");
            out == wanted
        });
    }
}

pub fn line(number: i64) -> String {
    format!("{{\"n\":{number}}}\n")
}

/// Waits until a run has read all there is and waits for more.
#[track_caller]
pub fn stop(run: MillHandle) -> RunReport {
    run.stop();
    let report = run.wait_blocking().unwrap();
    assert_eq!(report.end, EndReason::Stopped, "{report}");
    report
}

pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub const EOS: &str = "{\"eos__\":true}\n";
