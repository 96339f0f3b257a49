//! Groups, as the client and Kafka's own tools see them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use watermill_servers::Kafka;
use watermill_servers::kafka::tools::{CONSOLE_CONSUMER, CONSUMER_GROUPS};
use watermill_servers::kafka::{GroupOffset, NewRecord, unique};

#[test]
fn offsets_of_a_group_are_set_and_seen_by_kafkas_tools() {
    let kafka = Kafka::shared().unwrap();
    let client = kafka.client();
    let topic = kafka.fresh_topic("lag", 1).unwrap();
    let group = unique("group");
    client.produce(&[NewRecord::new(&topic).value("a"), NewRecord::new(&topic).value("b")]).unwrap();
    assert_eq!(client.group_offsets(&group).unwrap(), []);
    let offset = GroupOffset { metadata: "kept:\t7".to_owned(), ..GroupOffset::new(&topic, 0, 1) };
    client.set_group_offsets(&group, std::slice::from_ref(&offset)).unwrap();
    assert_eq!(client.group_offsets(&group).unwrap(), [offset]);

    let told = kafka.tool(CONSUMER_GROUPS, &["--group", &group, "--describe"]).unwrap();
    let line = told.lines().find(|line| line.contains(&topic)).unwrap();
    let columns: Vec<&str> = line.split_whitespace().collect();
    // Group, topic, partition, then the group's offset, the end and the lag.
    assert_eq!(columns[..6], [&group, &topic, "0", "1", "2", "1"], "{told}");
    let reset = ["--group", &group, "--topic", &topic, "--reset-offsets", "--to-earliest", "--execute"];
    kafka.tool(CONSUMER_GROUPS, &reset).unwrap();
    assert_eq!(client.group_offsets(&group).unwrap()[0].offset, 0);

    client.delete_group_offsets(&group, &[(&topic, 0)]).unwrap();
    assert_eq!(client.group_offsets(&group).unwrap(), []);
    let error = kafka.tool(CONSUMER_GROUPS, &["--no-such-option"]).unwrap_err();
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn members_of_a_group_are_told_with_their_partitions() {
    let kafka = Kafka::shared().unwrap();
    let client = kafka.client();
    let topic = kafka.fresh_topic("members", 2).unwrap();
    let group = unique("group");
    let mut consumer = kafka
        .command(CONSOLE_CONSUMER, &["--topic", &topic, "--group", &group])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let found = loop {
        // There is no such group before the consumer asks for it.
        match client.describe_group(&group) {
            Ok(found) if found.members.iter().any(|member| !member.assigned.is_empty()) => break found,
            other => assert!(Instant::now() < end, "{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    assert_eq!(found.state, "Stable");
    assert_eq!(found.members.len(), 1);
    assert_eq!(found.members[0].assigned, [(topic.clone(), 0), (topic, 1)]);
    assert!(client.groups().unwrap().contains(&group));
}
