//! Starts a broker, tells of it, and waits to be killed: for the test that servers end with the process that started them.
#![allow(clippy::expect_used, clippy::panic)]

use std::thread;
use std::time::Duration;

use watermill_servers::{Kafka, KafkaOptions};

fn main() {
    let kafka = Kafka::start(KafkaOptions::new()).expect("a broker starts");
    let node = kafka.node(0).expect("it has a node");
    println!("{} {}", node.process_id().expect("it has a process"), kafka.bootstrap());
    if std::env::args().nth(1).as_deref() == Some("panic") {
        panic!("as it was told to");
    }
    thread::sleep(Duration::from_secs(600));
}
