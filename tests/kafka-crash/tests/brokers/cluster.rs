//! A cluster of three whose leaders are killed.

use std::thread;
use std::time::{Duration, Instant};

use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::{Load, Trial};
use watermill_servers::KafkaOptions;
use watermill_servers::kafka::Kafka;

use crate::{LONG, PROGRAM};

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
        for partition in 0..3 {
            trial.await_more(trial.progress(), LONG, what);
            let leader = kafka.client().leader(&trial.settings.from, partition).unwrap().unwrap();
            kafka.node_of_id(leader).unwrap().kill().unwrap();
            let killed = Instant::now();
            let before = trial.committed(partition);
            while trial.committed(partition) <= before {
                assert!(program.is_there(), "{what}: the run has ended:\n{}", program.told());
                assert!(killed.elapsed() < LONG, "{what}: partition {partition} stands:\n{}", program.told());
                thread::sleep(Duration::from_millis(20));
            }
            println!(
                "{what}: node {leader}, the leader of partition {partition}; its lane commits again after {:.1} s",
                killed.elapsed().as_secs_f64()
            );
            kafka.node_of_id(leader).unwrap().restart().unwrap();
        }
        load.end(&trial);
        let ended = program.wait(LONG).expect_success(what);
        trial.assert_complete(&format!("{what}\n{}", ended.told));
    });
    println!("{what}: {} records a partition, {:.1} s", trial.count(), began.elapsed().as_secs_f64());
}
