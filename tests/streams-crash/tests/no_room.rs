//! A disk that fills: a clear error, and all that was acknowledged is there.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use watermill::prelude::*;
use watermill::streams::Streams;

const PROGRAM: &str = env!("CARGO_BIN_EXE_streams-program");

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// Appends until there is no room, and then again when there is.
fn trial(path: &Path, fill: &mut Command, make_room: impl FnOnce()) -> String {
    let open = || Streams::open(&url(path)).unwrap().get("texts").unwrap();
    open().append(&Json(1.into())).unwrap();
    let filled = fill.output().unwrap();
    let told = String::from_utf8_lossy(&filled.stdout).into_owned();
    assert!(!filled.status.success(), "{told}");
    let appended: u64 = told.lines().find_map(|line| line.strip_prefix("appended ")?.parse().ok()).unwrap();
    assert!(appended > 10, "{told}");
    make_room();
    let texts = open();
    assert_eq!(texts.len().unwrap(), appended + 1);
    texts.append(&Json(2.into())).unwrap();
    assert_eq!(texts.len().unwrap(), appended + 2);
    told
}

#[test]
fn a_file_that_may_not_grow_is_told_of_and_what_was_acknowledged_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("streams.db");
    // It may not make files longer than 256 KiB; beyond that, writing is an error.
    let script = "trap '' XFSZ; ulimit -f 512; exec \"$0\" fill \"$1\"";
    let told = trial(&path, Command::new("sh").args(["-c", script, PROGRAM, &url(&path)]), || {});
    assert!(
        told.contains("streams.db: cannot ") && told.contains("it may be as large as it may become"),
        "{told}"
    );
}

#[test]
fn a_disk_that_is_full_is_told_of_and_what_was_acknowledged_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(directory.path()).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("no file system can be mounted here: only the limit on the length of files was tried");
        return;
    }
    let path = directory.path().join("streams.db");
    let larger = || {
        let grown = Command::new("mount").args(["-o", "remount,size=4m"]).arg(directory.path()).status();
        assert!(grown.unwrap().success());
    };
    let told =
        std::panic::catch_unwind(|| trial(&path, Command::new(PROGRAM).args(["fill", &url(&path)]), larger));
    let unmounted = Command::new("umount").arg(directory.path()).status();
    assert!(unmounted.unwrap().success());
    let told = told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert!(told.contains("no room left") && told.contains("free some space and try again"), "{told}");
}
