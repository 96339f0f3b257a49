//! The examples over Kafka, as their readers run them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::process::Command;

use serde_json::Value;
use watermill_servers::kafka::{Isolation, Kafka, KafkaOptions};

fn run(name: &str, arguments: &[&str]) -> String {
    // This test is `<target>/<profile>/deps/kafka_example-<hash>`.
    let this = env::current_exe().unwrap();
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path = this.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing; run `cargo build --examples --features kafka,streams` first",
        path.display()
    );
    let output = Command::new(path).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn the_robot_speeds_are_those_of_the_file_and_come_once() {
    // Its own: the example has fixed names.
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let first = run("kafka_robot_speed", &[kafka.bootstrap()]);
    assert!(first.contains("EndOfStream"), "{first}");
    let second = run("kafka_robot_speed", &[kafka.bootstrap()]);
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
    let read = kafka.client().read("robot-speed", Isolation::Committed).unwrap();
    let values: Vec<Value> =
        read.iter().map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()).collect();
    let (mark, speeds) = values.split_last().unwrap();
    assert_eq!(mark["eos__"], true);
    let speeds: Vec<(i64, i64, f64)> = speeds
        .iter()
        .map(|speed| {
            let time = |name: &str| speed[name].as_i64().unwrap();
            (time("time_from"), time("time_to"), speed["speed"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(speeds, wanted);
}

#[test]
fn a_topic_is_consumed_in_windows_once_however_often_it_is_attached() {
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("robot.db").display().to_string();
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/robot-locations.json"))
            .unwrap();
    let count = serde_json::from_str::<Vec<Value>>(&text).unwrap().len();
    for turn in 0..2 {
        let told = run("kafka_windows", &[kafka.bootstrap(), &file]);
        let appended = if turn == 0 { count } else { 0 };
        assert!(told.contains(&format!("appended {appended} messages")), "{told}");
        assert!(told.contains(&format!("{} stretches", count.div_ceil(10))), "{told}");
    }
}
