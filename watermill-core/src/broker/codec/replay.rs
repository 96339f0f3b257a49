//! Dead letters read back as the stream that they are from.

use super::{Decode, Decoded, JsonCodec};
use crate::error::BadCause;
use crate::letter::DeadLetter;
use crate::record::StreamRecord;

/// Reads [`DeadLetter`]s, and from those of one stream its records: for brokers, which offer it as `replay`. Letters of other streams are passed over.
///
/// ```
/// use watermill_core::broker::codec::{Decode, Decoded, JsonCodec, ReplayCodec};
/// use watermill_core::record::Json;
///
/// let codec = ReplayCodec::new::<Json>(None, JsonCodec);
/// // As a person has mended it.
/// let letter = br#"{"stream": "Json", "kind": "shape", "raw": {"time": 20}}"#;
/// let Decoded::Record(Json(record)) = codec.decode(letter)? else { panic!("a record") };
/// assert_eq!(record["time"], 20);
/// assert!(matches!(codec.decode(br#"{"stream": "Other", "raw": {}}"#)?, Decoded::<Json>::Nothing));
/// # Ok::<(), watermill_core::BadCause>(())
/// ```
#[derive(Debug)]
pub struct ReplayCodec<C> {
    /// How letters call the stream.
    stream: String,
    /// What the records are read with.
    codec: C,
}

impl<C> ReplayCodec<C> {
    /// Of the letters of the stream of `R`, or of the one of this name, the records, which `codec` reads.
    ///
    /// ```
    /// # use watermill_core::broker::codec::{JsonCodec, ReplayCodec};
    /// # use watermill_core::record::Json;
    /// let of_one_of_several = ReplayCodec::new::<Json>(Some("left"), JsonCodec);
    /// ```
    #[must_use]
    pub fn new<R: StreamRecord>(name: Option<&str>, codec: C) -> Self {
        let stream = match name {
            Some(name) => format!("{} \"{name}\"", R::NAME),
            None => R::NAME.to_owned(),
        };
        Self { stream, codec }
    }

    fn open<R>(&self, letter: &DeadLetter) -> Result<Decoded<R>, BadCause>
    where
        C: Decode<R>,
    {
        if letter.stream != self.stream {
            return Ok(Decoded::Nothing);
        }
        let bad = |cause: BadCause| BadCause::Letter {
            stream: letter.stream.clone(),
            place: letter.place(),
            cause: Box::new(cause),
        };
        if letter.cut {
            let text =
                "it holds only the beginning of the record; write all of it into `raw`, and take `cut` out";
            return Err(bad(BadCause::Other(text.into())));
        }
        if letter.raw.is_empty() {
            let text = "it holds no bytes of the record; write it into `raw`";
            return Err(bad(BadCause::Other(text.into())));
        }
        match self.codec.decode(&letter.raw) {
            Ok(Decoded::EndOfStream) => {
                Err(bad(BadCause::Other("it holds an EndOfStream mark, which is no record".into())))
            }
            Ok(decoded) => Ok(decoded),
            // A letter that could not be replayed was put aside again: what it holds is the letter.
            Err(cause) => match serde_json::from_slice::<DeadLetter>(&letter.raw) {
                Ok(inner) if inner.stream == self.stream && !inner.kind.is_empty() => self.open(&inner),
                _ => Err(bad(cause)),
            },
        }
    }
}

impl<R: StreamRecord, C: Decode<R>> Decode<R> for ReplayCodec<C> {
    fn decode(&self, bytes: &[u8]) -> Result<Decoded<R>, BadCause> {
        match JsonCodec.decode(bytes)? {
            Decoded::Record(letter) => self.open(&letter),
            Decoded::EndOfStream => Ok(Decoded::EndOfStream),
            Decoded::Nothing => Ok(Decoded::Nothing),
        }
    }
}
