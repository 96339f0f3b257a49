//! The shared broker, and one of a test's own.
#![allow(clippy::unwrap_used)]

use watermill_servers::kafka::unique;
use watermill_servers::{Kafka, KafkaOptions};

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
    assert_eq!(client.describe_topic(&name).unwrap().len(), 3);
    let again = kafka.create_topic(&name, 3, 1, &[]).unwrap_err();
    assert_eq!(again.refusal(), Some("TopicExistsException"), "{again}");
    client.delete_topic(&name).unwrap();
    assert!(!client.topics().unwrap().contains(&name));
}

#[test]
fn a_killed_broker_comes_back_at_its_address() {
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let topic = kafka.fresh_topic("kept", 2).unwrap();
    let node = kafka.node(0).unwrap();
    let first = node.process_id();
    node.kill().unwrap();
    assert!(!node.is_running());
    node.restart().unwrap();
    assert_ne!(node.process_id(), first);
    assert_eq!(kafka.client().nodes().unwrap()[0].address, kafka.bootstrap());
    assert_eq!(kafka.client().describe_topic(&topic).unwrap().len(), 2);
}
