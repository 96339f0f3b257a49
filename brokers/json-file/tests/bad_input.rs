//! What is wrong with a record is told: where, what, and what was read.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::Write;

use common::*;
use watermill_core::broker::InputEnd;
use watermill_core::error::BadCause;
use watermill_core::record::{Json, StreamRecord};
use watermill_core::{Mill, OnBad, RunError};
use watermill_json_file::JsonFileBroker;

const A: &str = r#"{"time":1,"x":1.5,"y":-1.0}"#;
const B: &str = r#"{"time":2,"x":2.5,"y":-1.0}"#;

/// A bad record between two good ones, in both layouts; the fault is that of the lines.
#[track_caller]
fn between(bad: &[u8]) -> watermill_core::broker::Fault {
    let line = [A.as_bytes(), b"\n", bad, b"\n", B.as_bytes(), b"\n"].concat();
    let element = [b"[", A.as_bytes(), b",", bad, b",", B.as_bytes(), b"]"].concat();
    let mut of_array = read_bytes(&element);
    let mut of_lines = read_bytes(&line);
    for (all, offset) in [(&of_array, A.len() + 2), (&of_lines, A.len() + 1)] {
        assert_eq!(all.records, [location(1), location(2)]);
        assert_eq!(all.end, Some(InputEnd::Exhausted));
        assert_eq!(all.before, [1]);
        let fault = all.only_fault();
        assert!(fault.recoverable);
        assert_eq!(fault.raw, bad);
        assert_eq!((fault.error.place.offset, fault.error.place.number), (offset as u64, 1));
        assert_eq!(fault.error.stream, "Location");
        assert_eq!(all.places[1].2, 2, "the bad one counts");
    }
    assert_eq!(told(&of_array.faults[0].error.cause), told(&of_lines.faults[0].error.cause));
    drop(of_array.faults.remove(0));
    of_lines.faults.remove(0)
}

#[test]
fn a_missing_field() {
    let fault = between(br#"{"time":3,"x":1.5}"#);
    assert!(matches!(fault.error.cause, BadCause::Shape(_)));
    let text = told(&*fault.error);
    assert!(text.contains("missing field `y`"), "{text}");
    assert!(text.contains("stream `Location`") && text.contains("/input`, byte 28, record 1"), "{text}");
    assert!(text.contains(r#"text `{"time":3,"x":1.5}`"#), "{text}");
}

#[test]
fn a_mistyped_field() {
    let fault = between(br#"{"time":"soon","x":1.5,"y":1}"#);
    assert!(matches!(fault.error.cause, BadCause::Shape(_)));
    assert!(told(&*fault.error).contains("invalid type: string \"soon\", expected i64"));
}

#[test]
fn garbage() {
    assert!(matches!(between(b"garbage").error.cause, BadCause::Syntax(_)));
    assert!(matches!(between(br#"{"time" 3}"#).error.cause, BadCause::Syntax(_)));
    assert!(matches!(between(b"\0\0\0").error.cause, BadCause::Syntax(_)));
    assert!(matches!(between(b"{\"time\":NaN}").error.cause, BadCause::Syntax(_)));
}

#[test]
fn a_record_that_is_cut_but_whose_end_is_known() {
    assert!(matches!(between(b"nul").error.cause, BadCause::Syntax(_)));
    let all = read_bytes(b"{\"time\":\n{\"time\":1,\"x\":1.5,\"y\":-1.0}\n");
    assert!(matches!(all.only_fault().error.cause, BadCause::Syntax(_)));
    assert_eq!(all.records, [location(1)]);
}

#[test]
fn text_that_is_not_utf8() {
    let fault = between(b"{\"time\":3,\"x\":1.5,\"y\":1,\"other\":\"\xff\"}");
    assert!(matches!(fault.error.cause, BadCause::NotUtf8(_)), "{fault:?}");
    assert!(fault.error.excerpt.unwrap().contains('\u{fffd}'));
}

/// Values of every kind nested `depth` deep, each with what closes it.
fn nested(depth: usize) -> [String; 3] {
    let of =
        |open: &str, close: &str, levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let (pairs, odd) = (depth / 2, depth % 2 == 1);
    let mixed = of("[{\"a\":", "}]", pairs);
    [of("[", "]", depth), of("{\"a\":", "}", depth), if odd { format!("[{mixed}]") } else { mixed }]
}

/// Every record in both layouts, between two good ones; with chunks that cut it and chunks that do not.
fn in_both_layouts<R: StreamRecord + serde::de::DeserializeOwned>(
    records: &[String],
    check: impl Fn(&Yield<R>),
) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    let (lines, element) = (records.join("\n"), records.join(","));
    for content in [format!("{A}\n{lines}\n{B}\n"), format!("[{A},{element},{B}]")] {
        std::fs::write(&path, content).unwrap();
        for size in [100, 1 << 20] {
            check(&read_all::<R>(&JsonFileBroker::new().read::<R>(&path).batch_bytes(size)).unwrap());
        }
    }
}

#[test]
fn nesting_too_deep_whether_the_record_has_the_field_or_not() {
    for deep in nested(10_000) {
        let has = format!("{{\"time\":1,\"x\":{deep},\"y\":1}}");
        let has_not = format!("{{\"time\":1,\"other\":{deep},\"x\":1,\"y\":1}}");
        let escaped = format!("{{\"time\":1,\"\\n\":\"\\n\",\"other\":{deep},\"x\":1,\"y\":1}}");
        let records = [has, has_not, escaped, deep];
        in_both_layouts::<Location>(&records, |all| {
            assert_eq!(all.records, [location(1), location(2)]);
            assert_eq!((all.faults.len(), all.end), (4, Some(InputEnd::Exhausted)));
            assert!(all.faults.iter().all(|fault| fault.recoverable));
            assert!(all.causes().iter().all(|cause| matches!(cause, BadCause::TooDeep { limit: 127 })));
            assert!(told(all.causes()[0]).contains("nested deeper than 127 levels"));
        });
        in_both_layouts::<Json>(&records, |all| {
            assert_eq!((all.records.len(), all.faults.len()), (2, 4));
            assert!(all.causes().iter().all(|cause| matches!(cause, BadCause::TooDeep { limit: 127 })));
        });
    }
}

#[test]
fn nesting_too_deep_is_skipped_and_counted_or_stops_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    let [deep, ..] = nested(10_000);
    let bad = format!("{{\"time\":1,\"x\":1.5,\"y\":-1,\"other\":{deep}}}");
    for (content, offset) in
        [(format!("{A}\n{bad}\n{B}\n"), A.len() + 1), (format!("[{A},{bad},{B}]"), A.len() + 2)]
    {
        std::fs::write(&path, content).unwrap();
        let mill = || Mill::new(|_: &Location| ());
        let broker = || JsonFileBroker::new().read::<Location>(&path);
        let report = mill().on_bad::<Location>(OnBad::Skip).run_blocking(broker()).unwrap();
        let input = &report.inputs[0];
        assert_eq!((report.calls, input.records, input.matched, input.skipped), (2, 3, 2, 1));
        let error = mill().run_blocking(broker()).unwrap_err();
        let RunError::BadRecord(bad) = error else { panic!("{error}") };
        assert!(matches!(bad.cause, BadCause::TooDeep { .. }));
        assert_eq!((bad.place.offset, bad.place.number), (offset as u64, 1));
    }
}

#[test]
fn nesting_at_the_limit_passes_and_one_more_does_not() {
    // The record itself is a level.
    for levels in [99, 100, 101, 125, 126] {
        for deep in nested(levels) {
            let record = format!("{{\"time\":1,\"other\":{deep},\"x\":1.5,\"y\":-1}}");
            in_both_layouts::<Location>(std::slice::from_ref(&record), |all| {
                assert_eq!(all.records, [location(1), location(1), location(2)], "{levels}");
            });
            in_both_layouts::<Json>(&[record], |all| assert_eq!(all.records.len(), 3, "{levels}"));
        }
    }
    for levels in [127, 128, 129] {
        for deep in nested(levels) {
            let record = format!("{{\"time\":1,\"other\":{deep},\"x\":1.5,\"y\":-1}}");
            in_both_layouts::<Location>(std::slice::from_ref(&record), |all| {
                assert!(matches!(all.only_fault().error.cause, BadCause::TooDeep { .. }), "{levels}");
            });
            in_both_layouts::<Json>(&[record], |all| {
                assert!(matches!(all.only_fault().error.cause, BadCause::TooDeep { .. }), "{levels}");
            });
        }
    }
}

#[test]
fn brackets_in_strings_do_not_nest() {
    let brackets = "[{".repeat(5_000);
    let record = format!(
        "{{\"time\":1,\"{brackets}\":\"\\\"{brackets}\\\\\",\"c\":[\"{brackets}\"],\"x\":1.5,\"y\":-1}}"
    );
    in_both_layouts::<Location>(std::slice::from_ref(&record), |all| assert_eq!(all.records.len(), 3));
    in_both_layouts::<Json>(&[record], |all| assert_eq!(all.records.len(), 3));
}

#[test]
fn brackets_that_nobody_closes() {
    let open = "[".repeat(10_000);
    // A line that is complete is too deep; one that the input ends in was cut, and so is an element.
    let all = read_bytes(format!("{A}\n{open}\n{B}\n").as_bytes());
    assert!(matches!(all.only_fault().error.cause, BadCause::TooDeep { .. }));
    assert_eq!(all.records, [location(1), location(2)]);
    for content in [format!("{A}\n{open}"), format!("[{A},{open}"), format!("[{A},{open},{B}]"), open] {
        let all = read_bytes(content.as_bytes());
        assert!(matches!(all.only_fault().error.cause, BadCause::Truncated), "{content:.40}");
        assert!(!all.only_fault().recoverable && all.end.is_none());
    }
}

#[test]
fn excerpts_are_short_and_readable() {
    let long = format!("{{\"time\":\"\u{1}{}\"}}", "é".repeat(1000));
    let fault = between(long.as_bytes());
    let excerpt = fault.error.excerpt.unwrap();
    assert!(excerpt.starts_with("{\"time\":\"\\u{1}éé") && excerpt.ends_with("..."), "{excerpt}");
    assert!(excerpt.chars().count() < 100);
    assert!(!told(&fault.error.cause).contains('\u{1}'));
}

#[test]
fn broken_structure_of_an_array() {
    for (content, offset, good) in [
        ("[1,,2]", 3, 1),
        ("[1 2]", 3, 1),
        ("[1,]", 3, 1),
        ("[,1]", 1, 0),
        ("[1] 2", 4, 1),
        ("[1]]", 3, 1),
        ("[{\"a\":1} {\"b\":2}]", 9, 1),
        ("[{\"a\":[1},2]", 8, 0),
        ("[1}", 2, 0),
        ("[\"a\"\"b\"]", 4, 1),
        ("[1:2]", 0, 1),
        ("[:]", 1, 0),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("input");
        std::fs::write(&path, content).unwrap();
        let all = read_all::<Json>(&JsonFileBroker::new().read::<Json>(path)).unwrap();
        if content == "[1:2]" {
            // One element, as far as brackets and commas tell; its end is known.
            assert!(all.only_fault().recoverable);
            continue;
        }
        assert_eq!(all.records.len(), good, "{content}");
        let fault = all.only_fault();
        assert!(matches!(fault.error.cause, BadCause::Structure(_)), "{content}");
        assert!(!fault.recoverable);
        assert_eq!(fault.error.place.offset, offset, "{content}");
        assert_eq!(all.end, None);
    }
}

#[test]
fn cut_input_is_told_once_and_nothing_can_be_read_behind_it() {
    for content in [
        format!("{A}\n{{\"time\":2,"),
        format!("[{A},{{\"time\":2,"),
        format!("[{A},"),
        format!("[{A}"),
        "[".into(),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("input");
        std::fs::write(&path, &content).unwrap();
        let broker = JsonFileBroker::new().read::<Location>(path);
        block_on(async {
            let mut sources = sources::<Location>(&broker, &[None]).await.unwrap();
            let all = drain(&mut *sources[0]).await.unwrap();
            assert!(matches!(all.only_fault().error.cause, BadCause::Truncated), "{content}");
            assert!(told(&*all.only_fault().error).contains("never taken for the end"));
            let error = sources[0].next().await.unwrap_err();
            assert!(told(&error).contains("nothing behind the last fault can be read"));
        });
    }
}

#[test]
fn records_over_the_limit_are_skipped_whatever_the_chunks_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    let long = format!("{{\"a\":\"{}\"}}", "]}, ".repeat(60));
    for content in
        [format!("{{\"a\":1}}\n{long}\n{{\"a\":2}}\r\n"), format!("[{{\"a\":1}}, {long} ,{{\"a\":2}}]")]
    {
        std::fs::write(&path, content).unwrap();
        for size in [1, 2, 7, 50, 100, 200, 240, 250, 300, 10_000] {
            let broker = JsonFileBroker::new().read::<Json>(&path).batch_bytes(size).record_limit(100);
            let all = read_all::<Json>(&broker).unwrap();
            let fault = all.only_fault();
            assert!(matches!(fault.error.cause, BadCause::TooLong { limit: 100 }), "{size}");
            assert!(fault.recoverable && all.before == [1]);
            assert_eq!((all.records.len(), all.end), (2, Some(InputEnd::Exhausted)), "{size}");
            assert_eq!(all.places.iter().map(|place| place.2).collect::<Vec<_>>(), [0, 2]);
        }
        // At the limit it is taken.
        for size in [1, 240, 10_000] {
            let broker = JsonFileBroker::new().read::<Json>(&path).batch_bytes(size).record_limit(long.len());
            assert_eq!(read_all::<Json>(&broker).unwrap().records.len(), 3, "{size}");
            let broker =
                JsonFileBroker::new().read::<Json>(&path).batch_bytes(size).record_limit(long.len() - 1);
            assert_eq!(read_all::<Json>(&broker).unwrap().records.len(), 2, "{size}");
        }
    }
}

/// The most memory this process has had, in KiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_record_of_a_gibibyte_takes_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    for (open, close) in [("", "\n1\n"), ("[\"", "\",1]")] {
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(open.as_bytes()).unwrap();
        // A hole: zeros that take no disk.
        // Builds that are not optimised take their time.
        let length = if cfg!(debug_assertions) { 1 << 26 } else { 1 << 30 };
        file.set_len(length).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(length)).unwrap();
        file.write_all(close.as_bytes()).unwrap();
        drop(file);
        let before = peak_memory();
        let broker = JsonFileBroker::new().read::<Json>(&path).record_limit(1 << 20);
        let all = read_all::<Json>(&broker).unwrap();
        assert!(matches!(all.only_fault().error.cause, BadCause::TooLong { .. }));
        assert_eq!(all.records, [Json(1.into())]);
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            assert!(after - before < 32 * 1024, "{} KiB", after - before);
        }
    }
}

#[test]
fn a_stream_without_its_mark_when_that_is_required() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    for (content, ends) in [
        (format!("{A}\n"), false),
        (format!("[{A}]"), false),
        (String::new(), false),
        (format!("{A}\n{{\"eos__\":true}}"), true),
    ] {
        std::fs::write(&path, content).unwrap();
        let all = read_all::<Location>(&JsonFileBroker::new().read::<Location>(&path).require_eos()).unwrap();
        if ends {
            assert_eq!(all.end, Some(InputEnd::Mark));
        } else {
            assert!(told(&*all.only_fault().error).contains("without its EndOfStream mark"));
            assert!(!all.only_fault().recoverable && all.end.is_none());
        }
    }
}
