#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::read_line;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    time: i64,
    x: f64,
    y: f64,
}

#[derive(Debug, PartialEq, Deserialize)]
enum Kind {
    First,
    Second,
    Other(i32),
}

#[derive(Debug, PartialEq, Deserialize)]
struct Wrapped(u8);

#[derive(Debug, PartialEq, Deserialize)]
struct Everything {
    a: Option<i8>,
    #[serde(default)]
    b: Vec<u16>,
    c: Option<String>,
    d: Option<bool>,
    e: Option<Kind>,
    f: Option<(i64, char)>,
    g: Option<HashMap<i32, Wrapped>>,
    h: Option<f32>,
    i: Option<Box<Everything>>,
    j: Option<()>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Either {
    Number(f64),
    Text(String),
    Map { a: u8 },
}

/// What is taken is taken as serde_json takes it. Returns whether it was taken.
#[track_caller]
fn compare<R: serde::de::DeserializeOwned + Debug>(text: &str) -> bool {
    match read_line::<R>(text) {
        Err(_) => false,
        Ok((value, end, next)) => {
            let line = text.find('\n');
            assert!(line.is_none_or(|line| end <= line), "{text:?}");
            let line = line.map_or(text, |line| &text[..line]);
            let alone = serde_json::from_str::<R>(line);
            // Debug tells 0.0 from -0.0, and floats bit by bit but for NaN, which JSON has not.
            assert_eq!(format!("{:?}", alone.as_ref().unwrap()), format!("{value:?}"), "{text:?}");
            assert_eq!(next, text.len().min(line.len() + 1), "{text:?}");
            true
        }
    }
}

fn compare_all(text: &str) {
    compare::<Point>(text);
    compare::<Everything>(text);
    compare::<Either>(text);
    compare::<serde_json::Value>(text);
    compare::<serde::de::IgnoredAny>(text);
    compare::<Option<Wrapped>>(text);
    compare::<Kind>(text);
    compare::<Vec<f64>>(text);
    compare::<BTreeMap<String, i64>>(text);
    compare::<Box<serde_json::value::Value>>(text);
}

#[test]
fn plain_records_are_taken() {
    for text in [
        r#"{"time":1,"x":1.5,"y":-1.0}"#,
        r#"{"time": -12345678, "x": 0.1, "y": 123456.789} "#,
        r#"{"y":12345678.12345678,"time":123456789012345678,"x":7}"#,
        r#"{"time":0,"x":-0.0,"y":0.12345678901234567,"more":{"a":[1,{}],"b":[],"c":null,"d":"x"}}"#,
    ] {
        assert!(compare::<Point>(text), "{text}");
        assert!(compare::<Point>(&format!("{text}\r\n{{")), "{text}");
        // Of what type its numbers are is for serde_json to say.
        assert!(!compare::<serde_json::Value>(text), "{text}");
    }
    let text = r#"{"a":-3,"b":[1,2],"c":"é","d":true,"e":"Second","f":[1,"x"],"i":{"a":null},"j":null}"#;
    assert!(compare::<Everything>(text));
}

#[test]
fn numbers_of_every_length() {
    for whole in [
        "0",
        "1",
        "12",
        "123456",
        "1234567",
        "12345678",
        "123456789",
        "9007199254740993",
        "123456789012345678",
        "1234567890123456789",
        "18446744073709551616",
    ] {
        for sign in ["", "-"] {
            for fraction in [
                "",
                ".",
                ".0",
                ".5",
                ".0000001",
                ".12345678",
                ".123456789",
                ".3333333333333333",
                ".00000000000000000000001",
                "e5",
                "E-1",
                ".5e1",
            ] {
                for end in ["", " ", "\n", ",", "x"] {
                    compare_all(&format!("{sign}{whole}{fraction}{end}"));
                    compare_all(&format!("[{sign}{whole}{fraction}{end}]      "));
                }
            }
        }
    }
}

#[test]
fn depth_is_limited() {
    for depth in [1, 50, 99, 100, 101, 126, 127, 128, 200, 10_000] {
        let taken = compare::<serde::de::IgnoredAny>(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert_eq!(taken, depth <= 100);
    }
}

const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    " ",
    "\n",
    "\r",
    "\t",
    "1",
    "0",
    "-",
    ".5",
    "e1",
    "12345678",
    "true",
    "false",
    "null",
    "\"time\":",
    "\"x\":",
    "\"y\":",
    "\"a\":",
    "\"b\":",
    "\"c\":",
    "\"e\":",
    "\"g\":",
    "\"i\":",
    "\"First\"",
    "\"é\"",
    "\"\\n\"",
    "\\",
    "{\"a\":1}",
    "[1,2.5]",
    "{\"1\":2}",
    "{\"Other\":3}",
    "\u{1}",
    "nul",
    "\"$serde_json\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..14)) {
        compare_all(&pieces.concat());
        compare_all(&format!("{{\"time\":1,\"x\":2.0,\"y\":{}}}", pieces.concat()));
        compare_all(&format!("{{\"a\":1,{}}}", pieces.concat()));
    }

    #[test]
    fn any_point(time: i64, x: f64, y in -1000.0..1000.0f64, digits in 0usize..6) {
        let text = serde_json::to_string(&Point { time, x, y }).unwrap();
        compare_all(&text);
        let text = format!("{{\"time\":{},\"x\":{y:.digits$},\"y\":{:.1}}}", time % 1_000_000_000, x % 1e6);
        if digits > 0 {
            prop_assert!(!x.is_finite() || compare::<Point>(&text), "{}", text);
        }
        compare_all(&text);
    }

    #[test]
    fn any_change(place in 0usize..60, byte in 0u8..128) {
        let mut text = br#"{"time":17,"x":-1.25,"y":3,"z":["a",{"b":null}],"c":"text"}"#.to_vec();
        let place = place.min(text.len() - 1);
        text[place] = byte;
        compare_all(std::str::from_utf8(&text).unwrap());
    }
}
