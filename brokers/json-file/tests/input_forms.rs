//! Every form a file may have, and what is read from it.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use watermill_core::broker::InputEnd;
use watermill_core::record::Json;
use watermill_json_file::{Format, JsonFileBroker};

const A: &str = r#"{"time":1,"x":1.5,"y":-1.0}"#;
const B: &str = r#"{"time":2,"x":2.5,"y":-1.0}"#;

/// Both records, nothing else, and these offsets.
#[track_caller]
fn assert_both(content: impl AsRef<[u8]>, offsets: [u64; 2]) {
    let all = read_bytes(content.as_ref());
    assert_eq!(all.records, [location(1), location(2)]);
    assert!(all.faults.is_empty(), "{:?}", all.faults);
    assert_eq!(all.end, Some(InputEnd::Exhausted));
    assert_eq!(all.places.iter().map(|(_, offset, _)| *offset).collect::<Vec<_>>(), offsets);
    assert_eq!(all.places.iter().map(|(_, _, number)| *number).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(all.progress, content.as_ref().len() as u64);
    assert_eq!(all.size, Some(content.as_ref().len() as u64));
    // Carriage returns may count.
    assert!((0..=2).contains(&(all.bytes - (A.len() + B.len()) as u64)), "{}", all.bytes);
}

#[test]
fn ndjson() {
    assert_both(format!("{A}\n{B}\n"), [0, 28]);
}

#[test]
fn ndjson_without_a_line_feed_at_the_end() {
    assert_both(format!("{A}\n{B}"), [0, 28]);
}

#[test]
fn ndjson_with_carriage_returns() {
    assert_both(format!("{A}\r\n{B}\r\n"), [0, 29]);
    assert_both(format!("{A}\r\n{B}\r"), [0, 29]);
}

#[test]
fn ndjson_with_a_byte_order_mark_and_leading_blanks() {
    assert_both(format!("\u{feff}{A}\n{B}\n"), [3, 31]);
    assert_both(format!("\u{feff} \r\n\t{A}\n{B}\n"), [7, 35]);
}

#[test]
fn blank_lines_do_not_count() {
    assert_both(format!("\n\n{A}\n\r\n  \t\n\n{B}\n\n  "), [2, 37]);
}

#[test]
fn array() {
    assert_both(format!("[{A},{B}]"), [1, 29]);
}

#[test]
fn array_over_several_lines_with_a_byte_order_mark() {
    assert_both(format!("\u{feff}\r\n [\n  {A} ,\r\n\t{B}\n]\n\n"), [10, 42]);
}

#[test]
fn an_array_as_python_writes_it() {
    let text = r#"[{"time": 1, "x": 1.5, "y": -1.0}, {"time": 2, "x": 2.5, "y": -1.0}]"#;
    let all = read_bytes(text.as_bytes());
    assert_eq!(all.records, [location(1), location(2)]);
    assert_eq!(all.end, Some(InputEnd::Exhausted));
}

#[test]
fn empty_files_are_empty_streams() {
    for content in ["", " \n\r\n", "\u{feff}", "\u{feff}\n", "[]", " [ ] ", "\u{feff}[\n]\n"] {
        let all = read_bytes(content.as_bytes());
        assert!(all.records.is_empty() && all.faults.is_empty(), "{content:?}");
        assert_eq!(all.end, Some(InputEnd::Exhausted), "{content:?}");
    }
}

#[test]
fn the_mark_ends_the_stream_and_nothing_behind_it_is_read() {
    for content in [
        format!("{A}\n{B}\n{{\"eos__\": true}}\n{A}\n"),
        format!("{A}\n{B}\n {{ \"eos__\" :true }}"),
        format!("{A}\n{B}\n{{\"eos__\":true}}\ngarbage"),
        format!("[{A},{B},{{\"eos__\": true}},{A}]"),
        format!("[{A},{B},{{\"eos__\": true}} garbage"),
    ] {
        let all = read_bytes(content.as_bytes());
        assert_eq!(all.records, [location(1), location(2)], "{content}");
        assert!(all.faults.is_empty(), "{content}");
        assert_eq!(all.end, Some(InputEnd::Mark), "{content}");
    }
}

#[test]
fn a_mark_with_more_in_it_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    std::fs::write(&path, "{\"eos__\": false}\n{\"eos__\": true, \"a\": 1}\n\"eos__\"\n").unwrap();
    let all = read_all::<Json>(&JsonFileBroker::new().read::<Json>(path)).unwrap();
    assert_eq!(all.records.len(), 3);
    assert_eq!(all.end, Some(InputEnd::Exhausted));
}

#[test]
fn elements_of_every_kind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    let text = r#"[ 1 ,-2.5e3, "a]\",[\\" ,true,null,[], [[1],{"a":"}"}] , {} ,"é" ]"#;
    std::fs::write(&path, text).unwrap();
    let expected: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    for bytes in 1..text.len() + 2 {
        let broker = JsonFileBroker::new().read::<Json>(&path).batch_bytes(bytes);
        let all = read_all::<Json>(&broker).unwrap();
        assert!(all.faults.is_empty());
        assert_eq!(all.records.into_iter().map(|json| json.0).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn lines_that_are_arrays_are_read_when_the_format_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    std::fs::write(&path, "[1,2]\n[3,4]\n").unwrap();
    let all =
        read_all::<Json>(&JsonFileBroker::new().read::<Json>(&path).input_format(Format::Ndjson)).unwrap();
    assert_eq!(all.records, [Json(serde_json::json!([1, 2])), Json(serde_json::json!([3, 4]))]);
    let guessed = read_all::<Json>(&JsonFileBroker::new().read::<Json>(&path)).unwrap();
    assert!(!guessed.faults.is_empty());
}
