//! Followed files that are rotated, cut, deleted and made anew, while a mill follows them and while none does.
#![allow(clippy::unwrap_used, clippy::panic)]

mod followed;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use followed::{EOS, Trial, line, stop, told, until};
use watermill_core::MillHandle;
use watermill_json_file::Follow;

#[test]
fn renamed_and_made_anew() {
    let trial = Trial::new();
    let run = trial.start();
    let mut old: Option<File> = None;
    for turn in 0..6 {
        let from = turn * 10;
        trial.put("log", &line(from));
        // What is still open goes on being written for a while.
        if let Some(mut old) = old.take() {
            drop(old.flush());
        }
        trial.put("log", &line(from + 1));
        if turn % 2 == 0 {
            trial.until_copied(0..from + 2);
        }
        let mut file = OpenOptions::new().append(true).open(trial.at("log")).unwrap();
        for number in (1..4).rev() {
            let (from, to) = (format!("log.{number}"), format!("log.{}", number + 1));
            if trial.at(&from).exists() {
                trial.rename(&from, &to);
            }
        }
        trial.rename("log", "log.1");
        if turn % 3 == 0 {
            File::create(trial.at("log")).unwrap();
        }
        for number in from + 2..from + 10 {
            file.write_all(line(number).as_bytes()).unwrap();
            if number % 4 == 0 {
                trial.until_copied(0..number + 1);
            }
        }
        old = Some(file);
    }
    trial.put("log", &line(60));
    trial.until_copied(0..61);
    stop(run);
}

#[test]
fn rotated_twice_between_two_looks() {
    let mut trial = Trial::new();
    trial.put("log", &line(0));
    let run = trial.start();
    trial.until_copied(0..1);
    stop(run);
    // While no run is there, nothing is looked at.
    trial.put("log", &line(1));
    trial.rename("log", "log.1");
    trial.put("log", &line(2));
    trial.rename("log.1", "log.2");
    trial.rename("log", "log.1");
    trial.put("log", &line(3));
    trial.rename("log.2", "log.3");
    trial.rename("log.1", "log.2");
    trial.rename("log", "log.1");
    trial.put("log", &line(4));
    trial.batch_bytes = 1;
    let run = trial.start();
    trial.until_copied(0..5);
    stop(run);
}

/// The last line of a file that is rotated away has no line feed, and will never have one.
#[test]
fn a_line_that_was_cut_by_a_rotation() {
    for skip in [false, true] {
        let trial = Trial { skip, ..Trial::new() };
        trial.put("log", &format!("{}{{\"n\":7", line(0)));
        let run = trial.start();
        trial.until_copied(0..1);
        trial.rename("log", "log.1");
        trial.put("log", &line(1));
        if skip {
            trial.until_copied(0..2);
            let report = stop(run);
            assert_eq!(report.inputs[0].skipped, 1, "{report}");
        } else {
            let error = run.wait_blocking().unwrap_err();
            assert!(told(&error).contains("byte 8"), "{}", told(&error));
            assert!(told(&error).contains("in the middle"), "{}", told(&error));
            // Mended, it goes on.
            trial.put("log.1", "}\n");
            let run = trial.start();
            until("the mended line", || trial.out().lines().count() == 3);
            stop(run);
            assert_eq!(trial.out(), format!("{}{}{}", line(0), line(7), line(1)));
        }
    }
}

#[test]
fn copied_and_cut() {
    let trial = Trial::new();
    let run = trial.start();
    let mut number = 0;
    for turn in 0..5 {
        trial.put("log", &line(number));
        trial.until_copied(0..number + 1);
        // Not all of it may be read when it is cut.
        trial.put("log", &(number + 1..number + 50).map(line).collect::<String>());
        number += 50;
        trial.copy_and_cut(&format!("log.old-{turn}"));
        if turn % 2 == 0 {
            trial.until_copied(0..number);
        }
        // It may have grown beyond what it was before anybody looks.
        trial.put("log", &(number..number + 200).map(line).collect::<String>());
        number += 200;
        trial.until_copied(0..number);
    }
    stop(run);
}

/// Of a file no more than the beginning of its first line was read when it is copied and cut, and what comes then begins alike.
#[test]
fn cut_in_its_first_line() {
    for (alive, renamed) in [(true, false), (false, false), (true, true), (false, true)] {
        for copies in 1..4 {
            let mut trial = Trial::new();
            // Nobody looks before it is over.
            trial.follow = Follow::new().every(Duration::from_millis(if alive { 500 } else { 1 }));
            // Older ones begin so, too.
            trial.put("log.1", &line(18));
            trial.put("log.2", &line(17));
            trial.put("log", &line(10)[..6]);
            let waiting = || {
                let run = trial.start();
                let state = || fs::read_to_string(trial.at(".out.ndjson.state")).unwrap_or_default();
                until("a commit that knows of it", || state().contains("\"seen\":{\"length\":6"));
                run
            };
            let mut run = Some(waiting());
            if !alive {
                run.take().map(stop);
                stop(waiting());
            }
            trial.put("log", &line(10)[6..]);
            let mut number = 11;
            for _ in 0..copies {
                trial.rotate();
                trial.copy_and_cut("log.1");
                trial.put("log", &line(number));
                number += 1;
            }
            if renamed {
                trial.rotate();
                trial.rename("log", "log.1");
                trial.put("log", &line(number));
                number += 1;
            }
            let run = run.unwrap_or_else(|| trial.start());
            trial.until_copied(10..number);
            trial.put("log", &line(number));
            trial.until_copied(10..number + 1);
            stop(run);
        }
    }
}

/// What is copied beside a file that goes on growing is no reason to leave it.
#[test]
fn copied_and_not_cut() {
    for alive in [true, false] {
        let trial = Trial::new();
        trial.put("log", &line(10)[..6]);
        let run = trial.start();
        until("waiting", || run.watch().waiting_for.is_some());
        let run = if alive {
            Some(run)
        } else {
            stop(run);
            None
        };
        fs::copy(trial.at("log"), trial.at("log.1")).unwrap();
        trial.put("log", &format!("{}{}", &line(10)[6..], line(11)));
        fs::copy(trial.at("log"), trial.at("log.2")).unwrap();
        trial.put("log", &line(12));
        let run = run.unwrap_or_else(|| trial.start());
        trial.until_copied(10..13);
        stop(run);
    }
}

#[test]
fn cut_without_a_copy() {
    let trial = Trial { skip: true, ..Trial::new() };
    let run = trial.start();
    trial.put("log", &format!("{}{{\"n\":", (0..10).map(line).collect::<String>()));
    trial.until_copied(0..10);
    until("waiting", || run.watch().waiting_for.is_some());
    trial.cut();
    trial.put("log", &line(10));
    trial.until_copied(0..11);
    // Cut and longer than before at once: told by its content.
    trial.cut();
    trial.put("log", &(11..40).map(line).collect::<String>());
    trial.until_copied(0..40);
    trial.cut();
    until("waiting", || run.watch().waiting_for.is_some());
    stop(run);
}

#[test]
fn deleted_and_made_anew() {
    let trial = Trial::new();
    let run = trial.start();
    for turn in 0..4 {
        trial.put("log", &line(turn * 3));
        trial.until_copied(0..turn * 3 + 1);
        let mut file = OpenOptions::new().append(true).open(trial.at("log")).unwrap();
        fs::remove_file(trial.at("log")).unwrap();
        file.write_all(line(turn * 3 + 1).as_bytes()).unwrap();
        trial.until_copied(0..turn * 3 + 2);
        file.write_all(line(turn * 3 + 2).as_bytes()).unwrap();
    }
    trial.put("log", EOS);
    assert_eq!(run.wait_blocking().unwrap().calls, 12);
    trial.until_copied(0..12);
}

/// Nothing comes for some runs behind a file that was deleted, and then a longer one.
#[test]
fn deleted_and_taken_up_again_and_again() {
    let trial = Trial::new();
    let mut run = trial.start();
    trial.put("log", &(0..3).map(line).collect::<String>());
    trial.until_copied(0..3);
    fs::remove_file(trial.at("log")).unwrap();
    for _ in 0..3 {
        stop(run);
        run = trial.start();
        until("waiting", || run.watch().waiting_for.is_some());
    }
    trial.put("log", &(3..20).map(line).collect::<String>());
    trial.until_copied(0..20);
    stop(run);
}

/// Lines are written to the old file up to the moment at which the new one is there.
#[test]
fn the_last_lines_before_a_rotation() {
    let trial = Trial::new();
    trial.put("log", &line(0));
    let run = trial.start();
    for turn in 0..300 {
        let number = turn * 5;
        trial.until_copied(0..number + 1);
        let mut old = OpenOptions::new().append(true).open(trial.at("log")).unwrap();
        trial.put("fresh", &line(number + 5));
        trial.rename("log", &format!("old-{turn}"));
        for number in number + 1..number + 5 {
            old.write_all(line(number).as_bytes()).unwrap();
        }
        trial.rename("fresh", "log");
    }
    trial.until_copied(0..1501);
    stop(run);
}

/// What can happen to a log.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    Renamed,
    RenamedAndMade,
    RenamedElsewhere,
    Copied,
    Deleted,
    Half,
}

impl Change {
    const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Renamed,
        Self::RenamedAndMade,
        Self::RenamedElsewhere,
        Self::Copied,
        Self::Deleted,
        Self::Half,
    ];

    /// Whether a file that was begun between the two is found when nobody was there.
    fn is_found_behind(self, first: Self) -> bool {
        let numbered = matches!(first, Self::Renamed | Self::RenamedAndMade | Self::Copied);
        match self {
            Self::Nothing | Self::Half | Self::Deleted => true,
            Self::RenamedElsewhere => matches!(first, Self::Nothing | Self::Half),
            _ => numbered || matches!(first, Self::Nothing | Self::Half),
        }
    }

    /// Does it; `number` is the next one.
    fn happen(self, trial: &Trial, number: &mut i64, turn: usize) {
        match self {
            Self::Nothing => {}
            Self::Renamed | Self::RenamedAndMade => {
                trial.rotate();
                trial.rename("log", "log.1");
                if matches!(self, Self::RenamedAndMade) {
                    trial.put("log", "");
                } else {
                    trial.put("log.1", &line(*number));
                    *number += 1;
                }
            }
            Self::RenamedElsewhere => trial.rename("log", &format!("2024-{turn}.old")),
            Self::Copied => {
                trial.rotate();
                trial.copy_and_cut("log.1");
            }
            Self::Deleted => fs::remove_file(trial.at("log")).unwrap(),
            Self::Half => {
                let (first, rest) = (line(*number)[..3].to_owned(), line(*number)[3..].to_owned());
                trial.put("log", &first);
                std::thread::sleep(Duration::from_millis(turn as u64));
                trial.put("log", &rest);
                *number += 1;
            }
        }
    }
}

/// Every change, while a run is there and while none is, before and behind every other one.
#[test]
fn stopped_and_taken_up_in_every_state() {
    for first in Change::ALL {
        for second in Change::ALL {
            if !second.is_found_behind(first) {
                continue;
            }
            for alive in [false, true] {
                let trial = Trial::new();
                let mut number = 0;
                let run = trial.start();
                trial.put("log", &line(number));
                number += 1;
                trial.until_copied(0..number);
                // What is deleted while nobody reads it is lost.
                let alive = alive || matches!(first, Change::Deleted);
                if alive {
                    first.happen(&trial, &mut number, 1);
                    trial.until_copied(0..number);
                    stop(run);
                } else {
                    stop(run);
                    first.happen(&trial, &mut number, 1);
                }
                let what = format!("{first:?}, {second:?}, {alive}");
                let deleted = matches!(second, Change::Deleted);
                if !deleted {
                    trial.put("log", &line(number));
                    number += 1;
                    second.happen(&trial, &mut number, 2);
                    trial.put("log", &line(number));
                    number += 1;
                }
                let run = trial.try_start().unwrap_or_else(|error| panic!("{what}: {}", told(&error)));
                println!("{what}");
                trial.until_copied(0..number);
                trial.put("log", &line(number));
                trial.until_copied(0..number + 1);
                stop(run);
            }
        }
    }
}

#[test]
fn what_was_lost_is_an_error_that_says_what_to_do() {
    let trial = Trial::new();
    trial.put("log", &(0..5).map(line).collect::<String>());
    let run = trial.start();
    trial.until_copied(0..5);
    stop(run);
    trial.put("log", &line(-1));
    fs::remove_file(trial.at("log")).unwrap();
    for _ in 0..2 {
        let error = trial.try_start().and_then(MillHandle::wait_blocking).unwrap_err();
        let told = told(&error);
        assert!(
            told.contains("is not found") && told.contains("accept_gaps") && told.contains("start_over"),
            "{told}"
        );
        fs::write(trial.at("log"), line(5)).unwrap();
    }
    let mut trial = trial;
    trial.follow = trial.follow.accept_gaps();
    let run = trial.start();
    trial.until_copied(0..6);
    stop(run);
}
