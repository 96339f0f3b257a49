//! A process that is away for longer than its session, and comes back when others have its lanes.

use std::thread;
use std::time::{Duration, Instant};

use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::{Load, Trial};
use watermill_servers::kafka::Kafka;

use crate::{LONG, PROGRAM};

/// While one process is paused, another one takes its lanes over; resumed, it goes on as a member, and in the end everything is there once.
fn paused(kind: Kind, partitions: u32, every: Duration) {
    let kafka = Kafka::shared().unwrap();
    let mut trial = Trial::new(kafka, PROGRAM, kind, partitions);
    trial.settings =
        trial.settings.clone().option("session.timeout.ms", 6000).option("heartbeat.interval.ms", 500);
    trial.settings.every = every;
    let what = format!("a zombie of {partitions} lanes, {}", kind.name());
    let began = Instant::now();
    thread::scope(|scope| {
        let load = Load::start(scope, &trial, 20, Duration::from_millis(50));
        let mut zombie = trial.start("the zombie", &trial.settings);
        zombie.await_told("walk begins", LONG);
        let before = trial.progress();
        trial.await_more(before, LONG, &what);
        zombie.signal("STOP");
        let paused = Instant::now();
        let stood = trial.progress();
        let mut heir = trial.start("the heir", &trial.settings);
        heir.await_told("walk begins", LONG);
        // Every lane goes on with the other one.
        while heir.times_told("walk begins") < partitions as usize {
            thread::sleep(Duration::from_millis(10));
        }
        trial.await_more(stood, LONG, &what);
        let over = paused.elapsed();
        thread::sleep(Duration::from_millis(500));
        zombie.signal("CONT");
        thread::sleep(Duration::from_secs(4));
        assert!(zombie.is_there(), "{what}: it has ended:\n{}", zombie.told());
        assert!(heir.is_there(), "{what}: its heir has ended:\n{}", heir.told());
        load.end(&trial);
        let heir = heir.wait(LONG).expect_success(&what);
        let zombie = zombie.wait(LONG).expect_success(&what);
        trial.assert_complete(&format!("{what}\n-- zombie:\n{}-- heir:\n{}", zombie.told, heir.told));
        println!(
            "{what}: taken over after {:.1} s; fenced {} times, {} records a partition, {:.1} s",
            over.as_secs_f64(),
            zombie.told.matches("a transaction has failed").count(),
            trial.count(),
            began.elapsed().as_secs_f64()
        );
    });
}

#[test]
fn a_process_that_was_paused_past_its_session_commits_nothing_and_goes_on() {
    paused(Kind::SelfJoin, 3, Duration::from_millis(20));
}

/// Its sole lane is walked on the run's own thread.
#[test]
fn a_process_of_one_lane_that_was_paused_past_its_session() {
    paused(Kind::TwoTopics, 1, Duration::from_millis(20));
}
