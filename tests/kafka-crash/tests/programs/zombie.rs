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

/// As after a transaction that has timed out: the group says that the lane is this process's, and its producer can do nothing any more.
#[test]
fn a_lane_whose_producer_was_fenced_begins_again() {
    let kafka = Kafka::shared().unwrap();
    let mut trial = Trial::new(kafka, PROGRAM, Kind::SelfJoin, 2);
    trial.settings.every = Duration::from_millis(20);
    let what = "a fenced producer";
    let mut fenced = Duration::ZERO;
    thread::scope(|scope| {
        let load = Load::start(scope, &trial, 20, Duration::from_millis(50));
        let mut program = trial.start("the program", &trial.settings);
        // Lane 0 has its producer when it is walked.
        program.await_told("lane=0}: watermill: walk begins", LONG);
        trial.await_more(trial.progress(), LONG, what);
        // Another one of the same id, which does nothing.
        let id = format!("{}-0", trial.settings.application);
        drop(kafka.client().transactional(&id, &[]).unwrap());
        let since = Instant::now();
        program.await_told("begins again at its last commit", LONG);
        fenced = since.elapsed();
        while program.times_told("walk begins") < 3 {
            assert!(since.elapsed() < LONG, "{}", program.told());
            thread::sleep(Duration::from_millis(10));
        }
        load.end(&trial);
        let ended = program.wait(LONG).expect_success(what);
        trial.assert_complete(&ended.told);
    });
    println!("{what}: its lane went on after {:.1} s", fenced.as_secs_f64());
}
