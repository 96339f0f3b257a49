//! Records written and read by the Java client.

use watermill_servers::Kafka;
use watermill_servers::kafka::{GroupOffset, Isolation, NewRecord, ReadRecord, unique};

fn values(records: &[ReadRecord]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()).collect()
}

#[test]
fn records_come_back_as_they_were_written() {
    let kafka = Kafka::shared().unwrap();
    let client = kafka.client();
    let topic = kafka.fresh_topic("whole", 2).unwrap();
    let all_bytes: Vec<u8> = (0..=255).collect();
    let records = [
        NewRecord::new(&topic)
            .partition(1)
            .timestamp(0)
            .key(all_bytes.clone())
            .value("")
            .header("a\ttab\n\\", Some(b"\x00\xff"))
            .header("again", None),
        NewRecord::new(&topic).partition(1).timestamp(1_700_000_000_000).header("again", Some(b"")),
    ];
    let placed = client.produce(&records).unwrap();
    assert_eq!((placed[0].partition, placed[0].offset, placed[0].timestamp), (1, 0, 0));

    let read = client.read(&topic, Isolation::Committed).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].key, Some(all_bytes));
    assert_eq!(read[0].value, Some(Vec::new()));
    assert_eq!(read[0].headers, [("a\ttab\n\\".to_owned(), Some(vec![0, 255])), ("again".to_owned(), None)]);
    assert_eq!((read[1].partition, read[1].offset, read[1].timestamp), (1, 1, 1_700_000_000_000));
    assert_eq!((&read[1].key, &read[1].value), (&None, &None));
    assert_eq!(read[1].headers, [("again".to_owned(), Some(Vec::new()))]);
    assert_eq!(client.read_from(&topic, Isolation::Committed, &[(1, 1)]).unwrap(), read[1..]);
}

#[test]
fn keys_choose_partitions_as_java_does() {
    let kafka = Kafka::shared().unwrap();
    let topic = kafka.fresh_topic("murmur2", 1000).unwrap();
    // The hashes that Kafka's own tests name, without their sign, modulo 1000.
    let hashes =
        [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)];
    let records: Vec<_> = hashes.iter().map(|(key, _)| NewRecord::new(&topic).key(*key)).collect();
    let placed = kafka.client().produce(&records).unwrap();
    for (placed, (key, hash)) in placed.iter().zip(hashes) {
        assert_eq!(placed.partition, (hash & i32::MAX) as u32 % 1000, "{key}");
    }
}

#[test]
fn transactions_are_seen_whole_or_not_at_all() {
    let kafka = Kafka::shared().unwrap();
    let client = kafka.client();
    let topic = kafka.fresh_topic("transactions", 1).unwrap();
    let group = unique("group");
    let id = unique("producer");
    let record = |value: &str| NewRecord::new(&topic).value(value);

    let producer = client.transactional(&id, &[]).unwrap();
    producer.begin().unwrap();
    producer.send(&[record("a"), record("b")]).unwrap();
    producer.commit_offsets(&group, &[GroupOffset::new(&topic, 0, 17)]).unwrap();
    producer.commit().unwrap();
    producer.begin().unwrap();
    producer.send(&[record("aborted")]).unwrap();
    producer.commit_offsets(&group, &[GroupOffset::new(&topic, 0, 99)]).unwrap();
    producer.abort().unwrap();
    assert_eq!(values(&client.read(&topic, Isolation::Committed).unwrap()), ["a", "b"]);
    assert_eq!(values(&client.read(&topic, Isolation::Uncommitted).unwrap()), ["a", "b", "aborted"]);
    assert_eq!(client.group_offsets(&group).unwrap(), [GroupOffset::new(&topic, 0, 17)]);

    // An open transaction hides what is behind it, until the next producer of the same id aborts it.
    producer.begin().unwrap();
    producer.send(&[record("open")]).unwrap();
    client.produce(&[record("behind")]).unwrap();
    producer.abandon().unwrap();
    assert_eq!(values(&client.read(&topic, Isolation::Committed).unwrap()), ["a", "b"]);
    let next = client.transactional(&id, &[]).unwrap();
    assert_eq!(values(&client.read(&topic, Isolation::Committed).unwrap()), ["a", "b", "behind"]);

    let third = client.transactional(&id, &[]).unwrap();
    next.begin().unwrap();
    let fenced = next.send(&[record("of a zombie")]).and_then(|_| next.commit()).unwrap_err();
    let fenced = fenced.to_string();
    assert!(fenced.contains("Fenced") || fenced.contains("Epoch"), "{fenced}");
    drop(third);
}

/// A commit returns before all partitions have heard of it, which a reader that comes at once would see as records that are missing.
#[test]
fn what_was_committed_is_seen_by_whoever_reads_next() {
    let kafka = Kafka::shared().unwrap();
    let client = kafka.client();
    let topic = kafka.fresh_topic("committed", 60).unwrap();
    let producer = client.transactional(&unique("producer"), &[]).unwrap();
    let mut expected = 0;
    for _ in 0..5 {
        producer.begin().unwrap();
        let records = (0..60).map(|partition| NewRecord::new(&topic).partition(partition).value("one"));
        expected += producer.send(&records.collect::<Vec<_>>()).unwrap().len();
        producer.commit().unwrap();
        assert_eq!(client.read(&topic, Isolation::Committed).unwrap().len(), expected);
    }
}
