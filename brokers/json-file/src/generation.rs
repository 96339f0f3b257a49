//! The files that have one name, one after the other, as they are followed.
//!
//! Each of them is a [`Generation`], which stays open as long as somebody reads it or a commit speaks of it, and knows the one behind it.
//! All streams of a run that follow the same path share them. They are numbered from 1 on, and the number is part of how positions
//! and messages call a file: `log.ndjson`, then `log.ndjson#2`. Before the first one stands number 0, which holds nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use memchr::memchr;
use watermill_core::broker::{Origin, Position};
use watermill_core::error::BrokerError;

use crate::failure::path_failure;
use crate::follow::Follow;
use crate::rotation::{
    Beside, FileId, Known, NextFile, find, find_copy, find_unnoticed_copy, first_of, is_deleted, next_of,
};
use crate::state_file::{FollowedState, Seen};
use crate::watcher::Watcher;

/// How much of a file is looked at of which nothing was read.
const HEAD: u64 = 4096;

/// A path that is followed.
pub(crate) struct Followed {
    pub(crate) path: PathBuf,
    /// The path as it was declared.
    shown: String,
    pub(crate) options: Follow,
    pub(crate) watcher: Watcher,
    /// What stands before the first file, for all streams that begin there.
    root: Mutex<Weak<Generation>>,
    /// The generation behind all others. It outlives nobody who needs it.
    newest: Arc<Mutex<Weak<Generation>>>,
    /// Generations that an earlier run had come to, in their order.
    known: Mutex<Vec<Weak<Generation>>>,
}

/// One of the files that have, or had, the name.
pub(crate) struct Generation {
    pub(crate) followed: Arc<Followed>,
    pub(crate) number: usize,
    pub(crate) origin: Arc<Origin>,
    text: Option<Mutex<GrowingText>>,
    next: OnceLock<Arc<Generation>>,
}

/// The text of a file that others write to.
pub(crate) struct GrowingText {
    file: File,
    known: Known,
    /// What stood beside it when it was new, where that is known.
    before: Option<Beside>,
    /// It was cut, and what was not read is gone.
    lost: bool,
}

/// What reading yields.
pub(crate) enum Got {
    Bytes(usize),
    /// There is no more by now.
    Nothing,
    /// There will be no more: the file was cut below what was read.
    Lost,
}

impl Followed {
    pub(crate) fn new(path: PathBuf, shown: String, options: Follow) -> Result<Arc<Self>, BrokerError> {
        let newest = Arc::new(Mutex::new(Weak::<Generation>::new()));
        let also = Arc::clone(&newest);
        let watcher = Watcher::start(&path, options.every, move || {
            let newest = also.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?;
            newest.text().map(|text| text.file.metadata())
        })
        .map_err(|cause| path_failure("follow", &path, cause))?;
        let (root, known) = Default::default();
        Ok(Arc::new(Self { path, shown, options, watcher, root, newest, known }))
    }

    /// What stands before the first file.
    pub(crate) fn root(self: &Arc<Self>) -> Arc<Generation> {
        let mut root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        root.upgrade().unwrap_or_else(|| {
            let fresh = self.generation(0, None);
            *root = Arc::downgrade(&fresh);
            fresh
        })
    }

    /// How positions call the file with this number.
    pub(crate) fn part(&self, number: usize) -> String {
        if number <= 1 { self.shown.clone() } else { format!("{}#{number}", self.shown) }
    }

    /// The number of the file that a position is in; 0 for the beginning.
    pub(crate) fn number_of(&self, part: &str) -> usize {
        // The directory may be called otherwise now.
        let name = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let (part, own) = (name(part), name(&self.shown));
        let number = part.strip_prefix(&own).and_then(|rest| rest.strip_prefix('#')?.parse().ok());
        number.unwrap_or(usize::from(!part.is_empty()))
    }

    /// One that nothing leads to yet.
    pub(crate) fn generation(self: &Arc<Self>, number: usize, text: Option<GrowingText>) -> Arc<Generation> {
        let origin = Arc::new(Origin::File { path: self.part(number) });
        let text = text.map(Mutex::new);
        Arc::new(Generation { followed: Arc::clone(self), number, origin, text, next: OnceLock::new() })
    }

    pub(crate) fn failed(&self, cause: io::Error) -> BrokerError {
        path_failure("follow", &self.path, cause)
    }

    /// Finds the file that an earlier run had stopped in; `None` when it is not there any more.
    pub(crate) fn take_up(
        self: &Arc<Self>,
        position: &Position,
        seen: Option<Seen>,
        state: Option<FollowedState>,
    ) -> Result<Option<Arc<Generation>>, BrokerError> {
        let number = self.number_of(&position.part);
        let Some(seen) = seen else {
            // No file was there yet.
            return Ok((position.next == 0).then(|| self.root()));
        };
        let FollowedState { file: id, gone, before } = state.unwrap_or_default();
        if gone && id.is_none() {
            return Ok(Some(self.generation(number, None)));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Several streams of one run speak of the same files.
        let same = known.iter().filter_map(Weak::upgrade).find(|other| other.number == number);
        if let Some(same) = same {
            let fits = same.is_known_by(seen).map_err(|cause| self.failed(cause))?;
            return Ok(Some(same).filter(|_| fits));
        }
        let wanted = Known { id, seen, vague: position.next == 0 && before.is_some() };
        let beside = before.clone().unwrap_or_default();
        // How long a file is now is not to be asked after it was found to fit: it may be cut in between.
        let found = if seen.length < position.next { None } else { find(&self.path, &wanted, &beside) };
        let found = found.or_else(|| {
            // Nothing of it was finished: it may have been mended, or begun anew.
            let any = Known { seen: Seen::default(), ..wanted };
            if position.next == 0 { find(&self.path, &any, &beside) } else { None }
        });
        let text = match found {
            Some(file) => GrowingText::of(file, seen).map_err(|cause| self.failed(cause))?,
            // All of it was read, and it could not be found by anybody any more.
            None if gone => {
                return Ok(Some(self.generation(number, None)));
            }
            None if self.options.accept_gaps => {
                tracing::warn!(
                    target: "watermill",
                    path = %self.path.display(),
                    offset = position.next,
                    "the file that the last run was reading is not there any more; going on without what it had not read of it"
                );
                return Ok(Some(self.generation(number, None)));
            }
            None => return Ok(None),
        };
        // A copy that it was found by is no more than that: nobody will cut it.
        let same = text.known.id == id;
        let known_by = Known { vague: wanted.vague && same, ..text.known };
        let before = before.filter(|_| same);
        let found = self.generation(number, Some(GrowingText { known: known_by, before, ..text }));
        known.push(Arc::downgrade(&found));
        known.sort_by_key(|other| other.upgrade().map_or(0, |other| other.number));
        self.watch(&found);
        Ok(Some(found))
    }

    /// The watcher looks at the last one.
    fn watch(&self, generation: &Arc<Generation>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.upgrade().is_none_or(|newest| newest.number < generation.number) {
            *newest = Arc::downgrade(generation);
        }
    }
}

impl GrowingText {
    fn of(file: File, seen: Seen) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        Ok(Self { file, known: Known { id, seen, vague: false }, before: None, lost: false })
    }

    fn before_it(&self) -> Beside {
        self.before.clone().unwrap_or_default()
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(offset))?;
        loop {
            match self.file.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Generation {
    fn text(&self) -> Option<MutexGuard<'_, GrowingText>> {
        self.text.as_ref().map(|text| text.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads on at `offset`. What was read before is compared with what stands there now, *afterwards*: so what is given away was in the
    /// file before anybody cut it.
    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<Got> {
        let Some(mut text) = self.text() else { return Ok(Got::Nothing) };
        while !text.lost {
            let count = text.read_at(offset, into)?;
            let end = offset + count as u64;
            let mut seen = text.known.seen;
            if end > seen.length {
                match Seen::of(&text.file, Some(end)) {
                    Ok(longer) if longer.length == end => seen = longer,
                    Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                    // It was cut between two looks.
                    _ => continue,
                }
            }
            if let Some(difference) = text.known.seen.difference_of(&text.file)? {
                self.was_cut(&mut text, difference, offset)?;
                continue;
            }
            if text.known.vague {
                if let Some(copy) = find_unnoticed_copy(&self.followed.path, &text.known, &text.before_it()) {
                    self.go_on_in(&mut text, copy, "it was copied, and has changed since", offset)?;
                    continue;
                }
                text.known.vague = memchr(b'\n', &into[..count]).is_none();
            }
            text.known.seen = seen;
            return Ok(if count == 0 { Got::Nothing } else { Got::Bytes(count) });
        }
        Ok(Got::Lost)
    }

    /// Looks for a copy of what the file was.
    fn was_cut(&self, text: &mut GrowingText, difference: &str, offset: u64) -> io::Result<()> {
        let path = &self.followed.path;
        match find_copy(path, &text.known, &text.before_it()) {
            Some(copy) => self.go_on_in(text, copy, difference, offset)?,
            None => {
                tracing::warn!(
                    target: "watermill",
                    path = %path.display(),
                    offset,
                    "a followed file was cut ({difference}), and no copy of it was found beside it: what had been written and not read is lost; it is read anew from its beginning"
                );
                text.lost = true;
            }
        }
        Ok(())
    }

    /// Reads the rest from a copy, which will not be cut itself.
    fn go_on_in(&self, text: &mut GrowingText, copy: File, difference: &str, offset: u64) -> io::Result<()> {
        tracing::warn!(
            target: "watermill",
            path = %self.followed.path.display(),
            offset,
            "a followed file was cut ({difference}); the rest of it is read from the copy beside it"
        );
        *text = GrowingText::of(copy, text.known.seen)?;
        Ok(())
    }

    /// Whether a stream that an earlier run had brought so far has read this file, too.
    fn is_known_by(&self, seen: Seen) -> io::Result<bool> {
        let Some(mut text) = self.text() else { return Ok(true) };
        let longest = if seen.length > text.known.seen.length { seen } else { text.known.seen };
        if seen.difference_of(&text.file)?.is_some() {
            // It may have been cut since it was found for another stream.
            let known = Known { seen: longest, ..text.known };
            let Some(copy) = find_copy(&self.followed.path, &known, &text.before_it()) else {
                return Ok(false);
            };
            if seen.difference_of(&copy)?.is_some() {
                return Ok(false);
            }
            *text = GrowingText::of(copy, longest)?;
        }
        text.known.seen = longest;
        Ok(true)
    }

    /// The file behind this one, once there is one.
    pub(crate) fn next(&self) -> Result<Option<Arc<Generation>>, BrokerError> {
        if let Some(next) = self.next.get() {
            return Ok(Some(Arc::clone(next)));
        }
        let followed = &self.followed;
        // Whoever comes first finds it for all.
        let known = followed.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = self.next.get() {
            return Ok(Some(Arc::clone(next)));
        }
        let later = known.iter().filter_map(Weak::upgrade).find(|other| other.number == self.number + 1);
        let next = match later {
            Some(next) => next,
            None => {
                let file = self.find_next().map_err(|cause| followed.failed(cause))?;
                let Some(NextFile { file, seen, before }) = file else { return Ok(None) };
                let text = GrowingText::of(file, seen).map_err(|cause| followed.failed(cause))?;
                // What it was chosen by may be no more than the beginning of a line.
                let known = Known { vague: true, ..text.known };
                let text = GrowingText { known, before: Some(before), ..text };
                followed.generation(self.number + 1, Some(text))
            }
        };
        followed.watch(&next);
        tracing::debug!(target: "watermill", part = followed.part(next.number), "a file to be followed is there");
        Ok(Some(Arc::clone(self.next.get_or_init(|| next))))
    }

    fn find_next(&self) -> io::Result<Option<NextFile>> {
        let path = &self.followed.path;
        match self.text() {
            Some(text) if !text.lost => next_of(path, &text.known),
            // There is nothing to wait for in the one at hand.
            _ => first_of(path),
        }
    }

    /// What a commit has to know of it, for a position in it.
    pub(crate) fn state(&self, next: u64) -> io::Result<Option<(Seen, FollowedState)>> {
        let Some(text) = self.text() else {
            // It was gone when the run began.
            let gone = FollowedState { gone: true, ..FollowedState::default() };
            return Ok((self.number > 0).then_some((Seen::default(), gone)));
        };
        let meta = text.file.metadata()?;
        let gone = is_deleted(&meta) && next >= meta.len();
        let before = text.before.clone().filter(|_| next == 0);
        let state = FollowedState { file: text.known.id, gone, before };
        let known = text.known.seen;
        // As much of it as is behind the position, so that what stands there can be mended. The beginning alone has nothing
        // behind it to be known by.
        let upto = match (next, known.length) {
            (0, 0) => Some(HEAD),
            (next, length) => Some(next).filter(|next| (1..length).contains(next)),
        };
        let seen = match upto.filter(|_| !text.lost).map(|upto| Seen::of(&text.file, Some(upto))) {
            Some(Ok(seen)) => seen,
            Some(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => known,
        };
        let unchanged = known.difference_of(&text.file)?.is_none();
        Ok(Some((if unchanged { seen } else { known }, state)))
    }

    /// Goes on to the generation with this number, if that is known.
    pub(crate) fn advance(self: &Arc<Self>, number: usize) -> Arc<Self> {
        let mut found = self;
        while found.number < number
            && let Some(next) = found.next.get()
        {
            found = next;
        }
        Arc::clone(found)
    }
}

impl Drop for Generation {
    /// A chain of many is not to be dropped by recursion.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut generation) = next.and_then(Arc::into_inner) {
            next = generation.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    /// What `offset` and all behind it are found to be.
    fn rest(generation: &Generation, offset: u64) -> String {
        let mut text = [0; 100];
        let Got::Bytes(count) = generation.read(offset, &mut text).unwrap() else { return String::new() };
        String::from_utf8_lossy(&text[..count]).into_owned()
    }

    #[test]
    fn cut_before_anything_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let (path, copy) = (directory.path().join("log"), directory.path().join("log.1"));
        fs::write(&path, "1\n").unwrap();
        let followed = Followed::new(path.clone(), "log".to_owned(), Follow::new()).unwrap();
        let first = followed.root().next().unwrap().unwrap();
        fs::write(&path, "1\n2\n").unwrap();
        fs::copy(&path, &copy).unwrap();
        fs::write(&path, "3\n4\n5\n").unwrap();
        assert_eq!(rest(&first, 0), "1\n2\n");
        assert_eq!(rest(&first, 4), "");
        let second = first.next().unwrap().unwrap();
        assert_eq!(rest(&second, 0), "3\n4\n5\n");
    }

    /// The file is cut when it was found for one stream and not yet for the next.
    #[test]
    fn cut_while_the_streams_of_a_run_are_taken_up() {
        let directory = tempfile::tempdir().unwrap();
        let (path, copy) = (directory.path().join("log"), directory.path().join("log.1"));
        for (first, second) in [(4, 8), (8, 4), (4, 4)] {
            fs::write(&path, "\"a\"\n\"b\"\n\"c\"\n").unwrap();
            let file = File::open(&path).unwrap();
            let id = FileId::of(&file.metadata().unwrap());
            let followed = Followed::new(path.clone(), "log".to_owned(), Follow::new()).unwrap();
            let take_up = |next| {
                let mut position = Position::at(next);
                position.part = "log".to_owned();
                let seen =
                    Seen::of(&File::open(if copy.exists() { &copy } else { &path }).unwrap(), Some(next));
                let state = FollowedState { file: id, ..FollowedState::default() };
                followed.take_up(&position, Some(seen.unwrap()), Some(state)).unwrap().unwrap()
            };
            let one = take_up(first);
            fs::copy(&path, &copy).unwrap();
            fs::write(&path, "\"d\"\n").unwrap();
            let other = take_up(second);
            assert!(Arc::ptr_eq(&one, &other));
            assert_eq!(rest(&other, 4), "\"b\"\n\"c\"\n");
            fs::remove_file(&copy).unwrap();
        }
    }
}
