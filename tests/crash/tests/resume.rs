//! Runs that stop, fail or are told to begin again, and what the next run makes of what they left.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use watermill::EndReason;
use watermill::prelude::*;
use watermill_crash::data::{A, B, Saw, Streams, array, gzip, lines, names_in, text_of};
use watermill_crash::mills::{MILLS, Settings, outputs_of, run, start};
use watermill_crash::oracle;
use watermill_crash::seed::Seed;
use watermill_crash::told::told;

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
    outputs_of(mill).iter().map(|name| text_of(&directory.join("out").join(name))).collect()
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

#[test]
fn stopped_again_and_again() {
    let mut seed = Seed::new(Seed::of_environment());
    for (mill, _) in MILLS {
        let streams = Streams::random(&mut seed, 150);
        let expected = undisturbed(mill, &streams);
        let directory = trial(&streams);
        let mut stops = 0;
        for turn in 0_u64.. {
            // Every other one is stopped before it has read anything.
            let delay = if turn % 2 == 1 && turn < 20 { 0 } else { seed.below(3000 + 200 * turn) };
            let settings = Settings { slow: Duration::from_micros(50), ..calls(1 + seed.below(30)) };
            let handle = start(mill, directory.path(), &settings).unwrap();
            std::thread::sleep(Duration::from_micros(delay));
            handle.stop();
            let report = handle.wait_blocking().unwrap();
            assert_accounted(&report);
            if report.end != EndReason::Stopped {
                break;
            }
            stops += 1;
        }
        println!("{mill}: {stops} stops");
        assert!(stops > 0);
        assert!(outputs(mill, directory.path()) == expected, "{mill}");
    }
}

#[test]
fn failed_and_mended() {
    let mut seed = Seed::new(Seed::of_environment());
    for (mill, _) in MILLS {
        let streams = Streams::random(&mut seed, 200);
        let expected = undisturbed(mill, &streams);
        let directory = trial(&streams);
        let mut failures = 0;
        for id in (5..160).step_by(9) {
            // A mill may come to its end here.
            let settings = Settings { fail_at: Some(id), ..calls(1 + seed.below(9)) };
            match run(mill, directory.path(), &settings) {
                Err(error) => {
                    assert!(told(&error).contains("was to fail"), "{}", told(&error));
                    failures += 1;
                }
                Ok(_) => break,
            }
        }
        run(mill, directory.path(), &calls(10)).unwrap();
        assert!(failures > 3, "{mill}");
        assert!(outputs(mill, directory.path()) == expected, "{mill}");
        assert_eq!(
            names_in(&directory.path().join("out")).iter().filter(|name| name.starts_with('.')).count(),
            0
        );
    }
}

/// The master of `filter`, with a line that is no record.
fn with_bad_line(streams: &Streams, at: usize, bad: &str) -> (TempDir, Vec<u8>, Vec<u8>) {
    let directory = trial(streams);
    let good = fs::read(directory.path().join("a.ndjson")).unwrap();
    let mut texts: Vec<String> =
        String::from_utf8(good.clone()).unwrap().lines().map(str::to_owned).collect();
    texts[at] = bad.to_owned();
    (directory, good, lines(&texts))
}

#[test]
fn a_bad_record_is_mended_behind_the_committed_position() {
    let streams = Streams::random(&mut Seed::new(7), 100);
    for mill in ["within-and", "count-window", "lookup", "two-outputs"] {
        let expected = undisturbed(mill, &streams);
        for bad in ["{\"id\": 1, ", "{\"id\": 70, \"time\": -1, \"robot\": 1}"] {
            if bad.contains("-1") && (mill == "lookup" || mill == "two-outputs") {
                continue;
            }
            let (directory, good, broken) = with_bad_line(&streams, 70, bad);
            let input = directory.path().join("a.ndjson");
            fs::write(&input, broken).unwrap();
            for settings in [calls(7), calls(1), calls(10)] {
                // Again and again at the same record.
                let error = told(&run(mill, directory.path(), &settings).unwrap_err());
                assert!(error.contains("bad record in stream `A`"), "{mill}: {error}");
                assert!(error.contains("record 70"), "{mill}: {error}");
            }
            fs::write(&input, good).unwrap();
            let report = run(mill, directory.path(), &calls(7)).unwrap();
            assert!(report.calls < 50, "{report}");
            assert!(outputs(mill, directory.path()) == expected, "{mill}");
        }
    }
}

/// A key that goes down right behind the committed position is found by the next run too, on either side of a join.
#[test]
fn a_key_that_goes_down_behind_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let text = |times: &[i64]| {
        let texts: Vec<String> = times
            .iter()
            .enumerate()
            .map(|(id, time)| format!(r#"{{"id":{id},"time":{time},"robot":0}}"#))
            .collect();
        lines(&texts)
    };
    let rising: Vec<i64> = (0..40).collect();
    let mut falling = rising.clone();
    falling[20] = 3;
    for (a, b, stream) in [(&falling, &rising, "A"), (&rising, &falling, "B")] {
        for batch in [10, 200, 100_000] {
            fs::write(at("a"), text(a)).unwrap();
            fs::write(at("b"), text(b)).unwrap();
            for start_over in [true, false, false] {
                let mill = Mill::new(|a: &A, b: &Joined<A, B>| Saw::of(vec![a.id, b[a].len() as i64]))
                    .join(JoinWith::new(A::fields().time, B::fields().time).left())
                    .commit_after_calls(1);
                let mut broker = JsonFileBroker::new()
                    .read::<A>(at("a"))
                    .read::<B>(at("b"))
                    .write::<Saw>(at("o.ndjson"))
                    .batch_bytes(batch);
                if start_over {
                    broker = broker.start_over();
                }
                let error = told(&mill.run_blocking(broker).unwrap_err());
                assert!(error.contains(&format!("bad record in stream `{stream}`")), "{error}");
                assert!(error.contains("record 20"), "{error}");
                assert!(error.contains("goes down, from 19 to 3"), "{error}");
            }
        }
    }
}

#[test]
fn an_input_that_was_changed_is_refused() {
    let streams = Streams::random(&mut Seed::new(3), 200);
    let mill = "within-and";
    let expected = undisturbed(mill, &streams);
    let directory = broken_off(mill, &streams, 150);
    let input = directory.path().join("a.ndjson");
    let good = fs::read(&input).unwrap();
    let state = json_state(&state_of(directory.path(), mill));
    let next = state["inputs"][0]["position"]["next"].as_u64().unwrap() as usize;
    let refused = |bytes: &[u8], why: &str| {
        fs::write(&input, bytes).unwrap();
        let before = fs::read(hidden(directory.path(), outputs_of(mill)[0], "partial")).unwrap();
        for _ in 0..2 {
            let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
            assert!(error.contains(why), "{error}");
            assert!(error.contains("a.ndjson") && error.contains("start_over()"), "{error}");
        }
        let after = fs::read(hidden(directory.path(), outputs_of(mill)[0], "partial")).unwrap();
        assert!(before == after, "a refused run has touched the output");
    };
    refused(&good[..next - 1], "shorter");
    refused(&good[..10], "shorter");
    let mut other = good.clone();
    other[7] ^= 1;
    refused(&other, "beginning has changed");
    let mut other = good.clone();
    other[next - 3] ^= 1;
    refused(&other, "changed");
    fs::remove_file(&input).unwrap();
    let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
    assert!(error.contains("a.ndjson"), "{error}");
    // What stands behind the position may change; here it only comes back.
    fs::write(&input, &good).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == expected);
}

#[test]
fn what_was_appended_after_a_stop_is_read() {
    let rows = |count: i64| (0..count).map(|id| (id, id, 0)).collect::<Vec<_>>();
    let all = Streams { a: rows(120), b: rows(120), c: rows(120) };
    for mill in ["count-window", "within-and"] {
        let expected = undisturbed(mill, &all);
        for batch_bytes in [50, 100_000] {
            // The right stream ends long before the master is through, and both grow.
            let first = Streams { a: rows(90), b: rows(30), c: rows(120) };
            let directory = broken_off_with(mill, &first, 70, batch_bytes);
            all.write(directory.path());
            run(mill, directory.path(), &Settings { batch_bytes, ..calls(7) }).unwrap();
            // Masters before the stop have not seen what came later, those behind it have.
            let found = String::from_utf8(outputs(mill, directory.path()).remove(0)).unwrap();
            let expected = String::from_utf8(expected[0].clone()).unwrap();
            let behind = |text: &str| -> Vec<String> {
                let first = if mill == "count-window" { 70 / 7 } else { 70 };
                text.lines().skip(first).map(str::to_owned).collect()
            };
            assert!(!behind(&found).is_empty());
            assert_eq!(behind(&found), behind(&expected), "{mill}, batches of {batch_bytes}");
            assert_eq!(found.lines().count(), expected.lines().count(), "{mill}");
        }
    }
}

fn broken_off_with(mill: &str, streams: &Streams, id: i64, batch_bytes: usize) -> TempDir {
    let directory = trial(streams);
    let settings = Settings { fail_at: Some(id), batch_bytes, ..calls(1) };
    run(mill, directory.path(), &settings).unwrap_err();
    directory
}

/// What stands behind an EndOfStream mark is never read, not by the next run either.
#[test]
fn a_mark_ends_a_stream_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let record = |id: i64| format!("{{\"id\":{id},\"time\":{id},\"robot\":0}}\n");
    // The mark stands first, or behind records.
    for before in [0, 10] {
        drop(fs::remove_file(at("o.ndjson")));
        fs::write(at("a"), (0..40).map(record).collect::<String>()).unwrap();
        fs::write(at("b"), (0..before).map(record).collect::<String>() + "{\"eos__\": true}\n" + &record(30))
            .unwrap();
        let fail = AtomicI64::new(25);
        let fail = std::sync::Arc::new(fail);
        for (turn, until) in [(0, 20), (1, 25), (2, 1000)] {
            fail.store(until, Ordering::Relaxed);
            let own = std::sync::Arc::clone(&fail);
            let mill = Mill::new(move |a: &A, b: &Joined<A, B>| {
                if a.id == own.load(Ordering::Relaxed) {
                    Err("was to fail")
                } else {
                    Ok(Saw::of(vec![a.id, b[a].len() as i64]))
                }
            })
            .join(JoinWith::new(A::fields().time, B::fields().time).left())
            .commit_after_calls(1);
            let broker = JsonFileBroker::new()
                .read::<A>(at("a"))
                .read::<B>(at("b"))
                .write::<Saw>(at("o.ndjson"))
                .batch_bytes(30);
            assert_eq!(mill.run_blocking(broker).is_ok(), turn == 2);
        }
        let text = fs::read_to_string(at("o.ndjson")).unwrap();
        let matched = text.lines().filter(|line| line.contains(",1],")).count();
        assert_eq!((text.lines().count(), matched), (40, before as usize));
    }
}

#[test]
fn a_state_that_is_cut_or_damaged_is_refused_and_nothing_is_lost() {
    let streams = Streams::random(&mut Seed::new(5), 60);
    let mill = "two-outputs";
    let expected = undisturbed(mill, &streams);
    let directory = broken_off(mill, &streams, 40);
    let path = state_of(directory.path(), mill);
    let state = fs::read(&path).unwrap();
    let held = || -> Vec<Vec<u8>> {
        let of = |name: &&str| fs::read(hidden(directory.path(), name, "partial")).unwrap();
        outputs_of(mill).iter().map(of).collect()
    };
    let before = held();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
        assert!(error.contains("state") && error.contains("start over"), "{error}");
        assert!(error.contains(".saw.json.state"), "{error}");
        assert!(held() == before, "something of the outputs was lost");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    };
    for cut in 0..state.len() {
        refused(&state[..cut]);
    }
    let mut seed = Seed::new(9);
    for at in 0..state.len() {
        let mut changed = state.clone();
        changed[at] ^= 1 << seed.below(8);
        refused(&changed);
    }
    for at in [0, state.len() / 2, state.len() - 1] {
        for byte in 0..=u8::MAX {
            let mut changed = state.clone();
            changed[at] = byte;
            if changed != state {
                refused(&changed);
            }
        }
    }
    fs::write(&path, &state).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == expected);
}

#[test]
fn a_state_of_another_layout_or_another_mill_is_refused() {
    let streams = Streams::random(&mut Seed::new(6), 60);
    let directory = broken_off("within-and", &streams, 40);
    let path = state_of(directory.path(), "within-and");
    let state = json_state(&path);
    let refused = |change: &dyn Fn(&mut serde_json::Value), why: &str| {
        let mut other = state.clone();
        change(&mut other);
        put_state(&path, &other.to_string());
        let error = told(&run("within-and", directory.path(), &calls(7)).unwrap_err());
        assert!(error.contains(why), "{error}");
    };
    refused(&|state| state["version"] = 99.into(), "layout 99");
    refused(&|state| drop(state.as_object_mut().unwrap().remove("inputs")), "inputs");
    refused(&|state| state["inputs"][0]["stream"] = "Z".into(), "another mill, which reads Z, B");
    refused(&|state| drop(state["inputs"].as_array_mut().unwrap().pop()), "another mill");
    refused(&|state| state["outputs"][0]["name"] = "z.ndjson".into(), "other files");
    refused(&|state| state["inputs"][0]["position"]["part"] = "gone".into(), "gone");
    // A mill with other streams, which writes the same file.
    put_state(&path, &state.to_string());
    let mill = Mill::new(|b: &B| Saw::of(vec![b.id]));
    let out = directory.path().join("out/within-and.ndjson");
    let broker = JsonFileBroker::new().read::<B>(directory.path().join("b.json")).write::<Saw>(&out);
    let error = told(&mill.run_blocking(broker.clone()).unwrap_err());
    assert!(error.contains("another mill, which reads A, B") && error.contains("start_over()"), "{error}");
    let mill = Mill::new(|b: &B| Saw::of(vec![b.id]));
    mill.run_blocking(broker.start_over()).unwrap();
    assert_eq!(names_in(&directory.path().join("out")), ["within-and.ndjson"]);
}

#[test]
fn a_hidden_output_that_lost_something_is_refused() {
    let streams = Streams::random(&mut Seed::new(8), 60);
    let mill = "two-outputs";
    let directory = broken_off(mill, &streams, 40);
    for output in outputs_of(mill) {
        let path = hidden(directory.path(), output, "partial");
        let whole = fs::read(&path).unwrap();
        let length = json_state(&state_of(directory.path(), mill))["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| output.ends_with(found["name"].as_str().unwrap()))
            .unwrap()["length"]
            .as_u64()
            .unwrap() as usize;
        let refused = || {
            let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
            assert!(error.contains("fewer than") && error.contains(output), "{error}");
        };
        fs::write(&path, &whole[..length - 1]).unwrap();
        refused();
        fs::remove_file(&path).unwrap();
        refused();
        refused();
        fs::write(&path, &whole).unwrap();
    }
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == undisturbed(mill, &streams));
}

/// A state says that all is written, but the outputs are not what it says: nothing is given a name, and nothing is removed.
#[test]
fn a_finished_state_whose_outputs_are_not_there() {
    let streams = Streams::random(&mut Seed::new(8), 60);
    let mill = "two-outputs";
    let directory = broken_off(mill, &streams, 40);
    let path = state_of(directory.path(), mill);
    let mut state = json_state(&path);
    state["finished"] = true.into();
    let partial = hidden(directory.path(), outputs_of(mill)[1], "partial");
    let whole = fs::read(&partial).unwrap();
    for (index, output) in outputs_of(mill).iter().enumerate() {
        let partial = hidden(directory.path(), output, "partial");
        state["outputs"][index]["length"] = fs::metadata(&partial).unwrap().len().into();
    }
    put_state(&path, &state.to_string());
    fs::write(&partial, &whole[..whole.len() - 1]).unwrap();
    for _ in 0..2 {
        let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
        assert!(error.contains("odd.ndjson") && error.contains("start_over()"), "{error}");
        assert!(fs::read(&partial).unwrap() == whole[..whole.len() - 1]);
    }
    // The second output is as the state says again.
    fs::write(&partial, &whole).unwrap();
    let report = run(mill, directory.path(), &calls(7)).unwrap();
    assert_eq!(report.end, EndReason::EndedBefore);
    assert_eq!(names_in(&directory.path().join("out/two")), ["odd.ndjson", "saw.json"]);
}

/// When one output cannot be opened, what an earlier run has committed of the others stays.
#[test]
fn an_output_that_cannot_be_opened_costs_the_others_nothing() {
    let streams = Streams::random(&mut Seed::new(8), 60);
    let mill = "two-outputs";
    let directory = broken_off(mill, &streams, 40);
    let second = hidden(directory.path(), outputs_of(mill)[1], "partial");
    let aside = directory.path().join("aside");
    fs::rename(&second, &aside).unwrap();
    fs::create_dir(&second).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap_err();
    fs::remove_dir(&second).unwrap();
    fs::rename(&aside, &second).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == undisturbed(mill, &streams));
}

#[test]
fn starting_over() {
    let streams = Streams::random(&mut Seed::new(12), 100);
    for (mill, _) in MILLS {
        let directory = broken_off_with(mill, &streams, 30, 300);
        assert!(state_of(directory.path(), mill).exists(), "{mill}");
        // Whatever is wrong with what is there.
        fs::write(state_of(directory.path(), mill), "damaged").unwrap();
        let report = run(mill, directory.path(), &Settings { start_over: true, ..calls(7) }).unwrap();
        assert_accounted(&report);
        assert!(outputs(mill, directory.path()) == undisturbed(mill, &streams), "{mill}");
        let output = directory.path().join("out").join(outputs_of(mill)[0]);
        let names = names_in(output.parent().unwrap());
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    }
}

/// Whatever a run leaves behind that died between two steps, the next one that ends leaves nothing but outputs.
#[test]
fn leftovers_of_a_state_go_with_the_next_run() {
    let streams = Streams::random(&mut Seed::new(12), 100);
    let directory = trial(&streams);
    let mill = "filter";
    fs::create_dir(directory.path().join("out")).unwrap();
    fs::write(hidden(directory.path(), outputs_of(mill)[0], "state.new"), "half a sta").unwrap();
    let never = Settings { calls: None, ..calls(1) };
    run(mill, directory.path(), &never).unwrap();
    assert_eq!(names_in(&directory.path().join("out")), ["filter.json"]);
}

#[test]
fn a_stop_is_followed_at_once_by_the_next_run() {
    let streams = Streams::random(&mut Seed::new(13), 300);
    let directory = trial(&streams);
    let settings = Settings { slow: Duration::from_millis(1), ..calls(3) };
    for turn in 0..20 {
        let handle = start("two-outputs", directory.path(), &settings).unwrap();
        std::thread::sleep(Duration::from_millis(turn % 4));
        handle.stop();
        // No waiting: the outputs of the last run must be free as soon as it has returned.
        let report = handle.wait_blocking().unwrap();
        assert_eq!(report.end, EndReason::Stopped, "{report}");
    }
}

#[test]
fn a_second_run_of_the_same_output_is_refused() {
    let streams = Streams::random(&mut Seed::new(13), 100);
    for mill in ["two-outputs", "self-join"] {
        let directory = trial(&streams);
        let settings = Settings { slow: Duration::from_millis(3), ..calls(3) };
        let first = start(mill, directory.path(), &settings).unwrap();
        let state = state_of(directory.path(), mill);
        while !state.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for start_over in [false, true] {
            let error = run(mill, directory.path(), &Settings { start_over, ..calls(7) }).unwrap_err();
            assert!(told(&error).contains("another run is writing this output"), "{}", told(&error));
        }
        assert!(first.wait_blocking().is_ok());
        assert!(outputs(mill, directory.path()) == undisturbed(mill, &streams), "{mill}");
    }
}

/// A slow function is no reason to commit late, or to be stopped late.
#[test]
fn slow_functions_are_committed_and_stopped_in_time() {
    let streams = Streams::random(&mut Seed::new(13), 400);
    let directory = trial(&streams);
    let settings = Settings {
        calls: None,
        every: Duration::from_millis(50),
        batch_bytes: 1_000_000,
        slow: Duration::from_millis(60),
        ..Settings::default()
    };
    let begun = Instant::now();
    let handle = start("filter", directory.path(), &settings).unwrap();
    let state = state_of(directory.path(), "filter");
    while !state.exists() {
        assert!(begun.elapsed() < Duration::from_secs(3), "no commit");
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = Instant::now();
    handle.stop();
    let report = handle.wait_blocking().unwrap();
    assert_eq!(report.end, EndReason::Stopped);
    assert!(asked.elapsed() < Duration::from_secs(1), "stopped after {:?}", asked.elapsed());
    run("filter", directory.path(), &calls(10)).unwrap();
    assert!(outputs("filter", directory.path()) == undisturbed("filter", &streams));
}

/// Masters in a window that was still open were given to no call.
#[test]
fn an_open_window_is_pending_in_the_report_of_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let record = |id: i64| format!("{{\"id\":{id},\"time\":{id},\"robot\":0}}\n");
    fs::write(at("a"), (0..100).map(record).collect::<String>()).unwrap();
    // `B` is a pipe that nobody closes: the walk waits for it in the middle of a window.
    let status = std::process::Command::new("mkfifo").arg(at("b")).status().unwrap();
    assert!(status.success());
    let pipe = at("b");
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let mut pipe = fs::OpenOptions::new().write(true).open(pipe).unwrap();
        pipe.write_all((0..15).map(record).collect::<String>().as_bytes()).unwrap();
        pipe
    });
    let mill = Mill::new(|all: &[A], b: &Joined<A, B>| Saw::of(vec![all[0].id, b[&all[0]].len() as i64]))
        .window(Window::count(10))
        .join(JoinWith::new(A::fields().time, B::fields().time));
    let broker = JsonFileBroker::new().read::<A>(at("a")).read::<B>(at("b")).write::<Saw>(at("o.ndjson"));
    let handle = mill.start(broker).unwrap();
    let pipe = writer.join().unwrap();
    while handle.watch().records < 115 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));
    handle.stop();
    let report = handle.wait_blocking().unwrap();
    drop(pipe);
    assert_accounted(&report);
    let of = |index: usize| (report.inputs[index].matched, report.inputs[index].pending);
    assert_eq!((report.calls, of(0), of(1)), (1, (10, 90), (10, 5)), "{report}");
}

/// Files of a directory that a run is through with may be taken away; new ones behind are read.
#[test]
fn directories_change_between_runs() {
    let streams = Streams::random(&mut Seed::new(14), 90);
    let mill = "parts";
    let expected = undisturbed(mill, &streams);
    for id in [10, 29, 30, 31, 45, 59, 60, 61, 80] {
        let directory = broken_off_with(mill, &streams, id, 100);
        let parts = directory.path().join("parts");
        if id > 30 {
            fs::remove_file(parts.join("1.ndjson")).unwrap();
        }
        if id > 60 {
            fs::remove_file(parts.join("2.json")).unwrap();
        }
        run(mill, directory.path(), &calls(7)).unwrap();
        assert!(outputs(mill, directory.path()) == expected, "broken off at {id}");
    }
    // A new file.
    let directory = broken_off_with(mill, &streams, 80, 100);
    let more: Vec<String> = (90..95).map(|id| format!(r#"{{"id":{id},"time":{id},"robot":0}}"#)).collect();
    fs::write(directory.path().join("parts/4.json"), array(&more)).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    let text = String::from_utf8(outputs(mill, directory.path()).remove(0)).unwrap();
    assert_eq!(text.lines().count(), 95);
    // The file it stopped in is gone.
    let directory = broken_off_with(mill, &streams, 45, 100);
    fs::remove_file(directory.path().join("parts/2.json")).unwrap();
    let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
    assert!(error.contains("2.json") && error.contains("not there any more"), "{error}");
    assert!(error.contains("start_over()"), "{error}");
}

#[test]
fn in_the_middle_of_compressed_inputs() {
    let streams = Streams::random(&mut Seed::new(15), 120);
    let run_over = |directory: &Path, fail: i64| {
        let mill =
            Mill::new(move |a: &A| if a.id == fail { Err("was to fail") } else { Ok(Saw::of(vec![a.id])) })
                .commit_after_calls(5);
        let broker = JsonFileBroker::new()
            .read::<A>(directory.join("a.gz"))
            .write::<Saw>(directory.join("o.json.zst"))
            .batch_bytes(200);
        mill.run_blocking(broker)
    };
    let directory = trial(&streams);
    let text = fs::read(directory.path().join("a.ndjson")).unwrap();
    fs::write(directory.path().join("a.gz"), gzip(&text)).unwrap();
    for fail in [1, 20, 40, 41, 100, 119] {
        run_over(directory.path(), fail).unwrap_err();
    }
    // Another member may be appended; that is more input.
    let mut grown = gzip(&text);
    grown.extend(gzip(b"{\"id\":120,\"time\":9999,\"robot\":0}\n"));
    fs::write(directory.path().join("a.gz"), &grown).unwrap();
    run_over(directory.path(), -1).unwrap();
    let mut packed = &*fs::read(directory.path().join("o.json.zst")).unwrap();
    assert!(packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    // Read back by a mill: one record for each id.
    packed = &packed[..4];
    assert_eq!(packed.len(), 4);
    let ids = Collected::<Saw>::new();
    let broker = JsonFileBroker::new()
        .read::<Saw>(directory.path().join("o.json.zst"))
        .and(MemoryBroker::new().write(&ids));
    fn same(saw: &Saw) -> Saw {
        saw.clone()
    }
    Mill::new(same).run_blocking(broker).unwrap();
    let ids: Vec<i64> = ids.take().into_iter().map(|saw| saw.ids[0]).collect();
    assert_eq!(ids, (0..=120).collect::<Vec<_>>());
    // Another content is refused.
    run_over(directory.path(), 60).unwrap_err();
    fs::write(directory.path().join("a.gz"), gzip(&text[..text.len() / 2])).unwrap();
    let error = told(&run_over(directory.path(), -1).unwrap_err());
    assert!(error.contains("a.gz") && error.contains("start_over()"), "{error}");
}

/// Marks at the end of outputs come once, however often the run was broken off.
#[test]
fn marks_come_once() {
    let streams = Streams::random(&mut Seed::new(16), 100);
    let mill = "two-outputs";
    let marked = Settings { mark_eos: true, ..calls(3) };
    let calm = trial(&streams);
    run(mill, calm.path(), &marked).unwrap();
    let expected = outputs(mill, calm.path());
    assert!(expected.iter().all(|text| String::from_utf8_lossy(text).matches("eos__").count() == 1));
    let directory = trial(&streams);
    for id in (10..80).step_by(3) {
        run(mill, directory.path(), &Settings { fail_at: Some(id), ..marked.clone() }).unwrap_err();
    }
    run(mill, directory.path(), &marked).unwrap();
    assert!(outputs(mill, directory.path()) == expected);
}

/// Numbers of records are told right behind bad ones that were skipped, in this run and in the next.
#[test]
fn numbers_behind_skipped_records() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let texts: Vec<String> = (0..60)
        .map(|id| match id % 5 {
            1 => "no record".to_owned(),
            _ => format!(r#"{{"id":{id},"time":{id},"robot":0}}"#),
        })
        .collect();
    fs::write(at("a"), lines(&texts)).unwrap();
    for batch in [10, 300, 100_000] {
        fs::remove_file(at("o.ndjson")).ok();
        for id in [12, 30, 44, 59] {
            let mill =
                Mill::new(move |a: &A| if a.id == id { Err("was to fail") } else { Ok(Saw::of(vec![a.id])) })
                    .on_bad::<A>(OnBad::Skip)
                    .commit_after_calls(3);
            let broker =
                JsonFileBroker::new().read::<A>(at("a")).write::<Saw>(at("o.ndjson")).batch_bytes(batch);
            let error = told(&mill.run_blocking(broker).unwrap_err());
            assert!(error.contains(&format!("record {id}:")), "batches of {batch}: {error}");
        }
        let mill = Mill::new(move |a: &A| Saw::of(vec![a.id])).on_bad::<A>(OnBad::Skip).commit_after_calls(3);
        let broker = JsonFileBroker::new().read::<A>(at("a")).write::<Saw>(at("o.ndjson")).batch_bytes(batch);
        let report = mill.run_blocking(broker).unwrap();
        assert_eq!(report.inputs[0].skipped, 0, "{report}");
        assert_eq!(fs::read_to_string(at("o.ndjson")).unwrap().lines().count(), 48);
    }
}
