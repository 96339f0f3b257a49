//! The server for MongoDB's protocol: that it starts, comes back with its data, ends with the test, and where the shared one comes from.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use watermill_servers::kafka::unique;
use watermill_servers::mongodb::ADDRESS;
use watermill_servers::{Mongo, MongoOptions};

fn address(uri: &str) -> &str {
    uri.trim().strip_prefix("mongodb://").unwrap()
}

fn is_there(process: u32) -> bool {
    let asked = Command::new("sh").args(["-c", "kill -0 \"$1\"", "sh", &process.to_string()]).output();
    asked.unwrap().status.success()
}

#[test]
fn a_server_is_killed_paused_and_comes_back_at_the_same_address() {
    for options in [MongoOptions::new(), MongoOptions::new().standalone()] {
        let mongo = Mongo::start(options).unwrap();
        let uri = mongo.uri().to_owned();
        TcpStream::connect(address(&uri)).unwrap();
        let first = mongo.process_id().unwrap();
        mongo.kill().unwrap();
        assert!(TcpStream::connect(address(&uri)).is_err());
        mongo.restart().unwrap();
        assert_ne!(mongo.process_id().unwrap(), first);
        TcpStream::connect(address(&uri)).unwrap();
        mongo.pause().unwrap();
        mongo.resume().unwrap();
        // One that runs is stopped before.
        mongo.restart().unwrap();
        assert_eq!(mongo.uri(), uri);
    }
}

#[test]
fn a_server_ends_with_a_process_that_is_killed_or_panics() {
    for how in ["", "panic"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hold-mongodb"))
            .arg(how)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (server, uri) = line.trim().split_once(' ').unwrap_or_else(|| panic!("it says {line:?}"));
        let server: u32 = server.parse().unwrap();
        if how.is_empty() {
            assert!(is_there(server));
            child.kill().unwrap();
        }
        child.wait().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while is_there(server) {
            assert!(Instant::now() < end, "the server is still there");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(TcpStream::connect(address(uri)).is_err());
    }
}

/// A process that asks for the shared server, in an environment that the caller changes.
fn ask(change: impl FnOnce(&mut Command)) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hold-mongodb"));
    command.arg("shared").env_remove(ADDRESS);
    change(&mut command);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn an_address_that_is_given_is_used_as_it_is_and_must_answer() {
    let mongo = Mongo::start(MongoOptions::new()).unwrap();
    let (output, said) = ask(|command| {
        command.env(ADDRESS, mongo.uri());
    });
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), mongo.uri());
    assert_eq!(said.trim(), format!("watermill-servers: MongoDB at {}, as {ADDRESS} says", mongo.uri()));
    mongo.kill().unwrap();
    let (output, said) = ask(|command| {
        command.env(ADDRESS, mongo.uri());
    });
    assert!(!output.status.success() && said.contains(ADDRESS), "{said}");
    let told = ask(|command| {
        command.env(ADDRESS, "mongodb://user:secret@127.0.0.1:1/?tls=true");
    });
    assert!(told.1.contains("mongodb://..@127.0.0.1:1") && !told.1.contains("secret"), "{}", told.1);
}

#[test]
fn a_container_that_does_not_start_is_told_and_done_without() {
    let directory = env::temp_dir().join(unique("watermill-docker"));
    fs::create_dir(&directory).unwrap();
    let docker = directory.join("docker");
    fs::write(&docker, "#!/bin/sh\ncase $* in info) exit 0 ;; *up*) echo no image >&2; exit 7 ;; esac\n")
        .unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.display(), env::var("PATH").unwrap());
    let (output, said) = ask(|command| {
        command.env("PATH", path);
    });
    assert!(output.status.success(), "{said}");
    assert!(said.contains("(exit status 7)") && said.contains("no image"), "{said}");
    assert!(said.contains("started here"), "{said}");
    fs::remove_dir_all(directory).unwrap();
}
