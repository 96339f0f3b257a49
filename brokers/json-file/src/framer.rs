//! Cuts the text of an input's files into chunks, one after the other.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use watermill_core::error::BrokerError;

use crate::array_scan::ArrayScan;
use crate::chunk::{Buffers, Chunk, CutFault, CutKind, KEPT_OF_BROKEN};
use crate::failure::{failure, path_failure};
use crate::format::Format;
use crate::location::InputFile;
use crate::text::{Text, TextError};

/// What a framer needs to know beside its files.
#[derive(Debug, Clone)]
pub(crate) struct FramerOptions {
    pub(crate) chunk_bytes: usize,
    pub(crate) record_limit: usize,
    /// The format of the files, if it is not to be told by their content.
    pub(crate) format: Option<Format>,
}

/// Where a framer takes up: a file, and an offset in its text at which a record begins, or behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Spot {
    pub(crate) file: usize,
    pub(crate) offset: u64,
}

/// Cuts the text of an input's files into chunks.
pub(crate) struct Framer {
    files: Arc<[InputFile]>,
    options: FramerOptions,
    spot: Spot,
    open: Option<OpenText>,
    buffers: Buffers,
    finished: bool,
    /// Whether what lies before the spot in its file counts as progress.
    report_before: bool,
    /// What was read and not reported yet.
    progress: u64,
    stop: Arc<AtomicBool>,
}

/// A file that is being read.
pub(crate) struct OpenText {
    text: Text,
    pub(crate) layout: Layout,
    /// What was read and not given away yet.
    pub(crate) carry: Carry,
    /// Where in the text the carry begins.
    pub(crate) offset: u64,
    /// Behind the last record given away.
    pub(crate) next: u64,
    pub(crate) ended: Option<Ended>,
    raw_reported: u64,
    stop: Arc<AtomicBool>,
}

/// How the records of a file are laid out.
pub(crate) enum Layout {
    Lines,
    Array(ArrayScan),
}

/// The unfinished end of the last buffer.
#[derive(Default)]
pub(crate) struct Carry {
    buffer: Arc<Vec<u8>>,
    range: Range<usize>,
    /// How much of it was searched for the end of a record already.
    pub(crate) searched: usize,
}

impl Carry {
    pub(crate) fn new(buffer: &Arc<Vec<u8>>, range: Range<usize>, searched: usize) -> Self {
        Self { buffer: Arc::clone(buffer), range, searched }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

/// How the text of a file ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// At its end.
    Whole,
    /// The compressed data was cut.
    Cut,
    /// The compressed data is corrupt.
    Corrupt(String),
}

/// What cutting yields: a chunk, or nothing before the end of the file.
pub(crate) type Cut = Result<Option<Chunk>, BrokerError>;

impl Framer {
    /// `report_before` says whether what lies before `from` counts as progress of the first chunk.
    pub(crate) fn new(
        files: Arc<[InputFile]>,
        options: FramerOptions,
        from: Spot,
        report_before: bool,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let before = files.iter().take(if report_before { from.file } else { 0 });
        let progress = before.filter_map(|file| file.length).sum();
        let buffers = Buffers::default();
        Self {
            files,
            options,
            spot: from,
            open: None,
            buffers,
            finished: false,
            report_before,
            progress,
            stop,
        }
    }

    /// The next chunk; `None` behind the last one.
    ///
    /// # Errors
    /// When a file cannot be opened or read. What is wrong with the text is a fault of the chunk.
    pub(crate) fn next_chunk(&mut self) -> Cut {
        while !self.finished {
            let result = self.next_of_file();
            match result {
                Ok(Some(mut chunk)) => {
                    chunk.progress = std::mem::take(&mut self.progress);
                    chunk.last = self.at_end_of_last_file() && chunk.fault.is_none();
                    self.finished =
                        chunk.last || chunk.fault.as_ref().is_some_and(|fault| !fault.recoverable);
                    return Ok(Some(chunk));
                }
                Ok(None) if self.spot.file + 1 < self.files.len() => {
                    self.spot = Spot { file: self.spot.file + 1, offset: 0 };
                    self.open = None;
                }
                Ok(None) => {
                    self.finished = true;
                    let progress = std::mem::take(&mut self.progress);
                    return Ok(Some(Chunk { progress, ..self.end_chunk() }));
                }
                Err(error) => {
                    self.finished = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn at_end_of_last_file(&self) -> bool {
        self.spot.file + 1 == self.files.len() && self.open.as_ref().is_some_and(OpenText::used_up)
    }

    /// The empty chunk that says that there is no more.
    fn end_chunk(&self) -> Chunk {
        let file = self.spot.file;
        let next = self.open.as_ref().map_or(self.spot.offset, |open| open.next);
        let origin = self.files.get(file).map(|file| Arc::clone(&file.origin));
        let mut chunk = Chunk::empty(file, origin.unwrap_or_else(no_origin), next);
        chunk.last = true;
        chunk
    }

    fn next_of_file(&mut self) -> Cut {
        let Some(file) = self.files.get(self.spot.file) else { return Ok(None) };
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let mut open = OpenText::begin(file, self.spot.offset, &self.options, &self.stop)
                    .map_err(|error| text_failure(file, error))?;
                if !std::mem::replace(&mut self.report_before, true) {
                    open.progress();
                }
                open
            }
        };
        let empty = Chunk::empty(self.spot.file, Arc::clone(&file.origin), open.offset);
        let result = match open.layout {
            Layout::Lines => open.cut_lines(empty, &mut self.buffers, &self.options),
            Layout::Array(_) => open.cut_elements(empty, &mut self.buffers, &self.options),
        };
        let result = result.map_err(|error| text_failure(file, error));
        self.progress += open.progress();
        self.open = Some(open);
        result
    }
}

fn no_origin() -> Arc<watermill_core::broker::Origin> {
    Arc::new(watermill_core::broker::Origin::Memory)
}

fn text_failure(file: &InputFile, error: TextError) -> BrokerError {
    let cause = match error {
        TextError::Io(cause) => cause,
        TextError::Cut => std::io::ErrorKind::UnexpectedEof.into(),
        TextError::Corrupt(text) => std::io::Error::new(std::io::ErrorKind::InvalidData, text),
    };
    match &file.path {
        Some(path) => path_failure("read", path, cause),
        None => failure("read", "standard input", cause),
    }
}

impl OpenText {
    /// Opens a file and finds out how it is laid out.
    fn begin(
        file: &InputFile,
        offset: u64,
        options: &FramerOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, TextError> {
        let text = Text::open(file, 0, stop)?;
        let mut open = Self {
            text,
            layout: Layout::Lines,
            carry: Carry::default(),
            offset: 0,
            next: 0,
            ended: None,
            raw_reported: 0,
            stop: Arc::clone(stop),
        };
        let first = open.go_to_first_byte(options)?;
        let array = match options.format {
            None => first == Some(b'['),
            Some(format) => format == Format::JsonArray && first.is_some(),
        };
        if array {
            open.layout = Layout::Array(ArrayScan::new());
        }
        if offset > 0 {
            open.text = Text::open(file, offset, stop)?;
            open.carry = Carry::default();
            open.offset = offset;
            open.ended = None;
            if array {
                open.layout = Layout::Array(ArrayScan::resumed());
            }
        }
        // Taking up an array at 0 means from its bracket on.
        open.next = if array { offset } else { open.offset };
        Ok(open)
    }

    /// Reads over a byte order mark and leading blanks; returns the first byte of what comes then.
    fn go_to_first_byte(&mut self, options: &FramerOptions) -> Result<Option<u8>, TextError> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        let mut head = vec![0; options.chunk_bytes.clamp(BYTE_ORDER_MARK.len(), 4096)];
        let mut filled = 0;
        let mut at_start = true;
        loop {
            let (now, ended) = self.fill(&mut head, filled)?;
            filled = now;
            self.ended = ended;
            let mut used = 0;
            if at_start {
                if filled < BYTE_ORDER_MARK.len()
                    && self.ended.is_none()
                    && BYTE_ORDER_MARK.starts_with(&head[..filled])
                {
                    continue;
                }
                at_start = false;
                if head[..filled].starts_with(BYTE_ORDER_MARK) {
                    used = BYTE_ORDER_MARK.len();
                }
            }
            let blank = head[used..filled].iter().take_while(|b| is_blank(**b)).count();
            used += blank;
            self.offset += used as u64;
            if used < filled {
                let first = head[used];
                self.carry = Carry::new(&Arc::new(head), used..filled, 0);
                return Ok(Some(first));
            }
            if self.ended.is_some() {
                return Ok(None);
            }
            filled = 0;
        }
    }

    /// Reads into `buffer[filled..]`: as much as there is room for, or what has come where more may take its time.
    pub(crate) fn fill(
        &mut self,
        buffer: &mut [u8],
        mut filled: usize,
    ) -> Result<(usize, Option<Ended>), TextError> {
        while filled < buffer.len() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TextError::Io(std::io::Error::other("the run has stopped")));
            }
            match self.text.read(&mut buffer[filled..]) {
                Ok(0) => return Ok((filled, Some(Ended::Whole))),
                Ok(count) => filled += count,
                Err(TextError::Cut) => return Ok((filled, Some(Ended::Cut))),
                Err(TextError::Corrupt(text)) => return Ok((filled, Some(Ended::Corrupt(text)))),
                Err(error) => return Err(error),
            }
            if self.text.live {
                break;
            }
        }
        Ok((filled, None))
    }

    /// A buffer that starts with the carry, and how long that is.
    pub(crate) fn start_buffer(&self, buffers: &mut Buffers, chunk_bytes: usize) -> (Vec<u8>, usize) {
        let carry = self.carry.bytes();
        let mut length = chunk_bytes.max(1);
        while length / 2 < carry.len() {
            length *= 2;
        }
        let mut buffer = buffers.take(length);
        buffer[..carry.len()].copy_from_slice(carry);
        (buffer, carry.len())
    }

    /// The fault for a text that ended badly at `offset`, if it did.
    pub(crate) fn end_fault(&self, offset: u64, rest: &[u8], whole_is_fine: bool) -> Option<CutFault> {
        let kind = match self.ended.as_ref()? {
            Ended::Whole if whole_is_fine => return None,
            Ended::Whole | Ended::Cut => CutKind::Truncated,
            Ended::Corrupt(text) => CutKind::Structure(text.clone()),
        };
        Some(CutFault { offset, kind, raw: start_of(rest), recoverable: false })
    }

    /// Whether everything was given away.
    fn used_up(&self) -> bool {
        let between_records = match &self.layout {
            Layout::Lines => true,
            Layout::Array(scan) => scan.done(),
        };
        matches!(self.ended, Some(Ended::Whole)) && self.carry.bytes().is_empty() && between_records
    }

    fn progress(&mut self) -> u64 {
        let raw = self.text.raw_bytes();
        let progress = raw.saturating_sub(self.raw_reported);
        self.raw_reported = raw;
        progress
    }
}

/// The start of a broken record, as its fault keeps it.
pub(crate) fn start_of(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(KEPT_OF_BROKEN)].to_vec()
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
