//! Telling files apart that have, or had, the same name: by device and inode where there are such, and by what they hold.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::state_file::Seen;

/// What tells a file from all others of its time, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl FileId {
    #[cfg(unix)]
    pub(crate) fn of(meta: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self { device: meta.dev(), inode: meta.ino() })
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

/// Whether the file has no name any more.
#[cfg(unix)]
pub(crate) fn is_deleted(meta: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    meta.nlink() == 0
}

#[cfg(not(unix))]
pub(crate) fn is_deleted(_: &Metadata) -> bool {
    false
}

/// What a file is known by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) id: Option<FileId>,
    /// What was read of it.
    pub(crate) seen: Seen,
}

impl Known {
    /// Whether `other` is this file.
    fn is(&self, other: &Candidate) -> bool {
        match (self.id, other.id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.fits(&other.file),
        }
    }

    /// Whether a file begins with what was read. Nothing fits all files, which says nothing.
    fn fits(&self, file: &File) -> bool {
        self.seen.length == 0 || self.seen.difference_of(file).is_ok_and(|difference| difference.is_none())
    }
}

/// A file that may be the one that is looked for.
struct Candidate {
    file: File,
    meta: Metadata,
    id: Option<FileId>,
    /// The number in `log.3`.
    number: Option<u64>,
    /// Its name begins with that of the followed one.
    named_alike: bool,
}

impl Candidate {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        Ok(Self { id: FileId::of(&meta), file, meta, number: None, named_alike: true })
    }

    /// Whether all that it holds is in `file` too.
    fn is_copy_of(&self, file: &File) -> bool {
        let all = Seen::of(&self.file, None);
        all.is_ok_and(|all| all.difference_of(file).is_ok_and(|difference| difference.is_none()))
    }
}

/// How often files that are being renamed are listed again.
const TRIES: usize = 200;

/// The files in the directory of `path`, that one among them, with their names.
type Names = Vec<(OsString, Option<FileId>)>;

fn names(directory: &Path) -> Names {
    // What cannot be looked at is not found.
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let with_id = |entry: DirEntry| {
        let meta = fs::metadata(entry.path()).ok().filter(Metadata::is_file)?;
        Some((entry.file_name(), FileId::of(&meta)))
    };
    let mut names: Vec<_> = entries.flatten().filter_map(with_id).collect();
    names.sort_by(|left, right| left.0.cmp(&right.0));
    names
}

/// Does something with the names in the directory of `path`. Whoever rotates files renames one after the other: names that have changed
/// meanwhile are of no use, and neither is what was done with them.
fn steadily<T>(path: &Path, mut work: impl FnMut(&Path, &OsStr, &Names) -> io::Result<T>) -> io::Result<T> {
    let name = path.file_name().unwrap_or_default();
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut before = names(directory);
    let mut tries = 0;
    loop {
        let result = work(directory, name, &before);
        let after = names(directory);
        tries += 1;
        if before == after || tries == TRIES {
            return result;
        }
        before = after;
        thread::sleep(Duration::from_micros(200));
    }
}

/// The files beside the one called `name` that are named alike, or are the one with this id, opened. Those that may not be read are
/// not found.
fn beside(directory: &Path, name: &OsStr, names: &Names, known: Option<FileId>) -> Vec<Candidate> {
    let others = names.iter().filter(|(other, _)| other != name);
    let opened = others.filter_map(|(other, id)| {
        let rest = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        rest.or(known.and(Some(&[][..])).filter(|_| known == *id))?;
        let number = rest.and_then(|rest| std::str::from_utf8(rest).ok()?.strip_prefix('.')?.parse().ok());
        let candidate = Candidate::open(&directory.join(other)).ok()?;
        Some(Candidate { number, named_alike: rest.is_some(), ..candidate })
    });
    opened.collect()
}

/// What stands beside a file: to tell later what has come since.
#[derive(Debug, Default)]
pub(crate) struct Beside(Vec<(FileId, Option<SystemTime>)>);

impl Beside {
    /// What stands beside `path`, except copies of `file` that are being made already.
    fn entry(meta: &Metadata) -> Option<(FileId, Option<SystemTime>)> {
        // The number of a file that was removed may be used again.
        Some((FileId::of(meta)?, meta.created().ok()))
    }

    fn has(&self, meta: &Metadata) -> bool {
        Self::entry(meta).is_some_and(|entry| self.0.contains(&entry))
    }
}

/// Finds the file that was read, at `path` or beside it, whatever it is called now. `before` is what stood there when it was a file of its own
/// already: none of that is a copy of it.
pub(crate) fn find(path: &Path, known: &Known, before: &Beside) -> Option<File> {
    let found = steadily(path, |directory, name, names| {
        let here = Candidate::open(path).ok().filter(|here| here.meta.is_file());
        let others = beside(directory, name, names, known.id);
        Ok(find_among(here, others, known, before))
    });
    found.ok().flatten()
}

fn find_among(
    here: Option<Candidate>,
    others: Vec<Candidate>,
    known: &Known,
    before: &Beside,
) -> Option<File> {
    let is_here = here.is_some();
    let mut all: Vec<_> = here.into_iter().chain(others).collect();
    if known.id.is_some()
        && let Some(same) = all.iter().position(|other| other.id == known.id && known.fits(&other.file))
    {
        return Some(all.swap_remove(same).file);
    }
    if known.seen.length == 0 {
        // By what was read it cannot be found, since that is nothing.
        return all.into_iter().next().filter(|_| is_here && known.id.is_none()).map(|here| here.file);
    }
    let fits = |other: &Candidate| other.named_alike && !before.has(&other.meta) && known.fits(&other.file);
    if is_here && all.first().is_some_and(fits) {
        return Some(all.swap_remove(0).file);
    }
    let mut copies = all.into_iter().filter(fits);
    // Of several it cannot be told which one it is.
    match (copies.next(), copies.next()) {
        (Some(copy), None) => Some(copy.file),
        _ => None,
    }
}

/// A file to go on with.
pub(crate) struct NextFile {
    pub(crate) file: File,
    /// What it held when it was chosen: it may be cut before anything of it is read, and that is to be noticed.
    pub(crate) seen: Seen,
    /// What stood beside it then, except copies of it that were being made already.
    pub(crate) before: Beside,
}

/// The file that was begun next after `known`: the one that has the name now, unless others were rotated away between the two.
/// `None` while there is none, or it is empty: what has the old one open may still write to that.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn next_of(path: &Path, known: &Known) -> io::Result<Option<NextFile>> {
    // Most often nothing has changed.
    if let (Some(ours), Ok(Some(theirs))) = (known.id, fs::metadata(path).map(|meta| FileId::of(&meta)))
        && ours == theirs
    {
        return Ok(None);
    }
    steadily(path, |directory, name, names| {
        let here = match open_regular(path) {
            Ok(_) => Some(Candidate::open(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let here = here.transpose()?;
        if here.as_ref().is_some_and(|here| known.is(here)) {
            return Ok(None);
        }
        // Before it is compared with the others: if it is cut meanwhile, its copy is no copy any more but the file that comes first.
        let seen = match here.as_ref().map(|here| Seen::of(&here.file, None)).transpose() {
            Ok(seen) => seen.unwrap_or_default(),
            // It is being cut now.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let others = beside(directory, name, names, known.id);
        // One that is being made of the file that has the name, which is to be cut next, is no other one.
        let is_copy = |other: &Candidate| here.as_ref().is_some_and(|here| other.is_copy_of(&here.file));
        let (copies, others): (Vec<_>, Vec<_>) = others.into_iter().partition(is_copy);
        let before = Beside(others.iter().filter_map(|other| Beside::entry(&other.meta)).collect());
        let numbered = || others.iter().filter(|other| other.number.is_some());
        let own = numbered().chain(&copies).find(|other| known.is(other)).and_then(|other| other.number);
        let between = numbered().filter(|other| other.number < own && other.meta.len() > 0);
        match between.max_by_key(|other| other.number) {
            Some(between) => {
                Ok(Some(NextFile { file: between.file.try_clone()?, seen: Seen::default(), before }))
            }
            None => {
                let here = here.filter(|here| here.meta.len() > 0);
                Ok(here.map(|here| NextFile { file: here.file, seen, before }))
            }
        }
    })
}

/// The file that has the name, if there is one, whatever was there before.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn first_of(path: &Path) -> io::Result<Option<NextFile>> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let before = steadily(path, |directory, name, names| {
        let others = beside(directory, name, names, None);
        let others = others.iter().filter(|other| !other.is_copy_of(&file));
        Ok(Beside(others.filter_map(|other| Beside::entry(&other.meta)).collect()))
    })?;
    Ok(Some(NextFile { file, seen: Seen::default(), before }))
}

/// Opens what can be followed.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let meta = fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !meta.is_file() {
        let text = "only files can be followed; a pipe or device needs no `follow()`: it is read as it comes";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    File::open(path)
}
