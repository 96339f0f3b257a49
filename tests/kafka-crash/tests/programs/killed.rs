//! `kill -9` of a program, at random moments and at every step of a commit.

use std::thread;
use std::time::{Duration, Instant};

use watermill_crash::process::Process;
use watermill_crash::seed::Seed;
use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::{Load, Trial};
use watermill_servers::kafka::{Kafka, unique};

use crate::{LONG, PROGRAM};

/// How many kills at random moments, for each mill.
const KILLS: u64 = 22;

/// How often each step of a commit is the last one.
const DEATHS: u64 = 3;

fn killed_at_random(kind: Kind, intervals: &[u64]) {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let kafka = Kafka::shared().unwrap();
    let mut trial = Trial::new(kafka, PROGRAM, kind, 3);
    // It has its lanes back at once.
    trial.settings.member = Some(unique("member"));
    let what = format!("{}, seed {first}", kind.name());
    let began = Instant::now();
    let mut idle = 0;
    thread::scope(|scope| {
        let load = Load::start(scope, &trial, 60, Duration::from_millis(100));
        for kill in 0..KILLS {
            let mut settings = trial.settings.clone();
            settings.every = Duration::from_millis(intervals[seed.below(intervals.len() as u64) as usize]);
            let before = trial.progress();
            let program = trial.start(&format!("run {kill}"), &settings);
            thread::sleep(Duration::from_millis(200 + seed.below(1300)));
            let ended = program.kill();
            assert!(ended.was_killed(), "{what}: {} {}\n{}", ended.name, ended.status, ended.told);
            idle += usize::from(trial.progress() == before);
        }
        load.end(&trial);
    });
    let _ = trial.start("the last run", &trial.settings).wait(LONG).expect_success(&what);
    trial.assert_complete(&what);
    println!(
        "{what}: {KILLS} kills, {idle} of them before a commit, {} records a partition, {:.1} s",
        trial.count(),
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn a_self_join_killed_at_random_moments() {
    killed_at_random(Kind::SelfJoin, &[20, 100, 400]);
}

/// The long interval is never over before the kill, but for what fills it up.
#[test]
fn a_join_of_two_topics_killed_at_random_moments() {
    killed_at_random(Kind::TwoTopics, &[20, 100, 1000, 5000]);
}

#[test]
fn killed_at_every_step_of_a_commit() {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let kafka = Kafka::shared().unwrap();
    let mut trial = Trial::new(kafka, PROGRAM, Kind::SelfJoin, 3);
    trial.settings.member = Some(unique("member"));
    let began = Instant::now();
    let mut deaths = 0;
    thread::scope(|scope| {
        let load = Load::start(scope, &trial, 60, Duration::from_millis(100));
        for round in 0..DEATHS {
            for step in watermill_kafka::FAULT_POINTS {
                // Lanes pass the steps at the same time: the second of them, or a later commit.
                let pass = if round == 0 { 1 } else { 1 + seed.below(3) };
                let mut settings = trial.settings.clone();
                settings.every = Duration::from_millis([20, 300][seed.below(2) as usize]);
                let mut command = trial.command(&settings);
                command.env("WATERMILL_FAULT", format!("{step}:{pass}"));
                let ended = Process::start(&format!("{step}:{pass}"), command).wait(LONG);
                assert!(ended.was_killed(), "seed {first}: {} {}\n{}", ended.name, ended.status, ended.told);
                deaths += 1;
            }
        }
        load.end(&trial);
    });
    let what = format!("steps of a commit, seed {first}");
    let _ = trial.start("the last run", &trial.settings).wait(LONG).expect_success(&what);
    trial.assert_complete(&what);
    println!(
        "{what}: {deaths} kills, {} records a partition, {:.1} s",
        trial.count(),
        began.elapsed().as_secs_f64()
    );
}
