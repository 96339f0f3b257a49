//! MongoDB beside files and Kafka: the positions live where the results are, so each record counts once whatever the pair.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;

use bson::doc;
use common::{Database, Here, Next, Speed, ended, expected, here, speeds};
use watermill_core::broker::Broker;
use watermill_core::prelude::*;
use watermill_core::{DeadLetter, EndReason};
use watermill_json_file::JsonFileBroker;
use watermill_kafka::KafkaBroker;
use watermill_mongodb::Lanes;
use watermill_servers::kafka::{Isolation, Kafka, NewRecord, unique};

const COUNT: i64 = 1500;

/// Runs the mill until it has come to the end, with stops in the middle and a failure.
fn run_to_the_end<B: Broker>(broker: impl Fn() -> B) -> u32 {
    let failing = |here: &Here, next: &Joined<Here, Next>| match here.time {
        700 => Err("as if the power had gone"),
        _ => Ok(common::speed(here, next)),
    };
    let join = || JoinWith::new(Here::fields().time + 10, Next::fields().time);
    Mill::new(failing).join(join()).commit_after_calls(40).run_blocking(broker()).unwrap_err();
    let mut runs = 1;
    loop {
        let report = speeds().commit_after_calls(50).stop_after_records(900).run_blocking(broker()).unwrap();
        runs += 1;
        if ended(&report) {
            assert_eq!(speeds().run_blocking(broker()).unwrap().end, EndReason::EndedBefore);
            return runs;
        }
        assert!(runs < 20, "{report}");
    }
}

/// Writes the records to every partition, and ends it.
fn fill(kafka: &Kafka, topic: &str, partitions: u32) {
    let records: Vec<NewRecord> = (0..partitions)
        .flat_map(|partition| (0..COUNT).map(move |time| (partition, here(time))))
        .map(|(partition, record)| {
            NewRecord::new(topic).partition(partition).value(serde_json::to_vec(&record).unwrap())
        })
        .collect();
    kafka.client().produce(&records).unwrap();
    let mark = |partition| NewRecord::new(topic).partition(partition).value("{\"eos__\": true}");
    kafka.client().produce(&(0..partitions).map(mark).collect::<Vec<_>>()).unwrap();
}

fn lines(path: &Path) {
    let text: String = (0..COUNT).map(|time| serde_json::to_string(&here(time)).unwrap() + "\n").collect();
    fs::write(path, text).unwrap();
}

#[test]
fn a_file_goes_into_a_collection() {
    let database = Database::fresh();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locations.ndjson");
    lines(&path);
    let runs = run_to_the_end(|| {
        let files = JsonFileBroker::new().read::<Here>(&path).read::<Next>(&path);
        files.and(database.broker().write::<Speed>("speeds").write_eos())
    });
    assert!(runs >= 2);
    assert_eq!(database.speeds("speeds"), (expected(COUNT), 1));
}

#[test]
fn a_collection_goes_into_a_file() {
    let database = Database::fresh();
    database.fill("here", 0..COUNT);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("speeds.ndjson");
    let broker = || {
        let mongo = database.broker().read::<Here>("here").read::<Next>("here");
        mongo.and(JsonFileBroker::new().write::<Speed>(&path))
    };
    // Whole files are made anew by a run that is started again after its end, so that is not asked for here.
    let mut stops = 0;
    while !ended(&speeds().commit_after_calls(50).stop_after_records(700).run_blocking(broker()).unwrap()) {
        assert!(!path.exists());
        stops += 1;
    }
    assert!(stops > 1);
    let text = fs::read_to_string(&path).unwrap();
    let all: Vec<Speed> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all, expected(COUNT));
    assert!(database.positions().is_empty());
}

#[test]
fn lanes_of_a_collection_need_its_results_beside_their_positions() {
    let database = Database::fresh();
    database.fill("here", 0..COUNT);
    let read = || database.broker().read::<Here>("here").read::<Next>("here").application("lanes");
    let divided = || read().lanes(Lanes::by_hash("time", 2));
    let directory = tempfile::tempdir().unwrap();
    let files = || JsonFileBroker::new().write::<Speed>(directory.path().join("speeds.ndjson"));
    let kafka = || KafkaBroker::new("127.0.0.1:9", "lanes").write::<Speed>("speeds");
    let refused = [
        speeds().run_blocking(divided().and(files())).unwrap_err(),
        speeds().run_blocking(divided().and(kafka())).unwrap_err(),
        speeds().run_blocking(files().and(divided())).unwrap_err(),
    ];
    for error in refused {
        let text = common::told(&error);
        for part in ["lanes by `time`", "write the results by this one", "`MongoBroker::lanes`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    // A name alone does not have positions kept where nobody looks at them.
    speeds().run_blocking(read().and(files())).unwrap();
    assert!(database.positions().is_empty());
}

#[test]
fn partitions_of_a_topic_go_into_one_collection() {
    let kafka = Kafka::shared().unwrap();
    for partitions in [1, 3] {
        let database = Database::fresh();
        let topic = kafka.fresh_topic("locations", partitions).unwrap();
        fill(kafka, &topic, partitions);
        let application = unique("to-mongo");
        run_to_the_end(|| {
            let read =
                KafkaBroker::new(kafka.bootstrap(), &application).read::<Here>(&topic).read::<Next>(&topic);
            read.and(database.broker().write::<Speed>("speeds").write_eos())
        });
        let (all, marks) = database.speeds("speeds");
        let wanted: Vec<Speed> = expected(COUNT)
            .into_iter()
            .flat_map(|speed| std::iter::repeat_n(speed, partitions as usize))
            .collect();
        assert_eq!(all, wanted);
        // One of the lanes was the last to end.
        assert_eq!(marks, 1);
        assert_eq!(
            database.positions().iter().filter(|lane| lane.contains_key("checkpoint")).count(),
            partitions as usize
        );
    }
}

#[test]
fn a_collection_goes_into_a_topic() {
    let kafka = Kafka::shared().unwrap();
    let database = Database::fresh();
    database.fill("here", 0..COUNT);
    let topic = kafka.fresh_topic("speeds", 1).unwrap();
    let application = unique("from-mongo");
    run_to_the_end(|| {
        let mongo = database.broker().read::<Here>("here").read::<Next>("here");
        mongo.and(KafkaBroker::new(kafka.bootstrap(), &application).write::<Speed>(topic.as_str()))
    });
    let mut all = kafka.client().read(&topic, Isolation::Committed).unwrap();
    let mark = all.pop().unwrap();
    assert_eq!(mark.value.as_deref(), Some(&b"{\"eos__\": true}"[..]));
    let all: Vec<Speed> =
        all.iter().map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()).collect();
    assert_eq!(all, expected(COUNT));
}

#[test]
fn a_topic_is_joined_to_a_collection_and_written_to_another() {
    let kafka = Kafka::shared().unwrap();
    let database = Database::fresh();
    database.fill("next", 0..COUNT);
    database.insert("next", [doc! { "_id": "bad", "time": 20_i64, "x": "far" }]);
    let topic = kafka.fresh_topic("locations", 1).unwrap();
    fill(kafka, &topic, 1);
    let application = unique("both");
    let broker = || {
        let mongo =
            database.broker().read::<Next>("next").write::<Speed>("speeds").write::<DeadLetter>("letters");
        KafkaBroker::new(kafka.bootstrap(), &application).read::<Here>(&topic).and(mongo)
    };
    loop {
        let mill = speeds().on_bad::<Next>(OnBad::DeadLetter).commit_after_calls(50).stop_after_records(500);
        if ended(&mill.run_blocking(broker()).unwrap()) {
            break;
        }
    }
    assert_eq!(database.speeds("speeds"), (expected(COUNT), 0));
    assert_eq!(database.all("letters", doc! {}).len(), 1);
}

#[test]
fn a_collection_is_not_read_whole_by_each_of_several_lanes() {
    let kafka = Kafka::shared().unwrap();
    let database = Database::fresh();
    database.fill("next", 0..COUNT);
    let topic = kafka.fresh_topic("locations", 3).unwrap();
    let mongo = database.broker().read::<Next>("next").write::<Speed>("speeds");
    let broker = KafkaBroker::new(kafka.bootstrap(), unique("lanes")).read::<Here>(&topic).and(mongo);
    let text = common::told(&speeds().run_blocking(broker).unwrap_err());
    assert!(text.contains("collection `next`") && text.contains("several lanes"), "{text}");
}
