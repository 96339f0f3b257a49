//! The text of an output: records with what stands between them, compressed where asked for.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use watermill_core::broker::codec::EOS_MARK;

use crate::deferred::Unsynced;
use crate::fault::fault_point;
use crate::format::{Compression, Format};
use crate::partial_file::Destination;

/// How much is collected before it is written.
const WRITE_BYTES: usize = 256 * 1024;
/// How much goes into one zstd frame.
const FRAME_BYTES: usize = 1024 * 1024;
/// On lines of JSON as small as the usual 6, within a few per cent, and six times as fast.
const GZIP_LEVEL: flate2::Compression = flate2::Compression::new(2);

/// What of an output a commit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Committed {
    /// The length of the file, compressed where it is.
    pub(crate) length: u64,
    /// How many elements that holds.
    pub(crate) elements: u64,
    /// The EndOfStream mark is among them.
    pub(crate) marked: bool,
}

/// The text of one output.
pub(crate) struct OutputText {
    destination: Destination,
    format: Format,
    compression: Compression,
    /// What was not written yet.
    buffer: Vec<u8>,
    /// Elements written so far.
    elements: u64,
    /// Bytes written to the destination so far.
    length: u64,
    marked: bool,
    /// Each commit is a piece of its own, which is taken away before the next one begins.
    pieces: bool,
    /// The piece that lies there was committed.
    taken: bool,
}

impl OutputText {
    pub(crate) fn new(destination: Destination, format: Format, compression: Compression) -> Self {
        let buffer = Vec::with_capacity(WRITE_BYTES + WRITE_BYTES / 8);
        let (pieces, taken) = (false, false);
        Self {
            destination,
            format,
            compression,
            buffer,
            elements: 0,
            length: 0,
            marked: false,
            pieces,
            taken,
        }
    }

    /// The same, where what was committed is taken out of the destination before more is written.
    pub(crate) fn in_pieces(self) -> Self {
        Self { pieces: true, ..self }
    }

    /// Goes on behind what an earlier run has committed; from the beginning for nothing.
    pub(crate) fn go_on(&mut self, from: Committed) -> io::Result<()> {
        self.destination.cut_to(from.length)?;
        (self.length, self.elements, self.marked) = (from.length, from.elements, from.marked);
        Ok(())
    }

    fn committed(&self) -> Committed {
        Committed { length: self.length, elements: self.elements, marked: self.marked }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.destination.is_live()
    }

    /// Adds one element, whose text `encode` appends.
    #[inline]
    pub(crate) fn element<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let from = self.buffer.len();
        if self.format == Format::JsonArray {
            self.buffer.extend_from_slice(if self.elements == 0 { b"[\n" } else { b",\n" });
        }
        if let Err(error) = encode(&mut self.buffer) {
            self.buffer.truncate(from);
            return Err(error);
        }
        if self.format == Format::Ndjson {
            self.buffer.push(b'\n');
        }
        self.elements += 1;
        Ok(())
    }

    /// Takes back the element that was added last, whose text began at `from`.
    pub(crate) fn take_back(&mut self, from: usize) {
        self.buffer.truncate(from);
        self.elements -= 1;
    }

    /// Where the text of the next element will begin in [`written_since`](Self::written_since).
    pub(crate) fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The text from `from` on that was not written yet.
    pub(crate) fn pending_text(&self, from: usize) -> &[u8] {
        &self.buffer[from..]
    }

    /// Writes what was collected, if it is enough to be worth it.
    #[inline]
    pub(crate) fn write_if_full(&mut self) -> io::Result<()> {
        let full = if self.compression == Compression::Zstd { FRAME_BYTES } else { WRITE_BYTES };
        if self.buffer.len() < full { Ok(()) } else { self.write_out() }
    }

    /// Writes what was collected. Each piece of compressed text stands for itself, so that a file which is cut between
    /// two of them is whole.
    fn write_out(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.begin_piece()?;
        let written = match self.compression {
            Compression::None => {
                self.destination.write_all(&self.buffer)?;
                self.buffer.len()
            }
            Compression::Gzip => {
                let mut member = GzEncoder::new(Vec::new(), GZIP_LEVEL);
                member.write_all(&self.buffer)?;
                self.write_piece(&member.finish()?)?
            }
            Compression::Zstd => {
                let frame = compress_to_vec(self.buffer.as_slice(), CompressionLevel::Fastest);
                self.write_piece(&frame)?
            }
        };
        self.length += written as u64;
        self.buffer.clear();
        Ok(())
    }

    /// What was committed before makes room.
    fn begin_piece(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.taken) {
            self.destination.cut_to(0)?;
            self.length = 0;
        }
        Ok(())
    }

    fn write_piece(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.destination.write_all(piece)?;
        Ok(piece.len())
    }

    /// Hands what was collected to whoever waits for it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.destination.flush()
    }

    /// Writes the EndOfStream mark, once.
    pub(crate) fn mark(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.marked, true) {
            return Ok(());
        }
        self.element(|buffer| {
            buffer.extend_from_slice(EOS_MARK);
            Ok(())
        })
    }

    /// Writes what was collected; returns what that is, and what has to be synced for it to be durable.
    pub(crate) fn commit_later(&mut self) -> io::Result<(Committed, Option<Unsynced>)> {
        self.write_out()?;
        fault_point!("written");
        let unsynced = self.destination.unsynced()?;
        Ok((self.committed(), unsynced))
    }

    /// Makes what was written durable; returns what that is.
    pub(crate) fn commit(&mut self) -> io::Result<Committed> {
        self.write_out()?;
        self.make_durable(false)
    }

    fn make_durable(&mut self, whole: bool) -> io::Result<Committed> {
        self.begin_piece()?;
        fault_point!("written");
        self.destination.sync(whole)?;
        self.taken = self.pieces;
        Ok(self.committed())
    }

    /// Completes the text and makes it durable.
    pub(crate) fn finish(&mut self) -> io::Result<Committed> {
        if self.format == Format::JsonArray {
            self.buffer.extend_from_slice(if self.elements == 0 { b"[]\n" } else { b"\n]\n" });
        }
        if self.length == 0 && self.buffer.is_empty() && self.compression != Compression::None {
            // An empty text still has its frame.
            self.length += self.write_empty_piece()?;
        }
        self.write_out()?;
        self.make_durable(true)
    }

    fn write_empty_piece(&mut self) -> io::Result<u64> {
        let piece = match self.compression {
            Compression::None => Vec::new(),
            Compression::Gzip => GzEncoder::new(Vec::new(), GZIP_LEVEL).finish()?,
            Compression::Zstd => compress_to_vec(io::empty(), CompressionLevel::Fastest),
        };
        Ok(self.write_piece(&piece)? as u64)
    }
}
