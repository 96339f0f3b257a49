//! Cutting a JSON array between its elements.

use crate::chunk::{Buffers, Chunk, CutFault, CutKind, Records};
use crate::framer::{Carry, FramerOptions, Layout, OpenText, start_of};
use crate::text::TextError;

impl OpenText {
    /// The next chunk of whole elements; `None` at the end of the text.
    pub(crate) fn cut_elements(
        &mut self,
        chunk: Chunk,
        buffers: &mut Buffers,
        options: &FramerOptions,
    ) -> Result<Option<Chunk>, TextError> {
        let (mut buffer, mut filled) = self.start_buffer(buffers, options.chunk_bytes);
        let mut searched = self.carry.searched;
        let mut start = 0;
        let mut elements = Vec::new();
        let fault = loop {
            let Layout::Array(scan) = &mut self.layout else { return Ok(None) };
            if let Err(broken) = scan.scan(&buffer[..filled], searched, &mut start, &mut elements, usize::MAX)
            {
                break Some(CutFault {
                    offset: self.offset + broken.at as u64,
                    kind: CutKind::Structure(broken.what),
                    raw: start_of(&buffer[broken.at..filled]),
                    recoverable: false,
                });
            }
            let (inside, done) = (scan.inside_element(), scan.done());
            searched = filled;
            let kept = if inside { start } else { filled };
            if self.ended.is_some() {
                break self.end_fault(self.offset + kept as u64, &buffer[kept..filled], done);
            }
            if !elements.is_empty() {
                break None;
            }
            // Blanks need no room.
            buffer.copy_within(kept..filled, 0);
            self.offset += kept as u64;
            (filled, searched, start) = (filled - kept, searched - kept, 0);
            if filled > options.record_limit {
                return self.skip_element(chunk, buffer, filled, buffers, options).map(Some);
            }
            if filled == buffer.len() {
                let most = options.record_limit.saturating_add(1).max(filled + 1);
                buffer.resize((filled * 2).min(most), 0);
            }
            (filled, self.ended) = self.fill(&mut buffer, filled)?;
        };
        if elements.is_empty() && fault.is_none() {
            self.carry = Carry::default();
            self.offset += filled as u64;
            return Ok(None);
        }
        let inside = matches!(&self.layout, Layout::Array(scan) if scan.inside_element());
        let kept = if inside && fault.is_none() { start } else { filled };
        let offset = self.offset;
        if let Some(last) = elements.last() {
            self.next = offset + last.end as u64;
        }
        let buffer = buffers.give(buffer);
        self.carry = Carry::new(&buffer, kept..filled, filled - kept);
        self.offset += kept as u64;
        let chunk = Chunk { offset, ..chunk }.with_text(buffer, 0..kept);
        Ok(Some(Chunk { records: Records::Elements(elements), fault, next: self.next, ..chunk }))
    }

    /// An element over the limit fills the buffer: reads on behind it, keeping nothing.
    fn skip_element(
        &mut self,
        chunk: Chunk,
        mut buffer: Vec<u8>,
        mut filled: usize,
        buffers: &mut Buffers,
        options: &FramerOptions,
    ) -> Result<Chunk, TextError> {
        let (offset, raw) = (self.offset, start_of(&buffer[..filled]));
        let mut elements = Vec::with_capacity(1);
        let mut behind = filled;
        let fault = loop {
            if !elements.is_empty() {
                let kind = CutKind::TooLong { limit: options.record_limit as u64 };
                self.next = self.offset + behind as u64;
                break CutFault { offset, kind, raw, recoverable: true };
            }
            if let Some(fault) = self.end_fault(offset, &raw, false) {
                break fault;
            }
            self.offset += filled as u64;
            (filled, self.ended) = self.fill(&mut buffer, 0)?;
            let Layout::Array(scan) = &mut self.layout else { break truncated(offset, raw) };
            match scan.scan(&buffer[..filled], 0, &mut 0, &mut elements, 1) {
                Ok(went) => behind = went,
                Err(broken) => {
                    break CutFault {
                        offset: self.offset + broken.at as u64,
                        kind: CutKind::Structure(broken.what),
                        raw: start_of(&buffer[broken.at..filled]),
                        recoverable: false,
                    };
                }
            }
        };
        self.offset += behind as u64;
        let buffer = buffers.give(buffer);
        self.carry = Carry::new(&buffer, behind..filled, 0);
        Ok(Chunk { fault: Some(fault), offset, next: self.next, ..chunk })
    }
}

fn truncated(offset: u64, raw: Vec<u8>) -> CutFault {
    CutFault { offset, kind: CutKind::Truncated, raw, recoverable: false }
}
