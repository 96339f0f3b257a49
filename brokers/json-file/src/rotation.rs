//! Telling files apart that have, or had, the same name: by device and inode where there are such, and by what they hold.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

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
    /// That may be no more than the beginning of a line, and many lines begin alike: it does not tell whether the file was cut and begun anew.
    pub(crate) vague: bool,
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
    /// It has the name of the followed one.
    is_here: bool,
}

impl Candidate {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        Ok(Self { id: FileId::of(&meta), file, meta, number: None, named_alike: true, is_here: true })
    }

    /// The larger it is, the earlier it was rotated away. What has the name itself was not.
    fn age(&self) -> u64 {
        self.number.unwrap_or_default()
    }

    /// Whether it may be a copy of what was read.
    fn is_new_and_fits(&self, known: &Known, before: &Beside) -> bool {
        self.named_alike && !before.has(&self.meta) && known.fits(&self.file)
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
        Some(Candidate { number, named_alike: rest.is_some(), is_here: false, ..candidate })
    });
    opened.collect()
}

/// What stood beside a file: to tell later what has come since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside(Vec<(FileId, Option<Duration>)>);

impl Beside {
    fn of(others: &[Candidate]) -> Self {
        Self(others.iter().filter_map(|other| Self::entry(&other.meta)).collect())
    }

    fn entry(meta: &Metadata) -> Option<(FileId, Option<Duration>)> {
        // The number of a file that was removed may be used again.
        let created = meta.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
        Some((FileId::of(meta)?, created))
    }

    fn has(&self, meta: &Metadata) -> bool {
        Self::entry(meta).is_some_and(|entry| self.0.contains(&entry))
    }
}

/// The file that has the name, and those beside it.
fn all_of(
    directory: &Path,
    name: &OsStr,
    names: &Names,
    known: &Known,
) -> (Option<Candidate>, Vec<Candidate>) {
    let here = Candidate::open(&directory.join(name)).ok().filter(|here| here.meta.is_file());
    (here, beside(directory, name, names, known.id))
}

/// Finds the file that was read, at `path` or beside it, whatever it is called now. `before` is what stood there when it was a file of its own
/// already: none of that is a copy of it.
pub(crate) fn find(path: &Path, known: &Known, before: &Beside) -> Option<File> {
    let found = steadily(path, |directory, name, names| {
        let (here, others) = all_of(directory, name, names, known);
        Ok(find_among(here, others, known, before))
    });
    found.ok().flatten()
}

fn find_among(
    here: Option<Candidate>,
    mut others: Vec<Candidate>,
    known: &Known,
    before: &Beside,
) -> Option<File> {
    let own = |other: &Candidate| known.id.is_some() && other.id == known.id && known.fits(&other.file);
    match here {
        Some(here) if own(&here) => Some(made_of(&here, others, known, before).unwrap_or(here.file)),
        here => match others.iter().position(own) {
            Some(own) => {
                let own = others.swap_remove(own);
                Some(made_of(&own, others, known, before).unwrap_or(own.file))
            }
            None if known.seen.length > 0 => copy_among(here, others, known, before),
            // By what was read it cannot be found, since that is nothing.
            None => here.filter(|_| known.id.is_none()).map(|here| here.file),
        },
    }
}

/// Finds the copy that was made of a file before it was cut.
pub(crate) fn find_copy(path: &Path, known: &Known, before: &Beside) -> Option<File> {
    let found = steadily(path, |directory, name, names| {
        let (here, others) = all_of(directory, name, names, known);
        Ok(copy_among(here, others, known, before))
    });
    found.ok().flatten().filter(|_| known.seen.length > 0)
}

fn copy_among(
    here: Option<Candidate>,
    others: Vec<Candidate>,
    known: &Known,
    before: &Beside,
) -> Option<File> {
    let itself = |other: &Candidate| known.id.is_some() && other.id == known.id;
    let fits = |other: &Candidate| !itself(other) && other.is_new_and_fits(known, before);
    let here = here.filter(fits);
    let others: Vec<_> = others.into_iter().filter(fits).collect();
    match here {
        // Where little is known, what was begun anew fits as well as a copy.
        Some(here) if !known.vague || others.is_empty() => Some(here.file),
        _ => oldest(others, known),
    }
}

/// The copy that was made of `own`, if that was cut and begun anew and begins as it did before. Until it is cut, all that is in a copy is in the
/// file too.
fn made_of(own: &Candidate, others: Vec<Candidate>, known: &Known, before: &Beside) -> Option<File> {
    let asked = known.vague && known.seen.length > 0;
    // What was rotated away behind it is no copy of it.
    let later = |other: &Candidate| !own.is_here && other.age() <= own.age();
    let is_copy = |other: &Candidate| {
        !other.is_here
            && other.is_new_and_fits(known, before)
            && !later(other)
            && !other.is_copy_of(&own.file)
    };
    if asked { oldest(others.into_iter().filter(is_copy).collect(), known) } else { None }
}

/// As [`find_copy`], for a file that does not look as if it was cut.
pub(crate) fn find_unnoticed_copy(path: &Path, known: &Known, before: &Beside) -> Option<File> {
    let found = steadily(path, |directory, name, names| {
        let (here, others) = all_of(directory, name, names, known);
        let (mut own, others): (Vec<_>, Vec<_>) =
            here.into_iter().chain(others).partition(|other| other.id.is_some() && other.id == known.id);
        Ok(own.pop().and_then(|own| made_of(&own, others, known, before)))
    });
    found.ok().flatten()
}

/// The only one, or where little is known the one that was made first: what came to stand in the file later was copied later.
fn oldest(mut copies: Vec<Candidate>, known: &Known) -> Option<File> {
    copies.sort_by_key(Candidate::age);
    let last = copies.pop()?;
    // Which of several was the first can be told by their numbers alone.
    let told = copies.is_empty() || known.vague && copies.iter().all(|other| other.age() < last.age());
    Some(last.file).filter(|_| told)
}

/// A file to go on with.
pub(crate) struct NextFile {
    pub(crate) file: File,
    /// What it held when it was chosen: it may be cut before anything of it is read, and that is to be noticed.
    pub(crate) seen: Seen,
    /// What stood beside it then, except copies of it that were being made already.
    pub(crate) before: Beside,
}

impl NextFile {
    /// One that was rotated away already: nobody will cut it.
    fn rotated(file: File, before: Beside) -> Self {
        Self { file, seen: Seen::default(), before }
    }
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
    choose(path, Some(known))
}

/// The file that has the name, if there is one, whatever was there before.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn first_of(path: &Path) -> io::Result<Option<NextFile>> {
    choose(path, None)
}

fn choose(path: &Path, known: Option<&Known>) -> io::Result<Option<NextFile>> {
    let is_known = |other: &Candidate| known.is_some_and(|known| known.is(other));
    steadily(path, |directory, name, names| {
        let here = match open_regular(path) {
            Ok(_) => Some(Candidate::open(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let here = here.transpose()?;
        if here.as_ref().is_some_and(is_known) {
            return Ok(None);
        }
        // Before it is compared with the others: if it is cut meanwhile, its copy is no copy any more but the file that comes first.
        let seen = match here.as_ref().map(|here| Seen::of(&here.file, None)).transpose() {
            Ok(seen) => seen.unwrap_or_default(),
            // It is being cut now.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let others = beside(directory, name, names, known.and_then(|known| known.id));
        // One that is being made of the file that has the name, which is to be cut next, is no other one.
        let is_copy = |other: &Candidate| here.as_ref().is_some_and(|here| other.is_copy_of(&here.file));
        let (copies, mut others): (Vec<_>, Vec<_>) = others.into_iter().partition(is_copy);
        // It was cut while they were looked at, and what counts as another one may be its copy.
        let was_cut = match &here {
            Some(here) => seen.length < here.meta.len() || seen.difference_of(&here.file)?.is_some(),
            None => false,
        };
        let before = Beside::of(&others);
        let numbered = || others.iter().filter(|other| other.number.is_some());
        let own = numbered().chain(&copies).find(|other| is_known(other)).and_then(|other| other.number);
        // Not the length that it had when it was opened: it may be a copy that has been made since.
        let holds = |other: &Candidate| other.file.metadata().is_ok_and(|meta| meta.len() > 0);
        let between =
            (0..others.len()).filter(|index| others[*index].number.is_some_and(|number| Some(number) < own));
        let between =
            between.filter(|index| holds(&others[*index])).max_by_key(|index| others[*index].number);
        if let Some(between) = between {
            let file = others.swap_remove(between).file;
            return Ok(Some(NextFile::rotated(file, before)));
        }
        if was_cut {
            // Without it, it is looked for once more: that it was cut is a change.
            let known = Known { id: None, seen, vague: false };
            let copy = copy_among(None, others, &known, &Beside::default()).filter(|_| seen.length > 0);
            return Ok(copy.map(|file| NextFile::rotated(file, before)));
        }
        let here = here.filter(|_| known.is_none() || seen.length > 0);
        Ok(here.map(|here| NextFile { file: here.file, seen, before }))
    })
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
