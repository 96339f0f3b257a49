//! `kill -9` of programs that read from one kind of broker and write to another: the positions live where the results are, so each record counts once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use watermill_crash::process::Process;
use watermill_crash::seed::Seed;
use watermill_mongodb_crash::pair_trial::PairTrial;
use watermill_mongodb_crash::pairs::Pair;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pair-mill");

/// More than any run takes.
const LONG: Duration = Duration::from_secs(180);

/// The first commit of a run comes within this time, if it comes at all.
const FIRST_COMMIT: Duration = Duration::from_secs(20);

/// How many kills at random moments.
const KILLS: u64 = 10;

/// Kills the program at random moments and then at every one of `steps` of a commit, and lets it come to its end.
fn killed(pair: Pair, steps: &[&str]) {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{first}", pair.name()));
    // More than all runs get done.
    let mut trial = PairTrial::new(PROGRAM, directory, pair, 1500);
    let what = format!("{}, seed {first}", pair.name());
    let began = Instant::now();
    let mut idle = 0;
    trial.settings.call = Duration::from_millis(1);
    for kill in 0..KILLS {
        trial.settings.every = Duration::from_millis([10, 50, 200][seed.below(3) as usize]);
        let before = trial.progress();
        let program = trial.start(&format!("run {kill}"));
        // Now and then while it starts.
        if kill % 4 < 3 {
            // While it works, however long it takes to get there on a machine that has other things to do.
            let since = Instant::now();
            while trial.progress() == before && since.elapsed() < FIRST_COMMIT {
                thread::sleep(Duration::from_millis(5));
            }
        }
        thread::sleep(Duration::from_millis(seed.below(400)));
        let ended = program.kill();
        assert!(ended.was_killed(), "{what}: {} {}\n{}", ended.name, ended.status, ended.told);
        idle += u64::from(trial.progress() == before);
    }
    for step in steps {
        trial.settings.every = Duration::from_millis(20);
        // What is passed once in the end, or again and again.
        let last = step.starts_with("publish");
        trial.settings.call = Duration::from_millis(u64::from(!last));
        let pass = if last { 1 } else { 1 + seed.below(2) };
        let mut command = trial.program();
        command.env("WATERMILL_FAULT", format!("{step}:{pass}"));
        let ended = Process::start(step, command).wait(LONG);
        // Files die by `abort`, the others by SIGKILL.
        assert!(ended.status.code().is_none(), "{what}: {} {}\n{}", ended.name, ended.status, ended.told);
    }
    trial.settings.call = Duration::ZERO;
    let _ = trial.start("the last run").wait(LONG).expect_success(&what);
    trial.assert_complete(&what);
    assert!(idle < KILLS / 2, "{what}: {idle} runs came to nothing");
    println!(
        "{what}: {KILLS} kills, {idle} of them before a commit, and {} within one; {} results, {:.1} s",
        steps.len(),
        trial.count(),
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn partitions_into_a_collection() {
    killed(Pair::KafkaToMongo, &["begun", "half-written", "filled", "committed"]);
}

#[test]
fn a_file_into_a_collection() {
    killed(Pair::FileToMongo, &["begun", "half-written", "filled", "committed"]);
}

#[test]
fn a_collection_into_a_topic() {
    killed(Pair::MongoToKafka, &["begun", "half-sent", "drained", "offsets-sent", "commit", "committed"]);
}

#[test]
fn a_collection_into_a_file() {
    killed(
        Pair::MongoToFile,
        &["flushed", "synced", "state-created", "state-written", "state-renamed", "publish", "published"],
    );
}
