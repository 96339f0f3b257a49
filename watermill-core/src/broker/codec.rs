//! Codecs: from bytes to records and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{BadCause, BoxError};
use crate::record::StreamRecord;

/// What the bytes of one message are.
#[derive(Debug)]
pub enum Decoded<R> {
    /// A record.
    Record(R),
    /// The EndOfStream mark.
    EndOfStream,
}

/// Reads a record from the bytes of one message (a line, an array element, a Kafka value).
///
/// A codec of one's own may read only the fields it needs. See [`JsonCodec`] for the default.
pub trait Decode<R>: Send + Sync + 'static {
    /// Decodes one message.
    ///
    /// # Errors
    /// What is wrong with the bytes: [`BadCause`] names the usual cases.
    fn decode(&self, bytes: &[u8]) -> Result<Decoded<R>, BadCause>;

    /// Decodes one message that is known to be valid UTF-8, which may save looking again.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), which the default calls.
    fn decode_str(&self, text: &str) -> Result<Decoded<R>, BadCause> {
        self.decode(text.as_bytes())
    }
}

/// Writes a record as the bytes of one message.
pub trait Encode<R>: Send + Sync + 'static {
    /// Appends the message to `out`. For files the message must not contain a line feed.
    ///
    /// # Errors
    /// When the record cannot be written in this format.
    fn encode(&self, record: &R, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

/// JSON by serde; EndOfStream is `{"eos__": true}`, as Python's watermill writes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonCodec;

/// The EndOfStream mark on streams of JSON.
pub const EOS_MARK: &[u8] = br#"{"eos__": true}"#;

/// Whether `bytes` are the EndOfStream mark, however it is spaced. Cheap for all that is not.
#[must_use]
pub fn is_eos_mark(bytes: &[u8]) -> bool {
    let mut rest = bytes.trim_ascii();
    for token in [&b"{"[..], b"\"eos__\"", b":", b"true", b"}"] {
        match rest.strip_prefix(token) {
            Some(behind) => rest = behind.trim_ascii_start(),
            None => return false,
        }
    }
    rest.is_empty()
}

impl<R: StreamRecord + DeserializeOwned> Decode<R> for JsonCodec {
    fn decode(&self, bytes: &[u8]) -> Result<Decoded<R>, BadCause> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.decode_str(text),
            // Cut inside a character.
            Err(error) if error.error_len().is_none() => Err(BadCause::Truncated),
            Err(error) => Err(BadCause::NotUtf8(error)),
        }
    }

    #[inline]
    fn decode_str(&self, text: &str) -> Result<Decoded<R>, BadCause> {
        if is_eos_mark(text.as_bytes()) {
            return Ok(Decoded::EndOfStream);
        }
        serde_json::from_str(text).map(Decoded::Record).map_err(BadCause::json)
    }
}

impl<R: StreamRecord + Serialize> Encode<R> for JsonCodec {
    fn encode(&self, record: &R, out: &mut Vec<u8>) -> Result<(), BoxError> {
        serde_json::to_writer(out, record).map_err(Into::into)
    }
}
