//! Kafka's own tools see the group and can reset it; what stands beside the offsets.

use std::collections::BTreeMap;
use std::time::Duration;

use watermill_core::EndReason;
use watermill_core::prelude::*;
use watermill_servers::kafka::tools::CONSUMER_GROUPS;
use watermill_servers::kafka::{GroupOffset, Kafka, unique};

use crate::common::{Here, Next, broker, end, expected, fill, here, put, results, speeds, told};

/// What `kafka-consumer-groups --describe` shows of each topic: the offset, the end and the lag of each partition.
fn described(kafka: &Kafka, group: &str) -> BTreeMap<(String, u32), (i64, i64, i64)> {
    let text = kafka.tool(CONSUMER_GROUPS, &["--describe", "--group", group]).unwrap();
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<i64>().ok();
        let partition = number(2)?;
        Some((((*words.get(1)?).to_owned(), partition as u32), (number(3)?, number(4)?, number(5)?)))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn kafkas_tools_show_the_lag_of_all_topics_and_reset_them() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("locations", 2).unwrap(), kafka.fresh_topic("speeds", 2).unwrap());
    let group = unique("tools");
    let run = || speeds().run_blocking(broker(kafka, &group, &from, &to)).unwrap();
    fill(kafka, &from, 2, 0..100);
    end(kafka, &from, 2);
    assert_eq!(run().results, 180);
    fill(kafka, &from, 1, 100..130);
    let shown = described(kafka, &group);
    assert_eq!(shown.len(), 2, "{shown:?}");
    // The last ten wait for records that never came, so they were not done with.
    let lag = |partition| shown[&(from.clone(), partition)].2;
    assert_eq!((30..=41).contains(&lag(0)), (0..=11).contains(&lag(1)), "{shown:?}");
    assert_eq!(lag(0) - lag(1), 30, "{shown:?}");

    // All that reads the topic begins anew, and a mill that has ended has not.
    assert_eq!(run().end, EndReason::EndedBefore);
    let reset = ["--reset-offsets", "--to-earliest", "--topic", &from, "--group", &group, "--execute"];
    kafka.tool(CONSUMER_GROUPS, &reset).unwrap();
    let report = run();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    assert_eq!(report.results, 180);
    for (partition, (records, marks)) in (0..).zip(results(kafka, &to, 2)) {
        let once = expected(100, partition);
        assert_eq!((records, marks), ([once.clone(), once].concat(), 2));
    }
}

/// Two topics: what was reset begins anew, what was not stays where it was.
#[test]
fn metadata_that_does_not_fit_the_offset_is_not_heeded() {
    let kafka = Kafka::shared().unwrap();
    let topic = |name| kafka.fresh_topic(name, 1).unwrap();
    let (left, right, to) = (topic("left"), topic("right"), topic("both"));
    let group = unique("foreign");
    let run = || {
        let broker = watermill_kafka::KafkaBroker::new(kafka.bootstrap(), &group)
            .read::<Here>(&left)
            .read::<Next>(&right)
            .write::<Here>(to.as_str());
        let function = |here: &Here, _: &Joined<Here, Next>| here.clone();
        let join = JoinWith::new(Here::fields().time, Next::fields().time).unique();
        Mill::new(function)
            .join(join)
            .stop_when_idle(Duration::from_millis(1500))
            .run_blocking(broker)
            .unwrap()
    };
    fill(kafka, &left, 1, 0..50);
    fill(kafka, &right, 1, 0..50);
    assert_eq!(run().results, 50);
    let offsets = kafka.client().group_offsets(&group).unwrap();
    assert_eq!(offsets.len(), 2);
    for (metadata, from) in
        [("", 40), ("a note of an operator", 30), (&*offsets[0].metadata, 20), ("w1.AAAA", 10)]
    {
        let reset =
            |topic: &str| GroupOffset { metadata: metadata.to_owned(), ..GroupOffset::new(topic, 0, from) };
        kafka.client().set_group_offsets(&group, &[reset(&left), reset(&right)]).unwrap();
        assert_eq!(run().results, 50 - from.cast_unsigned(), "{metadata:?}");
    }
}

#[test]
fn a_mill_that_was_changed_is_refused() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("locations", 1).unwrap(), kafka.fresh_topic("speeds", 1).unwrap());
    let group = unique("changed");
    fill(kafka, &from, 1, 0..50);
    let idle = Duration::from_millis(1500);
    speeds().stop_when_idle(idle).run_blocking(broker(kafka, &group, &from, &to)).unwrap();
    let changed = || {
        let join = JoinWith::new(Here::fields().time + 5, Next::fields().time);
        Mill::new(crate::common::speed).join(join).stop_when_idle(idle)
    };
    let error = told(&changed().run_blocking(broker(kafka, &group, &from, &to)).unwrap_err());
    assert!(error.contains(&format!("the offsets of the group `{group}`, partition 0")), "{error}");
    assert!(error.contains("they belong to another mill"), "{error}");
    assert!(error.contains("kafka-consumer-groups.sh --reset-offsets"), "{error}");
    // As it says.
    let reset = ["--reset-offsets", "--to-earliest", "--all-topics", "--group", &group, "--execute"];
    kafka.tool(CONSUMER_GROUPS, &reset).unwrap();
    assert_eq!(changed().run_blocking(broker(kafka, &group, &from, &to)).unwrap().results, 44);
}

/// As bad as it gets: of a thousand records every second one is held back, by two nodes that read the same topic.
#[test]
fn positions_of_reordered_streams_fit_beside_an_offset() {
    let kafka = Kafka::shared().unwrap();
    let (from, to) = (kafka.fresh_topic("mixed", 1).unwrap(), kafka.fresh_topic("speeds", 1).unwrap());
    let group = unique("reordered");
    let run = || {
        speeds()
            .reorder_within::<Here>(500)
            .reorder_within::<Next>(500)
            .stop_when_idle(Duration::from_millis(1500))
            .run_blocking(broker(kafka, &group, &from, &to))
            .unwrap()
    };
    let mut times: Vec<i64> = (0..500).flat_map(|time| [time, 500 + time]).collect();
    let record = |time: &i64| {
        let value = serde_json::to_vec(&here(*time, 0)).unwrap();
        watermill_servers::kafka::NewRecord::new(&from).partition(0).value(value)
    };
    kafka.client().produce(&times.iter().map(record).collect::<Vec<_>>()).unwrap();
    assert_eq!(run().end, EndReason::Idle);
    let offsets = kafka.client().group_offsets(&group).unwrap();
    let length = offsets[0].metadata.len();
    assert!((500..4096).contains(&length), "{length}: {}", offsets[0].metadata);
    times.clear();
    times.extend((0..600).step_by(2).flat_map(|time| [1001 + time, 1000 + time]));
    kafka.client().produce(&times.iter().map(record).collect::<Vec<_>>()).unwrap();
    assert_eq!(run().end, EndReason::Idle);
    put(kafka, &from, 0, crate::common::MARK);
    let report = run();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    assert_eq!(results(kafka, &to, 1), [(expected(1600, 0), 1)]);
}
