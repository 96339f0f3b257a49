//! The program of the server, built once from its sources: a process of its own, which nothing of ours is linked with.

use std::path::PathBuf;
use std::process::Command;

use crate::error::ServerError;
use crate::install::run;
use crate::place;

/// What is built.
const PACKAGE: &str = "secantus-mdb";
const VERSION: &str = "=0.5.3-beta.196";

/// What needs to be there.
const WANTED: &str = "the server for MongoDB's protocol";

/// The program. Builds it when it is first asked for, which takes some minutes and needs the network.
pub(super) fn program() -> Result<PathBuf, ServerError> {
    let made_from = format!("{PACKAGE} {VERSION}\n");
    let directory = place::once("mongodb", &made_from, |directory| {
        look_for(
            "cmake",
            "cmake (`cmake`), with which its storage is built",
            "install it, such as by `apt-get install cmake`",
        )?;
        look_for(
            "cc",
            "a C compiler (`cc`), which builds its storage",
            "install it, such as by `apt-get install build-essential`",
        )?;
        place::tell(&format!(
            "building {PACKAGE} {VERSION} into {}, once; this takes some minutes",
            directory.display()
        ));
        let build = directory.join("build");
        // The cargo of whoever runs the tests may have settings in its environment that are for them alone.
        let mut cargo = Command::new("cargo");
        cargo
            .args(["install", PACKAGE, "--locked", "--version", VERSION, "--ignore-rust-version", "--root"])
            .arg(directory)
            .arg("--target-dir")
            .arg(&build)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        let result = run(cargo, "cargo, building the server for MongoDB's protocol,");
        place::remove(&build);
        match result {
            Ok(_) => Ok(()),
            Err(ServerError::Io { source, .. }) => Err(ServerError::Missing {
                wanted: WANTED,
                what: "cargo (`cargo`), which builds it",
                found: format!("`cargo` cannot be run ({source})"),
                remedy: "install Rust, or give the address of a server by WATERMILL_TEST_MONGODB",
            }),
            Err(ServerError::Program { program, status, output, .. }) => {
                Err(ServerError::Program { program, status, hint: ": it needs the network, once", output })
            }
            Err(other) => Err(other),
        }
    })?;
    Ok(directory.join("bin").join("secantusd-rs"))
}

fn look_for(program: &str, what: &'static str, remedy: &'static str) -> Result<(), ServerError> {
    let mut command = Command::new(program);
    command.arg("--version");
    let found = match run(command, program) {
        Ok(_) => return Ok(()),
        Err(ServerError::Io { source, .. }) => format!("`{program}` cannot be run ({source})"),
        Err(error) => error.to_string(),
    };
    Err(ServerError::Missing { wanted: WANTED, what, found, remedy })
}
