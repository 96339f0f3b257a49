//! Mills that follow files, killed at random moments while the files grow and are rotated, and a mill that follows what the first one
//! writes: nothing is lost, nothing comes twice, everything is in order.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use watermill_crash::data::{A, B, Rows, Streams};
use watermill_crash::harness::{Tally, kill_until_done};
use watermill_crash::mills::{Settings, outputs_of};
use watermill_crash::oracle;
use watermill_crash::seed::Seed;

/// How many kills must land.
const KILLS: u64 = 60;

/// Somebody who writes a log, and rotates it now and then.
struct Logger {
    path: PathBuf,
    seed: Seed,
    rotations: u64,
}

impl Logger {
    /// Writes all of it, in pieces.
    fn write<R: From<(i64, i64, i64)> + serde::Serialize>(mut self, rows: Rows) -> u64 {
        let mut text: Vec<u8> = Vec::new();
        for row in rows {
            text.extend(serde_json::to_vec(&R::from(row)).unwrap());
            text.push(b'\n');
        }
        text.extend(b"{\"eos__\":true}\n");
        // The first line is there with the file.
        let first = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        self.make(&text[..first]);
        let mut from = first;
        while from < text.len() {
            thread::sleep(Duration::from_micros(self.seed.below(1500)));
            let mut to = (from + 1 + self.seed.below(120) as usize).min(text.len());
            let rotate = self.seed.below(12) == 0 && self.is_followed();
            if rotate {
                // Lines are not torn by whoever rotates.
                to = from + text[from..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
            }
            let mut log = OpenOptions::new().append(true).open(&self.path).unwrap();
            log.write_all(&text[from..to]).unwrap();
            from = to;
            if rotate && from < text.len() {
                self.rotate();
            }
        }
        self.rotations
    }

    /// Whether a commit speaks of all inputs: a run that never had one begins with the file that has the name then.
    fn is_followed(&self) -> bool {
        let state = self.path.with_file_name("out").join(".follow-join.ndjson.state");
        fs::read_to_string(state).is_ok_and(|state| state.matches("\"inode\"").count() == 3)
    }

    fn numbered(&self, number: u64) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.path.display()))
    }

    fn make(&self, text: &[u8]) {
        let fresh = self.path.with_extension("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, &self.path).unwrap();
    }

    fn rotate(&mut self) {
        for number in (1..=self.rotations).rev() {
            fs::rename(self.numbered(number), self.numbered(number + 1)).unwrap();
        }
        self.rotations += 1;
        if self.seed.below(2) == 0 {
            fs::copy(&self.path, self.numbered(1)).unwrap();
            OpenOptions::new().write(true).open(&self.path).unwrap().set_len(0).unwrap();
        } else {
            fs::rename(&self.path, self.numbered(1)).unwrap();
            thread::sleep(Duration::from_micros(self.seed.below(3000)));
            self.make(b"");
        }
    }
}

/// Raises the flag when its thread panics.
struct Failed<'a>(&'a AtomicBool);

impl Drop for Failed<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn program(mill: &str, directory: &Path, settings: &Settings) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-mill"));
    command.arg(mill).arg(directory).args(settings.arguments());
    command
}

#[test]
fn killed_while_files_grow_and_are_rotated() {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let (mut total, mut rotations, mut round) = (Tally::default(), 0, 0);
    while total.kills < KILLS || round == 0 {
        round += 1;
        let streams = Streams::random(&mut seed, 400);
        let trial = tempfile::tempdir().unwrap();
        let directory = trial.path();
        let logger = |name: &str, seed: &mut Seed| Logger {
            path: directory.join(name),
            seed: Seed::new(seed.next_number()),
            rotations: 0,
        };
        let (log, other) = (logger("log.ndjson", &mut seed), logger("other.ndjson", &mut seed));
        let settings = Settings {
            calls: Some(1 + seed.below(20)),
            batch_bytes: 20 + seed.below(2000) as usize,
            mark_eos: true,
            ..Settings::default()
        };
        let failed = AtomicBool::new(false);
        let mut seeds = [Seed::new(seed.next_number()), Seed::new(seed.next_number())];
        thread::scope(|scope| {
            let (a, b) = (streams.a.clone(), streams.b.clone());
            let loggers = [scope.spawn(move || log.write::<A>(a)), scope.spawn(move || other.write::<B>(b))];
            let mills = ["follow-join", "follow-chain"].into_iter().zip(&mut seeds).map(|(mill, seed)| {
                let (settings, failed) = (&settings, &failed);
                scope.spawn(move || {
                    let longest = Duration::from_millis(30 + seed.below(60));
                    // One that fails is not waited for by the other.
                    let failed = Failed(failed);
                    let check = || assert!(!failed.0.load(Ordering::Relaxed), "the other mill has failed");
                    let tally = kill_until_done(|| program(mill, directory, settings), seed, longest, check);
                    std::mem::forget(failed);
                    tally
                })
            });
            for mill in mills.collect::<Vec<_>>() {
                total += mill.join().unwrap_or_else(|_| panic!("seed {first}"));
            }
            rotations += loggers.into_iter().map(|logger| logger.join().unwrap()).sum::<u64>();
        });
        let state = fs::read_to_string(directory.join("out/.follow-join.ndjson.state")).unwrap();
        let state: serde_json::Value = serde_json::from_str(state.lines().next().unwrap()).unwrap();
        // Both streams of one file have counted the same records, run after run.
        assert_eq!(
            state["inputs"][0]["position"]["number"], state["inputs"][1]["position"]["number"],
            "{state}"
        );
        assert!((0..3).all(|input| state["inputs"][input]["followed"].is_object()), "{state}");
        for mill in ["follow-join", "follow-chain"] {
            let mut expected = oracle::outputs(mill, &streams).unwrap().remove(0);
            expected.extend(b"{\"eos__\": true}\n");
            let found = fs::read(directory.join("out").join(outputs_of(mill)[0])).unwrap();
            let same = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
            assert!(
                found == expected,
                "{mill}, seed {first}, {settings:?}: {} bytes instead of {}, other from byte {same} on",
                found.len(),
                expected.len()
            );
        }
    }
    println!("{} kills in {} starts, {rotations} rotations, {round} rounds", total.kills, total.starts);
}
