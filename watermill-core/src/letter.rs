//! [`DeadLetter`]: a record that was put aside, with all that is needed to find out why and to feed it back in.

use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::error::{BadRecord, RecordPlace};
use crate::function::RecordMeta;
use crate::key::Place;
use crate::origin::Origin;
use crate::record::StreamRecord;

/// A record that was put aside: by [`OnBad::DeadLetter`](crate::OnBad::DeadLetter), because it does not decode or its keys break the
/// rules.
///
/// Letters are a stream of their own: declare where it goes like any result, by `.write::<DeadLetter>(..)`. They become durable
/// in the same step as the results, and each exactly once: with the commit that lets the position of its stream pass the bad
/// record. The letters of one stream are in the order of the stream; those of several streams come as the
/// commits fall. What stands behind the point at which a mill had no more use for its inputs was not looked at, and makes no letter.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::DeadLetter;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct A { key: i64 }
/// #[derive(StreamRecord)]
/// struct B { key: i64 }
///
/// let letters = Collected::<DeadLetter>::new();
/// // The second key goes down.
/// let broker = MemoryBroker::new()
///     .read([5, 3, 7].map(|key| A { key }).into())
///     .read(vec![B { key: 5 }])
///     .write(&letters);
/// let report = Mill::new(|_: &A| ())
///     .join(JoinWith::new(A::fields().key, B::fields().key).unmatched())
///     .on_bad::<A>(OnBad::DeadLetter)
///     .run_blocking(broker)?;
/// assert_eq!((report.calls, report.inputs[0].dead_lettered), (1, 1));
///
/// let letter = &letters.take()[0];
/// assert_eq!((letter.stream.as_str(), letter.offset, letter.kind.as_str()), ("A", 1, "key_went_down"));
/// assert!(letter.error.contains("the key `key` goes down, from 5 to 3"));
/// # Ok::<(), watermill::RunError>(())
/// ```
///
/// # As JSON
/// ```json
/// {"time":1754035200000,"function":"speed","stream":"Location","origin":{"file":{"path":"data/locations.ndjson"}},
///  "offset":22,"number":1,"kind":"shape","error":"bad record in stream ..: .. : ..","attempts":0,
///  "raw":"{\"time\": 20, \"x\": \"oops\"}"}
/// ```
/// `raw` is the record's text; bytes that are no UTF-8 are in `raw_hex` instead, two digits each. `key` is there where the record has a
/// key, `"cut":true` where `raw` is the beginning of the record only. When letters are read, `raw` may also be the record itself:
/// `"raw":{"time":20,"x":1.5}` is easier to write in an editor, and means the same as its text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Form")]
#[non_exhaustive]
pub struct DeadLetter {
    /// When it was put aside, in milliseconds since the Unix epoch, by the mill's clock.
    pub time: i64,
    /// The name of the mill's function.
    pub function: String,
    /// The stream, by its record type and name, as reports call it.
    pub stream: String,
    /// What it was read from.
    pub origin: Origin,
    /// Byte offset in a file, offset in a partition, index in memory.
    pub offset: u64,
    /// The number of the record within its origin, from 0.
    pub number: u64,
    /// What kind of failure it is, for programs: [`BadCause::kind`](crate::BadCause::kind), or `function`.
    pub kind: String,
    /// What is wrong with it: the error and its causes, with `: ` between them.
    pub error: String,
    /// Its key, where it has one: the expression and the value.
    pub key: Option<String>,
    /// How often the function was called with it: 0 for a record that never came so far.
    pub attempts: u32,
    /// The record as it was read, [`MOST_RAW`](Self::MOST_RAW) bytes of it at most. Empty where there are no bytes: a
    /// [`MemoryBroker`](crate::broker::memory::MemoryBroker) has none.
    pub raw: Vec<u8>,
    /// `raw` is only the beginning of the record.
    pub cut: bool,
}

impl DeadLetter {
    /// How many bytes of a record a letter holds at most: 1 MiB. Of one that is longer, the beginning is kept.
    pub const MOST_RAW: usize = 1 << 20;

    /// A letter of the record at `place`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::SystemTime;
    /// use watermill_core::DeadLetter;
    /// use watermill_core::broker::Origin;
    /// use watermill_core::error::RecordPlace;
    ///
    /// let place = RecordPlace { origin: Arc::new(Origin::Memory), offset: 7, number: 7 };
    /// let error = std::io::Error::other("no answer");
    /// let letter = DeadLetter::new("ask", "Question", &place, b"why?", ("function", &error), SystemTime::UNIX_EPOCH);
    /// assert_eq!((letter.error.as_str(), letter.text()), ("no answer", Some("why?")));
    /// ```
    #[must_use]
    pub fn new(
        function: &str,
        stream: &str,
        place: &RecordPlace,
        raw: &[u8],
        (kind, error): (&str, &dyn Error),
        time: SystemTime,
    ) -> Self {
        let kept = &raw[..raw.len().min(Self::MOST_RAW)];
        Self {
            time: milliseconds(time),
            function: function.to_owned(),
            stream: stream.to_owned(),
            origin: (*place.origin).clone(),
            offset: place.offset,
            number: place.number,
            kind: kind.to_owned(),
            error: told(error),
            key: None,
            attempts: 0,
            raw: kept.to_vec(),
            cut: kept.len() < raw.len(),
        }
    }

    /// A letter of a bad record; `cut` where `raw` is only its beginning.
    pub(crate) fn of_bad(function: &str, error: &BadRecord, raw: &[u8], cut: bool, time: SystemTime) -> Self {
        let kind = error.cause.kind();
        let mut letter = Self::new(function, &error.stream, &error.place, raw, (kind, error), time);
        letter.key.clone_from(&error.key);
        letter.cut |= cut;
        letter
    }

    /// A letter of a record that the function failed with `attempts` times, the `number`th of its origin.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::SystemTime;
    /// # use watermill::DeadLetter;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Question { id: u32 }
    /// # let letters = Collected::<DeadLetter>::new();
    /// # let broker = MemoryBroker::new().read(vec![Question { id: 7 }]).write(&letters);
    /// fn ask(_: &Question, meta: &Meta<Question>) -> Option<DeadLetter> {
    ///     let error = std::io::Error::other("no answer");
    ///     let record = meta.get(0)?;
    ///     Some(DeadLetter::of_call("ask", "Question", record, 0, &error, SystemTime::UNIX_EPOCH, 3))
    /// }
    /// # Mill::new(ask).run_blocking(broker)?;
    /// # let letter = letters.take().remove(0);
    /// assert_eq!((letter.kind.as_str(), letter.attempts, letter.error.as_str()), ("function", 3, "no answer"));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn of_call(
        function: &str,
        stream: &str,
        record: &RecordMeta,
        number: u64,
        error: &dyn Error,
        time: SystemTime,
        attempts: u32,
    ) -> Self {
        let place = RecordPlace { number, ..record.place() };
        let raw = record.raw().unwrap_or_default();
        let letter = Self::new(function, stream, &place, raw, ("function", error), time);
        Self { attempts, ..letter }
    }

    /// The record's text, when it is valid UTF-8.
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use watermill_core::{DeadLetter, broker::Origin, error::RecordPlace};
    /// # let place = RecordPlace { origin: Arc::new(Origin::Memory), offset: 7, number: 7 };
    /// # let error = std::io::Error::other("no answer");
    /// let letter = |raw| DeadLetter::new("ask", "Question", &place, raw, ("function", &error), SystemTime::UNIX_EPOCH);
    /// assert_eq!(letter(b"why?").text(), Some("why?"));
    /// assert_eq!(letter(b"\xff").text(), None);
    /// ```
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.raw).ok()
    }

    /// Where the record stood.
    ///
    /// ```
    /// # use std::{sync::Arc, time::SystemTime};
    /// # use watermill_core::{DeadLetter, broker::Origin, error::RecordPlace};
    /// # let place = RecordPlace { origin: Arc::new(Origin::Memory), offset: 7, number: 7 };
    /// # let error = std::io::Error::other("no answer");
    /// let letter = DeadLetter::new("ask", "Question", &place, b"why?", ("function", &error), SystemTime::UNIX_EPOCH);
    /// assert_eq!(letter.place().to_string(), "record 7");
    /// ```
    #[must_use]
    pub fn place(&self) -> RecordPlace {
        RecordPlace {
            origin: std::sync::Arc::new(self.origin.clone()),
            offset: self.offset,
            number: self.number,
        }
    }
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dead letter of `{}`, {}: {}", self.stream, self.place(), self.error)
    }
}

impl StreamRecord for DeadLetter {
    const NAME: &'static str = "DeadLetter";
    type Fields<P: Place<Value = Self>> = ();

    fn fields_below<P: Place<Value = Self>>() -> &'static () {
        &()
    }
}

/// The messages of an error and of its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

/// A letter as it is written.
#[derive(Serialize)]
struct Written<'a> {
    time: i64,
    function: &'a str,
    stream: &'a str,
    origin: &'a Origin,
    offset: u64,
    number: u64,
    kind: &'a str,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_hex: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl Serialize for DeadLetter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = self.text();
        Written {
            time: self.time,
            function: &self.function,
            stream: &self.stream,
            origin: &self.origin,
            offset: self.offset,
            number: self.number,
            kind: &self.kind,
            error: &self.error,
            key: self.key.as_deref(),
            attempts: self.attempts,
            raw,
            raw_hex: raw.is_none().then(|| to_hex(&self.raw)),
            cut: self.cut,
        }
        .serialize(serializer)
    }
}

/// A letter as it is read: people may have been at it.
#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    time: i64,
    #[serde(default)]
    function: String,
    stream: String,
    #[serde(default = "nowhere")]
    origin: Origin,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    number: u64,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    raw: Option<serde_json::Value>,
    #[serde(default)]
    raw_hex: Option<String>,
    #[serde(default)]
    cut: bool,
}

fn nowhere() -> Origin {
    Origin::Memory
}

impl TryFrom<Form> for DeadLetter {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        let raw = match (form.raw, form.raw_hex) {
            (Some(_), Some(_)) => return Err("a letter has `raw` or `raw_hex`, not both".to_owned()),
            (Some(serde_json::Value::String(text)), None) => text.into_bytes(),
            (Some(value), None) => value.to_string().into_bytes(),
            (None, Some(hex)) => from_hex(&hex)
                .ok_or("`raw_hex` must be an even number of digits from 0 to 9 and from a to f")?,
            (None, None) => Vec::new(),
        };
        Ok(Self {
            time: form.time,
            function: form.function,
            stream: form.stream,
            origin: form.origin,
            offset: form.offset,
            number: form.number,
            kind: form.kind,
            error: form.error,
            key: form.key,
            attempts: form.attempts,
            raw,
            cut: form.cut,
        })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|nibble| nibble as u8))
        .collect::<Option<Vec<u8>>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn any_bytes_come_back_from_json() {
        let place = RecordPlace { origin: std::sync::Arc::new(Origin::Memory), offset: 1, number: 2 };
        let error = std::io::Error::other("x");
        for raw in
            [&b""[..], b"{\"a\": \"\\u00e4\"}", "ä\n\"\u{0}".as_bytes(), b"\xff\x00\x9c", &[0xe2, 0x82]]
        {
            let letter = DeadLetter::new("f", "S", &place, raw, ("other", &error), SystemTime::UNIX_EPOCH);
            let json = serde_json::to_string(&letter).unwrap();
            assert_eq!(serde_json::from_str::<DeadLetter>(&json).unwrap(), letter, "{json}");
            assert_eq!(letter.raw, raw);
        }
    }

    #[test]
    fn a_record_over_the_limit_is_cut_and_says_so() {
        let place = RecordPlace { origin: std::sync::Arc::new(Origin::Memory), offset: 1, number: 2 };
        let error = std::io::Error::other("x");
        for (length, cut) in [(DeadLetter::MOST_RAW, false), (DeadLetter::MOST_RAW + 1, true)] {
            let raw = vec![b'a'; length];
            let letter = DeadLetter::new("f", "S", &place, &raw, ("other", &error), SystemTime::UNIX_EPOCH);
            assert_eq!((letter.raw.len(), letter.cut), (DeadLetter::MOST_RAW, cut));
        }
    }

    #[test]
    fn the_record_itself_may_stand_for_its_text() {
        let letter: DeadLetter = serde_json::from_str(r#"{"stream":"S","raw":{"a":[1,"x"]}}"#).unwrap();
        assert_eq!(letter.text(), Some(r#"{"a":[1,"x"]}"#));
        let both = serde_json::from_str::<DeadLetter>(r#"{"stream":"S","raw":"","raw_hex":""}"#).unwrap_err();
        assert!(both.to_string().contains("not both"), "{both}");
        let odd = serde_json::from_str::<DeadLetter>(r#"{"stream":"S","raw_hex":"abc"}"#).unwrap_err();
        assert!(odd.to_string().contains("even number"), "{odd}");
    }

    #[test]
    fn times_before_the_epoch_are_negative() {
        let second = std::time::Duration::from_secs(1);
        assert_eq!(milliseconds(SystemTime::UNIX_EPOCH - second), -1000);
        assert_eq!(milliseconds(SystemTime::UNIX_EPOCH + second), 1000);
    }
}
