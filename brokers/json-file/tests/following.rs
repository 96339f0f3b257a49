//! Files that grow, are rotated, cut, deleted and made anew while mills follow them, and while none does.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use watermill_core::error::RunError;
use watermill_core::record::Json;
use watermill_core::{EndReason, Mill, MillHandle, OnBad, RunReport};
use watermill_json_file::{Follow, Format, JsonFileBroker};

/// What takes longer than this never comes.
const NEVER: Duration = Duration::from_secs(300);

/// Waits for something to become true.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < NEVER, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A directory with a log, and a mill that copies it.
struct Trial {
    directory: tempfile::TempDir,
    follow: Follow,
    skip: bool,
    batch_bytes: usize,
}

impl Trial {
    fn new() -> Self {
        let follow = Follow::new().every(Duration::from_millis(1));
        Self { directory: tempfile::tempdir().unwrap(), follow, skip: false, batch_bytes: 1 << 18 }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn broker(&self) -> JsonFileBroker {
        JsonFileBroker::new()
            .batch_bytes(self.batch_bytes)
            .read::<Json>(self.at("log"))
            .follow_with(self.follow.clone())
            .write::<Json>(self.at("out.ndjson"))
            .append()
    }

    fn try_start(&self) -> Result<MillHandle, RunError> {
        let mill = Mill::new(|line: &Json| line.clone()).commit_every(Duration::from_millis(1));
        let mill = if self.skip { mill.on_bad::<Json>(OnBad::Skip) } else { mill };
        mill.start(self.broker())
    }

    fn start(&self) -> MillHandle {
        self.try_start().unwrap()
    }

    /// Appends to a file.
    fn put(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.at(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    /// Copies the log, and cuts it.
    fn copy_and_cut(&self, to: &str) {
        fs::copy(self.at("log"), self.at(to)).unwrap();
        self.cut();
    }

    fn cut(&self) {
        OpenOptions::new().write(true).open(self.at("log")).unwrap().set_len(0).unwrap();
    }

    fn out(&self) -> String {
        fs::read_to_string(self.at("out.ndjson")).unwrap_or_default()
    }

    /// Waits until these numbers were copied, in this order and no others.
    #[track_caller]
    fn until_copied(&self, numbers: std::ops::Range<i64>) {
        let wanted: String = numbers.map(line).collect();
        until("a copy", || {
            let out = self.out();
            assert!(wanted.starts_with(&out), "{out}\ninstead of\n{wanted}");
            out == wanted
        });
    }
}

fn line(number: i64) -> String {
    format!("{{\"n\":{number}}}\n")
}

/// Waits until a run has read all there is and waits for more.
#[track_caller]
fn stop(run: MillHandle) -> RunReport {
    run.stop();
    let report = run.wait_blocking().unwrap();
    assert_eq!(report.end, EndReason::Stopped, "{report}");
    report
}

fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

const EOS: &str = "{\"eos__\":true}\n";

#[test]
fn lines_that_come_in_pieces() {
    let trial = Trial::new();
    let run = trial.start();
    // The file is not there yet.
    until("waiting", || run.watch().waiting_for.is_some());
    let text = "\u{feff}{\"n\":0}\r\n\n  \n{\"n\":1}\n{\"n\":2}{\"n\":3}\n{\"n\":4}\n";
    let mut sent = Vec::new();
    for byte in text.replace("}{", "}\n{").bytes() {
        trial.put("log", "");
        OpenOptions::new().append(true).open(trial.at("log")).unwrap().write_all(&[byte]).unwrap();
        sent.push(byte);
        let whole = sent.iter().filter(|byte| **byte == b'n').count() as i64;
        // A record is there when its line feed is, and not before.
        let ended =
            if sent.contains(&b'n') && byte != b'\n' && !sent.ends_with(b" ") { whole - 1 } else { whole };
        if byte == b'\n' {
            trial.until_copied(0..ended);
        } else {
            assert!(!trial.out().contains(&format!(":{whole}")));
        }
    }
    trial.put("log", "{\"n\":5}");
    trial.put("log", "\n{\"eos__\":");
    trial.until_copied(0..6);
    trial.put("log", "true}\nnever read\n");
    let report = run.wait_blocking().unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    trial.until_copied(0..6);
    // It is done for good.
    assert_eq!(trial.start().wait_blocking().unwrap().calls, 0);
    trial.until_copied(0..6);
}

#[test]
fn a_stop_wakes_a_run_that_waits() {
    let mut trial = Trial::new();
    trial.follow = Follow::new().every(Duration::from_secs(3600));
    let run = trial.start();
    until("waiting", || run.watch().waiting_for.is_some());
    let asked = Instant::now();
    assert_eq!(stop(run).calls, 0);
    assert!(asked.elapsed() < NEVER);
}

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
        let rotate = || {
            for old in (1..9).rev() {
                if trial.at(&format!("log.{old}")).exists() {
                    trial.rename(&format!("log.{old}"), &format!("log.{}", old + 1));
                }
            }
        };
        match self {
            Self::Nothing => {}
            Self::Renamed | Self::RenamedAndMade => {
                rotate();
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
                rotate();
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

#[test]
fn commits_while_it_waits() {
    let trial = Trial::new();
    let mill = Mill::new(|line: &Json| line.clone()).commit_every(Duration::from_millis(300));
    let run = mill.start(trial.broker()).unwrap();
    trial.put("log", &line(0));
    trial.until_copied(0..1);
    until("waiting", || run.watch().waiting_for.is_some());
    let state = || fs::metadata(trial.at(".out.ndjson.state")).unwrap().modified().unwrap();
    let committed = state();
    // Nothing more is committed while nothing more comes: the run looked often enough by now to have done so.
    let since = Instant::now();
    until("some time", || since.elapsed() > Duration::from_millis(900));
    assert_eq!(state(), committed);
    stop(run);
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("array"), " \n[1,2]").unwrap();
    fs::write(at("gzip"), [0x1f, 0x8b, 8, 0, 0, 0]).unwrap();
    fs::write(at("zstd"), [0x28, 0xb5, 0x2f, 0xfd, 0]).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let refused = |broker: JsonFileBroker| {
        let error = Mill::new(|_: &Json| ()).run_blocking(broker).unwrap_err();
        told(&error)
    };
    let follow = |name: &str| JsonFileBroker::new().read::<Json>(at(name)).follow();
    for (name, why) in [
        ("array", "it is a JSON array"),
        ("gzip", "it is compressed (gzip)"),
        ("zstd", "it is compressed (zstd)"),
        ("directory", "it is a directory"),
        ("*.ndjson", "it is a pattern"),
    ] {
        let told = refused(follow(name));
        assert!(told.contains(why), "{name}: {told}");
    }
    let told = refused(JsonFileBroker::new().read::<Json>("-").follow());
    assert!(told.contains("standard input"), "{told}");
    let told = refused(follow("new").input_format(Format::JsonArray));
    assert!(told.contains("are JSON arrays"), "{told}");
    let told = refused(JsonFileBroker::new().follow().read::<Json>(at("new")));
    assert!(told.contains("behind `read`"), "{told}");
    let told = refused(JsonFileBroker::new().read::<Json>(at("new")).follow_with(Follow::new().must_exist()));
    assert!(told.contains("follow") && told.contains("No such file"), "{told}");
}

/// What comes later is told by its content as well, as early as that can be told.
#[test]
fn what_cannot_be_followed_is_refused_when_it_comes() {
    for (text, why) in
        [("\u{feff} [1,", "it is a JSON array"), ("\n\n[\n", "it is a JSON array"), ("\u{1f}\u{8b}", "")]
    {
        let trial = Trial::new();
        trial.put("log", &line(0));
        let run = trial.start();
        trial.until_copied(0..1);
        trial.rename("log", "log.1");
        let bytes = if why.is_empty() { vec![0x1f, 0x8b, 8, 0, 0] } else { text.as_bytes().to_vec() };
        fs::write(trial.at("log"), bytes).unwrap();
        let error = run.wait_blocking().unwrap_err();
        let why = if why.is_empty() { "it is compressed (gzip)" } else { why };
        assert!(told(&error).contains(why), "{}", told(&error));
        // Nothing was lost: put right, it goes on.
        fs::write(trial.at("log"), line(1)).unwrap();
        let run = trial.start();
        trial.until_copied(0..2);
        stop(run);
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let trial = Trial::new();
    trial.put("log", &line(0));
    let run = trial.start();
    trial.until_copied(0..1);
    trial.rename("log", "log.1");
    fs::create_dir(trial.at("log")).unwrap();
    let error = run.wait_blocking().unwrap_err();
    assert!(told(&error).contains("directory"), "{}", told(&error));
    fs::remove_dir(trial.at("log")).unwrap();
    // The superuser may read everything.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let run = trial.start();
        until("waiting", || run.watch().waiting_for.is_some());
        let secret = trial.at("secret");
        fs::write(&secret, line(1)).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        fs::rename(&secret, trial.at("log")).unwrap();
        if File::open(trial.at("log")).is_err() {
            let error = run.wait_blocking().unwrap_err();
            assert!(told(&error).contains("check who may use it"), "{}", told(&error));
            let error = trial.try_start().and_then(MillHandle::wait_blocking).unwrap_err();
            assert!(told(&error).contains("check who may use it"), "{}", told(&error));
        } else {
            trial.until_copied(0..2);
            stop(run);
        }
    }
}

/// A line of 1 GiB is not read into memory, whether its end ever comes or not.
#[test]
fn a_line_without_end() {
    let trial = Trial { skip: true, batch_bytes: 4 << 20, ..Trial::new() };
    trial.put("log", &line(0));
    let run = trial.start();
    trial.until_copied(0..1);
    let file = OpenOptions::new().write(true).open(trial.at("log")).unwrap();
    file.set_len(1 << 30).unwrap();
    drop(file);
    trial.put("log", "\n");
    trial.put("log", &line(1));
    trial.until_copied(0..2);
    assert!(peak_memory() < 200 << 20, "{}", peak_memory());
    let report = stop(run);
    assert_eq!(report.inputs[0].skipped, 1, "{report}");
}

/// The most memory this process has had, in bytes; 0 where that cannot be told.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

/// One mill follows what another one writes.
#[test]
fn two_mills_in_a_row() {
    let trial = Trial::new();
    let second = || {
        let broker = JsonFileBroker::new()
            .read::<Json>(trial.at("out.ndjson"))
            .follow_with(trial.follow.clone())
            .write::<Json>(trial.at("second.ndjson"))
            .append();
        Mill::new(|line: &Json| line.clone()).commit_every(Duration::from_millis(1)).start(broker).unwrap()
    };
    let copied = |count: i64| {
        let wanted: String = (0..count).map(line).collect();
        until("the second copy", || {
            fs::read_to_string(trial.at("second.ndjson")).is_ok_and(|out| out == wanted)
        });
    };
    let (mut one, mut two) = (trial.start(), second());
    for number in 0..60 {
        trial.put("log", &line(number));
        match number % 20 {
            3 => {
                stop(one);
                one = trial.start();
            }
            7 => {
                stop(two);
                two = second();
            }
            11 => trial.rename("log", &format!("log.old-{number}")),
            // The output is rotated away, and comes again.
            15 => {
                copied(number + 1);
                trial.rename("out.ndjson", &format!("out.old-{number}"));
            }
            _ => {}
        }
        if number % 6 == 0 {
            copied(number + 1);
        }
    }
    trial.put("log", EOS);
    let report = one.wait_blocking().unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    copied(60);
    stop(two);
}
