//! What is written, byte for byte, and when it appears.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use watermill_json_file::{Format, JsonFileBroker};

const A: &str = r#"{"time":1,"x":1.5,"y":-1.0}"#;
const B: &str = r#"{"time":2,"x":2.5,"y":-1.0}"#;

#[track_caller]
fn written(name: &str, records: &[i64], options: fn(JsonFileBroker) -> JsonFileBroker) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/deeper").join(name);
    let broker = options(JsonFileBroker::new().write::<Location>(&path));
    write_all(&broker, records.iter().copied().map(location).collect()).unwrap();
    assert_eq!(names_in(path.parent().unwrap()), [name]);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn by_extension() {
    assert_eq!(written("o.ndjson", &[1, 2], |b| b), format!("{A}\n{B}\n"));
    assert_eq!(written("o.jsonl", &[1], |b| b), format!("{A}\n"));
    assert_eq!(written("o.JSON", &[1, 2], |b| b), format!("[\n{A},\n{B}\n]\n"));
    assert_eq!(written("o.json", &[1], |b| b), format!("[\n{A}\n]\n"));
}

#[test]
fn by_choice() {
    assert_eq!(written("o.json", &[1, 2], |b| b.output_format(Format::Ndjson)), format!("{A}\n{B}\n"));
    assert_eq!(written("o", &[1], |b| b.output_format(Format::JsonArray)), format!("[\n{A}\n]\n"));
}

#[test]
fn without_results() {
    assert_eq!(written("o.ndjson", &[], |b| b), "");
    assert_eq!(written("o.json", &[], |b| b), "[]\n");
}

#[test]
fn with_the_mark() {
    assert_eq!(written("o.ndjson", &[1], JsonFileBroker::mark_eos), format!("{A}\n{{\"eos__\": true}}\n"));
    assert_eq!(
        written("o.json", &[1], JsonFileBroker::mark_eos),
        format!("[\n{A},\n{{\"eos__\": true}}\n]\n")
    );
    assert_eq!(written("o.json", &[], JsonFileBroker::mark_eos), "[\n{\"eos__\": true}\n]\n");
}
