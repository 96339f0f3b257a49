//! A cluster of three whose leaders are killed.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use watermill_crash::process::Process;
use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::{Load, Trial};
use watermill_servers::KafkaOptions;
use watermill_servers::kafka::Kafka;

use crate::{LONG, PROGRAM};

/// Waits until every replica has everything: then any one of the nodes may go.
fn await_in_sync(kafka: &Kafka, topics: &[&str], program: &mut Process) {
    let since = Instant::now();
    for topic in topics.iter().copied().chain(["__consumer_offsets", "__transaction_state"]) {
        loop {
            let partitions = kafka.client().describe_topic(topic).unwrap_or_default();
            if !partitions.is_empty() && partitions.iter().all(|partition| partition.in_sync.len() == 3) {
                break;
            }
            assert!(since.elapsed() < LONG, "`{topic}` is not in sync: {partitions:?}\n{}", program.told());
            assert!(program.is_there(), "the run has ended:\n{}", program.told());
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Every partition has three replicas, of which two must have what is acknowledged. A leader is killed, and comes back: each of the three once.
#[test]
fn the_leader_of_a_partition_is_killed() {
    let kafka = Kafka::start(KafkaOptions::new().brokers(3)).unwrap();
    let mut trial = Trial::new(&kafka, PROGRAM, Kind::SelfJoin, 3);
    trial.settings.every = Duration::from_millis(50);
    let what = "a leader killed";
    let began = Instant::now();
    thread::scope(|scope| {
        let load = Load::start(scope, &trial, 20, Duration::from_millis(50));
        let mut program = trial.start("the program", &trial.settings);
        program.await_told("walk begins", LONG);
        let mut kills = Vec::new();
        for partition in 0..3 {
            await_in_sync(&kafka, &[&trial.settings.from, &trial.settings.to], &mut program);
            let leader = kafka.client().leader(&trial.settings.from, partition).unwrap().unwrap();
            kafka.node_of_id(leader).unwrap().kill().unwrap();
            kills.push((partition, leader, SystemTime::now()));
            // Others take over after four seconds.
            thread::sleep(Duration::from_secs(8));
            assert!(program.is_there(), "{what}: the run has ended:\n{}", program.told());
            kafka.node_of_id(leader).unwrap().restart().unwrap();
        }
        load.end(&trial);
        let ended = program.wait(LONG).expect_success(what);
        trial.assert_complete(&format!("{what}\n{}", ended.told));
        for (partition, leader, at) in kills {
            println!(
                "{what}: node {leader}, which led partition {partition}; its lane went on after {:.1} s",
                trial.silence_after(partition, at).as_secs_f64()
            );
        }
    });
    println!("{what}: {} records a partition, {:.1} s", trial.count(), began.elapsed().as_secs_f64());
}
