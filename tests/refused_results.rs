//! Results that cannot be written: the run stops, or goes on without them.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;

use serde::Serializer;
use serde::ser::Error;
use watermill::prelude::*;
use watermill::{DeadLetter, RunReport};

#[derive(Serialize, Deserialize, StreamRecord)]
struct Number {
    value: u64,
}

/// A result whose `Serialize` refuses every tenth, when half of its text is out.
#[derive(Serialize, StreamRecord)]
struct Shy {
    before: u64,
    #[serde(serialize_with = "not_every_tenth")]
    value: u64,
}

fn not_every_tenth<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if value % 10 == 7 { Err(S::Error::custom("a shy number")) } else { serializer.serialize_u64(*value) }
}

fn run(
    name: &str,
    count: u64,
    mill: Mill<Number>,
) -> (watermill::Result<RunReport>, String, Vec<DeadLetter>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lines: String = (0..count).map(|value| format!("{{\"value\":{value}}}\n")).collect();
    fs::write(path("numbers.ndjson"), lines).unwrap();
    let files = JsonFileBroker::new()
        .read::<Number>(path("numbers.ndjson"))
        .write::<Shy>(path(name))
        .write::<DeadLetter>(path("letters.ndjson"));
    let result = mill.run_blocking(files);
    let text = fs::read_to_string(path(name)).unwrap_or_default();
    let letters = fs::read_to_string(path("letters.ndjson")).unwrap_or_default();
    (result, text, letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn shy() -> Mill<Number> {
    Mill::new(|number: &Number| Shy { before: 0, value: number.value })
}

#[test]
fn by_default_the_run_stops_and_nothing_appears() {
    let (result, text, _) = run("shy.ndjson", 100, shy());
    let error = format!("{:?}", result.unwrap_err());
    assert!(error.contains("cannot encode a record for") && error.contains("a shy number"), "{error}");
    assert_eq!(text, "");
}

#[test]
fn they_are_left_out_whole_and_counted() {
    for name in ["shy.ndjson", "shy.json"] {
        let (result, text, letters) = run(name, 10_000, shy().on_refused::<Shy>(OnBad::Skip));
        let report = result.unwrap();
        assert_eq!((report.outputs[0].records, report.outputs[0].refused), (9_000, 1_000));
        let expected = (0..10_000).filter(|value| value % 10 != 7);
        let lines = expected.map(|value| format!("{{\"before\":0,\"value\":{value}}}"));
        if name.ends_with(".json") {
            assert_eq!(text, format!("[\n{}\n]\n", lines.collect::<Vec<_>>().join(",\n")));
        } else {
            assert!(text.lines().eq(lines));
        }
        assert!(letters.is_empty());
    }
}

#[test]
fn the_first_of_an_array_may_be_refused() {
    let mill = Mill::new(|number: &Number| Shy { before: 0, value: number.value + 7 });
    let (result, text, _) = run("shy.json", 2, mill.on_refused::<Shy>(OnBad::Skip));
    assert_eq!(result.unwrap().outputs[0].refused, 1);
    assert_eq!(text, "[\n{\"before\":0,\"value\":8}\n]\n");
}

#[test]
fn they_leave_letters_with_their_numbers_in_every_commit() {
    let mill = shy().on_refused::<Shy>(OnBad::DeadLetter).commit_after_calls(30);
    let (result, text, letters) = run("shy.ndjson", 100, mill);
    assert_eq!(result.unwrap().outputs[0].refused, 10);
    assert_eq!(text.lines().count(), 90);
    assert!(letters.iter().map(|letter| letter.number).eq((0..10).map(|tens| tens * 10 + 7)));
    assert!(letters.iter().all(|letter| letter.kind == "result" && letter.stream == "Shy"));
    assert!(letters[0].error.contains("a shy number"));
}
