//! A broker that is gone for longer.

use std::thread;
use std::time::{Duration, Instant};

use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::Trial;
use watermill_servers::KafkaOptions;
use watermill_servers::kafka::Kafka;

use crate::{LONG, PROGRAM};

const GONE: &str = "Kafka cannot be reached";
const BACK: &str = "Kafka can be reached again";

/// While it is waited for, it is told once, whatever clients there are; it goes on by itself, also when nothing comes for a while; and what lies behind does
/// not count when it happens again.
#[test]
fn a_broker_that_is_gone_is_told_once_and_waited_for() {
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let mut trial = Trial::new(&kafka, PROGRAM, Kind::TwoTopics, 3);
    let patience = Duration::from_secs(25);
    trial.settings.retry = Some(patience);
    trial.fill(100);
    let mut program = trial.start("the program", &trial.settings);
    program.await_told("walk begins", LONG);
    trial.await_more(100, LONG, "before");
    let mut first = None;
    for times in 1..=2 {
        // In the middle of nothing.
        thread::sleep(Duration::from_secs(2));
        kafka.node(0).unwrap().kill().unwrap();
        let _ = first.get_or_insert_with(Instant::now);
        thread::sleep(Duration::from_secs(4));
        assert_eq!(program.times_told(GONE), times, "{}", program.told());
        kafka.node(0).unwrap().restart().unwrap();
        let back = Instant::now();
        while program.times_told(BACK) < times {
            assert!(back.elapsed() < LONG, "{}", program.told());
            thread::sleep(Duration::from_millis(20));
        }
        println!("a broker that was gone: told again after {:.1} s", back.elapsed().as_secs_f64());
    }
    // Longer than it may be gone, counted from the first time.
    let since = first.map_or(patience, |first| first.elapsed());
    thread::sleep((patience + Duration::from_secs(1)).saturating_sub(since));
    trial.fill(100);
    trial.end();
    let ended = program.wait(LONG).expect_success("after an outage");
    trial.assert_complete(&ended.told);
    assert_eq!(
        (ended.told.matches(GONE).count(), ended.told.matches(BACK).count()),
        (2, 2),
        "{}",
        ended.told
    );
}

#[test]
fn a_broker_that_stays_away_is_one_clear_error() {
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let mut trial = Trial::new(&kafka, PROGRAM, Kind::SelfJoin, 3);
    trial.settings.retry = Some(Duration::from_secs(3));
    trial.fill(100);
    let mut program = trial.start("the program", &trial.settings);
    program.await_told("walk begins", LONG);
    trial.await_more(100, LONG, "before");
    kafka.node(0).unwrap().kill().unwrap();
    let killed = Instant::now();
    let ended = program.wait(LONG);
    let took = killed.elapsed();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.told);
    let failed: Vec<&str> = ended.told.lines().filter(|line| line.starts_with("failed: ")).collect();
    assert_eq!(failed.len(), 1, "{}", ended.told);
    assert!(failed[0].contains("no server could be reached for "), "{}", ended.told);
    assert_eq!(ended.told.matches(GONE).count(), 1, "{}", ended.told);
    assert!(took < Duration::from_secs(8), "it took {took:?}\n{}", ended.told);
    println!(
        "a broker that stays away: after {:.1} s, with 3 s of patience: {}",
        took.as_secs_f64(),
        failed[0]
    );
}

/// With `.restart(..)` a run survives what it was too impatient for.
#[test]
fn a_run_that_may_restart_does_so_until_the_broker_is_back() {
    let kafka = Kafka::start(KafkaOptions::new()).unwrap();
    let mut trial = Trial::new(&kafka, PROGRAM, Kind::SelfJoin, 3);
    trial.settings.retry = Some(Duration::from_secs(1));
    trial.settings.restarts = 100;
    // The group waits for the member of the run before, which could not say that it leaves.
    trial.settings = trial.settings.clone().option("session.timeout.ms", 6000);
    trial.fill(100);
    let mut program = trial.start("the program", &trial.settings);
    program.await_told("walk begins", LONG);
    trial.await_more(100, LONG, "before");
    kafka.node(0).unwrap().kill().unwrap();
    program.await_told("the run goes back to its last commit", LONG);
    thread::sleep(Duration::from_secs(1));
    kafka.node(0).unwrap().restart().unwrap();
    let back = Instant::now();
    let before = trial.progress();
    trial.fill(100);
    trial.await_more(before, LONG, "a run that restarts");
    println!("a run that restarts: commits {:.1} s after the broker is back", back.elapsed().as_secs_f64());
    trial.end();
    let ended = program.wait(LONG).expect_success("a run that restarts");
    trial.assert_complete(&ended.told);
}
