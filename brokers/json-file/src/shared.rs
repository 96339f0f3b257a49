//! One reading of a file for all the streams that need it.
//!
//! Each stream asks for chunk after chunk. Whoever comes first reads it; the last few chunks are kept for the others. A
//! stream that falls further behind than that goes on by itself, with a framer of its own that takes up where its last chunk ended:
//! nobody ever waits for a slower one, and no more than a few chunks are kept.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use watermill_core::error::BrokerError;

use crate::chunk::Chunk;
use crate::failure::{SharedFailure, failure};
use crate::follow_framer::FollowFramer;
use crate::framer::{Framer, FramerOptions, Spot};
use crate::generation::Generation;
use crate::location::InputFile;

/// How many chunks are kept for streams that are behind.
const KEPT: usize = 8;

/// What is read.
#[derive(Clone)]
pub(crate) enum Content {
    Files(Arc<[InputFile]>),
    /// From this one on.
    Followed(Arc<Generation>),
}

/// Reads it.
enum Reader {
    Files(Framer),
    Followed(FollowFramer),
}

/// What asking for a chunk yields.
pub(crate) enum Next<C = Chunk> {
    Chunk(C),
    End,
    /// There is none by now: at the earliest when the file is not any more what it was in this version.
    Later(u64),
}

impl Content {
    fn reader(
        &self,
        options: &FramerOptions,
        from: Spot,
        report_before: bool,
        stop: &Arc<AtomicBool>,
    ) -> Reader {
        let (options, stop) = (options.clone(), Arc::clone(stop));
        match self {
            Self::Files(files) => {
                Reader::Files(Framer::new(Arc::clone(files), options, from, report_before, stop))
            }
            Self::Followed(first) => Reader::Followed(FollowFramer::new(first, options, from, stop)),
        }
    }

    /// Lets go of followed files before this one.
    fn advance(&mut self, file: usize) {
        if let Self::Followed(first) = self
            && first.number < file
        {
            *first = first.advance(file);
        }
    }

    fn part(&self, file: usize) -> Option<&str> {
        match self {
            Self::Files(files) => files.get(file).map(InputFile::part),
            Self::Followed(first) => first.followed.path.to_str(),
        }
    }
}

impl Reader {
    fn next_chunk(&mut self) -> Result<Next, BrokerError> {
        match self {
            Self::Files(framer) => Ok(framer.next_chunk()?.map_or(Next::End, Next::Chunk)),
            Self::Followed(framer) => framer.next_chunk(),
        }
    }
}

/// A reading that several streams may share.
pub(crate) struct SharedReading {
    options: FramerOptions,
    state: Mutex<State>,
}

struct State {
    reader: Reader,
    /// The last chunks read, the first of them number `first`.
    kept: VecDeque<Arc<Chunk>>,
    first: u64,
    failed: Option<SharedFailure>,
    /// For each stream, the number of the chunk it wants next; `None` once it goes on by itself or has stopped.
    wanted: Vec<Option<u64>>,
}

/// What asking the others for a chunk yields.
enum Answer {
    Next(Next<Arc<Chunk>>),
    /// It is not kept any more.
    TooLate,
}

impl SharedReading {
    pub(crate) fn new(
        content: &Content,
        options: FramerOptions,
        from: Spot,
        stop: &Arc<AtomicBool>,
    ) -> Arc<Self> {
        let reader = content.reader(&options, from, true, stop);
        let state = State { reader, kept: VecDeque::new(), first: 0, failed: None, wanted: Vec::new() };
        Arc::new(Self { options, state: Mutex::new(state) })
    }

    /// One more stream that reads along, from the beginning.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        content: Content,
        from: Spot,
        stop: Arc<AtomicBool>,
    ) -> Subscription {
        let mut state = self.lock();
        state.wanted.push(Some(0));
        let index = state.wanted.len() - 1;
        drop(state);
        Subscription { shared: Arc::clone(self), content, index, number: 0, behind: from, own: None, stop }
    }

    /// A panic inside the reader leaves it in the middle of something; `Subscription::next` reports that.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn chunk(&self, index: usize, number: u64) -> Result<Answer, BrokerError> {
        if self.state.is_poisoned() {
            return Err(failure("read", "the input", "the reader panicked"));
        }
        let mut state = self.lock();
        let Some(back) = number.checked_sub(state.first) else { return Ok(Answer::TooLate) };
        let kept = usize::try_from(back).ok().and_then(|back| state.kept.get(back).cloned());
        let chunk = match kept {
            Some(chunk) => chunk,
            None => {
                if let Some(failed) = &state.failed {
                    return Err(failed.error());
                }
                match state.reader.next_chunk() {
                    Ok(Next::End) => return Ok(Answer::Next(Next::End)),
                    Ok(Next::Later(version)) => return Ok(Answer::Next(Next::Later(version))),
                    Ok(Next::Chunk(chunk)) => {
                        let chunk = Arc::new(chunk);
                        state.kept.push_back(Arc::clone(&chunk));
                        chunk
                    }
                    Err(error) => {
                        let failed = SharedFailure::from(error);
                        let error = failed.error();
                        state.failed = Some(failed);
                        return Err(error);
                    }
                }
            }
        };
        state.want(index, Some(number + 1));
        Ok(Answer::Next(Next::Chunk(chunk)))
    }
}

impl State {
    /// Notes which chunk a stream wants next, and drops those that nobody wants.
    fn want(&mut self, index: usize, number: Option<u64>) {
        if let Some(wanted) = self.wanted.get_mut(index) {
            *wanted = number;
        }
        let lowest = self.wanted.iter().flatten().min().copied().unwrap_or(u64::MAX);
        while self.first < lowest || self.kept.len() > KEPT {
            if self.kept.pop_front().is_none() {
                return;
            }
            self.first += 1;
        }
    }
}

/// One stream's way through a reading.
pub(crate) struct Subscription {
    shared: Arc<SharedReading>,
    content: Content,
    index: usize,
    number: u64,
    /// Behind the last chunk it got.
    behind: Spot,
    /// A reader of its own, once it has fallen behind.
    own: Option<Reader>,
    stop: Arc<AtomicBool>,
}

impl Subscription {
    /// The next chunk.
    pub(crate) fn next(&mut self) -> Result<Next<Arc<Chunk>>, BrokerError> {
        if self.own.is_none() {
            match self.shared.chunk(self.index, self.number)? {
                Answer::Next(next) => {
                    if let Next::Chunk(chunk) = &next {
                        self.number += 1;
                        self.behind = Spot { file: chunk.file, offset: chunk.next };
                        self.content.advance(chunk.file);
                    }
                    return Ok(next);
                }
                Answer::TooLate => {}
            }
        }
        if self.own.is_none() {
            tracing::debug!(
                target: "watermill",
                file = self.content.part(self.behind.file),
                offset = self.behind.offset,
                "a stream is far behind another one of the same file and reads it by itself from here on"
            );
            self.leave();
        }
        let own = self.own.get_or_insert_with(|| {
            self.content.reader(&self.shared.options, self.behind, self.number == 0, &self.stop)
        });
        let next = own.next_chunk()?;
        Ok(match next {
            Next::Chunk(chunk) => {
                self.content.advance(chunk.file);
                Next::Chunk(Arc::new(chunk))
            }
            Next::End => Next::End,
            Next::Later(version) => Next::Later(version),
        })
    }

    fn leave(&self) {
        self.shared.lock().want(self.index, None);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::location::{Location, files_of};

    /// A stream that reads all of it keeps no more than a few chunks for one that has not begun.
    #[test]
    fn few_chunks_are_kept_for_a_stream_that_is_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("input");
        std::fs::write(&path, "1\n".repeat(1000)).unwrap();
        let content = Content::Files(files_of(&Location::new(&path)).unwrap().into());
        let options = FramerOptions { chunk_bytes: 10, record_limit: 100, format: None };
        let stop = Arc::new(AtomicBool::new(false));
        let shared = SharedReading::new(&content, options, Spot::default(), &stop);
        let mut fast = shared.subscribe(content.clone(), Spot::default(), Arc::clone(&stop));
        let mut slow = shared.subscribe(content, Spot::default(), stop);
        let mut chunks = 0;
        while let Next::Chunk(_) = fast.next().unwrap() {
            chunks += 1;
            assert!(shared.lock().kept.len() <= KEPT);
        }
        assert!(chunks > 2 * KEPT);
        let mut text = Vec::new();
        while let Next::Chunk(chunk) = slow.next().unwrap() {
            text.extend_from_slice(chunk.text());
        }
        assert!(slow.own.is_some());
        assert_eq!(text, b"1\n".repeat(1000));
        // Nobody wants them any more.
        assert!(shared.lock().kept.is_empty());
    }
}
