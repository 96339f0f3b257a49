//! Outputs that grow under their own name.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use watermill_core::error::BrokerError;
use watermill_json_file::{Format, JsonFileBroker};

fn broker(path: &Path) -> JsonFileBroker {
    JsonFileBroker::new().write::<Location>(path).append()
}

fn text(times: &[i64]) -> String {
    times.iter().map(|time| serde_json::to_string(&location(*time)).unwrap() + "\n").collect()
}

fn refused(broker: &JsonFileBroker) -> String {
    let opened: Result<Outputs<Location>, BrokerError> = block_on(outputs(broker));
    told(&opened.err().unwrap())
}

#[test]
fn nothing_is_seen_before_its_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    fs::write(&path, "what was there\n").unwrap();
    block_on(async {
        let mut outputs = outputs::<Location>(&broker(&path)).await.unwrap();
        let read = || fs::read_to_string(&path).unwrap();
        let mut expected = "what was there\n".to_owned();
        for turn in 0..4 {
            // More than is written at once.
            let times: Vec<i64> = (turn * 20_000..(turn + 1) * 20_000).collect();
            outputs.sinks[0].write(times.iter().copied().map(location).collect()).await.unwrap();
            assert_eq!(read(), expected);
            outputs.committer.commit(&checkpoint(false, false)).await.unwrap();
            expected += &text(&times);
            assert!(read() == expected);
            // A commit without results.
            outputs.committer.commit(&checkpoint(false, false)).await.unwrap();
            assert!(read() == expected);
        }
        outputs.sinks[0].write(vec![location(-1)]).await.unwrap();
        outputs.committer.abort().await.unwrap();
        assert!(read() == expected);
    });
}

#[test]
fn an_output_that_is_moved_away_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    block_on(async {
        let mut outputs = outputs::<Location>(&broker(&path)).await.unwrap();
        for turn in 0..3 {
            outputs.sinks[0].write(vec![location(turn)]).await.unwrap();
            outputs.committer.commit(&checkpoint(false, false)).await.unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text(&[turn]));
            fs::rename(&path, directory.path().join(format!("out.{turn}"))).unwrap();
        }
    });
}

#[test]
fn somebody_else_who_writes_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    block_on(async {
        let mut outputs = outputs::<Location>(&broker(&path)).await.unwrap();
        outputs.sinks[0].write(vec![location(0)]).await.unwrap();
        outputs.committer.commit(&checkpoint(false, false)).await.unwrap();
        fs::write(&path, "another line of somebody else, which is longer\n").unwrap();
        outputs.sinks[0].write(vec![location(1)]).await.unwrap();
        let error = outputs.committer.commit(&checkpoint(false, false)).await.unwrap_err();
        assert!(told(&error).contains("somebody else writes it too"), "{}", told(&error));
        // Waits until the outputs are let go of, as every run does.
        outputs.committer.abort().await.unwrap();
    });
    let told = refused(&broker(&path));
    assert!(told.contains("append to") || told.contains("the run had left"), "{told}");
}

#[test]
fn what_cannot_be_appended_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (broker, why) in [
        (broker(&at("out.json")), "written as a JSON array"),
        (broker(&at("out.ndjson.gz")), "compressed"),
        (broker(&at("out.ndjson")).output_format(Format::JsonArray), "written as a JSON array"),
        (JsonFileBroker::new().append().write::<Location>(at("out.ndjson")), "behind `write`"),
    ] {
        let told = refused(&broker);
        assert!(told.contains(why), "{told}");
    }
    fs::write(at("cut.ndjson"), "{}\n{\"a\":").unwrap();
    let told = refused(&broker(&at("cut.ndjson")));
    assert!(told.contains("its last line has no end"), "{told}");
    assert_eq!(fs::read_to_string(at("cut.ndjson")).unwrap(), "{}\n{\"a\":");
}
