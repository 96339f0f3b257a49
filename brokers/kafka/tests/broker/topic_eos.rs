//! One mark ends a whole topic, where that was asked for.

use std::time::Duration;

use watermill_core::EndReason;
use watermill_core::prelude::*;
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Kafka, NewRecord, unique};

use crate::common::{Here, MARK, broker, expected, fill, here, put, read, results, speeds};

fn ended(report: &watermill_core::RunReport) -> bool {
    matches!(report.end, EndReason::InputEnded { marked: true, .. })
}

/// All results are there, and each partition has its mark.
fn all_there(kafka: &Kafka, to: &str, partitions: u32, count: i64) {
    for (partition, (records, marks)) in (0..).zip(results(kafka, to, partitions)) {
        assert_eq!(records, expected(count, partition), "partition {partition}");
        assert_eq!(marks, 1, "partition {partition}");
    }
}

#[test]
fn a_mark_in_one_partition_ends_all() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("locations", 3).unwrap(), kafka.fresh_topic("speeds", 3).unwrap());
    fill(kafka, &from, 3, 0..200);
    // Within a transaction, so that a control record stands behind it.
    let writer = kafka.client().transactional(&unique("marker"), &[]).unwrap();
    writer.begin().unwrap();
    writer.send(&[NewRecord::new(&from).partition(1).value(MARK)]).unwrap();
    writer.commit().unwrap();
    let application = unique("topic");
    let run = || speeds().run_blocking(broker(kafka, &application, &from, &to).eos_per_topic()).unwrap();
    let report = run();
    assert!(ended(&report), "{report}");
    all_there(kafka, &to, 3, 200);
    assert_eq!(run().end, EndReason::EndedBefore);
}

/// Each process sees its own partitions only.
#[test]
fn it_ends_all_processes_and_after_restarts() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("locations", 4).unwrap(), kafka.fresh_topic("speeds", 4).unwrap());
    let application = unique("topic");
    let of = || broker(kafka, &application, &from, &to).eos_per_topic();
    fill(kafka, &from, 4, 0..100);
    let report = speeds().stop_when_idle(Duration::from_millis(1500)).run_blocking(of()).unwrap();
    assert_eq!(report.end, EndReason::Idle);
    let first = speeds().start(of()).unwrap();
    let second = speeds().start(of()).unwrap();
    fill(kafka, &from, 4, 100..200);
    put(kafka, &from, 2, MARK);
    for run in [first, second] {
        let report = run.wait_blocking().unwrap();
        assert!(ended(&report) || report.end == EndReason::EndedBefore, "{report}");
    }
    all_there(kafka, &to, 4, 200);
}

/// Records behind the mark hide it from those who look only at how partitions end; that somebody has passed it tells them.
#[test]
fn a_mark_that_records_stand_behind_is_known_by_those_who_passed_it() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("locations", 3).unwrap(), kafka.fresh_topic("speeds", 3).unwrap());
    fill(kafka, &from, 3, 0..100);
    put(kafka, &from, 0, MARK);
    put(kafka, &from, 0, &serde_json::to_vec(&here(500, 0)).unwrap());
    let run = broker(kafka, &unique("topic"), &from, &to).eos_per_topic();
    assert!(ended(&speeds().run_blocking(run).unwrap()));
    all_there(kafka, &to, 3, 100);
}

#[test]
fn a_topic_goes_on_behind_its_mark_when_told_to() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("rounds", 3).unwrap(), kafka.fresh_topic("copies", 3).unwrap());
    let application = unique("rounds");
    let run = |idle: u64| {
        let broker =
            KafkaBroker::new(kafka.bootstrap(), &application).read::<Here>(&from).write::<Here>(to.as_str());
        let mill = Mill::new(Here::clone).stop_when_idle(Duration::from_millis(idle));
        mill.run_blocking(broker.eos_per_topic().continue_after_eos()).unwrap()
    };
    fill(kafka, &from, 3, 0..20);
    put(kafka, &from, 1, MARK);
    let report = run(20_000);
    assert!(ended(&report), "{report}");
    // The old mark ends nothing, though it is the last record of its partition.
    put(kafka, &from, 0, &serde_json::to_vec(&here(20, 0)).unwrap());
    assert_eq!(run(3000).end, EndReason::Idle);
    put(kafka, &from, 2, MARK);
    let report = run(20_000);
    assert!(ended(&report), "{report}");
    let (records, marks) = read::<Here>(kafka, &to);
    assert_eq!((records.len(), marks), (61, vec![0, 0, 1, 1, 2, 2]));
}
