//! The shared broker and its topics.

use watermill_servers::Kafka;
use watermill_servers::kafka::{NewRecord, unique};

#[test]
fn the_shared_broker_is_one() {
    let kafka = Kafka::shared().unwrap();
    assert_eq!(kafka.bootstrap(), Kafka::shared().unwrap().bootstrap());
    assert_eq!(kafka.client().nodes().unwrap().len(), 1);
}

#[test]
fn topics_are_created_described_and_deleted() {
    let kafka = Kafka::shared().unwrap();
    let client = kafka.client();
    let name = unique("topics");
    kafka.create_topic(&name, 3, 1, &[("cleanup.policy", "compact")]).unwrap();
    assert!(client.topics().unwrap().contains(&name));
    let described = client.describe_topic(&name).unwrap();
    assert_eq!(described.iter().map(|one| one.number).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((described[0].leader, &described[0].in_sync[..]), (Some(1), &[1][..]));

    let again = kafka.create_topic(&name, 3, 1, &[]).unwrap_err();
    assert_eq!(again.refusal(), Some("TopicExistsException"), "{again}");
    client.add_partitions(&name, 5).unwrap();
    assert_eq!(client.describe_topic(&name).unwrap().len(), 5);
    client.delete_topic(&name).unwrap();
    assert!(!client.topics().unwrap().contains(&name));
}

#[test]
fn offsets_are_told_and_records_deleted() {
    let kafka = Kafka::shared().unwrap();
    let client = kafka.client();
    let topic = kafka.fresh_topic("offsets", 2).unwrap();
    let records: Vec<_> = (0..10)
        .map(|number| NewRecord::new(&topic).partition(1).timestamp(1000 + number).value("value"))
        .collect();
    client.produce(&records).unwrap();
    assert_eq!(client.latest(&topic).unwrap(), [0, 10]);
    assert_eq!(client.since(&topic, 1004).unwrap(), [-1, 4]);
    assert_eq!(client.delete_records(&topic, 1, 7).unwrap(), 7);
    assert_eq!(client.earliest(&topic).unwrap(), [0, 7]);
}

#[test]
fn the_shared_broker_is_nobodys_to_kill() {
    let error = Kafka::shared().unwrap().node(0).unwrap_err();
    assert!(error.to_string().contains("Kafka::start"), "{error}");
}
