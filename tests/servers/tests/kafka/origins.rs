//! Where the shared broker comes from.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

use watermill_servers::Kafka;
use watermill_servers::kafka::{ADDRESS, unique};

/// A process that asks for the shared broker, in an environment that the caller changes.
fn ask(change: impl FnOnce(&mut Command)) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hold-kafka"));
    command.arg("shared").env_remove(ADDRESS);
    change(&mut command);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

/// A directory with a `docker` that is this script.
fn docker(script: &str) -> PathBuf {
    let directory = env::temp_dir().join(unique("watermill-docker"));
    fs::create_dir(&directory).unwrap();
    let docker = directory.join("docker");
    fs::write(&docker, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn an_address_that_is_given_is_used_as_it_is() {
    let ours = Kafka::shared().unwrap();
    let topic = ours.fresh_topic("given", 1).unwrap();
    let (output, said) = ask(|command| {
        command.env(ADDRESS, ours.bootstrap());
    });
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(found.starts_with(ours.bootstrap()) && found.contains(&topic), "{found}");
    assert_eq!(said.trim(), format!("watermill-servers: Kafka at {}, as {ADDRESS} says", ours.bootstrap()));
}

#[test]
fn a_container_that_does_not_start_is_told_and_done_without() {
    let calls = env::temp_dir().join(unique("watermill-calls"));
    let script = format!(
        "echo \"$WATERMILL_KAFKA_PORT $*\" >>{}\ncase $* in info) exit 0 ;; *up*) echo no image >&2; exit 7 ;; esac",
        calls.display()
    );
    let directory = docker(&script);
    let path = format!("{}:{}", directory.display(), env::var("PATH").unwrap());
    let (output, said) = ask(|command| {
        command.env("PATH", path);
    });
    assert!(output.status.success(), "{said}");
    assert!(said.contains("(exit status 7)") && said.contains("no image"), "{said}");
    assert!(said.contains("started here"), "{said}");
    // It was asked whether it is there, for the broker at a port of ours, and to take it away.
    let calls_made = fs::read_to_string(&calls).unwrap();
    let [info, up, down] = calls_made.lines().collect::<Vec<_>>()[..] else { panic!("{calls_made}") };
    assert_eq!(info.trim(), "info");
    let (port, up) = up.split_once(' ').unwrap();
    assert!(
        port.parse::<u16>().is_ok() && up.contains("compose.yaml") && up.ends_with("up --no-color kafka"),
        "{up}"
    );
    assert!(down.contains("down --volumes"), "{down}");
    fs::remove_dir_all(directory).unwrap();
    fs::remove_file(calls).unwrap();
}

#[test]
fn what_is_missing_is_named() {
    // Nothing at all can be run there.
    let directory = docker("exit 1");
    let (output, said) = ask(|command| {
        command.env("PATH", &directory).env_remove("JAVA_HOME");
    });
    assert!(!output.status.success());
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(said.contains("Java 17 or later") && said.contains("install a JDK"), "{said}");
    fs::remove_dir_all(directory).unwrap();
}
