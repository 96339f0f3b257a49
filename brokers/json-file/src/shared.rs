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
use crate::framer::{Framer, FramerOptions, Spot};
use crate::location::InputFile;

/// How many chunks are kept for streams that are behind.
const KEPT: usize = 8;

/// A reading that several streams may share.
pub(crate) struct SharedReading {
    files: Arc<[InputFile]>,
    options: FramerOptions,
    state: Mutex<State>,
}

struct State {
    framer: Framer,
    /// The last chunks read, the first of them number `first`.
    kept: VecDeque<Arc<Chunk>>,
    first: u64,
    failed: Option<SharedFailure>,
    /// For each stream, the number of the chunk it wants next; `None` once it goes on by itself or has stopped.
    wanted: Vec<Option<u64>>,
}

/// What asking for a chunk yields.
enum Answer {
    Chunk(Arc<Chunk>),
    End,
    /// It is not kept any more.
    TooLate,
}

impl SharedReading {
    pub(crate) fn new(
        files: Arc<[InputFile]>,
        options: FramerOptions,
        from: Spot,
        stop: &Arc<AtomicBool>,
    ) -> Arc<Self> {
        let framer = Framer::new(Arc::clone(&files), options.clone(), from, true, Arc::clone(stop));
        let state = State { framer, kept: VecDeque::new(), first: 0, failed: None, wanted: Vec::new() };
        Arc::new(Self { files, options, state: Mutex::new(state) })
    }

    /// One more stream that reads along, from the beginning.
    pub(crate) fn subscribe(self: &Arc<Self>, from: Spot, stop: Arc<AtomicBool>) -> Subscription {
        let mut state = self.lock();
        state.wanted.push(Some(0));
        let index = state.wanted.len() - 1;
        drop(state);
        Subscription { shared: Arc::clone(self), index, number: 0, behind: from, own: None, stop }
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
                match state.framer.next_chunk() {
                    Ok(None) => return Ok(Answer::End),
                    Ok(Some(chunk)) => {
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
        Ok(Answer::Chunk(chunk))
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
    index: usize,
    number: u64,
    /// Behind the last chunk it got.
    behind: Spot,
    /// Its own framer, once it has fallen behind.
    own: Option<Framer>,
    stop: Arc<AtomicBool>,
}

impl Subscription {
    /// The next chunk; `None` behind the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Arc<Chunk>>, BrokerError> {
        if self.own.is_none() {
            match self.shared.chunk(self.index, self.number)? {
                Answer::Chunk(chunk) => {
                    self.number += 1;
                    self.behind = Spot { file: chunk.file, offset: chunk.next };
                    return Ok(Some(chunk));
                }
                Answer::End => return Ok(None),
                Answer::TooLate => {}
            }
        }
        if self.own.is_none() {
            tracing::debug!(
                target: "watermill",
                file = self.shared.files.get(self.behind.file).map(InputFile::part),
                offset = self.behind.offset,
                "a stream is far behind another one of the same file and reads it by itself from here on"
            );
            self.leave();
        }
        let own = self.own.get_or_insert_with(|| {
            let shared = &self.shared;
            let report_before = self.number == 0;
            let stop = Arc::clone(&self.stop);
            Framer::new(Arc::clone(&shared.files), shared.options.clone(), self.behind, report_before, stop)
        });
        Ok(own.next_chunk()?.map(Arc::new))
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
        let files = files_of(&Location::new(&path)).unwrap().into();
        let options = FramerOptions { chunk_bytes: 10, record_limit: 100, format: None };
        let stop = Arc::new(AtomicBool::new(false));
        let shared = SharedReading::new(files, options, Spot::default(), &stop);
        let mut fast = shared.subscribe(Spot::default(), Arc::clone(&stop));
        let mut slow = shared.subscribe(Spot::default(), stop);
        let mut chunks = 0;
        while fast.next().unwrap().is_some() {
            chunks += 1;
            assert!(shared.lock().kept.len() <= KEPT);
        }
        assert!(chunks > 2 * KEPT);
        let mut text = Vec::new();
        while let Some(chunk) = slow.next().unwrap() {
            text.extend_from_slice(chunk.text());
        }
        assert!(slow.own.is_some());
        assert_eq!(text, b"1\n".repeat(1000));
        // Nobody wants them any more.
        assert!(shared.lock().kept.is_empty());
    }
}
