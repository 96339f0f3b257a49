//! Starts a server for MongoDB's protocol, tells its process and address, and waits: for the tests that see whether servers end with
//! those who have started them. `hold-mongodb shared` tells which one is shared.
#![allow(clippy::expect_used, clippy::panic)]

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use watermill_servers::{Mongo, MongoOptions};

fn main() -> ExitCode {
    let how = std::env::args().nth(1).unwrap_or_default();
    if how == "shared" {
        return match Mongo::shared() {
            Ok(mongo) => {
                println!("{}", mongo.uri());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let mongo = Mongo::start(MongoOptions::new()).expect("a server starts");
    println!("{} {}", mongo.process_id().expect("it is ours"), mongo.uri());
    assert!(how != "panic", "as it was told to");
    thread::sleep(Duration::from_secs(600));
    ExitCode::SUCCESS
}
