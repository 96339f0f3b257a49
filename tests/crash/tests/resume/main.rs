//! Runs that stop, fail or are told to begin again, and what the next run makes of what they left.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use watermill::EndReason;
use watermill::prelude::*;
use watermill_crash::data::{A, B, Saw, Streams, array, gzip, lines, names_in, output_of};
use watermill_crash::mills::{MILLS, Settings, outputs_of, run, start};
use watermill_crash::oracle;
use watermill_crash::seed::Seed;
use watermill_crash::told::told;

mod inputs;
mod state;
mod stops;

/// No commits but those after so many calls.
fn calls(calls: u64) -> Settings {
    Settings { calls: Some(calls), every: Duration::from_secs(3600), ..Settings::default() }
}

/// A directory with inputs.
fn trial(streams: &Streams) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    streams.write(directory.path());
    directory
}

fn outputs(mill: &str, directory: &Path) -> Vec<Vec<u8>> {
    outputs_of(mill).iter().map(|name| output_of(directory, name)).collect()
}

/// What an undisturbed run writes.
fn undisturbed(mill: &str, streams: &Streams) -> Vec<Vec<u8>> {
    let directory = trial(streams);
    run(mill, directory.path(), &calls(20)).unwrap();
    let outputs = outputs(mill, directory.path());
    if let Some(expected) = oracle::outputs(mill, streams) {
        assert!(outputs == expected, "{mill}");
    }
    outputs
}

fn assert_accounted(report: &watermill::RunReport) {
    for input in &report.inputs {
        let sum = input.matched + input.unmatched + input.skipped + input.dead_lettered + input.pending;
        assert_eq!(input.records, sum, "{report}");
    }
}

/// A run of `mill` that fails at `id`, behind some commits.
fn broken_off(mill: &str, streams: &Streams, id: i64) -> TempDir {
    let directory = trial(streams);
    let error = run(mill, directory.path(), &Settings { fail_at: Some(id), ..calls(7) }).unwrap_err();
    assert!(told(&error).contains("was to fail"), "{}", told(&error));
    directory
}

fn state_of(directory: &Path, mill: &str) -> PathBuf {
    hidden(directory, outputs_of(mill)[0], "state")
}

fn hidden(directory: &Path, output: &str, ending: &str) -> PathBuf {
    let output = directory.join("out").join(output);
    let name = output.file_name().unwrap().to_str().unwrap();
    output.with_file_name(format!(".{name}.{ending}"))
}

/// The state of a broken-off run, as JSON.
fn json_state(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

/// Replaces the state, with a checksum that fits.
fn put_state(path: &Path, state: &str) {
    let mut crc = flate2::Crc::new();
    crc.update(state.as_bytes());
    fs::write(path, format!("{state}\ncrc32 {:08x}\n", crc.sum())).unwrap();
}

fn broken_off_with(mill: &str, streams: &Streams, id: i64, batch_bytes: usize) -> TempDir {
    let directory = trial(streams);
    let settings = Settings { fail_at: Some(id), batch_bytes, ..calls(1) };
    run(mill, directory.path(), &settings).unwrap_err();
    directory
}
