//! Dead letters: in the transaction of the results, and fed back in.

use std::time::Duration;

use watermill_core::broker::Origin;
use watermill_core::prelude::*;
use watermill_core::{DeadLetter, EndReason};
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Isolation, Kafka, unique};

use crate::common::{Here, MARK, end, here, put, read};

fn text(time: i64) -> String {
    serde_json::to_string(&here(time, 0)).unwrap()
}

fn mill() -> Mill<Here> {
    Mill::new(Here::clone).on_bad::<Here>(OnBad::DeadLetter)
}

#[test]
fn letters_are_committed_with_the_results_and_can_be_replayed() {
    let kafka = Kafka::shared().unwrap();
    let topic = |name| kafka.fresh_topic(name, 2).unwrap();
    let (from, good, letters, mended) = (topic("mixed"), topic("good"), topic("letters"), topic("mended"));
    for time in 0..40 {
        let value = if time % 10 == 3 { text(time).replace(':', "=") } else { text(time) };
        put(kafka, &from, time as u32 % 2, value.as_bytes());
    }
    let application = unique("letters");
    let broker = || {
        KafkaBroker::new(kafka.bootstrap(), &application)
            .read::<Here>(&from)
            .write::<Here>(good.as_str())
            .write::<DeadLetter>(letters.as_str())
    };
    let report = mill().stop_when_idle(Duration::from_millis(1500)).run_blocking(broker()).unwrap();
    assert_eq!((report.end.clone(), report.inputs[0].dead_lettered, report.calls), (EndReason::Idle, 4, 36));
    end(kafka, &from, 2);
    assert_eq!(mill().run_blocking(broker()).unwrap().inputs[0].dead_lettered, 0);

    let (found, marks) = read::<DeadLetter>(kafka, &letters);
    assert_eq!((found.len(), marks.len()), (4, 2));
    for (partition, letter) in &found {
        let time = letter.offset as i64 * 2 + i64::from(*partition);
        assert_eq!(letter.origin, Origin::Topic { topic: from.clone(), partition: partition.cast_signed() });
        assert_eq!((letter.stream.as_str(), letter.kind.as_str()), ("Here", "syntax"));
        assert_eq!(letter.text(), Some(text(time).replace(':', "=").as_str()));
    }
    // Results and letters of a commit are of one transaction: control records stand behind both.
    let behind = kafka.client().latest(&letters).unwrap();
    let last = kafka.client().read(&letters, Isolation::Committed).unwrap();
    let last = last.iter().filter(|record| record.partition == 1).map(|record| record.offset).max().unwrap();
    assert!(behind[1] > last + 1);

    // Mended, and written anew beside letters of others.
    for (partition, letter) in &found {
        let letter = serde_json::to_string(letter).unwrap().replace("\\\"=", "\\\":");
        put(kafka, &mended, *partition, letter.as_bytes());
        put(kafka, &mended, *partition, br#"{"stream":"Other","raw":"nonsense"}"#);
    }
    let replay = KafkaBroker::new(kafka.bootstrap(), unique("mended"))
        .replay::<Here>(&mended)
        .write::<Here>(good.as_str())
        .write::<DeadLetter>(letters.as_str())
        .until_current_end();
    let report = mill().run_blocking(replay).unwrap();
    assert_eq!((report.calls, report.inputs[0].dead_lettered), (4, 0), "{report}");
    let mut all: Vec<i64> = read::<Here>(kafka, &good).0.iter().map(|(_, here)| here.time).collect();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_bad_record_names_topic_partition_and_offset() {
    let kafka = Kafka::shared().unwrap();
    let from = kafka.fresh_topic("bad", 2).unwrap();
    put(kafka, &from, 1, text(1).as_bytes());
    put(kafka, &from, 1, b"{\"time\": ");
    put(kafka, &from, 1, MARK);
    let broker = KafkaBroker::new(kafka.bootstrap(), unique("bad")).read::<Here>(&from);
    let error = Mill::new(|_: &Here| ()).run_blocking(broker).unwrap_err();
    let error = crate::common::told(&error);
    assert!(error.contains(&format!("topic `{from}`, partition 1, offset 1")), "{error}");
    assert!(error.contains("the message ends in the middle of the record"), "{error}");
}
