//! Mills over files, killed by `kill -9` at random moments and at every step of a commit: what they write in the end is what an
//! undisturbed run writes, byte for byte, and what nested loops over the input say.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use watermill_crash::data::{Streams, names_in, output_of};
use watermill_crash::harness::{ABORTED, Tally, kill_until_done, run};
use watermill_crash::mills::{MILLS, Settings, outputs_of};
use watermill_crash::oracle;
use watermill_crash::seed::Seed;

/// How many kills must land, over all mills.
const KILLS: u64 = 300;

fn program(mill: &str, directory: &Path, settings: &Settings) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-mill"));
    command.arg(mill).arg(directory).args(settings.arguments());
    command
}

/// All outputs of a mill.
fn outputs(mill: &str, directory: &Path) -> Vec<Vec<u8>> {
    outputs_of(mill).iter().map(|name| output_of(directory, name)).collect()
}

/// Nothing but outputs is left, and the state of those that were appended to.
fn assert_clean(mill: &str, directory: &Path) {
    let out = directory.join("out");
    for name in outputs_of(mill) {
        let beside = out.join(name);
        let names = names_in(beside.parent().unwrap());
        let mut hidden = names.iter().filter(|name| name.starts_with('.'));
        let known = if mill == "append" { ".saw.ndjson.state" } else { "" };
        assert!(hidden.all(|name| name == known), "{mill} leaves {names:?}");
    }
}

/// What an undisturbed run writes, which is what the oracle says.
fn undisturbed(mill: &str, directory: &Path, streams: &Streams) -> Vec<Vec<u8>> {
    streams.write(directory);
    let settings = Settings { every: Duration::from_secs(3600), ..Settings::default() };
    let _ = run(program(mill, directory, &settings)).expect_success(mill);
    assert_clean(mill, directory);
    let outputs = outputs(mill, directory);
    if let Some(expected) = oracle::outputs(mill, streams) {
        assert_same(mill, &outputs, &expected);
    }
    outputs
}

/// Equal, or a message that shows where they part.
fn assert_same(what: &str, found: &[Vec<u8>], expected: &[Vec<u8>]) {
    for (found, expected) in found.iter().zip(expected) {
        if found != expected {
            let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let part = |bytes: &[u8]| {
                String::from_utf8_lossy(&bytes[at.saturating_sub(80)..bytes.len().min(at + 80)]).into_owned()
            };
            panic!(
                "{what}: {} bytes instead of {}, other from byte {at} on:\n{}\ninstead of\n{}",
                found.len(),
                expected.len(),
                part(found),
                part(expected)
            );
        }
    }
}

#[test]
fn killed_at_random_moments() {
    let first = Seed::of_environment();
    let mut total = Tally::default();
    let mut seed = Seed::new(first);
    let mut round = 0;
    while total.kills < KILLS || round == 0 {
        round += 1;
        for (mill, _) in MILLS {
            let calm = tempfile::tempdir().unwrap();
            let streams = Streams::random(&mut seed, 400);
            let expected = undisturbed(mill, calm.path(), &streams);
            let wild = tempfile::tempdir().unwrap();
            streams.write(wild.path());
            let settings = Settings {
                calls: Some(1 + seed.below(20)),
                batch_bytes: 20 + seed.below(2000) as usize,
                slow: Duration::from_micros(20),
                ..Settings::default()
            };
            let longest = Duration::from_millis(6 + seed.below(34));
            let tally = kill_until_done(|| program(mill, wild.path(), &settings), &mut seed, longest, || {});
            println!("{mill}: {} kills in {} starts, {settings:?}", tally.kills, tally.starts);
            assert_same(&format!("{mill}, seed {first}"), &outputs(mill, wild.path()), &expected);
            assert_clean(mill, wild.path());
            total += tally;
        }
    }
    println!("{} kills landed in {} starts, {round} rounds, seed {first}", total.kills, total.starts);
}

/// Dies at each labelled step of a commit in turn, on a pass that differs from mill to mill, and again and again until it ends.
#[test]
fn killed_at_every_step_of_a_commit() {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let mut deaths = 0;
    for point in watermill_json_file::FAULT_POINTS {
        let mut here = 0;
        for mill in [
            "self-join",
            "nested-window",
            "as-of",
            "two-outputs",
            "letters",
            "append",
            "late",
            "sliding",
            "emitter",
        ] {
            let calm = tempfile::tempdir().unwrap();
            let streams = Streams::random(&mut seed, 80);
            let expected = undisturbed(mill, calm.path(), &streams);
            let wild = tempfile::tempdir().unwrap();
            streams.write(wild.path());
            let settings =
                Settings { calls: Some(7), every: Duration::from_secs(3600), ..Settings::default() };
            for start in 0.. {
                let mut command = program(mill, wild.path(), &settings);
                // Every step of the first commit, then later ones; in the end it is left alone.
                if start < 4 {
                    let pass = if start == 0 { 1 } else { 1 + seed.below(4) };
                    command.env("WATERMILL_FAULT", format!("{point}:{pass}"));
                }
                let ended = run(command);
                if ended.died_by(ABORTED) {
                    here += 1;
                } else {
                    let _ = ended.expect_success(&format!("{mill} at {point}, seed {first}"));
                    break;
                }
            }
            let what = format!("{mill} at {point}, seed {first}");
            assert_same(&what, &outputs(mill, wild.path()), &expected);
            assert_clean(mill, wild.path());
        }
        assert!(here > 0, "no run passes the step {point}");
        println!("{point}: {here} deaths");
        deaths += here;
    }
    println!("{deaths} deaths in commits, seed {first}");
}
