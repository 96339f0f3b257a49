//! `kill -9` and SIGSTOP of programs over MongoDB, and of the server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::thread;
use std::time::{Duration, Instant};

use watermill_crash::process::Process;
use watermill_crash::seed::Seed;
use watermill_mongodb_crash::mills::Kind;
use watermill_mongodb_crash::trial::Trial;
use watermill_servers::{Mongo, MongoOptions};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mongodb-mill");

/// More than any run takes.
const LONG: Duration = Duration::from_secs(180);

/// The first commit of a run comes within this time, if it comes at all.
const FIRST_COMMIT: Duration = Duration::from_secs(20);

/// How many kills at random moments, for each of three mills.
const KILLS: u64 = 30;

/// How many kills of each of two servers.
const SERVER_KILLS: u64 = 10;

fn told(what: &str, kills: u64, idle: u64, trial: &Trial, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{what}: {kills} kills, {idle} of them before a commit, {} results, {seconds:.1} s",
        trial.count()
    );
}

/// Kills the program again and again, while the collection is filled as far as it has to be.
fn killed_at_random(mongo: &Mongo, kind: Kind, name: &str) {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let mut trial = Trial::new(mongo, PROGRAM, kind);
    let what = format!("{name}, seed {first}");
    let began = Instant::now();
    let (mut idle, mut last_idle) = (0, String::new());
    // What is read once must be there from the beginning, and more than all runs get done.
    trial.settings.call = Duration::from_millis(1);
    trial.fill(if kind == Kind::Watch { 40 } else { 130 * KILLS as i64 });
    for kill in 0..KILLS {
        if kind == Kind::Watch {
            trial.fill(60);
        }
        trial.settings.every = Duration::from_millis([10, 50, 200][seed.below(3) as usize]);
        let before = trial.progress();
        let program = trial.start(&format!("run {kill}"), &trial.settings);
        if seed.below(4) == 0 {
            // While it starts, or soon behind.
            thread::sleep(Duration::from_millis(seed.below(800)));
        } else {
            // While it works, however long it takes to get there on a machine that has other things to do.
            let since = Instant::now();
            while trial.progress() == before && since.elapsed() < FIRST_COMMIT {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(Duration::from_millis(seed.below(200)));
        }
        if kind == Kind::Watch {
            trial.fill(20);
        }
        thread::sleep(Duration::from_millis(seed.below(200)));
        let ended = program.kill();
        assert!(ended.was_killed(), "{what}: {} {}\n{}", ended.name, ended.status, ended.told);
        let came_to_nothing = trial.progress() == before;
        idle += u64::from(came_to_nothing);
        if came_to_nothing {
            last_idle = ended.told;
        }
    }
    if kind == Kind::Watch {
        trial.end();
    }
    trial.settings.call = Duration::ZERO;
    let _ = trial.start("the last run", &trial.settings).wait(LONG).expect_success(&what);
    trial.assert_complete(&what);
    assert!(idle < KILLS / 2, "{what}: {idle} runs came to nothing; the last of them:\n{last_idle}");
    told(&what, KILLS, idle, &trial, began);
}

#[test]
fn a_join_killed_at_random_moments() {
    killed_at_random(Mongo::shared().unwrap(), Kind::Read, "a collection");
}

#[test]
fn a_change_stream_killed_at_random_moments() {
    // Of its own: the log that a change stream is gone on with holds so many entries and no more, and the other tests write as many.
    let mongo = Mongo::start(MongoOptions::new()).unwrap();
    killed_at_random(&mongo, Kind::Watch, "a change stream");
}

#[test]
fn a_join_on_a_standalone_server_killed_at_random_moments() {
    let mongo = Mongo::start(MongoOptions::new().standalone()).unwrap();
    killed_at_random(&mongo, Kind::Read, "a standalone server");
}

#[test]
fn killed_at_every_step_of_a_commit() {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    for standalone in [false, true] {
        let own = standalone.then(|| Mongo::start(MongoOptions::new().standalone()).unwrap());
        let mongo = own.as_ref().unwrap_or_else(|| Mongo::shared().unwrap());
        let mut trial = Trial::new(mongo, PROGRAM, Kind::Read);
        let what = format!("steps of a commit, standalone {standalone}, seed {first}");
        let began = Instant::now();
        let mut deaths = 0;
        trial.fill(1200);
        trial.settings.every = Duration::from_millis(20);
        for round in 0..3 {
            for step in watermill_mongodb::FAULT_POINTS {
                if standalone && step == "begun" {
                    continue;
                }
                let pass = if round == 0 || step == "claimed" { 1 } else { 1 + seed.below(3) };
                let mut command = trial.program(&trial.settings);
                command.env("WATERMILL_FAULT", format!("{step}:{pass}"));
                let ended = Process::start(&format!("{step}:{pass}"), command).wait(LONG);
                assert!(ended.was_killed(), "{what}: {} {}\n{}", ended.name, ended.status, ended.told);
                deaths += 1;
            }
        }
        trial.settings.call = Duration::ZERO;
        let _ = trial.start("the last run", &trial.settings).wait(LONG).expect_success(&what);
        trial.assert_complete(&what);
        told(&what, deaths, 0, &trial, began);
    }
}

#[test]
fn two_programs_take_lanes_by_a_hash_from_each_other() {
    lanes_change_hands(Kind::Lanes, "lanes by a hash");
}

#[test]
fn two_programs_take_lanes_by_ranges_from_each_other() {
    lanes_change_hands(Kind::Ranges, "lanes by ranges");
}

/// Two programs walk four lanes; one of them is killed or paused for longer than its leases last, again and again.
fn lanes_change_hands(kind: Kind, name: &str) {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    let trial = Trial::new(Mongo::shared().unwrap(), PROGRAM, kind);
    let what = format!("{name}, seed {first}");
    let began = Instant::now();
    // By ranges each lane reads its own documents only, and is done the sooner.
    trial.fill(if kind == Kind::Ranges { 3000 } else { 1500 });
    let mut settings = trial.settings.clone();
    settings.call = Duration::from_millis(4);
    let (mut kills, mut stops) = (0, 0);
    let mut programs: Vec<Process> =
        (0..2).map(|number| trial.start(&format!("program {number}"), &settings)).collect();
    let mut number = 2;
    while trial.progress() < trial.count() * 7 / 10 && kills + stops < 16 {
        thread::sleep(Duration::from_millis(400 + seed.below(900)));
        let victim = seed.below(2) as usize;
        // In turn, so that there are enough of both, whatever the seed.
        if kills <= stops {
            let ended = std::mem::replace(
                &mut programs[victim],
                trial.start(&format!("program {number}"), &settings),
            )
            .kill();
            assert!(ended.was_killed(), "{what}: {} {}\n{}", ended.name, ended.status, ended.told);
            number += 1;
            kills += 1;
        } else {
            // For longer than a lease: the other one takes its lanes, and it comes back in the middle of what it did.
            programs[victim].signal("STOP");
            thread::sleep(Duration::from_millis(2200 + seed.below(1500)));
            programs[victim].signal("CONT");
            stops += 1;
        }
    }
    assert!(kills > 2 && stops > 2, "{what}: {kills} kills and {stops} stops are too few");
    let mut lost = 0;
    for program in programs {
        let ended = program.wait(LONG).expect_success(&what);
        lost += ended.told.matches("another process has taken the lane").count();
    }
    trial.assert_complete(&what);
    told(&format!("{what}, {stops} stops, {lost} lanes were seen to be lost"), kills, 0, &trial, began);
}

#[test]
fn the_server_is_killed() {
    let first = Seed::of_environment();
    let mut seed = Seed::new(first);
    for standalone in [false, true] {
        let options = MongoOptions::new();
        let mongo = Mongo::start(if standalone { options.standalone() } else { options }).unwrap();
        let trial = Trial::new(&mongo, PROGRAM, if standalone { Kind::Read } else { Kind::Watch });
        let what = format!("the server, standalone {standalone}, seed {first}");
        let began = Instant::now();
        trial.fill(1200);
        let mut settings = trial.settings.clone();
        settings.call = Duration::from_millis(1);
        let program = trial.start("the program", &settings);
        for _ in 0..SERVER_KILLS {
            thread::sleep(Duration::from_millis(200 + seed.below(500)));
            mongo.kill().unwrap();
            thread::sleep(Duration::from_millis(seed.below(600)));
            mongo.restart().unwrap();
        }
        if !standalone {
            trial.end();
        }
        let _ = program.wait(LONG).expect_success(&what);
        trial.assert_complete(&what);
        told(&what, SERVER_KILLS, 0, &trial, began);
    }
}
