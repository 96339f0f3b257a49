//! From a chunk to a batch of records.

use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memrchr};
use serde::de::IgnoredAny;
use watermill_core::broker::codec::{Decode, Decoded, Lines};
use watermill_core::broker::{Batch, Fault, InputEnd, Offsets, Places};
use watermill_core::error::{BadCause, BadRecord, BoxError, RecordPlace};

use crate::chunk::{Chunk, CutFault, Records};
use crate::excerpt::excerpt;
use crate::framer::{is_blank, start_of};

/// How often in a chunk decoding many lines at once is taken up again behind a line that needed a look of its own.
const TRIES: usize = 8;

/// What every record of a stream is decoded with.
pub(crate) struct Decoder<C> {
    pub(crate) codec: Arc<C>,
    /// How messages call the stream.
    pub(crate) stream: String,
    pub(crate) record_limit: usize,
    pub(crate) require_mark: bool,
    /// The raw bytes of the records go with them.
    pub(crate) keep_raw: bool,
}

/// A batch whose numbers start at 0, until the chunks before it have been counted.
pub(crate) struct CountedBatch<R> {
    pub(crate) batch: Batch<R>,
    /// Which file it is from.
    pub(crate) file: usize,
    /// How many records it has, bad ones included.
    pub(crate) count: u64,
    /// Whether a fault ends it that nothing can be read behind.
    pub(crate) broken: bool,
}

/// A batch that is being filled.
struct Filling<'a, R, C> {
    decoder: &'a Decoder<C>,
    chunk: &'a Chunk,
    /// The text, up to where it is valid UTF-8.
    text: &'a str,
    records: Vec<R>,
    offsets: Vec<u64>,
    faults: Vec<Fault>,
    bytes: u64,
    end: Option<InputEnd>,
    broken: bool,
}

impl<C> Decoder<C> {
    /// Decodes all records of `chunk`; `expect` is how many there may be.
    pub(crate) fn decode<R>(&self, chunk: &Chunk, expect: usize) -> CountedBatch<R>
    where
        C: Decode<R>,
    {
        let bytes = chunk.text();
        // Once for the chunk is much cheaper than once for each string in it.
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                // Whole lines of it; the rest is looked at record by record.
                let valid = &bytes[..error.valid_up_to()];
                let whole = memrchr(b'\n', valid).map_or(0, |line| line + 1);
                std::str::from_utf8(&valid[..whole]).unwrap_or_default()
            }
        };
        let mut filling = Filling {
            decoder: self,
            chunk,
            text,
            records: Vec::with_capacity(expect),
            offsets: Vec::with_capacity(expect),
            faults: Vec::new(),
            bytes: 0,
            end: None,
            broken: false,
        };
        filling.fill();
        filling.finish()
    }
}

impl<R, C: Decode<R>> Filling<'_, R, C> {
    fn fill(&mut self) {
        let chunk = self.chunk;
        match &chunk.records {
            Records::Lines { cut } => {
                let bytes = chunk.text();
                let mut start = self.many_at_once(0);
                let mut tries = TRIES;
                while let Some(line) = memchr(b'\n', &bytes[start..])
                    && !self.is_over()
                {
                    self.record(start..start + line, false);
                    start += line + 1;
                    if tries > 0 && !self.is_over() {
                        tries -= 1;
                        start += self.many_at_once(start);
                    }
                }
                if start < bytes.len() && !self.is_over() {
                    self.record(start..bytes.len(), *cut);
                }
            }
            Records::Elements(elements) => {
                for element in elements {
                    self.record(element.clone(), false);
                    if self.is_over() {
                        return;
                    }
                }
            }
        }
    }

    /// Lets the codec decode as many lines from `start` on as it can in one go; returns their length.
    fn many_at_once(&mut self, start: usize) -> usize {
        let Some(text) = self.text.get(start..) else { return 0 };
        let before = self.records.len();
        let base = self.chunk.offset + start as u64;
        let limit = self.decoder.record_limit;
        let (records, offsets) = (&mut self.records, &mut self.offsets);
        let length = self.decoder.codec.decode_lines(text, &mut Lines { records, offsets, base, limit });
        // Without the line feeds: one a record, except perhaps behind the last.
        let unended = usize::from(length > 0 && !text[..length].ends_with('\n'));
        self.bytes += (length + unended).saturating_sub(self.records.len() - before) as u64;
        length
    }

    fn is_over(&self) -> bool {
        self.end.is_some() || self.broken
    }

    /// Decodes what stands at `range`. `cut` when the file ends there without saying that the record does.
    #[inline]
    fn record(&mut self, range: Range<usize>, cut: bool) {
        let bytes = &self.chunk.text()[range.clone()];
        let bytes = match bytes {
            [line @ .., b'\r'] => line,
            line => line,
        };
        if bytes.len() > self.decoder.record_limit {
            let limit = self.decoder.record_limit as u64;
            let raw = start_of(bytes);
            let start_only = raw.len() < bytes.len();
            self.fault(range.start, BadCause::TooLong { limit }, (raw, start_only), !cut);
            return;
        }
        match bytes.first() {
            None => return,
            Some(first) if is_blank(*first) && bytes.iter().all(|b| is_blank(*b)) => return,
            Some(_) => {}
        }
        let end = range.start + bytes.len();
        let decoded = match self.text.get(range.start..end) {
            Some(text) => self.decoder.codec.decode_str(text),
            None => self.decoder.codec.decode(bytes),
        };
        match decoded {
            Ok(Decoded::Record(record)) => {
                self.records.push(record);
                self.offsets.push(self.chunk.offset + range.start as u64);
                self.bytes += range.len() as u64;
            }
            Ok(Decoded::Nothing) => {}
            Ok(Decoded::EndOfStream) => self.end = Some(InputEnd::Mark),
            Err(cause) => self.bad_record(range.start, bytes, cut, cause),
        }
    }

    #[cold]
    fn bad_record(&mut self, start: usize, bytes: &[u8], cut: bool, cause: BadCause) {
        let ends_early = |cause: &BadCause| {
            matches!(cause, BadCause::Truncated)
                || serde_json::from_slice::<IgnoredAny>(bytes).is_err_and(|error| error.is_eof())
        };
        let (cause, recoverable) = if cut && ends_early(&cause) {
            (BadCause::Truncated, false)
        } else if matches!(cause, BadCause::Truncated) {
            // Its end is known, so it was not the input that was cut.
            let text = "the record ends in the middle; it must be complete on its own (one a line, if this is no array)";
            (BadCause::Syntax(BoxError::from(text)), true)
        } else {
            (cause, true)
        };
        self.fault(start, cause, (bytes.to_vec(), false), recoverable);
    }

    /// `raw` comes with whether it is only the beginning of the record.
    fn fault(&mut self, start: usize, cause: BadCause, raw: (Vec<u8>, bool), recoverable: bool) {
        let offset = self.chunk.offset + start as u64;
        self.fault_at(offset, cause, raw, recoverable);
    }

    fn fault_at(&mut self, offset: u64, cause: BadCause, (raw, cut): (Vec<u8>, bool), recoverable: bool) {
        let number = (self.records.len() + self.faults.len()) as u64;
        let place = RecordPlace { origin: Arc::clone(&self.chunk.origin), offset, number };
        let stream = self.decoder.stream.clone();
        let error = Box::new(BadRecord { stream, place, key: None, excerpt: excerpt(&raw), cause });
        self.faults.push(Fault { before: self.records.len(), error, raw, cut, recoverable });
        self.broken |= !recoverable;
    }

    fn finish(mut self) -> CountedBatch<R> {
        let chunk = self.chunk;
        if !self.is_over()
            && let Some(CutFault { offset, kind, raw, recoverable }) = &chunk.fault
        {
            // The framer keeps the beginning of what it cannot give whole.
            self.fault_at(*offset, kind.cause(), (raw.clone(), true), *recoverable);
        }
        if chunk.last && !self.is_over() {
            if self.decoder.require_mark {
                let text = "the stream ends without its EndOfStream mark `{\"eos__\": true}`, which was asked for: the input was cut, or is still being written";
                self.fault_at(chunk.next, BadCause::Structure(text.to_owned()), (Vec::new(), false), false);
            } else {
                self.end = Some(InputEnd::Exhausted);
            }
        }
        let count = (self.records.len() + self.faults.len()) as u64;
        let raw = self.decoder.keep_raw.then(|| chunk.raw_of(&self.offsets));
        let places = Places {
            origin: Arc::clone(&chunk.origin),
            offsets: Offsets::Each(self.offsets),
            next: chunk.next,
            first_number: 0,
            timestamps: None,
            headers: None,
            raw,
        };
        let batch = Batch {
            records: self.records,
            places,
            faults: self.faults,
            end: self.end,
            bytes: self.bytes,
            progress: chunk.progress,
        };
        CountedBatch { batch, file: chunk.file, count, broken: self.broken }
    }
}
