//! Servers written in Java, fetched by Maven: once, and whole.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{ServerError, last_lines};
use crate::java;
use crate::place;

/// The version of Apache Kafka that the tests run.
pub(crate) const KAFKA: &str = "4.3.0";

/// A set of libraries by name, with what they are, as `group:artifact:version`.
struct Libraries {
    name: String,
    what: Vec<String>,
}

/// Where Kafka is.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    /// All of its libraries, as a class path.
    pub(crate) libraries: OsString,
    /// Those, and our own programs for them.
    pub(crate) classes: OsString,
}

/// Kafka's broker, tools and client, and our programs compiled against them. Fetches what is not there yet.
pub(crate) fn kafka() -> Result<Installed, ServerError> {
    java::check("Apache Kafka")?;
    let what = vec![
        format!("org.apache.kafka:kafka_2.13:{KAFKA}"),
        format!("org.apache.kafka:kafka-tools:{KAFKA}"),
        // Warnings and errors go to the log: they say why a broker ended.
        "org.slf4j:slf4j-simple:1.7.36".to_owned(),
    ];
    let directory = fetch(&Libraries { name: format!("kafka-{KAFKA}"), what })?;
    let libraries = directory.join("*").into_os_string();
    let programs = compile(&libraries)?;
    let mut classes = libraries.clone();
    classes.push(":");
    classes.push(&programs);
    Ok(Installed { libraries, classes })
}

/// The directory of the libraries of Kafka Streams, for programs that measure against it.
///
/// # Errors
/// When they cannot be fetched.
pub fn kafka_streams() -> Result<PathBuf, ServerError> {
    java::check("Kafka Streams")?;
    let what =
        vec![format!("org.apache.kafka:kafka-streams:{KAFKA}"), "org.slf4j:slf4j-simple:1.7.36".to_owned()];
    fetch(&Libraries { name: format!("kafka-streams-{KAFKA}"), what })
}

/// Fetches libraries with all that they need.
fn fetch(libraries: &Libraries) -> Result<PathBuf, ServerError> {
    let pom = pom(libraries);
    let directory = place::once(&libraries.name, &pom, |directory| {
        eprintln!("watermill-servers: fetching {} into {}, once", libraries.name, directory.display());
        place::write(&directory.join("pom.xml"), &pom)?;
        let mut maven = Command::new("mvn");
        maven
            .args([
                "-q",
                "-B",
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                "-DoutputDirectory=libs",
            ])
            .current_dir(directory);
        match run(maven, &format!("Maven, fetching {},", libraries.name)) {
            Err(ServerError::Io { source, .. }) => Err(ServerError::Missing {
                wanted: "a native Apache Kafka",
                what: "Maven (`mvn`), which fetches it",
                found: format!("`mvn` cannot be run ({source})"),
                remedy: "install it, such as by `apt-get install maven`",
            }),
            Err(ServerError::Program { program, status, output, .. }) => {
                Err(ServerError::Program { program, status, hint: ": it needs the network, once", output })
            }
            other => other.map(drop),
        }
    })?;
    Ok(directory.join("libs"))
}

/// A project that depends on the libraries, and is nothing itself.
fn pom(libraries: &Libraries) -> String {
    let mut text = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>watermill</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>\n  \
         <dependencies>\n",
    );
    for library in &libraries.what {
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

/// Our programs, in the order in which they are read.
const PROGRAMS: [(&str, &str); 5] = [
    ("Broker.java", include_str!("../java/Broker.java")),
    ("Helper.java", include_str!("../java/Helper.java")),
    ("Topics.java", include_str!("../java/Topics.java")),
    ("Groups.java", include_str!("../java/Groups.java")),
    ("Records.java", include_str!("../java/Records.java")),
];

/// Compiles our programs: Java could run them from source, but would compile them with each start.
fn compile(libraries: &OsString) -> Result<PathBuf, ServerError> {
    let mut hasher = DefaultHasher::new();
    (PROGRAMS, KAFKA).hash(&mut hasher);
    // A directory for each version of them: a process of an older one may be using its own.
    let name = format!("kafka-programs-{:016x}", hasher.finish());
    let directory = place::once(&name, KAFKA, |directory| {
        let mut compiler = Command::new(java::program("javac"));
        compiler.args(["-nowarn", "--release", "17", "-cp"]).arg(libraries);
        compiler.arg("-d").arg(directory.join("classes"));
        for (name, text) in PROGRAMS {
            let file = directory.join(name);
            place::write(&file, text)?;
            compiler.arg(file);
        }
        run(compiler, "javac").map(drop)
    })?;
    Ok(directory.join("classes"))
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

/// The command line of a program on a class path.
pub(crate) fn java(heap: &str, classes: &Path, more: &[&str]) -> Vec<OsString> {
    let mut command = vec![java::program("java").into_os_string(), format!("-Xmx{heap}").into()];
    command.extend(more.iter().map(OsString::from));
    command.extend(["-cp".into(), classes.as_os_str().to_owned()]);
    command
}
