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

fn replay(directory: &Path, letters: &str) -> (Result<RunReport, RunError>, Vec<Location>) {
    let at = |name: &str| directory.join(name);
    fs::write(at("mended.ndjson"), letters).unwrap();
    let files = JsonFileBroker::new()
        .replay::<Location>(at("mended.ndjson"))
        .read::<Next>(at("next"))
        .write::<Location>(at("replayed.ndjson"))
        .write::<DeadLetter>(at("again.ndjson"));
    let report = mill().run_blocking(files);
    let text = fs::read_to_string(at("replayed.ndjson")).unwrap_or_default();
    (report, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A run and the replay of its mended letters give what a run over mended input gives.
#[test]
fn a_replay_gives_what_mended_input_gives() {
    let directory = tempfile::tempdir().unwrap();
    let mended: Vec<String> = (0..50).map(line).collect();
    for every in [2, 3, 7, 50] {
        let broken = |(id, text): (usize, &String)| match id % every {
            1 => text.replace(':', "="),
            _ => text.clone(),
        };
        let input: Vec<String> = mended.iter().enumerate().map(broken).collect();
        run(directory.path(), input.join("\n").as_bytes(), |files| files.batch_bytes(100)).unwrap();
        let letters = fs::read_to_string(directory.path().join("letters.ndjson")).unwrap();
        let first = fs::read_to_string(directory.path().join("good.ndjson")).unwrap();
        // As an editor replaces text: in the letters as they stand in the file.
        let (report, replayed) = replay(directory.path(), &letters.replace("\\\"=", "\\\":"));
        let report = report.unwrap();
        assert_eq!(report.inputs[0].dead_lettered, 0, "{report}");
        let mut all: Vec<Location> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(all.len() + replayed.len(), 50);
        all.extend(replayed);
        all.sort_by_key(|location| location.time);
        assert_eq!(all, (0..50).map(location).collect::<Vec<_>>());
    }
}

#[test]
fn letters_of_other_streams_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("next"), "").unwrap();
    let letter = |stream: &str, raw: &str| {
        format!("{{\"stream\":{},\"raw\":{}}}\n", serde_json::json!(stream), serde_json::json!(raw))
    };
    let letters = [
        letter("Next", "nonsense"),
        letter("Location", &line(1)),
        letter("Location \"left\"", &line(2)),
        format!("{{\"stream\":\"Location\",\"raw\":{}}}\n", line(3)),
        "{\"eos__\": true}\n".to_owned(),
        letter("Location", &line(4)),
    ];
    let (report, replayed) = replay(directory.path(), &letters.concat());
    let report = report.unwrap();
    assert_eq!((report.inputs[0].records, replayed), (2, vec![location(1), location(3)]), "{report}");
    // A stream with a name has letters with this name.
    fs::write(directory.path().join("next"), "{\"time\":2}").unwrap();
    let named = JsonFileBroker::new()
        .replay_as::<Location>("left", directory.path().join("mended.ndjson"))
        .read::<Next>(directory.path().join("next"));
    let look = |next: &Next, left: &Joined<Next, Location>| assert_eq!(left[next][0], location(2));
    let mill = Mill::new(look)
        .join(JoinWith::lookup(|next: &Next| next.time, |left: &Location| left.time).from("left"));
    let report = mill.run_blocking(named).unwrap();
    assert_eq!((report.inputs[1].records, report.calls), (1, 1), "{report}");
}

#[test]
fn letters_that_hold_no_record_name_both_places() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), b"{\"time\":1,\"x\":oops}\n", |files| files).unwrap();
    let letters = fs::read_to_string(directory.path().join("letters.ndjson")).unwrap();
    let letters = format!("{}{letters}", letters.replace("oops", "1,\\\"y\\\":2"));
    let at = |name: &str| directory.path().join(name);
    let files = JsonFileBroker::new().replay::<Location>(at("mended.ndjson"));
    fs::write(at("mended.ndjson"), &letters).unwrap();
    let error = Mill::new(|_: &Location| ()).run_blocking(files).unwrap_err();
    let text = format!("{error:?}");
    let second_line = letters.find('\n').unwrap() + 1;
    assert!(text.contains(&format!("mended.ndjson`, byte {second_line}, record 1")), "{text}");
    assert!(
        text.contains(&format!("the dead letter of `Location`, file `{}`, byte 0", at("input").display())),
        "{text}"
    );
    assert!(text.contains("the text is not valid JSON"), "{text}");

    // Put aside again, and mended then.
    let (report, replayed) = replay(directory.path(), &letters);
    assert_eq!((report.unwrap().inputs[0].dead_lettered, replayed.len()), (1, 1));
    let again = fs::read_to_string(at("again.ndjson")).unwrap();
    let letter: DeadLetter = serde_json::from_str(&again).unwrap();
    assert_eq!((letter.kind.as_str(), letter.offset), ("syntax", second_line as u64));
    let (report, replayed) = replay(directory.path(), &again.replace("oops", "7,\\\\\\\"y\\\\\\\":2"));
    assert_eq!((report.unwrap().inputs[0].dead_lettered, replayed.len()), (0, 1), "{again}");

    for (rest, expected) in [
        (r#""raw":"{","cut":true"#, "only the beginning"),
        (r#""kind":"shape""#, "no bytes"),
        (r#""raw":"{\"eos__\": true}""#, "an EndOfStream mark"),
        (r#""raw":"1","raw_hex":"00""#, "not both"),
    ] {
        fs::write(at("mended.ndjson"), format!("{{\"stream\":\"Location\",{rest}}}\n")).unwrap();
        let files = JsonFileBroker::new().replay::<Location>(at("mended.ndjson"));
        let error = Mill::new(|_: &Location| ()).run_blocking(files).unwrap_err();
        assert!(format!("{error:?}").contains(expected), "{error:?}");
    }
}

/// Letters are not read and written in one go.
#[test]
fn letters_are_not_replayed_from_where_they_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letters.ndjson");
    fs::write(&path, "").unwrap();
    let files = JsonFileBroker::new().replay::<Location>(&path).write::<DeadLetter>(&path);
    let mill = Mill::new(|_: &Location| ()).on_bad::<Location>(OnBad::DeadLetter);
    let error = format!("{:?}", mill.run_blocking(files).unwrap_err());
    assert!(error.contains("letters.ndjson"), "{error}");
}
