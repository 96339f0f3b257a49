//! Servers written in Java, fetched by Maven: once, and whole.

use std::fs;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};

use crate::error::{ServerError, last_lines};
use crate::place;

/// The directory of these libraries (`group:artifact:version`), with all that they need. Fetches what is not there yet.
pub(crate) fn fetch(name: &str, libraries: &[String]) -> Result<PathBuf, ServerError> {
    let pom = pom(libraries);
    let directory = place::once(name, &pom, |directory| {
        place::tell(&format!("fetching {} into {}, once", name, directory.display()));
        place::write(&directory.join("pom.xml"), &pom)?;
        // If this process is killed, Maven goes on for a while: it must not write where another one does.
        let partial = format!("libs-{}", process::id());
        let mut maven = Command::new("mvn");
        maven
            .args([
                "-q",
                "-B",
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                &format!("-DoutputDirectory={partial}"),
            ])
            .current_dir(directory);
        match run(maven, &format!("Maven, fetching {name},")) {
            Err(ServerError::Io { source, .. }) => Err(ServerError::Missing {
                wanted: "a server written in Java",
                what: "Maven (`mvn`), which fetches it",
                found: format!("`mvn` cannot be run ({source})"),
                remedy: "install it, such as by `apt-get install maven`",
            }),
            Err(ServerError::Program { program, status, output, .. }) => {
                Err(ServerError::Program { program, status, hint: ": it needs the network, once", output })
            }
            Err(other) => Err(other),
            Ok(_) => fs::rename(directory.join(partial), directory.join("libs"))
                .map_err(ServerError::io(format!("name {}", directory.display()))),
        }
    })?;
    Ok(directory.join("libs"))
}

/// A project that depends on the libraries, and is nothing itself.
fn pom(libraries: &[String]) -> String {
    let mut text = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>watermill</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>\n  \
         <dependencies>\n",
    );
    for library in libraries {
        let mut parts = library.split(':');
        let mut part = || parts.next().unwrap_or_default();
        let (group, artifact, version) = (part(), part(), part());
        text += &format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>\n"
        );
    }
    text + "  </dependencies>\n</project>\n"
}

/// Runs a program to its end, and returns what it wrote to standard output.
pub(crate) fn run(mut command: Command, name: &str) -> Result<String, ServerError> {
    let output = command.stdin(Stdio::null()).output().map_err(ServerError::io(format!("run `{name}`")))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    Err(ServerError::Program {
        program: name.to_owned(),
        status: output.status.to_string(),
        hint: "",
        output: last_lines(&format!("{out}{}", String::from_utf8_lossy(&output.stderr))),
    })
}
