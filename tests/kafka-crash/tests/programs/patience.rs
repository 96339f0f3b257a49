//! Functions that take long, and processes that have nothing to do.

use std::thread;
use std::time::{Duration, Instant};

use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::Trial;
use watermill_servers::kafka::Kafka;

use crate::{LONG, PROGRAM};

/// Longer than the group allows between two polls, also while another process joins and lanes are to be given back.
#[test]
fn a_function_that_takes_longer_than_the_poll_interval_is_not_evicted() {
    let kafka = Kafka::shared().unwrap();
    let mut trial = Trial::new(kafka, PROGRAM, Kind::SelfJoin, 4);
    trial.settings = trial
        .settings
        .clone()
        .option("session.timeout.ms", 6000)
        .option("max.poll.interval.ms", 6000)
        .option("heartbeat.interval.ms", 500);
    trial.fill(200);
    let mut slow = trial.settings.clone();
    slow.hang = Some((50, Duration::from_secs(9)));
    let began = Instant::now();
    let first = trial.start("the slow one", &slow);
    while first.told().matches("record 50 takes").count() < 4 {
        assert!(began.elapsed() < LONG, "not all lanes are in the call:\n{}", first.told());
        std::thread::sleep(Duration::from_millis(20));
    }
    // All its lanes are in that call when another process wants half of them.
    let mut second = trial.start("the other", &trial.settings);
    second.await_told("walk begins", LONG);
    let waited = began.elapsed();
    trial.end();
    let first = first.wait(LONG).expect_success("a slow function");
    let second = second.wait(LONG).expect_success("beside a slow function");
    trial.assert_complete(&format!("-- slow:\n{}-- other:\n{}", first.told, second.told));
    for told in ["lost=true", "took too long", "a transaction has failed"] {
        assert!(!first.told.contains(told), "it was evicted:\n{}", first.told);
    }
    // No call was made twice: none of its work was lost.
    let calls =
        first.told.matches("record 50 takes").count() + second.told.matches("record 50 takes").count();
    assert_eq!(calls, 4, "{}\n{}", first.told, second.told);
    println!(
        "a call of 9 s: lanes moved {:.1} s after the start, with what they had done",
        waited.as_secs_f64()
    );
}

#[test]
fn a_process_without_lanes_stands_by_and_takes_over() {
    let kafka = Kafka::shared().unwrap();
    let mut trial = Trial::new(kafka, PROGRAM, Kind::TwoTopics, 1);
    trial.settings =
        trial.settings.clone().option("session.timeout.ms", 6000).option("heartbeat.interval.ms", 500);
    trial.fill(100);
    let mut first = trial.start("the first", &trial.settings);
    first.await_told("walk begins", LONG);
    let mut standby = trial.start("the standby", &trial.settings);
    standby.await_told("Kafka is reached", LONG);
    thread::sleep(Duration::from_secs(2));
    assert!(standby.is_there() && standby.times_told("walk begins") == 0, "{}", standby.told());
    let before = trial.progress();
    assert!(before > 0);
    let ended = first.kill();
    let killed = Instant::now();
    trial.fill(100);
    trial.await_more(before, LONG, &format!("a standby\n{}", ended.told));
    let over = killed.elapsed();
    trial.end();
    let standby = standby.wait(LONG).expect_success("a standby");
    trial.assert_complete(&standby.told);
    println!("a standby took over {:.1} s after `kill -9`, of a session of 6 s", over.as_secs_f64());
}
