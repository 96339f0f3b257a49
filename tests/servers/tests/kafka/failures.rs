//! Brokers that are killed, stopped, paused and started again.

use std::time::{Duration, Instant};

use watermill_servers::kafka::{Isolation, NewRecord};
use watermill_servers::{Kafka, KafkaOptions};

#[test]
fn a_broker_comes_back_at_its_address_with_its_data() {
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let topic = kafka.fresh_topic("kept", 2).unwrap();
    let node = kafka.node(0).unwrap();
    let first = node.process_id();
    let records: Vec<_> = (0..5000)
        .map(|number| NewRecord::new(&topic).partition(number % 2).value(number.to_string()))
        .collect();
    kafka.client().produce(&records).unwrap();
    let before = kafka.client().read(&topic, Isolation::Committed).unwrap();
    assert_eq!(before.len(), 5000);

    node.kill().unwrap();
    assert!(!node.is_running());
    node.restart().unwrap();
    assert_ne!(node.process_id(), first);
    assert_eq!(kafka.client().nodes().unwrap()[0].address, kafka.bootstrap());
    assert_eq!(kafka.client().read(&topic, Isolation::Committed).unwrap(), before);

    node.stop().unwrap();
    assert!(!node.is_running());
    node.restart().unwrap();
    assert_eq!(kafka.client().read(&topic, Isolation::Committed).unwrap(), before);

    // A node that is paused says nothing, and then all of it.
    node.pause().unwrap();
    let topics = std::thread::scope(|scope| {
        let asked = scope.spawn(|| kafka.client().topics());
        std::thread::sleep(Duration::from_millis(500));
        assert!(!asked.is_finished());
        node.resume().unwrap();
        asked.join().unwrap().unwrap()
    });
    assert!(topics.contains(&topic));
}

#[test]
fn a_cluster_goes_on_when_a_leader_is_killed() {
    let kafka = Kafka::start(KafkaOptions::new().brokers(3)).unwrap();
    let client = kafka.client();
    assert_eq!(client.nodes().unwrap().len(), 3);
    let topic = kafka.fresh_topic("replicated", 1).unwrap();
    assert_eq!(client.describe_topic(&topic).unwrap()[0].replicas.len(), 3);
    client.produce(&[NewRecord::new(&topic).value("before")]).unwrap();

    let leader = client.leader(&topic, 0).unwrap().unwrap();
    kafka.node_of_id(leader).unwrap().kill().unwrap();
    client.produce(&[NewRecord::new(&topic).value("without it")]).unwrap();
    assert_ne!(client.leader(&topic, 0).unwrap(), Some(leader));
    assert_eq!(client.read(&topic, Isolation::Committed).unwrap().len(), 2);

    kafka.node_of_id(leader).unwrap().restart().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while client.describe_topic(&topic).unwrap()[0].in_sync.len() < 3 {
        assert!(Instant::now() < end, "the node that came back does not catch up");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.nodes().unwrap().len(), 3);
}

#[test]
fn a_broker_that_cannot_start_says_why() {
    let error = Kafka::start(KafkaOptions::new().property("log.retention.ms", "soon")).unwrap_err();
    assert!(error.to_string().contains("log.retention.ms"), "{error}");
    let error = Kafka::start(KafkaOptions::new().brokers(2)).unwrap_err();
    assert!(error.to_string().contains("1 or 3"), "{error}");
}
