//! Files that grow while mills follow them; what these wait for, and what they refuse.
#![allow(clippy::unwrap_used, clippy::panic)]

mod followed;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use followed::{EOS, NEVER, Trial, line, stop, told, until};
use watermill_core::record::Json;
use watermill_core::{EndReason, Mill, MillHandle};
use watermill_json_file::{Follow, Format, JsonFileBroker};

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
