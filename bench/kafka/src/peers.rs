//! What is not ours and not written in Rust: Kafka Streams and Python's watermill, as programs in `../../peers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use watermill_servers::kafka::{streams_libraries, unique};
use watermill_servers::python_watermill;

use crate::{COMMIT_EVERY, Failure, PARTITIONS};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers")
}

/// The program over Kafka Streams, compiled, and where it keeps its state.
pub(crate) struct Streams {
    libraries: PathBuf,
    directory: PathBuf,
}

impl Streams {
    pub(crate) fn prepare() -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(unique("watermill-bench-streams"));
        let streams = Self { libraries: streams_libraries()?, directory };
        let output = streams.script().arg("compile").output()?;
        if !output.status.success() {
            return Err(format!("javac: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(streams)
    }

    fn script(&self) -> Command {
        let mut script = Command::new("sh");
        script.arg(directory().join("streams/run.sh"));
        script.env("LIBS", &self.libraries).env("CLASSES", self.directory.join("classes"));
        script
    }

    /// Joins the topics `inputs`, whose last match is that of the time `last`; the candidate's name says how.
    pub(crate) fn command(
        &self,
        candidate: &str,
        servers: &str,
        inputs: &[String; 2],
        to: &str,
        last: i64,
    ) -> Command {
        let guarantee = if candidate.contains("eos") { "exactly_once_v2" } else { "at_least_once" };
        let store = if candidate.contains("memory") { "memory" } else { "rocksdb" };
        let application = unique("streams");
        let mut script = self.script();
        script
            .args([servers, &application, &inputs[0], &inputs[1], to, &last.to_string(), guarantee, store])
            .arg(COMMIT_EVERY.as_millis().to_string())
            .arg(self.directory.join("state").join(&application))
            .arg(PARTITIONS.to_string());
        script
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which empties this directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Joins partition 0 of `from` by Python's watermill.
pub(crate) fn python(servers: &str, from: &str, to: &str) -> Result<Command, Failure> {
    let mut python = Command::new(python_watermill()?);
    python.arg("-B").arg(directory().join("python/self_join.py"));
    python.args([servers, from, to, &unique("python")]);
    Ok(python)
}
