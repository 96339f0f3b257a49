//! The example over MongoDB, as its reader runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::process::Command;

use serde_json::Value;
use watermill::mongodb::ReadCollection;
use watermill::prelude::*;
use watermill_servers::{Mongo, MongoOptions};

fn run(uri: &str) -> String {
    // This test is `<target>/<profile>/deps/mongodb_example-<hash>`.
    let this = env::current_exe().unwrap();
    let name = format!("mongodb_robot_speed{}", env::consts::EXE_SUFFIX);
    let path = this.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing; run `cargo build --examples --features mongodb` first",
        path.display()
    );
    let output = Command::new(path).arg(uri).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn the_robot_speeds_are_those_of_the_file_and_come_once() {
    // Its own: the example has fixed names.
    let mongo = Mongo::start(MongoOptions::new()).unwrap();
    run(mongo.uri());
    let second = run(mongo.uri());
    assert_eq!(second.matches("an earlier run has come to the end").count(), 2, "{second}");

    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/robot-locations.json"))
            .unwrap();
    let locations: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut wanted = Vec::new();
    for here in &locations {
        let later = here["time"].as_i64().unwrap() + 10;
        for there in locations.iter().filter(|there| there["time"] == later) {
            let by = |axis: &str| there[axis].as_f64().unwrap() - here[axis].as_f64().unwrap();
            wanted.push((later - 10, later, by("x").hypot(by("y")) / 10.0));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("speeds.ndjson");
    let read = ReadCollection::new("speeds").order_by(["time_from"]);
    let all = MongoBroker::new(mongo.uri(), "robots").read::<Json>(read).create_indexes();
    let report = Mill::new(|speed: &Json| speed.clone())
        .run_blocking(all.and(JsonFileBroker::new().write::<Json>(&path)))
        .unwrap();
    assert!(report.to_string().contains("EndOfStream"), "{report}");
    let text = std::fs::read_to_string(path).unwrap();
    let speeds: Vec<(i64, i64, f64)> = text
        .lines()
        .map(|line| {
            let speed: Value = serde_json::from_str(line).unwrap();
            let time = |name: &str| speed[name].as_i64().unwrap();
            (time("time_from"), time("time_to"), speed["speed"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(speeds, wanted);
}
