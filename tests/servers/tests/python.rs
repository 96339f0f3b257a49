//! Python's watermill and minibatch, as tests get them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

use watermill_servers::kafka::unique;
use watermill_servers::{python_minibatch, python_watermill};

/// A process that asks for it, where programs are looked for in `path`.
fn ask(path: &Path) -> (Output, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_hold-kafka")).arg("python").env("PATH", path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn it_is_installed_as_it_is_published() {
    let python = python_watermill().unwrap();
    let script =
        "from importlib.metadata import version; print(version('watermill'), version('kafka-python'))";
    let output = Command::new(&python).args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "3.6.7 2.0.2", "{output:?}");
    // Made once: the second time the same one is there.
    assert_eq!(python_watermill().unwrap(), python);
}

#[test]
fn so_is_minibatch() {
    let python = python_minibatch().unwrap();
    let script = "import minibatch; from importlib.metadata import version; print(version('minibatch'))";
    let output = Command::new(&python).args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0.6.0", "{output:?}");
}

#[test]
fn what_is_missing_is_named_on_one_line() {
    let directory = env::temp_dir().join(unique("watermill-no-python"));
    fs::create_dir(&directory).unwrap();
    let (output, said) = ask(&directory);
    assert!(!output.status.success());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("Python 3 (`python3`)") && said.contains("apt-get install python3"), "{said}");

    // A Python without the module that makes environments.
    let fake = directory.join("python3");
    fs::write(
        &fake,
        "#!/bin/sh\n[ \"$1\" = -c ] && echo of this test && exit 0\necho No module named venv >&2; exit 1\n",
    )
    .unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let (output, said) = ask(&directory);
    assert!(!output.status.success());
    let last = said.lines().last().unwrap();
    assert!(last.contains("`venv`") && last.contains("No module named venv"), "{said}");
    assert!(last.contains("apt-get install python3-venv"), "{said}");
    fs::remove_dir_all(directory).unwrap();
}
