//! Cuts the text of followed files into chunks of whole lines, as they grow.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::{memchr, memrchr};
use watermill_core::error::BrokerError;

use crate::chunk::{Buffers, Chunk, CutFault, CutKind, Records};
use crate::format::Format;
use crate::framer::{FramerOptions, Spot, is_blank, start_of};
use crate::generation::{Generation, Got};
use crate::shared::Next;
use crate::text::compression_of;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Cuts the text of followed files into chunks.
pub(crate) struct FollowFramer {
    generation: Arc<Generation>,
    options: FramerOptions,
    /// What was read and not given away yet: its first `filled` bytes.
    buffer: Vec<u8>,
    filled: usize,
    /// How much of that was searched for the end of a line already.
    searched: usize,
    /// Where in the file the buffer begins.
    offset: u64,
    /// The line at hand is over the limit, and nothing of it is kept.
    skipping: Option<CutFault>,
    /// It is known that these are lines.
    told: bool,
    /// There is a file behind this one: what is read now is the rest.
    leaving: bool,
    /// Nothing was there to read when the watcher had this version.
    quiet: Option<u64>,
    buffers: Buffers,
    stop: Arc<AtomicBool>,
}

impl FollowFramer {
    /// `generation` is that of `from`, or one before it.
    pub(crate) fn new(
        generation: &Arc<Generation>,
        options: FramerOptions,
        from: Spot,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            generation: generation.advance(from.file),
            options,
            buffer: Vec::new(),
            filled: 0,
            searched: 0,
            offset: from.offset,
            skipping: None,
            told: from.offset > 0,
            leaving: false,
            quiet: None,
            buffers: Buffers::default(),
            stop,
        }
    }

    /// The next chunk, or that there is none by now.
    ///
    /// # Errors
    /// When a file cannot be opened or read, or is none that can be followed.
    pub(crate) fn next_chunk(&mut self) -> Result<Next, BrokerError> {
        let version = self.generation.followed.watcher.version();
        if self.quiet == Some(version) {
            return Ok(Next::Later(version));
        }
        self.quiet = None;
        while !self.stop.load(Ordering::Relaxed) {
            // Behind a line that was skipped there may be whole ones already.
            if self.searched < self.filled
                && let Some(chunk) = self.cut()
            {
                return Ok(Next::Chunk(chunk));
            }
            self.make_room();
            let at = self.offset + self.filled as u64;
            let got = self.generation.read(at, &mut self.buffer[self.filled..]);
            let gone = match got.map_err(|cause| self.generation.followed.failed(cause))? {
                Got::Bytes(count) => {
                    self.filled += count;
                    self.tell()?;
                    match self.cut() {
                        Some(chunk) => return Ok(Next::Chunk(chunk)),
                        None => continue,
                    }
                }
                Got::Nothing => self.leaving,
                Got::Lost => true,
            };
            // The rest of the old one is read only after the new one was seen.
            let next = self.generation.next()?;
            match next {
                Some(_) if !gone => self.leaving = true,
                Some(next) => {
                    return Ok(Next::Chunk(self.last_line().unwrap_or_else(|| self.go_to(next))));
                }
                None => {
                    self.quiet = Some(version);
                    break;
                }
            }
        }
        Ok(Next::Later(version))
    }

    fn make_room(&mut self) {
        if self.filled < self.buffer.len() {
            return;
        }
        let most = self.options.record_limit.saturating_add(2);
        let length = (self.filled * 2).min(most).max(self.options.chunk_bytes).max(self.filled + 1);
        if self.filled == 0 {
            self.buffer = self.buffers.take(length);
        } else {
            self.buffer.resize(length, 0);
        }
    }

    /// Finds out whether the file holds lines, as soon as that can be told.
    fn tell(&mut self) -> Result<(), BrokerError> {
        if self.told {
            return Ok(());
        }
        let head = &self.buffer[..self.filled];
        let mut rest = head;
        if self.offset == 0 {
            let whole = head.len() >= 4 || head.contains(&b'\n');
            if !whole {
                return Ok(());
            }
            refuse(head, self.options.format).map_err(|cause| self.generation.followed.failed(cause))?;
            rest = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
        }
        let first = rest.iter().find(|byte| !is_blank(**byte)).copied();
        refuse_first(first, self.options.format).map_err(|cause| self.generation.followed.failed(cause))?;
        self.told = first.is_some();
        let mark = head.len() - rest.len();
        self.drop_front(mark);
        Ok(())
    }

    /// Forgets the first bytes of the buffer.
    fn drop_front(&mut self, count: usize) {
        self.buffer.copy_within(count..self.filled, 0);
        self.filled -= count;
        self.offset += count as u64;
        self.searched = self.searched.saturating_sub(count);
    }

    fn empty_chunk(&self) -> Chunk {
        Chunk::empty(self.generation.number, Arc::clone(&self.generation.origin), self.offset)
    }

    /// What can be given away of what was read.
    fn cut(&mut self) -> Option<Chunk> {
        if self.skipping.is_some() {
            let end = memchr(b'\n', &self.buffer[..self.filled]);
            self.drop_front(end.map_or(self.filled, |end| end + 1));
            end?;
            let fault = self.skipping.take();
            return Some(Chunk { fault, next: self.offset, ..self.empty_chunk() });
        }
        match memrchr(b'\n', &self.buffer[self.searched..self.filled]) {
            Some(end) => Some(self.give(self.searched + end + 1)),
            None => {
                self.searched = self.filled;
                // The line may still have a carriage return that does not count.
                if self.filled > self.options.record_limit.saturating_add(1) {
                    let kind = CutKind::TooLong { limit: self.options.record_limit as u64 };
                    let raw = start_of(&self.buffer[..self.filled]);
                    self.skipping = Some(CutFault { offset: self.offset, kind, raw, recoverable: true });
                    self.drop_front(self.filled);
                    // One that had to grow does not stay that large.
                    self.buffer = self.buffers.take(self.options.chunk_bytes);
                }
                None
            }
        }
    }

    /// Gives away the lines before `end`.
    fn give(&mut self, end: usize) -> Chunk {
        let rest = self.filled - end;
        let mut next = self.buffers.take(self.options.chunk_bytes.max(rest * 2));
        next[..rest].copy_from_slice(&self.buffer[end..self.filled]);
        let given = self.buffers.give(std::mem::replace(&mut self.buffer, next));
        let chunk = self.empty_chunk().with_text(given, 0..end);
        self.offset += end as u64;
        (self.filled, self.searched) = (rest, rest);
        let progress = end as u64;
        Chunk { records: Records::Lines { cut: false }, next: self.offset, progress, ..chunk }
    }

    /// The line at the end of a file that will never have an end, if there is one: that is no record.
    fn last_line(&mut self) -> Option<Chunk> {
        let raw = &self.buffer[..self.filled];
        let cut = (!raw.iter().all(|byte| is_blank(*byte))).then(|| CutFault {
            offset: self.offset,
            kind: CutKind::Truncated,
            raw: start_of(raw),
            // The next file begins with a whole one.
            recoverable: true,
        });
        self.drop_front(self.filled);
        let fault = Some(self.skipping.take().or(cut)?);
        Some(Chunk { fault, next: self.offset, ..self.empty_chunk() })
    }

    /// Begins the next file, and says so.
    fn go_to(&mut self, next: Arc<Generation>) -> Chunk {
        tracing::info!(
            target: "watermill",
            path = %next.followed.path.display(),
            file = next.number,
            "going on with the file that has the name of a followed one now"
        );
        self.generation = next;
        (self.offset, self.filled, self.searched) = (0, 0, 0);
        (self.leaving, self.told) = (false, false);
        self.empty_chunk()
    }
}

/// Refuses what cannot be followed, by the first bytes of it.
pub(crate) fn refuse(head: &[u8], format: Option<Format>) -> io::Result<()> {
    if let Some(compression) = compression_of(head) {
        let text = format!(
            "it is compressed ({compression}), and only plain NDJSON can be followed; read it without `follow()`"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let rest = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    refuse_first(rest.iter().find(|byte| !is_blank(**byte)).copied(), format)
}

fn refuse_first(first: Option<u8>, format: Option<Format>) -> io::Result<()> {
    if first == Some(b'[') && format != Some(Format::Ndjson) {
        let text = "it is a JSON array, and only NDJSON can be followed; read it without `follow()`, or call `input_format(Format::Ndjson)` if its records are arrays";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(())
}
