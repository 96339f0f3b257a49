//! The shared broker in a container, as `compose.yaml` says, where an engine for containers answers.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Client;
use super::unique;
use crate::error::ServerError;
use crate::place;
use crate::ports;
use crate::supervise::{Launch, Supervised};

/// The image may have to be fetched.
const START: Duration = Duration::from_secs(300);

/// The variable by which `compose.yaml` is told the port.
const PORT: &str = "WATERMILL_KAFKA_PORT";

/// Whether there is an engine. That there is a `docker` means nothing: its engine may be elsewhere, or not be running.
pub(crate) fn engine_answers() -> bool {
    let asked = Command::new("docker")
        .arg("info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// Starts the container. The project of its own lets several of them be there at a time, beside one that the user has started.
pub(super) fn start() -> Result<(Supervised, String), ServerError> {
    let directory = place::fresh_directory("kafka-container")?.join("container");
    place::create(&directory)?;
    let port = ports::free(1)?.first().copied().unwrap_or_default();
    let project = unique("watermill");
    let compose = place::workspace().join("compose.yaml");
    let launch = Launch {
        name: "Kafka's container".to_owned(),
        command: command(&compose, &project, port),
        log: directory.join("server.log"),
        remove: Some(directory),
        // The container is no child of ours: the engine has to be asked.
        after: Some(format!("docker compose --project-name {project} down --volumes --timeout 0")),
    };
    Ok((Supervised::start(&launch)?, format!("127.0.0.1:{port}")))
}

fn command(compose: &Path, project: &str, port: u16) -> Vec<OsString> {
    let mut command: Vec<OsString> = vec![
        "env".into(),
        format!("{PORT}={port}").into(),
        "docker".into(),
        "compose".into(),
        "--file".into(),
    ];
    command.push(compose.into());
    command.extend(["--project-name", project, "up", "--no-color", "kafka"].map(OsString::from));
    command
}

/// Waits until the broker answers.
pub(super) fn await_ready(
    mut container: Supervised,
    client: &Client,
    address: &str,
) -> Result<Supervised, ServerError> {
    const DOING: &str = "starting";
    let since = Instant::now();
    while !client.is_ready(address, 1, 1, Duration::from_secs(2))? {
        if container.is_gone() {
            return Err(container.ended(DOING));
        }
        if since.elapsed() > START {
            return Err(container.slow(DOING, START));
        }
    }
    Ok(container)
}
