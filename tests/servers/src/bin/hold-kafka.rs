//! Finds or starts a broker, tells of it, and waits to be killed: for tests of what happens to servers when their process ends, and of
//! where the shared one comes from.
//!
//! `hold-kafka`, `hold-kafka panic`, `hold-kafka wrong`, `hold-kafka shared`; `hold-kafka python` tells where Python's watermill is.
#![allow(clippy::expect_used, clippy::panic)]

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use watermill_servers::{Kafka, KafkaOptions};

fn main() -> ExitCode {
    let how = std::env::args().nth(1).unwrap_or_default();
    if how == "shared" {
        return match Kafka::shared() {
            Ok(kafka) => {
                println!("{} {}", kafka.bootstrap(), kafka.client().topics().expect("it answers").join(" "));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    if how == "python" {
        return match watermill_servers::python_watermill() {
            Ok(python) => {
                println!("{}", python.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    if how == "wrong" {
        let wrong = Kafka::start(KafkaOptions::new().property("log.retention.ms", "soon"));
        eprintln!("{}", wrong.expect_err("a broker does not start"));
        return ExitCode::FAILURE;
    }
    let kafka = Kafka::start(KafkaOptions::new()).expect("a broker starts");
    let node = kafka.node(0).expect("it has a node");
    println!("{} {}", node.process_id(), kafka.bootstrap());
    assert!(how != "panic", "as it was told to");
    thread::sleep(Duration::from_secs(600));
    ExitCode::SUCCESS
}
