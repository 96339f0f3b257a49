//! The Java that runs servers written for it.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::error::ServerError;

const NEEDED: u32 = 17;
const REMEDY: &str =
    "install a JDK, such as `apt-get install openjdk-17-jdk-headless`, or set JAVA_HOME to one";

/// A program of the JDK: that of `JAVA_HOME`, if that is set, else the one of the path.
pub(crate) fn program(name: &str) -> PathBuf {
    match env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin").join(name)) {
        Some(program) if program.is_file() => program,
        _ => PathBuf::from(name),
    }
}

/// Makes sure that there is a JDK that is new enough, one that runs programs and compiles them, and returns what it says of itself.
pub(crate) fn check(wanted: &'static str) -> Result<String, ServerError> {
    static CHECKED: OnceLock<Result<String, ServerError>> = OnceLock::new();
    CHECKED.get_or_init(|| look(wanted)).clone()
}

fn look(wanted: &'static str) -> Result<String, ServerError> {
    let mut all = String::new();
    let missing = |what, found| ServerError::Missing { wanted, what, found, remedy: REMEDY };
    for (name, what) in
        [("java", "Java 17 or later (`java`)"), ("javac", "a JDK of Java 17 or later (`javac`)")]
    {
        let said = match Command::new(program(name)).arg("-version").output() {
            // `java` tells its version where others tell errors.
            Ok(output) => format!(
                "{}{}",
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&output.stdout)
            ),
            Err(error) => return Err(missing(what, format!("`{name}` cannot be run ({error})"))),
        };
        match version(&said) {
            Some(version) if version >= NEEDED => all += &said,
            Some(version) => return Err(missing(what, format!("`{name}` is of version {version}"))),
            None => return Err(missing(what, format!("`{name} -version` says {:?}", said.trim()))),
        }
    }
    Ok(all)
}

/// The major version in `openjdk version "17.0.15" 2025-04-15` or `javac 21`. That of Java 8 is told as 1.8, which is too old as well.
fn version(said: &str) -> Option<u32> {
    let line = said.lines().find(|line| line.contains("version") || line.starts_with("javac"))?;
    let digits = line.split(|letter: char| !letter.is_ascii_digit()).find(|part| !part.is_empty())?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(version("Picked up JAVA_TOOL_OPTIONS: -Xmx1g\njavac 21"), Some(21));
        assert_eq!(version("java version \"1.8.0_292\""), Some(1));
        assert_eq!(version("no such thing"), None);
    }
}
