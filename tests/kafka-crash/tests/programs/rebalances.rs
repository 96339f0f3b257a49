//! Processes of one application that join and leave while records come: in order by SIGTERM, or by `kill -9`.

use std::thread;
use std::time::{Duration, Instant};

use watermill_crash::process::Process;
use watermill_crash::seed::Seed;
use watermill_kafka_crash::records::Kind;
use watermill_kafka_crash::trial::{Load, Trial};
use watermill_servers::kafka::Kafka;

use crate::{LONG, PROGRAM};

/// How often a process joins or leaves.
const CHANGES: u64 = 24;

/// How many processes there are at most.
const MOST: usize = 4;

#[test]
fn processes_join_and_leave() {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let kafka = Kafka::shared().unwrap();
    let mut trial = Trial::new(kafka, PROGRAM, Kind::TwoTopics, 6);
    // One that is killed keeps its lanes for so long.
    trial.settings =
        trial.settings.clone().option("session.timeout.ms", 6000).option("heartbeat.interval.ms", 500);
    let what = format!("rebalances, seed {first}");
    let began = Instant::now();
    let (mut joined, mut left, mut killed, mut rebalances) = (0, 0, 0, 0);
    let count = |told: &str| told.matches("the group takes lanes back").count();
    thread::scope(|scope| {
        let load = Load::start(scope, &trial, 20, Duration::from_millis(100));
        let mut running: Vec<Process> = Vec::new();
        for change in 0..CHANGES {
            let leaves = running.len() == MOST || running.len() > 1 && seed.below(2) == 0;
            if leaves {
                let process = running.swap_remove(seed.below(running.len() as u64) as usize);
                // Not too many: each stops its lanes for six seconds.
                if killed < 4 && seed.below(3) == 0 {
                    killed += 1;
                    rebalances += count(&process.kill().told);
                } else {
                    left += 1;
                    process.signal("TERM");
                    rebalances += count(&process.wait(LONG).expect_success(&what).told);
                }
            } else {
                joined += 1;
                let mut settings = trial.settings.clone();
                settings.every = Duration::from_millis([20, 100, 500][seed.below(3) as usize]);
                running.push(trial.start(&format!("process {change}"), &settings));
            }
            thread::sleep(Duration::from_millis(300 + seed.below(1200)));
            for process in &mut running {
                assert!(process.is_there(), "{what}: a process has ended:\n{}", process.told());
            }
        }
        load.end(&trial);
        for process in running {
            rebalances += count(&process.wait(LONG).expect_success(&what).told);
        }
    });
    trial.assert_complete(&what);
    assert!(joined + left + killed >= 20);
    println!(
        "{what}: {joined} processes joined, {left} left, {killed} were killed, lanes were taken back {rebalances} times, {} records a partition, {:.1} s",
        trial.count(),
        began.elapsed().as_secs_f64()
    );
}
