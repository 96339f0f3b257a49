//! Records of files that decode but whose keys cannot be used: the error names stream, file, byte, record and key, shows the text, and
//! says what to do; nothing appears under the name of the result.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use watermill::prelude::*;
use watermill::{BadCause, RunError};

#[derive(Deserialize, StreamRecord)]
struct Reading {
    time: i64,
    celsius: Option<f64>,
}

#[derive(Deserialize, StreamRecord)]
struct Door {
    time: i64,
}

#[derive(Serialize, StreamRecord)]
struct Seen {
    time: i64,
}

fn seen(reading: &Reading) -> Seen {
    Seen { time: reading.time }
}

/// How a run over `text` fails. `join` is its left key, or the join itself.
fn failure(directory: &Path, text: &[u8], mill: Mill<Reading>) -> RunError {
    let path = |name: &str| directory.join(name);
    fs::write(path("readings"), text).unwrap();
    fs::write(path("doors"), (0..100).map(|time| format!("{{\"time\":{time}}}\n")).collect::<String>())
        .unwrap();
    let files = JsonFileBroker::new()
        .read::<Reading>(path("readings"))
        .read::<Door>(path("doors"))
        .write::<Seen>(path("seen.ndjson"));
    let error = mill.run_blocking(files).unwrap_err();
    assert!(!path("seen.ndjson").exists());
    error
}

fn by_time() -> Mill<Reading> {
    Mill::new(seen).join(JoinWith::new(Reading::fields().time, Door::fields().time).exists())
}

#[test]
fn the_text_is_shown_in_every_layout() {
    let directory = tempfile::tempdir().unwrap();
    let zipped = |text: &str| {
        let path = directory.path().join("zipped.ndjson.gz");
        let broker = MemoryBroker::new()
            .read(text.lines().map(|line| Json(serde_json::from_str(line).unwrap())).collect::<Vec<_>>());
        let files = JsonFileBroker::new().write::<Json>(&path);
        Mill::new(|json: &Json| json.clone()).run_blocking(broker.and(files)).unwrap();
        fs::read(path).unwrap()
    };
    let (a, b, c) = (r#"{"time":1}"#, r#"{"time":7}"#, r#"{"time":2}"#);
    for (text, offset, shown) in [
        (format!("{a}\n{b}\n{c}\n{a}\n").into_bytes(), 22, c),
        (format!("{a}\r\n{b}\r\n{c}").into_bytes(), 24, c),
        (format!("[{a},{b},{c},{a}]").into_bytes(), 23, c),
        (format!("[{a}, {b},\n {c} ]").into_bytes(), 26, c),
        (format!("[{a},{b},{{\n\"time\":2}}]").into_bytes(), 23, r#"{\n"time":2}"#),
        (zipped(&format!("{a}\n{b}\n{c}\n{a}\n")), 22, c),
    ] {
        let error = failure(directory.path(), &text, by_time());
        let RunError::BadRecord(bad) = &error else { panic!("{error:?}") };
        assert!(matches!(bad.cause, BadCause::KeyWentDown { .. }));
        assert_eq!((bad.place.offset, bad.place.number), (offset, 2), "{error:?}");
        assert_eq!(bad.excerpt.as_deref(), Some(shown), "{error:?}");
        let told = format!("{error:?}");
        let place = format!("readings`, byte {offset}, record 2, key `time` = 2, text `{shown}`");
        for part in ["stream `Reading`", &place, "goes down, from 7 to 2", "sort the stream", "on_bad"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

#[test]
fn a_long_text_is_shown_short() {
    let directory = tempfile::tempdir().unwrap();
    for long in [100, 50_000] {
        let text = format!("{{\"time\":7}}\n{{\"time\":2,\"note\":\"{}\"}}\n", "x".repeat(long));
        let error = failure(directory.path(), text.as_bytes(), by_time());
        let RunError::BadRecord(bad) = &error else { panic!("{error:?}") };
        let shown = bad.excerpt.as_deref().unwrap();
        assert!(shown.starts_with(r#"{"time":2,"note":"xxx"#) && shown.ends_with("..."), "{shown}");
        assert!(shown.len() < 100);
    }
}

#[test]
fn every_cause_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let plus = |by| {
        Mill::new(seen).join(JoinWith::new(Reading::fields().time + by, Door::fields().time).unmatched())
    };
    // What is not a number comes of arithmetic: JSON has no NaN.
    let nan = Mill::new(seen).join(
        JoinWith::new(
            |reading: &Reading| reading.celsius.map(|celsius| celsius * f64::INFINITY),
            |door: &Door| Some(door.time as f64),
        )
        .unmatched(),
    );
    let twice = Mill::new(seen)
        .join(JoinWith::new(Reading::fields().time, |door: &Door| door.time / 10).unique().exists());
    let text = b"{\"time\":1,\"celsius\":1.5}\n{\"time\":2,\"celsius\":0.0}\n";
    for (mill, parts) in [
        (
            plus(i64::MAX - 1),
            [
                "byte 25, record 1, key `time + 9223372036854775806`",
                r#"text `{"time":2,"celsius":0.0}`"#,
                "leave such records out with `on_bad`",
            ],
        ),
        (
            nan,
            ["byte 25, record 1, key `|Reading| ..`", r#"text `{"time":2,"celsius":0.0}`"#, "the key is NaN"],
        ),
        (twice, ["byte 11, record 1, key `|Door| ..` = 0", r#"text `{"time":1}`"#, "take out `.unique()`"]),
    ] {
        let told = format!("{:?}", failure(directory.path(), text, mill));
        for part in parts {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

#[test]
fn wherever_the_input_is_cut_nothing_appears_unless_it_was_whole() {
    let directory = tempfile::tempdir().unwrap();
    let lines = "{\"time\":1}\n{\"time\":2}\n{\"time\":30}\n";
    let array = "[{\"time\":1}, {\"time\":2},\n{\"time\":30}]\n";
    let path = |name: &str| directory.path().join(name);
    fs::write(path("doors"), (0..100).map(|time| format!("{{\"time\":{time}}}\n")).collect::<String>())
        .unwrap();
    for text in [lines, array] {
        for cut in 0..=text.len() {
            fs::write(path("readings"), &text[..cut]).unwrap();
            let files = JsonFileBroker::new()
                .read::<Reading>(path("readings"))
                .read::<Door>(path("doors"))
                .write::<Seen>(path("seen.ndjson"));
            match by_time().run_blocking(files) {
                Ok(report) => {
                    // A cut at the end of a line looks like an end.
                    let whole = if text == lines { text[..cut].matches('}').count() } else { 3 };
                    let whole = if cut == 0 { 0 } else { whole };
                    assert_eq!(report.inputs[0].records, whole as u64, "{:?}", &text[..cut]);
                    let written = fs::read_to_string(path("seen.ndjson")).unwrap();
                    assert_eq!(written.lines().count(), whole);
                    fs::remove_file(path("seen.ndjson")).unwrap();
                }
                Err(RunError::BadRecord(bad)) => {
                    assert!(matches!(bad.cause, BadCause::Truncated), "{:?}: {bad:?}", &text[..cut]);
                    assert!(!path("seen.ndjson").exists());
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_longest_record_is_16_mebibytes_unless_set() {
    let directory = tempfile::tempdir().unwrap();
    let line =
        |length: usize| format!("{{\"time\":1,\"celsius\":null,\"n\":\"{}\"}}\n", "x".repeat(length - 32));
    assert_eq!(line(100).len(), 101);
    let path = directory.path().join("readings");
    let run = |length| {
        fs::write(&path, line(length)).unwrap();
        Mill::new(|_: &Reading| ()).run_blocking(JsonFileBroker::new().read::<Reading>(&path))
    };
    assert_eq!(run(16 << 20).unwrap().calls, 1);
    let error = format!("{:?}", run((16 << 20) + 1).unwrap_err());
    assert!(
        error.contains("longer than the limit of 16777216 bytes; raise the broker's record limit"),
        "{error}"
    );
}
