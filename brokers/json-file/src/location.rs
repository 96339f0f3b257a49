//! From a location as it was declared to the files that are read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watermill_core::broker::Origin;
use watermill_core::error::BrokerError;

use crate::conflicts::path_identity;
use crate::failure::{failure, path_failure};

/// The location that is standard input or standard output.
pub(crate) const STANDARD: &str = "-";

/// Where a stream is, as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// `-`
    Standard,
    /// A file, a directory or a glob.
    Path(PathBuf),
}

impl Location {
    pub(crate) fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        if path.as_os_str() == STANDARD { Self::Standard } else { Self::Path(path.to_owned()) }
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Standard => STANDARD.to_owned(),
            Self::Path(path) => path.display().to_string(),
        }
    }
}

/// One file of an input.
#[derive(Debug, Clone)]
pub(crate) struct InputFile {
    /// Where to open it; `None` is standard input.
    pub(crate) path: Option<PathBuf>,
    /// How places and messages call it.
    pub(crate) origin: Arc<Origin>,
    /// What tells it from other files, whatever way leads to it.
    pub(crate) identity: PathBuf,
    /// Its length, for regular files.
    pub(crate) length: Option<u64>,
}

impl InputFile {
    fn standard() -> Self {
        Self {
            path: None,
            origin: Arc::new(Origin::File { path: STANDARD.to_owned() }),
            identity: PathBuf::from(STANDARD),
            length: None,
        }
    }

    pub(crate) fn at(path: PathBuf) -> Result<Self, BrokerError> {
        let meta = fs::metadata(&path).map_err(|cause| path_failure("open", &path, cause))?;
        if meta.is_dir() {
            return Err(path_failure("open", &path, std::io::ErrorKind::IsADirectory.into()));
        }
        let identity = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        let origin = Arc::new(Origin::File { path: path.display().to_string() });
        let length = meta.is_file().then_some(meta.len());
        Ok(Self { path: Some(path), origin, identity, length })
    }

    /// One that is followed, whether it is there yet or not.
    pub(crate) fn followed(path: &Path) -> Self {
        let origin = Arc::new(Origin::File { path: path.display().to_string() });
        Self { path: Some(path.to_owned()), origin, identity: path_identity(path), length: Some(0) }
    }

    /// Whether both are the same file, whatever way leads to them.
    pub(crate) fn is_also(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// The path as places call it: what [`Position::part`](watermill_core::broker::Position::part) holds.
    pub(crate) fn part(&self) -> &str {
        match &*self.origin {
            Origin::File { path } => path,
            _ => "",
        }
    }

    /// Whether `part` is this file, whatever way led to it.
    pub(crate) fn is_called(&self, part: &str) -> bool {
        self.part() == part || fs::canonicalize(part).is_ok_and(|there| there == self.identity)
    }

    /// Finds out now, not in the middle of the run, whether it may be read.
    pub(crate) fn check_readable(&self) -> Result<(), BrokerError> {
        match (&self.path, self.length) {
            // Opening a pipe would wait for its writer, so only regular files are tried.
            (Some(path), Some(_)) => {
                fs::File::open(path).map(drop).map_err(|cause| path_failure("open", path, cause))
            }
            _ => Ok(()),
        }
    }
}

/// The files of an input, in the order they are read.
pub(crate) fn files_of(location: &Location) -> Result<Vec<InputFile>, BrokerError> {
    let path = match location {
        Location::Standard => return Ok(vec![InputFile::standard()]),
        Location::Path(path) => path,
    };
    let found = if path.is_dir() {
        files_in(path).map_err(|cause| path_failure("open", path, cause))?
    } else if is_pattern(path) && !path.exists() {
        files_matching(path)?
    } else {
        return Ok(vec![InputFile::at(path.clone())?]);
    };
    if found.is_empty() {
        return Err(failure(
            "open",
            format_args!("`{}`", path.display()),
            "there is no file; a directory or a pattern must have at least one (names that start with a dot do not count)",
        ));
    }
    found.into_iter().map(InputFile::at).collect()
}

/// Whether the path has wildcards.
pub(crate) fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '[']))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn files_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if !is_hidden(&path) && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn files_matching(pattern: &Path) -> Result<Vec<PathBuf>, BrokerError> {
    let shown = format!("`{}`", pattern.display());
    let entries = glob::glob(&pattern.to_string_lossy()).map_err(|cause| {
        let hint = "it is a pattern, since it has `*`, `?` or `[`; write `[[]` for a bracket of a name";
        failure("open", format_args!("{shown} ({hint})"), cause)
    })?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|cause| failure("open", &shown, cause))?;
        if !is_hidden(&path) && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
