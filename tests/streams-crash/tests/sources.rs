//! A source that is killed and started again, while what it reads grows: nothing is lost, and nothing comes twice.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::tempdir;
use watermill::prelude::*;
use watermill_crash::process::Process;
use watermill_crash::seed::Seed;
use watermill_servers::Mongo;
use watermill_servers::kafka::{Kafka, NewRecord};
use watermill_streams_crash::Item;

const PROGRAM: &str = env!("CARGO_BIN_EXE_source-program");
const KILLS: u64 = 8;
const SLICE: u32 = 400;

/// Kills a source again and again while `feed` adds items, and looks at what is in the stream in the end.
fn trial(kind: &str, from: &str, feed: impl Fn(&[Item]) + Sync) {
    let directory = tempdir().unwrap();
    let file = directory.path().join("streams.db").display().to_string();
    let start = || {
        let mut command = Command::new(PROGRAM);
        command.args([kind, from, &file]);
        Process::start(kind, command)
    };
    let streams = Streams::open(&format!("sqlite:{file}")).unwrap();
    let items = streams.stream::<Item>("items").unwrap();
    let mut seed = Seed::new(Seed::of_environment());
    let mut before = 0;
    let mut interrupted = 0;
    let mut process = start();
    for turn in 0..=KILLS {
        let first = u32::try_from(turn).unwrap() * SLICE;
        let slice: Vec<Item> =
            (first..first + SLICE).map(|number| Item { producer: 0, start: 0, number }).collect();
        let parts = || slice.chunks(SLICE as usize / 4).for_each(&feed);
        if turn == KILLS {
            parts();
            break;
        }
        // In the middle of its work.
        let ended = std::thread::scope(|scope| {
            let feeding = scope.spawn(parts);
            let since = Instant::now();
            while items.len().unwrap() == before && since.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(seed.below(60)));
            let ended = process.kill();
            feeding.join().unwrap();
            ended
        });
        assert!(ended.was_killed(), "{kind} ended by itself: {}", ended.told);
        let there = items.len().unwrap();
        interrupted += usize::from(there > before && there < u64::from(first + SLICE));
        before = there;
        process = start();
    }
    let all = u64::from(SLICE) * (KILLS + 1);
    let since = Instant::now();
    while items.len().unwrap() < all {
        assert!(
            since.elapsed() < Duration::from_secs(90),
            "{} of {all}\n{}",
            items.len().unwrap(),
            process.told()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // What would come twice has time to come.
    std::thread::sleep(Duration::from_millis(500));
    drop(process);
    let numbers: Vec<u32> =
        items.buffer().unwrap().iter().map(|message| message.get::<Item>().unwrap().number).collect();
    assert_eq!(numbers, (0..SLICE * (u32::try_from(KILLS).unwrap() + 1)).collect::<Vec<_>>());
    println!("{kind}: {KILLS} kills, {interrupted} of them with a part of what was there");
}

#[test]
fn a_file_that_is_followed() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("items.ndjson");
    trial("file", &path.display().to_string(), |slice| {
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        for item in slice {
            writeln!(file, "{}", serde_json::to_string(item).unwrap()).unwrap();
        }
    });
}

#[test]
fn a_topic_of_kafka() {
    let kafka = Kafka::shared().unwrap();
    let topic = kafka.fresh_topic("items", 1).unwrap();
    trial("kafka", &format!("{}/{topic}", kafka.bootstrap()), |slice| {
        let record = |item| NewRecord::new(&topic).partition(0).value(serde_json::to_string(item).unwrap());
        kafka.client().produce(&slice.iter().map(record).collect::<Vec<_>>()).unwrap();
    });
}

fn of_mongo(kind: &str) {
    let mongo = Mongo::start(watermill_servers::MongoOptions::new()).unwrap();
    let database = mongo.fresh_database("items");
    let from = format!("{}/{database}", mongo.uri());
    trial(kind, &from, |slice| {
        let to = MongoBroker::new(mongo.uri(), &database).application(format!("feed {}", slice[0].number));
        let feed = MemoryBroker::new().read::<Item>(slice.to_vec()).and(to.write::<Item>("items"));
        Mill::new(|item: &Item| *item).progress(false).run_blocking(feed).unwrap();
    });
}

#[test]
fn a_collection_that_grows() {
    of_mongo("collection");
}

#[test]
fn the_changes_of_a_collection() {
    of_mongo("changes");
}
