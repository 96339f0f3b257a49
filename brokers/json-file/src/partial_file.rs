//! Where an output goes until it is complete: a hidden file beside its target.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use watermill_core::error::BrokerError;

use crate::appended::Appended;
use crate::deferred::Unsynced;
use crate::early_sync::EarlySync;
use crate::failure::{failure, path_failure};
use crate::location::Location;
use crate::state_file::sync_directory;

/// What an output is written to.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Standard output, or a device or pipe: what is written is there at once.
    AsItGoes(Stream),
    /// A hidden file that becomes the target when it is complete.
    WhenComplete(File, EarlySync),
}

/// Something that cannot be replaced by a rename.
#[derive(Debug)]
pub(crate) enum Stream {
    Standard,
    Device(File),
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::AsItGoes(Stream::Standard) => io::stdout().write(bytes),
            Self::AsItGoes(Stream::Device(file)) => file.write(bytes),
            Self::WhenComplete(file, sync) => {
                let written = file.write(bytes)?;
                sync.wrote(file, written);
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::AsItGoes(Stream::Standard) => io::stdout().flush(),
            Self::AsItGoes(Stream::Device(file)) | Self::WhenComplete(file, _) => file.flush(),
        }
    }
}

impl Destination {
    /// Whether a reader may be waiting for what was written.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::AsItGoes(_))
    }

    /// Cuts the file to `length`, and goes on writing behind that.
    pub(crate) fn cut_to(&mut self, length: u64) -> io::Result<()> {
        match self {
            Self::AsItGoes(_) => Ok(()),
            Self::WhenComplete(file, _) => {
                file.set_len(length)?;
                file.seek(SeekFrom::Start(length)).map(drop)
            }
        }
    }

    /// What was written, for somebody else to make it durable; `None` where that cannot be.
    pub(crate) fn unsynced(&mut self) -> io::Result<Option<Unsynced>> {
        self.flush()?;
        match self {
            Self::AsItGoes(_) => Ok(None),
            Self::WhenComplete(file, sync) => {
                sync.check()?;
                sync.unsynced(file).map(Some)
            }
        }
    }

    /// Makes what was written durable, where it can be.
    pub(crate) fn sync(&mut self, whole: bool) -> io::Result<()> {
        self.flush()?;
        match self {
            Self::AsItGoes(_) => Ok(()),
            Self::WhenComplete(file, sync) => {
                sync.check()?;
                if whole { file.sync_all() } else { file.sync_data() }?;
                sync.check()
            }
        }
    }
}

/// The hidden file of an output; removed when it is dropped before it was published, unless something in it was committed.
#[derive(Debug)]
pub(crate) struct PartialFile {
    partial: PathBuf,
    target: PathBuf,
    /// It is this run's own, to be removed when it is dropped.
    here: bool,
    /// The target grows with every commit, instead of being replaced in the end.
    pub(crate) appended: Option<Appended>,
}

impl PartialFile {
    /// Gives the complete file its name. A file that had it before is replaced in one step.
    pub(crate) fn publish(&mut self) -> Result<(), BrokerError> {
        if self.appended.is_some() {
            // All of it was appended.
            return self.remove();
        }
        fs::rename(&self.partial, &self.target)
            .map_err(|cause| path_failure("commit", &self.target, cause))?;
        self.here = false;
        sync_directory(&self.target).map_err(|cause| path_failure("commit", &self.target, cause))
    }

    /// The final path of the output.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// How long the hidden file is.
    pub(crate) fn length(&self) -> Result<u64, BrokerError> {
        let meta = fs::metadata(&self.partial).map_err(|cause| path_failure("read", &self.partial, cause))?;
        Ok(meta.len())
    }

    /// Nothing in the hidden file was committed: it is this run's own.
    pub(crate) fn own(&mut self) {
        self.here = true;
    }

    /// Leaves the hidden file where it is: a restart goes on with it.
    pub(crate) fn keep(&mut self) {
        self.here = false;
    }

    /// Removes the hidden file, unless it is to be kept.
    pub(crate) fn discard(&mut self) -> Result<(), BrokerError> {
        if self.here { self.remove() } else { Ok(()) }
    }

    /// Removes the hidden file.
    pub(crate) fn remove(&mut self) -> Result<(), BrokerError> {
        self.here = false;
        fs::remove_file(&self.partial).map_err(|cause| path_failure("remove", &self.partial, cause))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Err(error) = self.discard() {
            tracing::warn!(target: "watermill", %error, "an unfinished output stays behind");
        }
    }
}

/// Opens what an output is written to. A hidden file is there for this run alone, with what an earlier run left in it.
pub(crate) fn open_destination(
    location: &Location,
    append: bool,
) -> Result<(Destination, Option<PartialFile>), BrokerError> {
    let path = match location {
        Location::Standard => return Ok((Destination::AsItGoes(Stream::Standard), None)),
        Location::Path(path) => path,
    };
    let target = fs::canonicalize(path).unwrap_or_else(|_| behind_links(path));
    match fs::metadata(&target) {
        Ok(meta) if meta.is_dir() => {
            return Err(path_failure("write", path, io::ErrorKind::IsADirectory.into()));
        }
        Ok(meta) if !meta.is_file() => {
            let device = OpenOptions::new().write(true).open(&target);
            let device = device.map_err(|cause| path_failure("write", path, cause))?;
            return Ok((Destination::AsItGoes(Stream::Device(device)), None));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(path_failure("write", path, cause)),
    }
    let partial = partial_path(&target).ok_or_else(|| {
        failure("write", format_args!("`{}`", path.display()), "the path does not end in the name of a file")
    })?;
    if let Some(directory) = partial.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(|cause| path_failure("write", path, cause))?;
    }
    let file = open_locked(&partial, path)?;
    // What an earlier run may have committed is not ours to remove.
    let here = file.metadata().map_err(|cause| path_failure("write", path, cause))?.len() == 0;
    if here {
        // A state that speaks of it must not outlive it.
        sync_directory(&partial).map_err(|cause| path_failure("write", path, cause))?;
    }
    let appended = if append { Some(Appended::new(&target, &partial)) } else { None };
    let appended = appended.transpose().map_err(|cause| path_failure("append to", path, cause))?;
    let partial = PartialFile { partial, target, here, appended };
    Ok((Destination::WhenComplete(file, EarlySync::default()), Some(partial)))
}

/// Where links that lead to no file yet would have it.
fn behind_links(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    // As many as systems follow.
    for _ in 0..40 {
        match fs::read_link(&target) {
            Ok(link) => target = target.parent().map(|directory| directory.join(&link)).unwrap_or(link),
            Err(_) => break,
        }
    }
    target
}

/// `out/.speed.json.partial` for `out/speed.json`.
fn partial_path(target: &Path) -> Option<PathBuf> {
    hidden_beside(target, "partial")
}

/// A hidden file beside `target`.
pub(crate) fn hidden_beside(target: &Path, ending: &str) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name()?);
    name.push(".");
    name.push(ending);
    Some(target.with_file_name(name))
}

/// Opens the hidden file for this run alone.
fn open_locked(partial: &Path, target: &Path) -> Result<File, BrokerError> {
    loop {
        // Not truncated here: it may be another run's.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(partial);
        let file = file.map_err(|cause| path_failure("write", target, cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let location = format!("`{}`", target.display());
                return Err(failure("write", location, "another run is writing this output"));
            }
            // Not every file system knows locks; then nobody else can have one.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(cause)) => return Err(path_failure("write", target, cause)),
        }
        // The run that had it may have given it its final name meanwhile.
        if still_at(&file, partial).map_err(|cause| path_failure("write", target, cause))? {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn still_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn still_at(_: &File, path: &Path) -> io::Result<bool> {
    // Where a locked file can be renamed away under us is unix only.
    Ok(path.exists())
}
