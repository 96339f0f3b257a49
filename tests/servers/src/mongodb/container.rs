//! The shared server in a container, as `compose.yaml` says, where an engine for containers answers.

use std::ffi::OsString;
use std::time::Duration;

use super::{Asked, await_ready};
use crate::error::ServerError;
use crate::kafka::unique;
use crate::place;
use crate::ports;
use crate::supervise::{Launch, Supervised};

/// The image may have to be fetched.
const START: Duration = Duration::from_secs(300);

/// The variable by which `compose.yaml` is told the port.
const PORT: &str = "WATERMILL_MONGODB_PORT";

/// Starts the container, and waits until it answers. The project of its own lets several of them be there at a time, beside one that the user
/// has started.
pub(super) fn start() -> Result<(Supervised, String), ServerError> {
    let directory = place::fresh_directory("mongodb-container")?.join("container");
    place::create(&directory)?;
    let port = ports::free(1)?.first().copied().unwrap_or_default();
    let project = unique("watermill");
    let compose = place::workspace().join("compose.yaml");
    let mut command: Vec<OsString> =
        ["env".into(), format!("{PORT}={port}").into(), "docker".into(), "compose".into(), "--file".into()]
            .into();
    command.push(compose.into());
    command.extend(["--project-name", &project, "up", "--no-color", "mongodb"].map(OsString::from));
    let launch = Launch {
        name: "MongoDB's container".to_owned(),
        command,
        log: directory.join("server.log"),
        remove: Some(directory),
        // The container is no child of ours: the engine has to be asked.
        after: Some(format!("docker compose --project-name {project} down --volumes --timeout 0")),
    };
    let address = format!("127.0.0.1:{port}");
    let mut container = Supervised::start(&launch)?;
    await_ready(&mut container, &address, Asked::Hello { replica_set: true }, START)?;
    Ok((container, address))
}
