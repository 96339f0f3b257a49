//! Compressed files: told by their content, of several pieces, cut and corrupt ones; and what is written compressed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{Read, Write};

use common::*;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use watermill_core::broker::InputEnd;
use watermill_core::error::BadCause;
use watermill_json_file::JsonFileBroker;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

fn lines(times: std::ops::Range<i64>) -> Vec<u8> {
    times
        .flat_map(|time| {
            serde_json::to_string(&location(time)).unwrap().into_bytes().into_iter().chain([b'\n'])
        })
        .collect()
}

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKERS: [Pack; 2] = [gzip, zstd];

#[test]
fn read_by_content() {
    for pack in PACKERS {
        let packed = pack(&lines(0..5000));
        let all = read_bytes(&packed);
        assert_eq!(all.records, (0..5000).map(location).collect::<Vec<_>>());
        assert!(all.faults.is_empty());
        assert_eq!(all.end, Some(InputEnd::Exhausted));
        assert_eq!((all.progress, all.size), (packed.len() as u64, Some(packed.len() as u64)));
        // Offsets are of the text.
        let first = serde_json::to_string(&location(0)).unwrap().len() as u64;
        assert_eq!(all.places[1].1, first + 1);
    }
}

#[test]
fn several_pieces_are_one_text() {
    for pack in PACKERS {
        let text = lines(0..100);
        let mut packed = Vec::new();
        for piece in text.chunks(37) {
            packed.extend(pack(piece));
        }
        packed.extend(pack(b""));
        let all = read_bytes(&packed);
        assert_eq!(all.records, (0..100).map(location).collect::<Vec<_>>());
        assert!(all.faults.is_empty());
    }
}

#[test]
fn zstd_frames_to_skip_are_skipped() {
    let skip = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let packed = [&skip[..], &zstd(&lines(0..2)), &skip, &zstd(&lines(2..3)), &skip].concat();
    assert_eq!(read_bytes(&packed).records, [location(0), location(1), location(2)]);
    assert!(matches!(read_bytes(&packed[..packed.len() - 1]).only_fault().error.cause, BadCause::Truncated));
}

#[test]
fn an_array_with_a_byte_order_mark_inside() {
    for pack in PACKERS {
        let text = format!("\u{feff} [{}]", serde_json::to_string(&location(7)).unwrap());
        assert_eq!(read_bytes(&pack(text.as_bytes())).records, [location(7)]);
    }
}

/// Every cut of the compressed data: a prefix of the records, then a fault. What is left may be no compressed file any more.
#[test]
fn cut_anywhere() {
    for pack in PACKERS {
        let packed = pack(&lines(0..20));
        for length in 4..packed.len() {
            let all = read_bytes(&packed[..length]);
            assert_eq!(all.end, None, "{length}");
            let fault = all.only_fault();
            assert!(matches!(fault.error.cause, BadCause::Truncated), "{length}: {:?}", fault.error.cause);
            assert!(!fault.recoverable);
            assert_eq!(all.records, (0..all.records.len() as i64).map(location).collect::<Vec<_>>());
        }
    }
}

/// Found by fuzzing: the data is cut inside a line over the limit. It is the cut that is told, whatever the chunks are.
#[test]
fn cut_inside_a_line_over_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    for pack in PACKERS {
        for open in ["", "["] {
            let packed = pack(format!("{open}\"{}", "a".repeat(1000)).as_bytes());
            for (length, cut) in [(packed.len() - 1, true), (packed.len(), open == "[")] {
                std::fs::write(&path, &packed[..length]).unwrap();
                for size in [10, 2000] {
                    let broker =
                        JsonFileBroker::new().read::<Location>(&path).batch_bytes(size).record_limit(100);
                    let all = read_all::<Location>(&broker).unwrap();
                    let fault = all.only_fault();
                    assert_eq!(matches!(fault.error.cause, BadCause::Truncated), cut, "{fault:?}");
                    assert!(!fault.recoverable && all.end.is_none());
                }
            }
        }
    }
}

/// Every changed byte: either it makes no difference, or there is a fault; never a panic. What was decoded before a checksum told may be wrong, but it is
/// never all there is.
#[test]
fn corrupt_anywhere() {
    for pack in PACKERS {
        let good = pack(&lines(0..20));
        for place in 0..good.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut packed = good.clone();
                packed[place] ^= change;
                let all = read_bytes(&packed);
                let same = all.records == (0..20).map(location).collect::<Vec<_>>() && all.faults.is_empty();
                assert!(same || !all.faults.is_empty(), "{place} {change}: {all:?}");
                assert!(same || all.end.is_none() || all.faults.iter().all(|fault| fault.recoverable));
            }
        }
    }
}

#[test]
fn garbage_behind_the_last_piece_is_told() {
    for pack in PACKERS {
        let mut packed = pack(&lines(0..3));
        packed.extend(b"garbage that is no frame");
        let all = read_bytes(&packed);
        assert_eq!(all.records.len(), 3);
        let text = told(&*all.only_fault().error);
        assert!(text.contains("data is corrupt") && text.contains("input`"), "{text}");
    }
}

#[test]
fn written_by_extension() {
    let directory = tempfile::tempdir().unwrap();
    for (name, count) in [
        ("o.ndjson.gz", 3),
        ("o.ndjson.zst", 3),
        ("o.json.gz", 0),
        ("o.ndjson.zst", 0),
        ("o.ndjson.gz", 0),
        ("o.json.zst", 60_000),
    ] {
        let path = directory.path().join(name);
        let records: Vec<_> = (0..count).map(location).collect();
        write_all(&JsonFileBroker::new().write::<Location>(&path), records.clone()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut text = String::new();
        if name.ends_with(".gz") {
            MultiGzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
        } else {
            assert_eq!(bytes[..4], [0x28, 0xb5, 0x2f, 0xfd]);
            if count < 1000 {
                ruzstd::decoding::StreamingDecoder::new(&*bytes).unwrap().read_to_string(&mut text).unwrap();
            }
        }
        if count < 1000 {
            let lines: String = records.iter().map(|r| serde_json::to_string(r).unwrap() + "\n").collect();
            assert_eq!(text, if name.contains(".json.") { "[]\n".to_owned() } else { lines });
        } else {
            assert!(bytes.len() < 60_000 * 20);
        }
        let all = read_all::<Location>(&JsonFileBroker::new().read::<Location>(&path)).unwrap();
        assert!(all.faults.is_empty());
        assert_eq!(all.records, records);
    }
}
