//! Bad records of files, put aside as dead letters: every cause, with the bytes as they stand in the file.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::*;
use watermill_core::broker::Origin;
use watermill_core::clock::ManualClock;
use watermill_core::prelude::*;
use watermill_core::{BadCause, DeadLetter, RunError, RunReport};
use watermill_json_file::JsonFileBroker;

fn mill() -> Mill<Location> {
    let join = JoinWith::new(|here: &Location| here.time, |next: &Next| next.time).left();
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567));
    Mill::new(|here: &Location, _: &Joined<Location, Next>| Location { ..here.clone() })
        .join(join)
        .clock(clock)
        .on_bad::<Location>(OnBad::DeadLetter)
        .on_bad::<Next>(OnBad::DeadLetter)
}

fn run(
    directory: &Path,
    input: &[u8],
    broker: impl Fn(JsonFileBroker) -> JsonFileBroker,
) -> Result<RunReport, RunError> {
    let at = |name: &str| directory.join(name);
    fs::write(at("input"), input).unwrap();
    fs::write(at("next"), "").unwrap();
    let files = JsonFileBroker::new()
        .read::<Location>(at("input"))
        .read::<Next>(at("next"))
        .write::<Location>(at("good.ndjson"))
        .write::<DeadLetter>(at("letters.ndjson"));
    mill().run_blocking(broker(files))
}

fn letters(directory: &Path) -> Vec<DeadLetter> {
    let text = fs::read_to_string(directory.join("letters.ndjson")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn line(time: i64) -> String {
    serde_json::to_string(&location(time)).unwrap()
}

#[test]
fn every_cause_with_its_bytes() {
    let long = format!("{{\"time\":3,\"x\":0.5,\"y\":{}}}", "1".repeat(9000));
    let bad: [(&str, Vec<u8>); 8] = [
        ("syntax", b"{\"time\": 1, oops}".to_vec()),
        ("shape", b"{\"time\": \"1\", \"x\": 1, \"y\": 2}".to_vec()),
        ("shape", b"{\"time\": 1}".to_vec()),
        ("syntax", b"{\"time\": 1".to_vec()),
        ("not_utf8", b"{\"time\": 1, \"x\": \"\xff\xfe\"}".to_vec()),
        ("too_long", long.into_bytes()),
        ("key_went_down", line(1).into_bytes()),
        ("key_went_down", b"{ \"time\" : 1 ,\t\"x\":1e0, \"y\" :2 }".to_vec()),
    ];
    for array in [false, true] {
        for batch in [1, 50, 1_000_000] {
            let directory = tempfile::tempdir().unwrap();
            let (mut text, mut places) = (Vec::new(), Vec::new());
            if array {
                text.push(b'[');
            }
            let put = |text: &mut Vec<u8>, record: &[u8], ends: bool| {
                text.extend_from_slice(record);
                text.extend_from_slice(if array && ends { b",\n" } else { b"\r\n" });
            };
            // An array whose records are cut or no JSON has lost its structure.
            let bad: Vec<_> = bad.iter().filter(|(kind, _)| !array || *kind != "syntax").collect();
            for (index, (_, raw)) in bad.iter().enumerate() {
                put(&mut text, line(10 + index as i64).as_bytes(), true);
                places.push((text.len() as u64, 2 * index as u64 + 1));
                put(&mut text, raw, true);
            }
            put(&mut text, line(99).as_bytes(), false);
            if array {
                text.extend_from_slice(b"]");
            }
            let report =
                run(directory.path(), &text, |files| files.batch_bytes(batch).record_limit(8000)).unwrap();
            let what = format!("array: {array}, batches of {batch}");
            let input = &report.inputs[0];
            let count = bad.len() as u64;
            assert_eq!((input.records, input.dead_lettered), (2 * count + 1, count), "{what}: {report}");
            assert_eq!((input.skipped, input.pending, report.calls), (0, 0, count + 1), "{what}: {report}");
            let letters = letters(directory.path());
            assert_eq!(letters.len(), bad.len(), "{what}");
            for ((letter, (kind, raw)), place) in letters.iter().zip(bad).zip(places) {
                let what = format!("{what}: {letter:?}");
                assert_eq!(letter.kind, *kind, "{what}");
                assert_eq!((letter.offset, letter.number), place, "{what}");
                assert_eq!(
                    (letter.stream.as_str(), letter.time, letter.attempts),
                    ("Location", 1_234_567, 0)
                );
                let path = directory.path().join("input").display().to_string();
                assert_eq!(letter.origin, Origin::File { path }, "{what}");
                assert_eq!(letter.cut, *kind == "too_long", "{what}");
                if letter.cut {
                    assert!(letter.raw.len() > 1000 && raw.starts_with(&letter.raw), "{what}");
                } else {
                    assert_eq!(letter.raw, *raw, "{what}");
                }
                assert!(letter.error.starts_with("bad record in stream `Location` at file"), "{what}");
            }
            let good = fs::read_to_string(directory.path().join("good.ndjson")).unwrap();
            assert_eq!(good.lines().count() as u64, count + 1);
        }
    }
}

#[test]
fn values_nested_too_deep() {
    let directory = tempfile::tempdir().unwrap();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    fs::write(directory.path().join("input"), format!("1\n{deep}\n2\n")).unwrap();
    let files = JsonFileBroker::new()
        .read::<Json>(directory.path().join("input"))
        .write::<DeadLetter>(directory.path().join("letters.ndjson"));
    Mill::new(|_: &Json| ()).on_bad::<Json>(OnBad::DeadLetter).run_blocking(files).unwrap();
    let letters = letters(directory.path());
    assert_eq!((letters.len(), letters[0].kind.as_str(), letters[0].text()), (1, "too_deep", Some(&*deep)));
}

#[test]
fn input_that_is_cut_or_has_no_structure_still_stops_the_run() {
    let directory = tempfile::tempdir().unwrap();
    for text in [format!("{}\n{{\"time\": 1", line(1)), format!("[{} {}]", line(1), line(2))] {
        let error = run(directory.path(), text.as_bytes(), |files| files).unwrap_err();
        let RunError::BadRecord(bad) = &error else { panic!("{error:?}") };
        assert!(matches!(bad.cause, BadCause::Truncated | BadCause::Structure(_)), "{error:?}");
        assert!(!directory.path().join("letters.ndjson").exists());
    }
}

#[test]
fn letters_need_a_place() {
    let directory = tempfile::tempdir().unwrap();
    let files = JsonFileBroker::new()
        .read::<Location>(directory.path().join("input"))
        .read::<Next>(directory.path().join("next"))
        .write::<Location>(directory.path().join("good.ndjson"));
    let error = mill().run_blocking(files).unwrap_err().to_string();
    assert!(error.contains("no broker writes `DeadLetter`"), "{error}");
    assert!(error.ends_with("declare it: `JsonFileBroker.write::<DeadLetter>(..)`"), "{error}");
}

/// A run that stopped at a bad record goes on when it is given a place for such.
#[test]
fn a_place_for_letters_may_be_added_to_a_run_that_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let texts: Vec<String> = (0..40).map(|id| if id == 20 { "oops".to_owned() } else { line(id) }).collect();
    fs::write(at("input"), texts.join("\n")).unwrap();
    let files = || {
        JsonFileBroker::new()
            .read::<Location>(at("input"))
            .write::<Location>(at("good.ndjson"))
            .batch_bytes(90)
    };
    let mill = || Mill::new(|here: &Location| Location { ..here.clone() }).commit_after_calls(1);
    let error = mill().run_blocking(files()).unwrap_err();
    assert!(matches!(error, RunError::BadRecord(_)), "{error:?}");
    let letters_file = files().write::<DeadLetter>(at("letters.ndjson"));
    let report = mill().on_bad::<Location>(OnBad::DeadLetter).run_blocking(letters_file).unwrap();
    assert!(report.calls < 39, "it goes on: {report}");
    assert_eq!(fs::read_to_string(at("good.ndjson")).unwrap().lines().count(), 39);
    let letters = letters(directory.path());
    assert_eq!((letters.len(), letters[0].number, letters[0].text()), (1, 20, Some("oops")));
}
