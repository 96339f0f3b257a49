//! From messages to a batch of records.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use watermill_core::broker::codec::{Decode, Decoded, JsonCodec};
use watermill_core::broker::{Batch, Fault, Offsets, Origin, Places, RawRecords};
use watermill_core::error::{BadCause, BadRecord, RecordPlace};
use watermill_core::record::StreamRecord;

/// The beginning of a message is shown in errors up to this length.
const SHOWN: usize = 200;

/// What is needed to make records of messages.
#[derive(Debug, Clone)]
pub(crate) struct Decoding {
    /// How messages call the stream.
    pub(crate) stream: String,
    pub(crate) origin: Arc<Origin>,
    pub(crate) keep_raw: bool,
}

/// Messages as they were read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) bytes: Vec<u8>,
    /// Number, time, and where the text ends.
    pub(crate) messages: Vec<(u64, i64, usize)>,
}

impl Decoding {
    /// A batch of these messages, and the numbers of those that are none of `R`. Reading goes on at `next`.
    pub(crate) fn batch<R: StreamRecord + DeserializeOwned>(
        &self,
        read: Read,
        next: u64,
    ) -> (Batch<R>, Vec<u64>) {
        let count = read.messages.len();
        let (mut records, mut offsets, mut times) =
            (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut faults, mut refused, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        let mut from = 0;
        for (number, appended, end) in &read.messages {
            let text = &read.bytes[from..*end];
            match decode::<R>(text) {
                Ok(record) => {
                    records.push(record);
                    offsets.push(*number);
                    times.push(*appended);
                    if self.keep_raw {
                        ranges.push(from..*end);
                    }
                }
                Err(cause) => {
                    faults.push(self.fault(text, *number, records.len(), cause));
                    refused.push(*number);
                }
            }
            from = *end;
        }
        let bytes = read.bytes.len() as u64;
        let places = Places {
            origin: Arc::clone(&self.origin),
            first_number: read.messages.first().map_or(next, |message| message.0),
            offsets: Offsets::Each(offsets),
            next,
            timestamps: Some(times),
            headers: None,
            raw: self.keep_raw.then(|| RawRecords::new(Arc::new(read.bytes), ranges)),
        };
        let mut batch = Batch::new(records, places);
        batch.faults = faults;
        batch.bytes = bytes;
        batch.progress = count as u64;
        (batch, refused)
    }

    #[cold]
    fn fault(&self, text: &[u8], number: u64, before: usize, cause: BadCause) -> Fault {
        let place = RecordPlace { origin: Arc::clone(&self.origin), offset: number, number };
        let excerpt = Some(excerpt(text));
        let error = Box::new(BadRecord { stream: self.stream.clone(), place, key: None, excerpt, cause });
        let raw = if self.keep_raw { text.to_vec() } else { Vec::new() };
        Fault { before, error, raw, cut: false, recoverable: true }
    }
}

fn decode<R: StreamRecord + DeserializeOwned>(text: &[u8]) -> Result<R, BadCause> {
    match JsonCodec.decode(text)? {
        Decoded::Record(record) => Ok(record),
        Decoded::EndOfStream | Decoded::Nothing => Err(BadCause::Structure(
            "the message is the mark of an end; named streams are ended by `Stream::close`".to_owned(),
        )),
    }
}

/// The beginning of a message, on one line.
pub(crate) fn excerpt(text: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
    let mut excerpt: String =
        shown.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    if text.len() > SHOWN {
        excerpt.push('…');
    }
    excerpt
}
