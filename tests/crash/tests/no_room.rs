//! Disks that are full or become read-only in the middle of a run: a clear error, and the next run goes on when there is room.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use watermill_crash::data::{Streams, names_in, output_of};
use watermill_crash::harness::{Ended, run, start};
use watermill_crash::mills::{Settings, outputs_of};
use watermill_crash::oracle;
use watermill_crash::seed::Seed;

const PROGRAM: &str = env!("CARGO_BIN_EXE_crash-mill");

/// A user without rights: one with all of them may write where nobody may.
const NOBODY: u32 = 65534;

fn settings(slow: u64) -> Settings {
    Settings {
        calls: Some(5),
        every: Duration::from_secs(3600),
        slow: Duration::from_micros(slow),
        ..Settings::default()
    }
}

fn program(mill: &str, directory: &Path, settings: &Settings) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(mill).arg(directory).args(settings.arguments());
    command
}

/// The program with a limit on the length of files, in blocks of 512 bytes; beyond it, writing is an error.
fn limited(mill: &str, directory: &Path, blocks: u64) -> Ended {
    let mut command = Command::new("sh");
    command.arg("-c").arg("trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"").arg(blocks.to_string());
    command.arg(PROGRAM).arg(mill).arg(directory).args(settings(0).arguments());
    run(command)
}

fn trial(streams: &Streams) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    streams.write(directory.path());
    directory
}

fn assert_expected(mill: &str, directory: &Path, streams: &Streams) {
    for (name, expected) in outputs_of(mill).iter().zip(oracle::outputs(mill, streams).unwrap()) {
        let path = directory.join("out").join(name);
        assert!(output_of(directory, name) == expected, "{name} is not what it must be");
        let names = names_in(path.parent().unwrap());
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    }
}

#[test]
fn files_that_may_not_grow() {
    let streams = Streams::random(&mut Seed::new(21), 700);
    for mill in ["self-join", "as-of", "two-outputs", "filter", "letters"] {
        let directory = trial(&streams);
        for blocks in [0, 1, 2, 4, 6, 8, 10, 12, 13, 14] {
            let ended = limited(mill, directory.path(), blocks);
            if ended.status.success() {
                break;
            }
            let error = ended.expect_error(mill);
            assert!(error.contains("cannot") && error.contains("File too large"), "{error}");
        }
        if !directory.path().join("out").join(outputs_of(mill)[0]).exists() {
            let _ = run(program(mill, directory.path(), &settings(0))).expect_success(mill);
        }
        assert_expected(mill, directory.path(), &streams);
    }
}

/// A small file system of its own, where that may be had.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(kilobytes: u64) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"])
            .arg(directory.path())
            .output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_full() {
    let streams = Streams::random(&mut Seed::new(22), 700);
    for mill in ["self-join", "as-of", "two-outputs", "letters"] {
        let directory = trial(&streams);
        let Some(disk) = SmallDisk::mount(512) else {
            println!("no file system can be mounted here: only the limit on the length of files was tried");
            return;
        };
        std::os::unix::fs::symlink(disk.0.path(), directory.path().join("out")).unwrap();
        let ballast = disk.0.path().join("ballast");
        let mut failures = 0;
        for free in [4, 8, 16, 20, 24, 32, 40] {
            drop(fs::remove_file(&ballast));
            // All but so much is taken; pages are of 4 KiB. What the program holds already counts as taken.
            let fill = format!(
                "dd if=/dev/zero of='{0}' bs=1024 2>/dev/null; truncate -s -{free}K '{0}'",
                ballast.display()
            );
            assert!(Command::new("sh").arg("-c").arg(&fill).status().unwrap().success());
            let ended = run(program(mill, directory.path(), &settings(0)));
            if ended.status.success() {
                break;
            }
            let error = ended.expect_error(mill);
            assert!(error.contains("free some space and run again"), "{error}");
            failures += 1;
        }
        drop(fs::remove_file(&ballast));
        assert!(failures > 0, "{mill} never ran out of room");
        if !directory.path().join("out").join(outputs_of(mill)[0]).exists() {
            let _ = run(program(mill, directory.path(), &settings(0))).expect_success(mill);
        }
        println!("{mill}: out of room {failures} times");
        assert_expected(mill, directory.path(), &streams);
    }
}

/// The program as a user to whom permissions mean something.
fn as_nobody(mill: &str, directory: &Path, copy: &Path, settings: &Settings) -> Command {
    let mut command = Command::new(copy);
    command.arg(mill).arg(directory).args(settings.arguments());
    if running_as_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn running_as_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    tempfile::NamedTempFile::new().unwrap().as_file().metadata().unwrap().uid() == 0
}

#[test]
fn a_directory_that_becomes_read_only() {
    let streams = Streams::random(&mut Seed::new(23), 300);
    let mill = "self-join";
    let directory = trial(&streams);
    let path = directory.path();
    let out = path.join("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    let copy = path.join("program");
    fs::copy(PROGRAM, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    if running_as_root() {
        std::os::unix::fs::chown(&out, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // From the beginning.
    fs::set_permissions(&out, Permissions::from_mode(0o555)).unwrap();
    let error = run(as_nobody(mill, path, &copy, &settings(0))).expect_error("read-only from the beginning");
    assert!(error.contains("self-join.ndjson") && error.contains("check who may use it"), "{error}");
    assert!(names_in(&out).is_empty());
    // In the middle, several times: between commits, and at the latest when the output is to get its name.
    for turn in 0..4 {
        fs::set_permissions(&out, Permissions::from_mode(0o755)).unwrap();
        let before = fs::read(out.join(".self-join.ndjson.state")).ok();
        let running = start(as_nobody(mill, path, &copy, &settings(2000)));
        let begun = Instant::now();
        while fs::read(out.join(".self-join.ndjson.state")).ok() == before {
            assert!(begun.elapsed() < Duration::from_secs(20), "no commit");
            std::thread::sleep(Duration::from_micros(500));
        }
        fs::set_permissions(&out, Permissions::from_mode(0o555)).unwrap();
        let error = running.wait().expect_error("read-only in the middle");
        assert!(error.contains("cannot") && error.contains("check who may use it"), "turn {turn}: {error}");
        assert!(names_in(&out).contains(&".self-join.ndjson.state".to_owned()));
    }
    fs::set_permissions(&out, Permissions::from_mode(0o755)).unwrap();
    let _ = run(as_nobody(mill, path, &copy, &settings(0))).expect_success(mill);
    assert_expected(mill, path, &streams);
}
