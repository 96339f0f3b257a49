//! The text of one file: opened, decompressed where it is compressed, counted.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use crate::location::InputFile;
use crate::standard_input::StandardInput;
use crate::zstd_text::ZstdText;

/// How much is read from a compressed file at once.
const COMPRESSED_BUFFER: usize = 64 * 1024;

/// The decompressed text of one file.
pub(crate) struct Text {
    reader: Box<dyn Read + Send>,
    raw: Arc<RawState>,
    compression: Option<&'static str>,
    /// Whether what comes must be handed on as it comes: a pipe, standard input.
    pub(crate) live: bool,
}

/// What went through the file itself, below the decompression.
#[derive(Debug, Default)]
struct RawState {
    bytes: AtomicU64,
    failed: AtomicBool,
}

/// Why the text cannot be read on.
#[derive(Debug)]
pub(crate) enum TextError {
    /// The storage fails.
    Io(io::Error),
    /// The compressed data ends in the middle.
    Cut,
    /// The compressed data makes no sense.
    Corrupt(String),
}

impl Text {
    /// Opens `file` and goes to `offset` of its text.
    pub(crate) fn open(file: &InputFile, offset: u64, stop: &Arc<AtomicBool>) -> Result<Self, TextError> {
        let raw = Arc::new(RawState::default());
        let mut plain = match &file.path {
            None => Plain::Standard(StandardInput::open(Arc::clone(stop)).map_err(TextError::Io)?),
            Some(path) => Plain::File(File::open(path).map_err(TextError::Io)?),
        };
        let head = read_head(&mut plain).map_err(TextError::Io)?;
        raw.bytes.fetch_add(head.len() as u64, Ordering::Relaxed);
        let live = file.length.is_none();
        let compression = compression_of(&head);

        let mut skip = offset;
        if compression.is_none()
            && offset > 0
            && let (Plain::File(opened), Some(_)) = (&mut plain, file.length)
        {
            opened.seek(SeekFrom::Start(offset)).map_err(TextError::Io)?;
            raw.bytes.store(offset, Ordering::Relaxed);
            let reader = Box::new(Counted { inner: plain, raw: Arc::clone(&raw) });
            return Ok(Self { reader, raw, compression, live });
        }
        let counted = Counted { inner: plain, raw: Arc::clone(&raw) };
        let whole: Chain<Cursor<Vec<u8>>, Counted> = Cursor::new(head).chain(counted);
        let reader: Box<dyn Read + Send> = match compression {
            None => Box::new(whole),
            Some("gzip") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED_BUFFER, whole))),
            Some(_) => Box::new(ZstdText::new(BufReader::with_capacity(COMPRESSED_BUFFER, whole))),
        };
        let mut text = Self { reader, raw, compression, live };
        let mut waste = vec![0; COMPRESSED_BUFFER];
        while skip > 0 {
            let part = waste.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            match text.read(&mut waste[..part])? {
                0 => break,
                count => skip -= count as u64,
            }
        }
        Ok(text)
    }

    /// Reads some of the text; 0 at its end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, TextError> {
        loop {
            match self.reader.read(into) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.sort_out(error)),
            }
        }
    }

    /// How many bytes of the file itself were read.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw.bytes.load(Ordering::Relaxed)
    }

    fn sort_out(&self, error: io::Error) -> TextError {
        match self.compression {
            Some(_) if self.raw.failed.load(Ordering::Relaxed) => TextError::Io(error),
            Some(_) if ended_early(&error) => TextError::Cut,
            Some(format) => TextError::Corrupt(format!("the {format} data is corrupt: {error}")),
            None => TextError::Io(error),
        }
    }
}

/// Whether the error, or one it was caused by, is an unexpected end.
fn ended_early(error: &io::Error) -> bool {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return true;
    }
    let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::UnexpectedEof
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Which compression the first bytes of a file are the sign of.
pub(crate) fn compression_of(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some("zstd"),
        _ => None,
    }
}

fn read_head(plain: &mut Plain) -> io::Result<Vec<u8>> {
    let mut head = vec![0; 4];
    let mut filled = 0;
    while filled < head.len() {
        match plain.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

enum Plain {
    File(File),
    Standard(StandardInput),
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(into),
            Self::Standard(input) => input.read(into),
        }
    }
}

struct Counted {
    inner: Plain,
    raw: Arc<RawState>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(into);
        match &result {
            Ok(count) => {
                self.raw.bytes.fetch_add(*count as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.raw.failed.store(true, Ordering::Relaxed),
        }
        result
    }
}
