//! Kafka on this machine: its libraries, our programs for them, and an archive of their classes.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::config::{Layout, Listener};
use super::options::KafkaOptions;
use crate::error::ServerError;
use crate::install::{self, run};
use crate::java;
use crate::place;

/// The version of Apache Kafka that the tests run.
const VERSION: &str = "4.3.0";

/// What warnings and errors are written by: they say why a broker ended.
const LOGGER: &str = "org.slf4j:slf4j-simple:1.7.36";

/// Our programs. All of them are one jar: an archive takes classes from jars only.
const PROGRAMS: [(&str, &str); 7] = [
    ("Broker.java", include_str!("../../java/Broker.java")),
    ("Decided.java", include_str!("../../java/Decided.java")),
    ("Groups.java", include_str!("../../java/Groups.java")),
    ("Helper.java", include_str!("../../java/Helper.java")),
    ("Records.java", include_str!("../../java/Records.java")),
    ("Topics.java", include_str!("../../java/Topics.java")),
    ("Training.java", include_str!("../../java/Training.java")),
];

/// Where Kafka is.
#[derive(Debug, Clone)]
pub(super) struct Installed {
    /// The class path.
    classes: OsString,
    /// The classes that a broker and a client load, as the virtual machine wants them in its memory.
    archive: Option<PathBuf>,
}

/// What a virtual machine is to be good at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Being there soon.
    Soon,
    /// Running for long.
    Long,
}

/// The directory of the libraries of Kafka Streams, for programs that measure against it. Fetches them when they are first asked for.
///
/// # Errors
/// When Java or Maven is missing, or the network.
pub fn streams_libraries() -> Result<PathBuf, ServerError> {
    java::check("Kafka Streams")?;
    let libraries = [format!("org.apache.kafka:kafka-streams:{VERSION}"), LOGGER.to_owned()];
    install::fetch(&format!("kafka-streams-{VERSION}"), &libraries)
}

impl Installed {
    /// Fetches, compiles and archives what is not there yet.
    pub(super) fn get() -> Result<Self, ServerError> {
        let java = java::check("Apache Kafka")?;
        let libraries = [
            format!("org.apache.kafka:kafka_2.13:{VERSION}"),
            format!("org.apache.kafka:kafka-tools:{VERSION}"),
            LOGGER.to_owned(),
        ];
        let mut classes = install::fetch(&format!("kafka-{VERSION}"), &libraries)?.join("*").into_os_string();

        // A directory for each version of them: a process of an older one may be using its own.
        let mut hasher = DefaultHasher::new();
        (PROGRAMS, VERSION, &java).hash(&mut hasher);
        let name = format!("kafka-programs-{:016x}", hasher.finish());
        let programs = |directory: &Path| directory.join("programs.jar");
        let archive = |directory: &Path| directory.join("classes.jsa");
        let directory = place::once(&name, &java, |directory| {
            compile(directory, &classes, &programs(directory))?;
            let mut classes = classes.clone();
            classes.push(":");
            classes.push(programs(directory));
            // Everything works without the archive: a virtual machine that cannot write it is no reason to fail.
            if let Err(error) = train(&Self { classes, archive: None }, &archive(directory)) {
                place::tell(&format!("brokers will start slowly: {error}"));
            }
            Ok(())
        })?;
        classes.push(":");
        classes.push(programs(&directory));
        Ok(Self { classes, archive: Some(archive(&directory)).filter(|archive| archive.is_file()) })
    }

    /// The command line of a program, up to its class, that logs what is at least of this level.
    pub(super) fn java(&self, heap: &str, pace: Pace, level: &str) -> Vec<OsString> {
        let mut command = vec![java::program("java").into_os_string(), format!("-Xmx{heap}").into()];
        if pace == Pace::Soon {
            // Half of the work until it answers.
            command.extend(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(OsString::from));
        }
        if let Some(archive) = &self.archive {
            // An archive that does not fit is not used; nor must a tool's output say so.
            let mut option = OsString::from("-XX:SharedArchiveFile=");
            option.push(archive);
            command.extend([option, "-Xlog:disable".into()]);
        }
        command.push(format!("-Dorg.slf4j.simpleLogger.defaultLogLevel={level}").into());
        command.push("-Dorg.slf4j.simpleLogger.showDateTime=true".into());
        command.extend(["-cp".into(), self.classes.clone()]);
        command
    }
}

/// Compiles our programs: Java could run them from source, but would compile them with each start.
fn compile(directory: &Path, libraries: &OsString, jar: &Path) -> Result<(), ServerError> {
    let classes = directory.join("classes");
    let mut compiler = Command::new(java::program("javac"));
    compiler.args(["-nowarn", "--release", "17", "-cp"]).arg(libraries).arg("-d").arg(&classes);
    for (name, text) in PROGRAMS {
        let file = directory.join(name);
        place::write(&file, text)?;
        compiler.arg(file);
    }
    run(compiler, "javac")?;
    let mut archiver = Command::new(java::program("jar"));
    archiver.args(["--create", "--file"]).arg(jar).arg("-C").arg(&classes).arg(".");
    run(archiver, "jar").map(drop)
}

/// Writes the archive: what a broker and a client that ran once have loaded. Brokers start in half the time with it.
fn train(installed: &Installed, archive: &Path) -> Result<(), ServerError> {
    let directory = place::fresh_directory("kafka-training")?;
    let data = directory.join("data");
    place::create(&data)?;
    let layout = Layout::new(&KafkaOptions::new(), directory.clone())?;
    let file = directory.join("server.properties");
    place::write(&file, &layout.properties(0, &data))?;
    let words = installed.java("512m", Pace::Soon, "warn");
    let mut option = OsString::from("-XX:ArchiveClassesAtExit=");
    option.push(archive);
    let mut command = Command::new(words.first().cloned().unwrap_or_default());
    command.args([option, "-Xlog:disable".into()]).args(words.iter().skip(1));
    command.arg("Training").arg(layout.address(0, Listener::Plain)).arg(&file).arg(layout.cluster());
    let trained = run(command, "a first start of Kafka");
    place::remove(&directory);
    trained.map(drop)
}
