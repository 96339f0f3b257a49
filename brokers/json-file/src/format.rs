//! Formats of files.

use std::path::Path;

/// How the records of a file are laid out.
///
/// ```
/// # use watermill_core::prelude::*;
/// # use watermill_json_file::JsonFileBroker;
/// # let folder = tempfile::tempdir()?;
/// # let path = |name: &str| folder.path().join(name);
/// use watermill_json_file::Format;
///
/// std::fs::write(path("events.txt"), "{\"time\":1}\n{\"time\":2}\n")?;
/// let files = JsonFileBroker::new()
///     .read::<Json>(path("events.txt"))
///     .write::<Json>(path("array.txt"))
///     .input_format(Format::Ndjson)
///     .output_format(Format::JsonArray);
/// Mill::new(|event: &Json| event.clone()).run_blocking(files)?;
/// let array: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path("array.txt"))?)?;
/// assert_eq!(array.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON array whose elements are the records; written with one element a line. What Python's watermill reads.
    JsonArray,
    /// One record a line.
    Ndjson,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What the name of an output says: `x.ndjson.gz` is NDJSON, in gzip. `None` for a name that says nothing.
pub(crate) fn by_name(path: &Path) -> (Option<Format>, Compression) {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let (stem, compression) = if let Some(stem) = name.strip_suffix(".gz") {
        (stem, Compression::Gzip)
    } else if let Some(stem) = name.strip_suffix(".zst") {
        (stem, Compression::Zstd)
    } else {
        (name.as_str(), Compression::None)
    };
    let format = match stem.rsplit_once('.') {
        Some((_, "ndjson" | "jsonl")) => Some(Format::Ndjson),
        Some((_, "json")) => Some(Format::JsonArray),
        _ => None,
    };
    (format, compression)
}
