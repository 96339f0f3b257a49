//! Codecs: from bytes to records and back.

mod depth;
mod plain_json;
mod replay;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{BadCause, BoxError, DEEPEST_JSON};
use crate::record::StreamRecord;

pub use replay::ReplayCodec;

/// What the bytes of one message are.
///
/// ```
/// use watermill_core::broker::codec::{Decode, Decoded, EOS_MARK, JsonCodec};
/// use watermill_core::record::Json;
///
/// let event: Decoded<Json> = JsonCodec.decode(br#"{"time": 1}"#)?;
/// assert!(matches!(event, Decoded::Record(Json(value)) if value["time"] == 1));
/// let end: Decoded<Json> = JsonCodec.decode(EOS_MARK)?;
/// assert!(matches!(end, Decoded::EndOfStream));
/// # Ok::<(), watermill_core::BadCause>(())
/// ```
#[derive(Debug)]
pub enum Decoded<R> {
    /// A record.
    Record(R),
    /// The EndOfStream mark.
    EndOfStream,
    /// Something that does not belong to the stream: it is passed over, and does not count.
    Nothing,
}

/// Reads a record from the bytes of one message (a line, an array element, a Kafka value).
///
/// A codec of one's own may read only the fields it needs. See [`JsonCodec`] for the default.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::BadCause;
/// use watermill::broker::codec::{Decode, Decoded};
///
/// struct Number { value: i64 }
///
/// /// A number a line, as plain text.
/// struct PlainText;
///
/// impl Decode<Number> for PlainText {
///     fn decode(&self, bytes: &[u8]) -> Result<Decoded<Number>, BadCause> {
///         let text = std::str::from_utf8(bytes).map_err(BadCause::NotUtf8)?;
///         let value = text.trim().parse().map_err(|error| BadCause::Other(Box::new(error)))?;
///         Ok(Decoded::Record(Number { value }))
///     }
/// }
///
/// assert!(matches!(PlainText.decode(b" 42 "), Ok(Decoded::Record(Number { value: 42 }))));
/// assert!(PlainText.decode(b"no").is_err());
/// ```
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

    /// Decodes the lines at the start of `text` in one go, as far as that goes: each exactly one record, nothing special. Returns how many
    /// bytes that were, line feeds included; what stands behind them is given to [`decode_str`](Self::decode_str) line by line.
    /// The default decodes none; a codec that can go through many records faster than one at a time does so here.
    fn decode_lines(&self, text: &str, into: &mut Lines<'_, R>) -> usize {
        let _ = (text, into);
        0
    }
}

/// Where [`Decode::decode_lines`] puts what it decodes.
///
/// ```
/// use watermill_core::broker::codec::{Decode, JsonCodec, Lines};
/// use watermill_core::record::Json;
///
/// let (mut records, mut offsets) = (Vec::<Json>::new(), Vec::new());
/// let into = &mut Lines { records: &mut records, offsets: &mut offsets, base: 1000, limit: 4096 };
/// let decoded = JsonCodec.decode_lines("{\"time\":1}\n{\"time\":2}\n{\"ti", into);
/// // The third line is left over.
/// assert_eq!((decoded, records.len(), offsets), (22, 2, vec![1000, 1011]));
/// ```
#[derive(Debug)]
pub struct Lines<'a, R> {
    /// The records.
    pub records: &'a mut Vec<R>,
    /// For each of them, where its line begins: its offset in the text, added to `base`.
    pub offsets: &'a mut Vec<u64>,
    /// Where the text begins.
    pub base: u64,
    /// The length no line may exceed.
    pub limit: usize,
}

/// Writes a record as the bytes of one message.
///
/// ```
/// use watermill_core::broker::codec::Encode;
/// use watermill_core::error::BoxError;
///
/// struct Number { value: i64 }
///
/// /// A number a line, as plain text.
/// struct PlainText;
///
/// impl Encode<Number> for PlainText {
///     fn encode(&self, number: &Number, out: &mut Vec<u8>) -> Result<(), BoxError> {
///         out.extend_from_slice(number.value.to_string().as_bytes());
///         Ok(())
///     }
/// }
///
/// let mut text = Vec::new();
/// PlainText.encode(&Number { value: 42 }, &mut text)?;
/// assert_eq!(text, b"42");
/// # Ok::<(), BoxError>(())
/// ```
pub trait Encode<R>: Send + Sync + 'static {
    /// Appends the message to `out`. For files the message must not contain a line feed.
    ///
    /// # Errors
    /// When the record cannot be written in this format.
    fn encode(&self, record: &R, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

/// JSON by serde; EndOfStream is `{"eos__": true}`, as Python's watermill writes it.
///
/// ```
/// use watermill_core::broker::codec::{Decode, Decoded, Encode, JsonCodec};
/// use watermill_core::record::Json;
///
/// let mut text = Vec::new();
/// JsonCodec.encode(&Json(serde_json::json!({"time": 1})), &mut text)?;
/// assert_eq!(text, br#"{"time":1}"#);
/// let again: Decoded<Json> = JsonCodec.decode(&text)?;
/// assert!(matches!(again, Decoded::Record(event) if event["time"] == 1));
/// # Ok::<(), watermill_core::error::BoxError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonCodec;

/// The EndOfStream mark on streams of JSON.
///
/// ```
/// use watermill_core::broker::codec::{EOS_MARK, is_eos_mark};
///
/// let stream = [b"{\"time\": 1}\n", EOS_MARK].concat();
/// assert!(stream.split(|byte| *byte == b'\n').next_back().is_some_and(is_eos_mark));
/// ```
pub const EOS_MARK: &[u8] = br#"{"eos__": true}"#;

/// Whether `bytes` are the EndOfStream mark, however it is spaced. Cheap for all that is not.
///
/// ```
/// use watermill_core::broker::codec::is_eos_mark;
///
/// assert!(is_eos_mark(br#"{ "eos__" : true }"#));
/// assert!(!is_eos_mark(br#"{"time": 1}"#));
/// ```
#[must_use]
pub fn is_eos_mark(bytes: &[u8]) -> bool {
    let mut rest = trim_start(bytes);
    for token in [&b"{"[..], b"\"eos__\"", b":", b"true", b"}"] {
        match rest.strip_prefix(token) {
            Some(behind) => rest = trim_start(behind),
            None => return false,
        }
    }
    rest.is_empty()
}

/// Without the blanks, as JSON has them, that it starts with.
fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
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
        match plain_json::read_line(text) {
            Ok((record, _, behind)) if behind == text.len() => Ok(Decoded::Record(record)),
            _ if depth::is_too_deep(text.as_bytes()) => Err(BadCause::TooDeep { limit: DEEPEST_JSON }),
            _ => serde_json::from_str(text).map(Decoded::Record).map_err(BadCause::json),
        }
    }

    fn decode_lines(&self, text: &str, into: &mut Lines<'_, R>) -> usize {
        // A line with the mark's name in it is looked at on its own.
        let text = match memchr::memmem::find(text.as_bytes(), b"\"eos__\"") {
            Some(mark) => {
                &text[..memchr::memrchr(b'\n', &text.as_bytes()[..mark]).map_or(0, |line| line + 1)]
            }
            None => text,
        };
        let bytes = text.as_bytes();
        let mut start = 0;
        let mut unusual = 0;
        while bytes.get(start).is_some_and(|first| !first.is_ascii_whitespace()) {
            let (record, end, next) = match plain_json::read_line(&text[start..]) {
                Ok((record, length, behind)) => (record, start + length, start + behind),
                Err(_) => {
                    let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |line| start + line);
                    let line = &text[start..end];
                    if depth::is_too_deep(line.as_bytes()) {
                        break;
                    }
                    let Ok(record) = serde_json::from_str(line) else { break };
                    unusual += 1;
                    (record, end, bytes.len().min(end + 1))
                }
            };
            if end - start > into.limit {
                break;
            }
            into.records.push(record);
            into.offsets.push(into.base + start as u64);
            start = next;
            // Not worth trying any more.
            if unusual > 16 && unusual > into.records.len() / 4 {
                break;
            }
        }
        start
    }
}

impl<R: StreamRecord + Serialize> Encode<R> for JsonCodec {
    fn encode(&self, record: &R, out: &mut Vec<u8>) -> Result<(), BoxError> {
        serde_json::to_writer(out, record).map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::{Decode, Decoded, Encode, JsonCodec, is_eos_mark};
    use crate::record::Json;

    #[test]
    fn numbers_come_back_as_they_were_written_to_the_last_digit() {
        let mut bits = 0x3ff0_0000_0000_0001_u64;
        for _ in 0..2000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = f64::from_bits(bits);
            if !number.is_finite() {
                continue;
            }
            let mut text = Vec::new();
            JsonCodec.encode(&Json(number.into()), &mut text).unwrap();
            let Ok(Decoded::Record(Json(read))) = JsonCodec.decode(&text) else { panic!("{number}") };
            assert_eq!(read.as_f64().map(f64::to_bits), Some(number.to_bits()), "{number:?}");
        }
    }

    #[test]
    fn the_mark_however_it_is_spaced_and_nothing_else() {
        for mark in ["{\"eos__\":true}", "{\"eos__\": true}", " {\t\"eos__\"\r\n: true } \n"] {
            assert!(is_eos_mark(mark.as_bytes()), "{mark:?}");
        }
        for other in [
            "",
            "{",
            "{\"eos__\": false}",
            "{\"eos__\":\u{c}true}",
            "{\"eos__\":true,\"a\":1}",
            "{\"eos__\":true}}",
        ] {
            assert!(!is_eos_mark(other.as_bytes()), "{other:?}");
        }
    }
}
