//! Declarations that contradict each other: one file as input and output, two outputs to one file.

use std::fs;
use std::path::{Component, Path, PathBuf};

use watermill_core::error::BrokerError;

use crate::broker::{Input, Output};
use crate::failure::failure;
use crate::format::Format;
use crate::location::{Location, files_of, is_pattern};

/// Finds the first contradiction.
pub(crate) fn check(inputs: &[Input], outputs: &[Output]) -> Result<(), BrokerError> {
    for (index, input) in inputs.iter().enumerate() {
        for other in &inputs[..index] {
            if input.record == other.record && input.name == other.name {
                let what = match &input.name {
                    Some(name) => format!("`{}` \"{name}\"", input.record),
                    None => format!("`{}`", input.record),
                };
                let cause = format!(
                    "{what} is read from `{}` already; give each a name with `read_as`, or read several files as one by a directory or a pattern",
                    other.location.shown()
                );
                return Err(contradiction(&input.location, cause));
            }
            if input.location == Location::Standard && other.location == Location::Standard {
                let cause = "standard input can be read by one stream only; write it to a file first";
                return Err(contradiction(&input.location, cause));
            }
        }
    }
    for (index, output) in outputs.iter().enumerate() {
        for other in &outputs[..index] {
            if identity(&output.location) == identity(&other.location) {
                let cause = format!(
                    "`{}` and `{}` are both written to this file; each output needs its own",
                    other.record, output.record
                );
                return Err(contradiction(&output.location, cause));
            }
        }
        for input in inputs {
            if is_read(&output.location, &input.location) {
                let cause = format!(
                    "`{}` is read from it (`{}`); write to another file",
                    input.record,
                    input.location.shown()
                );
                return Err(contradiction(&output.location, cause));
            }
        }
        if let Some(problem) = &output.problem {
            return Err(contradiction(&output.location, problem.clone()));
        }
    }
    Ok(())
}

/// Finds the first input that cannot be followed, as far as its declaration tells.
pub(crate) fn check_followed(inputs: &[Input], format: Option<Format>) -> Result<(), BrokerError> {
    for input in inputs.iter().filter(|input| input.follow.is_some()) {
        let cause = match &input.location {
            Location::Standard => {
                "standard input is read as it comes in any case; it needs no `follow()`, and cannot be taken up"
            }
            Location::Path(path) if path.is_dir() => {
                "it is a directory, and only a file can be followed; declare the file that grows"
            }
            Location::Path(path) if is_pattern(path) && !path.exists() => {
                "it is a pattern, and only a file can be followed; declare the file that grows: those it is rotated to are found"
            }
            Location::Path(_) if format == Some(Format::JsonArray) => {
                "the inputs are JSON arrays (`input_format`), and only NDJSON can be followed"
            }
            Location::Path(_) => continue,
        };
        return Err(failure("follow", format_args!("`{}`", input.location.shown()), cause));
    }
    Ok(())
}

fn contradiction(location: &Location, cause: impl Into<watermill_core::error::BoxError>) -> BrokerError {
    failure("use", format_args!("`{}`", location.shown()), cause)
}

/// Whether `output` is among what `input` reads, now or in the next run.
fn is_read(output: &Location, input: &Location) -> bool {
    let (Location::Path(written), Location::Path(read)) = (output, input) else { return false };
    let written = path_identity(written);
    if path_identity(read) == written || is_same_file(read, &written) {
        return is_regular(&written);
    }
    let is_written = |file: &Path| file == written || is_same_file(file, &written);
    if files_of(input).is_ok_and(|files| files.iter().any(|file| is_written(&file.identity))) {
        return is_regular(&written);
    }
    if read.is_dir() {
        return written.parent() == Some(&*path_identity(read)) && !hidden(&written);
    }
    is_pattern(read) && !read.exists() && pattern_matches(read, &written)
}

/// One file under two names: a hard link.
#[cfg(unix)]
fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// One file under two names: not known here.
#[cfg(not(unix))]
fn is_same_file(_: &Path, _: &Path) -> bool {
    false
}

/// Devices may well be both: a terminal is.
fn is_regular(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |meta| meta.is_file())
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn pattern_matches(pattern: &Path, path: &Path) -> bool {
    let wild = |part: &Component<'_>| is_pattern(Path::new(part.as_os_str()));
    let base: PathBuf = pattern.components().take_while(|part| !wild(part)).collect();
    let rest: PathBuf = pattern.components().skip_while(|part| !wild(part)).collect();
    let base = path_identity(if base.as_os_str().is_empty() { Path::new(".") } else { &base });
    let Ok(below) = path.strip_prefix(&base) else { return false };
    let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
    glob::Pattern::new(&rest.to_string_lossy()).is_ok_and(|pattern| pattern.matches_path_with(below, options))
        && !hidden(path)
}

fn identity(location: &Location) -> PathBuf {
    match location {
        Location::Standard => PathBuf::from(location.shown()),
        Location::Path(path) => path_identity(path),
    }
}

/// What tells a file from others, whatever way leads to it, and whether it is there yet or not.
pub(crate) fn path_identity(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut there = absolute.as_path();
    while let (Some(parent), Some(name)) = (there.parent(), there.file_name()) {
        missing.push(name);
        there = parent;
        if let Ok(found) = fs::canonicalize(there) {
            return missing.iter().rev().fold(found, |path, name| path.join(name));
        }
    }
    absolute
}
