//! Python's watermill and Python's minibatch, as they are on PyPI, each in a virtual environment: made once, and whole.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use crate::error::ServerError;
use crate::install::run;
use crate::place;

/// An environment: what it is called, what is told of, and what is installed, of which nothing is changed.
struct Environment {
    name: &'static str,
    wanted: &'static str,
    packages: &'static [&'static str],
}

/// kafka-python is what its Kafka broker imports, without declaring it; six is for that: on Python 3.12 and later a part of kafka-python 2.0.2 cannot be imported, unless a program puts six in its
/// place first.
const WATERMILL: Environment = Environment {
    name: "python-watermill",
    wanted: "Python's watermill",
    packages: &["watermill==3.6.7", "kafka-python==2.0.2", "six==1.16.0"],
};

/// mongoengine, and with it the driver, are what it is built on.
const MINIBATCH: Environment = Environment {
    name: "python-minibatch",
    wanted: "Python's minibatch",
    packages: &["minibatch==0.6.0", "pymongo==4.20.0", "mongoengine==0.29.3", "dill==0.4.1"],
};

const PYTHON: &str = "install Python 3.6 or later, such as by `apt-get install python3 python3-venv`";
const VENV: &str = "install it, such as by `apt-get install python3-venv`";

/// The Python interpreter of an environment that has Python's watermill 3.6.7. Makes the environment when it is first asked for, which needs the network.
///
/// # Errors
/// When Python 3, or its module `venv`, is missing, or the network.
pub fn python_watermill() -> Result<PathBuf, ServerError> {
    interpreter_of(&WATERMILL)
}

/// The Python interpreter of an environment that has minibatch 0.6.0, as [`python_watermill`].
///
/// # Errors
/// As [`python_watermill`].
pub fn python_minibatch() -> Result<PathBuf, ServerError> {
    interpreter_of(&MINIBATCH)
}

fn interpreter_of(environment: &Environment) -> Result<PathBuf, ServerError> {
    // The environment refers to the interpreter that made it. Each has a directory of its own: a process may be using that of another one.
    let packages = environment.packages.join("\n");
    let made_from = format!("{}\n{packages}\n", base(environment)?.trim());
    let mut hasher = DefaultHasher::new();
    made_from.hash(&mut hasher);
    let name = format!("{}-{:016x}", environment.name, hasher.finish());
    let directory = place::once(&name, &made_from, |directory| {
        let first = environment.packages.first().copied().unwrap_or_default();
        place::tell(&format!("installing {first} into {}, once", directory.display()));
        install(environment, directory)
    })?;
    Ok(interpreter(&directory.join("venv")))
}

/// Where the interpreter of the machine is, and its version.
fn base(environment: &Environment) -> Result<String, ServerError> {
    let mut python = Command::new("python3");
    python.args(["-c", "import sys; print(sys.executable, sys.version)"]);
    run(python, "python3").map_err(|error| {
        missing(
            environment,
            "Python 3 (`python3`)",
            format!("`python3` cannot be run ({})", told(&error)),
            PYTHON,
        )
    })
}

fn install(environment: &Environment, directory: &Path) -> Result<(), ServerError> {
    // If this process is killed, pip goes on for a while: it must not write where another one does.
    let partial = directory.join(format!("venv-{}", process::id()));
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&partial);
    // Debian has the module in a package of its own, and without it says so on several lines.
    run(venv, "python3 -m venv").map_err(|error| {
        missing(
            environment,
            "Python's module `venv`",
            format!("`python3 -m venv` failed ({})", told(&error)),
            VENV,
        )
    })?;
    let mut pip = Command::new(interpreter(&partial));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(environment.packages);
    run(pip, "pip").map_err(|error| match error {
        ServerError::Program { program, status, output, .. } => {
            ServerError::Program { program, status, hint: ": it needs the network, once", output }
        }
        other => other,
    })?;
    // Its interpreter finds its packages by where it stands itself; only the scripts of packages, which nobody runs here, would not.
    fs::rename(&partial, directory.join("venv"))
        .map_err(ServerError::io(format!("name {}", directory.display())))
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin").join("python")
}

fn missing(
    environment: &Environment,
    what: &'static str,
    found: String,
    remedy: &'static str,
) -> ServerError {
    ServerError::Missing { wanted: environment.wanted, what, found, remedy }
}

/// One line of what went wrong.
fn told(error: &ServerError) -> String {
    match error {
        ServerError::Io { source, .. } => source.to_string(),
        ServerError::Program { output, status, .. } => {
            output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(status).trim().to_owned()
        }
        other => other.to_string(),
    }
}
