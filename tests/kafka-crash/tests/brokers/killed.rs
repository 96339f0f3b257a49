//! `kill -9` of the only broker, which comes back with its data.

use std::thread;
use std::time::{Duration, Instant};

use watermill_crash::seed::Seed;
use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::{Load, Trial};
use watermill_servers::KafkaOptions;
use watermill_servers::kafka::Kafka;

use crate::{LONG, PROGRAM};

const KILLS: u64 = 10;

#[test]
fn a_broker_that_is_killed_ten_times() {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let mut trial = Trial::new(&kafka, PROGRAM, Kind::TwoTopics, 3);
    trial.settings.every = Duration::from_millis(20);
    let what = format!("a broker killed, seed {first}");
    let began = Instant::now();
    let mut recovered = Vec::new();
    thread::scope(|scope| {
        let load = Load::start(scope, &trial, 20, Duration::from_millis(50));
        let mut program = trial.start("the program", &trial.settings);
        program.await_told("walk begins", LONG);
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(300 + seed.below(700)));
            kafka.node(0).unwrap().kill().unwrap();
            thread::sleep(Duration::from_millis(seed.below(500)));
            kafka.node(0).unwrap().restart().unwrap();
            let back = Instant::now();
            let before = trial.progress();
            let waited = Instant::now();
            while trial.progress() <= before {
                assert!(program.is_there(), "{what}: the run has ended:\n{}", program.told());
                assert!(waited.elapsed() < LONG, "{what}: no more is committed:\n{}", program.told());
                thread::sleep(Duration::from_millis(20));
            }
            recovered.push(back.elapsed().as_secs_f64());
        }
        load.end(&trial);
        let ended = program.wait(LONG).expect_success(&what);
        trial.assert_complete(&format!("{what}\n{}", ended.told));
    });
    let most = recovered.iter().copied().fold(0.0, f64::max);
    println!(
        "{what}: {KILLS} kills, commits go on {:.1} s after the broker is back, {most:.1} s at most, {} records a partition, {:.1} s",
        recovered.iter().sum::<f64>() / recovered.len() as f64,
        trial.count(),
        began.elapsed().as_secs_f64()
    );
}
