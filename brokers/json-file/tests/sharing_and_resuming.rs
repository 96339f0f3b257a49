//! Several streams of one file, streams far behind others, futures that are dropped, and taking up again at a position.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::*;
use watermill_core::broker::codec::{Decode, Decoded};
use watermill_core::broker::{InputEnd, Position};
use watermill_core::error::BadCause;
use watermill_core::record::Json;
use watermill_json_file::JsonFileBroker;

fn texts(count: i64) -> [Vec<u8>; 3] {
    let lines: Vec<_> = (0..count).map(|time| serde_json::to_string(&location(time)).unwrap()).collect();
    let array = format!("\u{feff}[\n{}\n]\n", lines.join(" ,\n"));
    let lines = lines.join("\n\n") + "\n";
    let packed =
        ruzstd::encoding::compress_to_vec(lines.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    [lines.into_bytes(), array.into_bytes(), packed]
}

fn expected(count: i64) -> Vec<Location> {
    (0..count).map(location).collect()
}

fn three_of(path: &Path) -> JsonFileBroker {
    JsonFileBroker::new()
        .read::<Location>(path)
        .read_as::<Location>("again", path)
        .read_as::<Location>("late", path)
        .batch_bytes(100)
}

#[test]
fn streams_side_by_side_and_one_that_lags_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    for text in texts(500) {
        fs::write(&path, text).unwrap();
        block_on(async {
            let mut sources = sources::<Location>(&three_of(&path), &[]).await.unwrap();
            let mut late = sources.pop().unwrap();
            // A few batches, so that it falls behind in the middle.
            let mut seen = Vec::new();
            let mut number = 0;
            for _ in 0..3 {
                let batch = late.next().await.unwrap();
                assert_eq!(batch.places.first_number, number);
                number += batch.records.len() as u64;
                seen.extend(batch.records);
            }
            let (mut first, mut second) = (Vec::new(), Vec::new());
            let mut open = [true, true];
            while open != [false, false] {
                for (index, all) in [&mut first, &mut second].into_iter().enumerate() {
                    if open[index] {
                        let batch = sources[index].next().await.unwrap();
                        assert!(batch.faults.is_empty());
                        open[index] = batch.end.is_none();
                        all.extend(batch.records);
                    }
                }
            }
            assert_eq!(first, expected(500));
            assert_eq!(second, expected(500));
            let rest = drain(&mut *late).await.unwrap();
            assert_eq!(rest.places[0].2, number);
            seen.extend(rest.records);
            assert_eq!(seen, expected(500));
            assert_eq!(rest.end, Some(InputEnd::Exhausted));
        });
    }
}

#[test]
fn a_stream_that_is_dropped_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    fs::write(&path, &texts(500)[0]).unwrap();
    block_on(async {
        let mut sources = sources::<Location>(&three_of(&path), &[]).await.unwrap();
        drop(sources.pop());
        drop(sources.remove(0));
        assert_eq!(drain(&mut *sources[0]).await.unwrap().records, expected(500));
    });
}

#[test]
fn a_dropped_future_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    fs::write(&path, &texts(500)[0]).unwrap();
    block_on(async {
        let mut sources = sources::<Location>(&three_of(&path), &[]).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let Ok(batch) = tokio::time::timeout(Duration::ZERO, sources[0].next()).await else { continue };
            let batch = batch.unwrap();
            seen.extend(batch.records);
            if batch.end.is_some() {
                break;
            }
        }
        assert_eq!(seen, expected(500));
    });
}

/// Takes up at every position that a commit could record: each batch's end, and each record.
#[test]
fn taking_up_at_any_position() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    for text in texts(40) {
        fs::write(&path, text).unwrap();
        let broker = JsonFileBroker::new().read::<Location>(&path).batch_bytes(64);
        let whole = read_all::<Location>(&broker).unwrap();
        assert_eq!(whole.records, expected(40));
        let mut at_records = Vec::new();
        for (index, (_, offset, number)) in whole.places.iter().enumerate() {
            let mut position = Position::at(*offset);
            position.number = *number;
            at_records.push((position, index));
        }
        for (position, done) in whole.positions.iter().chain(&at_records) {
            let rest = read_from::<Location>(&broker, Some(position.clone())).unwrap();
            assert!(rest.faults.is_empty(), "{position:?}: {:?}", rest.faults);
            assert_eq!(rest.records, whole.records[*done..], "{position:?}");
            assert_eq!(rest.places, whole.places[*done..], "{position:?}");
            assert_eq!(rest.end, Some(InputEnd::Exhausted));
            // What was done before counts as progress.
            assert_eq!(rest.progress, whole.progress, "{position:?}");
        }
    }
}

#[test]
fn taking_up_in_a_later_file() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in ["a", "b", "c"].iter().zip(texts(20)) {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let broker = JsonFileBroker::new().read::<Location>(directory.path()).batch_bytes(100);
    let whole = read_all::<Location>(&broker).unwrap();
    assert_eq!(whole.records.len(), 60);
    for (position, done) in &whole.positions {
        let rest = read_from::<Location>(&broker, Some(position.clone())).unwrap();
        assert_eq!(rest.records, whole.records[*done..], "{position:?}");
        assert_eq!(rest.places, whole.places[*done..], "{position:?}");
        assert_eq!(rest.progress, whole.progress, "{position:?}");
    }
    let mut gone = whole.positions[1].0.clone();
    gone.part = "gone".to_owned();
    let error = read_from::<Location>(&broker, Some(gone)).unwrap_err();
    assert!(told(&error).contains("stopped in `gone`, which is not there any more"));
    let mut ended = whole.positions[1].0.clone();
    ended.ended = true;
    // The end of the last file is no end for good: more may have come since.
    let rest = read_from::<Location>(&broker, Some(ended.clone())).unwrap();
    assert_eq!(rest.records, whole.records[whole.positions[1].1..]);
    ended.marked = true;
    let nothing = read_from::<Location>(&broker, Some(ended)).unwrap();
    assert!(nothing.records.is_empty() && nothing.end.is_some());
}

/// Faults keep their places however the file is cut into batches, and behind them all goes on as before.
#[test]
fn numbers_and_places_around_faults() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    let lines: Vec<String> =
        (0..60).map(|n| if n % 7 == 3 { format!("bad {n}") } else { n.to_string() }).collect();
    for text in [lines.join("\n"), format!("[{}]", lines.join(" , ").replace("bad ", "bad"))] {
        fs::write(&path, text).unwrap();
        for size in [1, 5, 64, 10_000] {
            let all = read_all::<Json>(&JsonFileBroker::new().read::<Json>(&path).batch_bytes(size)).unwrap();
            let numbers: Vec<u64> = all.places.iter().map(|place| place.2).collect();
            let read: Vec<u64> = all.records.iter().map(|json| json.as_u64().unwrap()).collect();
            assert_eq!(numbers, read);
            let bad: Vec<u64> = all.faults.iter().map(|fault| fault.error.place.number).collect();
            assert_eq!(bad, (0..60).filter(|n| n % 7 == 3).collect::<Vec<_>>());
        }
    }
}

struct Panics;

impl Decode<Location> for Panics {
    fn decode(&self, bytes: &[u8]) -> Result<Decoded<Location>, BadCause> {
        assert!(!bytes.starts_with(b"3"), "no threes");
        Ok(Decoded::Record(location(1)))
    }
}

#[test]
fn a_codec_of_ones_own_and_one_that_panics() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    fs::write(&path, b"anything\nb\xff\n\n1").unwrap();
    let all = read_all::<Location>(&JsonFileBroker::new().read_with::<Location>(&path, Panics)).unwrap();
    assert_eq!((all.records.len(), all.end), (3, Some(InputEnd::Exhausted)));
    fs::write(&path, "1\n2\n3\n4\n").unwrap();
    let broker = JsonFileBroker::new().read_as_with::<Location>("own", &path, Panics).batch_bytes(2);
    let error = read_all::<Location>(&broker).unwrap_err();
    assert!(told(&error).contains("the decoder panicked: no threes"), "{}", told(&error));
}
