//! Cutting NDJSON at line feeds.

use memchr::{memchr, memrchr};

use crate::chunk::{Buffers, Chunk, CutFault, CutKind, Records};
use crate::framer::{Carry, Ended, FramerOptions, OpenText, start_of};
use crate::text::TextError;

impl OpenText {
    /// The next chunk of whole lines; `None` at the end of the text.
    pub(crate) fn cut_lines(
        &mut self,
        chunk: Chunk,
        buffers: &mut Buffers,
        options: &FramerOptions,
    ) -> Result<Option<Chunk>, TextError> {
        let (mut buffer, mut filled) = self.start_buffer(buffers, options.chunk_bytes);
        let mut searched = self.carry.searched;
        let end = loop {
            if let Some(found) = memrchr(b'\n', &buffer[searched..filled]) {
                break searched + found + 1;
            }
            searched = filled;
            if self.ended.is_some() {
                break 0;
            }
            // The line may still have a carriage return that does not count.
            if filled > options.record_limit.saturating_add(1) {
                return self.skip_line(chunk, buffer, filled, buffers, options).map(Some);
            }
            if filled == buffer.len() {
                let most = options.record_limit.saturating_add(2).max(filled + 1);
                buffer.resize((filled * 2).min(most), 0);
            }
            (filled, self.ended) = self.fill(&mut buffer, filled)?;
        };
        let whole = matches!(self.ended, Some(Ended::Whole));
        // The last line needs no line feed.
        let given = if whole { filled } else { end };
        let fault = self.end_fault(self.offset + given as u64, &buffer[given..filled], true);
        if given == 0 && fault.is_none() {
            return Ok(None);
        }
        let cut = whole && end < filled;
        let buffer = buffers.give(buffer);
        self.carry = Carry::new(&buffer, given..filled, filled - given);
        self.offset += given as u64;
        self.next = self.offset;
        let chunk = chunk.with_text(buffer, 0..given);
        Ok(Some(Chunk { records: Records::Lines { cut }, fault, next: self.next, ..chunk }))
    }

    /// A line over the limit fills the buffer: reads on behind it, keeping nothing.
    fn skip_line(
        &mut self,
        chunk: Chunk,
        mut buffer: Vec<u8>,
        mut filled: usize,
        buffers: &mut Buffers,
        options: &FramerOptions,
    ) -> Result<Chunk, TextError> {
        let offset = self.offset;
        let raw = start_of(&buffer[..filled]);
        let mut from = filled;
        let kind = CutKind::TooLong { limit: options.record_limit as u64 };
        let mut fault = CutFault { offset, kind, raw, recoverable: true };
        let behind = loop {
            if let Some(found) = memchr(b'\n', &buffer[from..filled]) {
                break from + found + 1;
            }
            if self.ended.is_some() {
                // Whether the last line is cut as well cannot be told, except where the compressed data is.
                fault.recoverable = false;
                fault = self.end_fault(offset, &fault.raw, true).unwrap_or(fault);
                break filled;
            }
            self.offset += filled as u64;
            from = 0;
            (filled, self.ended) = self.fill(&mut buffer, 0)?;
        };
        self.offset += behind as u64;
        self.next = self.offset;
        let buffer = buffers.give(buffer);
        self.carry = Carry::new(&buffer, behind..filled, 0);
        Ok(Chunk { fault: Some(fault), next: self.next, ..chunk })
    }
}
