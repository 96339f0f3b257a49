//! Chunks: pieces of a file's text that are cut at record boundaries.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;
use watermill_core::broker::{Origin, RawRecords};
use watermill_core::error::BadCause;

/// How many bytes of a record that cannot be given whole are kept for its fault.
pub(crate) const KEPT_OF_BROKEN: usize = 4096;

/// A piece of one file's text with whole records in it.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Which of the input's files it is from.
    pub(crate) file: usize,
    /// How places call that file.
    pub(crate) origin: Arc<Origin>,
    /// The text is `buffer[range]`.
    pub(crate) buffer: Arc<Vec<u8>>,
    pub(crate) range: Range<usize>,
    /// Where in the file's text it begins.
    pub(crate) offset: u64,
    /// Where its records are.
    pub(crate) records: Records,
    /// What stands behind its last record, if that cannot be used.
    pub(crate) fault: Option<CutFault>,
    /// Where reading goes on behind the chunk, its fault included.
    pub(crate) next: u64,
    /// How many bytes of the file itself were read for it.
    pub(crate) progress: u64,
    /// Whether it is the last one of the last file.
    pub(crate) last: bool,
}

/// Where the records of a chunk are.
#[derive(Debug)]
pub(crate) enum Records {
    /// One a line. `cut` when the last line has no line feed because the file ends there.
    Lines { cut: bool },
    /// Elements of an array.
    Elements(Vec<Range<usize>>),
}

/// What the framer found to be wrong, behind the records of its chunk.
#[derive(Debug, Clone)]
pub(crate) struct CutFault {
    pub(crate) offset: u64,
    pub(crate) kind: CutKind,
    /// The start of the text there.
    pub(crate) raw: Vec<u8>,
    pub(crate) recoverable: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum CutKind {
    Truncated,
    TooLong { limit: u64 },
    Structure(String),
}

impl CutKind {
    pub(crate) fn cause(&self) -> BadCause {
        match self {
            Self::Truncated => BadCause::Truncated,
            Self::TooLong { limit } => BadCause::TooLong { limit: *limit },
            Self::Structure(text) => BadCause::Structure(text.clone()),
        }
    }
}

impl Chunk {
    /// An empty chunk at `offset`.
    pub(crate) fn empty(file: usize, origin: Arc<Origin>, offset: u64) -> Self {
        Self {
            file,
            origin,
            buffer: Arc::new(Vec::new()),
            range: 0..0,
            offset,
            records: Records::Lines { cut: false },
            fault: None,
            next: offset,
            progress: 0,
            last: false,
        }
    }

    /// The same chunk with this text in it.
    pub(crate) fn with_text(mut self, buffer: Arc<Vec<u8>>, range: Range<usize>) -> Self {
        self.buffer = buffer;
        self.range = range;
        self
    }

    /// Where the records are that begin at `offsets`, for who wants their bytes.
    pub(crate) fn raw_of(&self, offsets: &[u64]) -> RawRecords {
        let text = self.text();
        let mut elements: &[Range<usize>] = match &self.records {
            Records::Lines { .. } => &[],
            Records::Elements(elements) => elements,
        };
        let range = |offset: &u64| {
            let start = usize::try_from(offset - self.offset).unwrap_or(usize::MAX).min(text.len());
            let end = match &self.records {
                Records::Lines { .. } => {
                    let line = &text[start..];
                    let line = &line[..memchr(b'\n', line).unwrap_or(line.len())];
                    start + line.strip_suffix(b"\r").unwrap_or(line).len()
                }
                Records::Elements(_) => {
                    let at = elements.partition_point(|element| element.start < start);
                    elements = &elements[at..];
                    elements.first().map_or(start, |element| element.end)
                }
            };
            self.range.start + start..self.range.start + end
        };
        RawRecords::new(Arc::clone(&self.buffer), offsets.iter().map(range).collect())
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

/// Buffers that are used again once no chunk refers to them.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    given: VecDeque<Arc<Vec<u8>>>,
}

impl Buffers {
    const MOST: usize = 24;

    /// A buffer of at least `length` bytes, whatever is in them.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        for _ in 0..self.given.len() {
            let Some(buffer) = self.given.pop_front() else { break };
            match Arc::try_unwrap(buffer) {
                Ok(mut buffer) => {
                    // One that had to grow for a long record does not stay that large.
                    if buffer.len() > length.saturating_mul(4) {
                        continue;
                    }
                    if buffer.len() < length {
                        buffer.resize(length, 0);
                    }
                    return buffer;
                }
                Err(used) => self.given.push_back(used),
            }
        }
        vec![0; length]
    }

    /// Remembers a buffer that was given away.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) -> Arc<Vec<u8>> {
        let buffer = Arc::new(buffer);
        if self.given.len() < Self::MOST {
            self.given.push_back(Arc::clone(&buffer));
        }
        buffer
    }
}
