//! Every cut and every single-byte change of a small file: the right records, or a typed error; never a panic, and never the end of a
//! stream that was cut. Compared with an oracle that reads the whole file by serde_json.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use common::*;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use watermill_core::broker::InputEnd;
use watermill_core::error::BadCause;
use watermill_core::record::Json;
use watermill_json_file::JsonFileBroker;

/// What must come of a file.
#[derive(Debug)]
struct Expected {
    /// The records before the first bad one.
    records: Vec<Value>,
    /// How many of the last of them may be missing: the end of a cut array.
    may_miss: usize,
    fine: Option<InputEnd>,
}

fn is_mark(value: &Value) -> bool {
    *value == serde_json::json!({"eos__": true})
}

fn oracle(content: &[u8]) -> Expected {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let first = content.iter().find(|byte| !blank(byte));
    let (mut records, fine, may_miss) = if first == Some(&b'[') { array(content) } else { lines(content) };
    if let Some(mark) = records.iter().position(is_mark) {
        records.truncate(mark);
        return Expected { records, may_miss: 0, fine: Some(InputEnd::Mark) };
    }
    Expected { records, may_miss, fine: fine.then_some(InputEnd::Exhausted) }
}

fn lines(content: &[u8]) -> (Vec<Value>, bool, usize) {
    let mut records = Vec::new();
    for line in content.split(|byte| *byte == b'\n') {
        if line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            continue;
        }
        match std::str::from_utf8(line).ok().and_then(|line| serde_json::from_str(line).ok()) {
            Some(value) => records.push(value),
            None => return (records, false, 0),
        }
    }
    (records, true, 0)
}

fn array(content: &[u8]) -> (Vec<Value>, bool, usize) {
    struct Collect<'a>(&'a RefCell<Vec<Value>>);
    impl<'de> Visitor<'de> for Collect<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
            while let Some(value) = seq.next_element()? {
                self.0.borrow_mut().push(value);
            }
            Ok(())
        }
    }
    impl<'de> DeserializeSeed<'de> for Collect<'_> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    let records = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_slice(content);
    let fine = Collect(&records).deserialize(&mut deserializer).and_then(|()| deserializer.end()).is_ok();
    (records.into_inner(), fine, 1)
}

struct Bench {
    _directory: tempfile::TempDir,
    path: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("input");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { _directory: directory, path, runtime }
    }

    /// Reads the content in chunks of these sizes, and compares.
    fn check(&self, content: &[u8], sizes: &[usize]) {
        std::fs::write(&self.path, content).unwrap();
        let expected = oracle(content);
        let mut first: Option<String> = None;
        for size in sizes {
            let broker = JsonFileBroker::new().read::<Json>(&self.path).batch_bytes(*size);
            let all = self.runtime.block_on(async {
                let mut sources = sources::<Json>(&broker, &[None]).await.unwrap();
                drain(&mut *sources[0]).await.unwrap()
            });
            let shown = String::from_utf8_lossy(content);
            let context = || format!("chunks of {size}: {shown:?} ({content:?})\n{expected:#?}\n{all:#?}");
            let good = all.before.first().copied().unwrap_or(all.records.len());
            let records: Vec<_> = all.records[..good].iter().map(|json| &json.0).collect();
            match expected.fine {
                Some(end) => {
                    assert!(all.faults.is_empty(), "{}", context());
                    assert_eq!(all.end, Some(end), "{}", context());
                    assert_eq!(records, expected.records.iter().collect::<Vec<_>>(), "{}", context());
                }
                None => {
                    // A mark behind what is bad may end the stream, once the bad record was told.
                    assert!(!all.faults.is_empty(), "{}", context());
                    assert!(good <= expected.records.len(), "{}", context());
                    assert!(good + expected.may_miss >= expected.records.len(), "{}", context());
                    assert_eq!(records, expected.records[..good].iter().collect::<Vec<_>>(), "{}", context());
                }
            }
            if all.faults.iter().any(|fault| matches!(fault.error.cause, BadCause::Truncated)) {
                assert_eq!(all.end, None, "{}", context());
                assert!(!all.faults.last().unwrap().recoverable, "{}", context());
            }
            // The size of the chunks makes no difference, except to how much is shown of what has no end.
            let faults: Vec<_> = all
                .faults
                .iter()
                .map(|fault| {
                    let raw = fault.recoverable.then_some(&fault.raw);
                    (fault.error.place.to_string(), told(&fault.error.cause), raw)
                })
                .collect();
            let outcome =
                format!("{:?} {:?} {faults:?} {:?} {:?}", all.records, all.places, all.before, all.end);
            assert_eq!(first.get_or_insert_with(|| outcome.clone()), &outcome, "{}", context());
        }
    }
}

const LINES: &[u8] = "{\"a\":\"é\",\"b\":[1]}\r\n\n{\"a\":-2.5}\n{\"eos__\": true}\n3\n".as_bytes();
const ARRAY: &[u8] = " [{\"a\":\"\\\"]é\"},\n[1,[2]] ,-3.5, \"x\",{\"eos__\":true},4]\n".as_bytes();
const OPEN_LINES: &[u8] = b"\xef\xbb\xbf{\"a\":1}\n \n{\"b\":{\"c\":[]}}";
const OPEN_ARRAY: &[u8] = b"\xef\xbb\xbf[{\"a\":1},{\"b\":{\"c\":[]}}]";
const SCALARS: &[u8] = b"1\n22\n-3.5\n\"x\"\n44";
const ALL: [&[u8]; 5] = [LINES, ARRAY, OPEN_LINES, OPEN_ARRAY, SCALARS];

#[test]
fn every_cut() {
    let bench = Bench::new();
    for content in ALL {
        for length in 0..=content.len() {
            bench.check(&content[..length], &[1, 2, 3, 5, 8, 13, 21, 1000]);
        }
    }
}

/// What a byte is changed to: anything in optimised builds, else whatever means something and each flipped bit.
fn changes(byte: u8) -> Vec<u8> {
    if !cfg!(debug_assertions) {
        return (0..=255).collect();
    }
    let flipped = (0..8).map(|bit| byte ^ (1 << bit));
    b"{}[],:\"\\ \n\r0-.te\0\x0c\x7f\x80\xc3\xff".iter().copied().chain(flipped).collect()
}

#[test]
fn every_change_of_a_byte() {
    let bench = Bench::new();
    for content in ALL {
        let mut changed = content.to_vec();
        for place in 0..content.len() {
            for byte in changes(content[place]) {
                changed[place] = byte;
                bench.check(&changed, &[7, 1000]);
            }
            changed[place] = content[place];
        }
    }
}

#[test]
fn every_byte_taken_out_doubled_or_put_in() {
    let bench = Bench::new();
    for content in ALL {
        for place in 0..content.len() {
            let (before, after) = content.split_at(place);
            bench.check(&[before, &after[1..]].concat(), &[1, 4, 1000]);
            bench.check(&[before, &after[..1], after].concat(), &[1, 4, 1000]);
            for byte in b"{}[],:\"\\ \n\r1t\0\xff\xc3" {
                bench.check(&[before, &[*byte], after].concat(), &[3, 1000]);
            }
        }
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Pieces of JSON in any order.
        #[test]
        fn pieces(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\\", "\n", "\r\n", " ", "1", "-0.5", "true", "nul", "null", "\"a\"",
                    "{\"a\":1}", "{\"eos__\": true}", "\"é\"", "\u{feff}", "[]", "{}", "\"\\u00", "1e5", "\n{\"b\":2}\n",
                ]),
                0..24,
            ),
            start in prop::sample::select(vec!["", "[", "{\"a\":1}\n", "[{\"a\":1},"]),
            size in 1usize..40,
        ) {
            thread_local!(static BENCH: Bench = Bench::new());
            let content = format!("{start}{}", pieces.concat());
            BENCH.with(|bench| bench.check(content.as_bytes(), &[size, 1000]));
        }
    }
}
