//! A record that cannot be used, and why.

use super::{BoxError, RecordPlace, key_part};
use crate::key::KeyFault;

/// A record that cannot be used: it does not decode, or its keys break the rules.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::RunError;
///
/// # #[derive(StreamRecord)] struct Reading { time: i64 }
/// # #[derive(StreamRecord)] struct Door { time: i64 }
/// /// Joins readings of the times 20 and 10 to a door that opened at 20.
/// fn downwards() -> watermill::Result<()> {
///     # let broker = MemoryBroker::new().read([20, 10].map(|time| Reading { time }).into()).read(vec![Door { time: 20 }]);
///     let join = JoinWith::new(Reading::fields().time, Door::fields().time);
///     Mill::new(|_: &Reading, _: &Joined<Reading, Door>| ()).join(join).run_blocking(broker)?;
///     Ok(())
/// }
///
/// let Err(RunError::BadRecord(bad)) = downwards() else { panic!("its keys go down") };
/// assert_eq!((bad.stream.as_str(), bad.place.offset), ("Reading", 1));
/// assert!(bad.to_string().starts_with("bad record in stream `Reading` at record 1"));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("bad record in stream `{stream}` at {place}{}{}", key_part(.key.as_ref()), excerpt_part(.excerpt.as_ref()))]
pub struct BadRecord {
    /// The stream, by its record type and name.
    pub stream: String,
    /// Where the record stands.
    pub place: RecordPlace,
    /// Its key, when it has one: the expression and the value.
    pub key: Option<String>,
    /// The start of its text, where it has one that can be read.
    pub excerpt: Option<String>,
    /// What is wrong with it.
    #[source]
    pub cause: BadCause,
}

pub(super) fn excerpt_part(excerpt: Option<&String>) -> String {
    excerpt.map(|text| format!(", text `{text}`")).unwrap_or_default()
}

/// How deep values of JSON may be nested: the most that serde_json reads.
pub(crate) const DEEPEST_JSON: usize = 127;

/// What is wrong with a bad record.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::{BadCause, RunError};
///
/// # #[derive(StreamRecord)] struct Reading { time: i64 }
/// # #[derive(StreamRecord)] struct Door { time: i64 }
/// /// Joins readings of the times 20 and 10 to a door that opened at 20.
/// fn downwards() -> watermill::Result<()> {
///     # let broker = MemoryBroker::new().read([20, 10].map(|time| Reading { time }).into()).read(vec![Door { time: 20 }]);
///     let join = JoinWith::new(Reading::fields().time, Door::fields().time);
///     Mill::new(|_: &Reading, _: &Joined<Reading, Door>| ()).join(join).run_blocking(broker)?;
///     Ok(())
/// }
///
/// let Err(RunError::BadRecord(bad)) = downwards() else { panic!("its keys go down") };
/// match bad.cause {
///     BadCause::KeyWentDown { previous, key, .. } => assert_eq!((&*previous, &*key), ("20", "10")),
///     BadCause::Syntax(_) | BadCause::Shape(_) => panic!("records in memory need no decoding"),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadCause {
    /// The text is not JSON.
    #[error("the text is not valid JSON; mend the record, or choose another policy for bad records")]
    Syntax(#[source] BoxError),
    /// The text is JSON, but not of the record's shape: a field is missing or has another type.
    #[error(
        "the text does not have the shape of the record: a field is missing or has another type; mend the record or the struct, or choose another policy for bad records"
    )]
    Shape(#[source] BoxError),
    /// The input ends in the middle of a record.
    #[error(
        "the input ends in the middle of this record: it was cut, or is still being written; truncated input is never taken for the end of the stream; get the whole input, and run again"
    )]
    Truncated,
    /// The text is not UTF-8.
    #[error(
        "the text is not valid UTF-8; write the input anew in UTF-8, or choose another policy for bad records"
    )]
    NotUtf8(#[source] std::str::Utf8Error),
    /// Values are nested too deep, be it in a field that the record does not have.
    #[error(
        "values are nested deeper than {limit} levels; mend the record, or choose another policy for bad records"
    )]
    TooDeep {
        /// The most levels that are read.
        limit: usize,
    },
    /// The record is longer than the limit.
    #[error(
        "the record is longer than the limit of {limit} bytes; raise the broker's record limit if such records are expected"
    )]
    TooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// The structure around the records is broken: no comma, no bracket.
    #[error("{0}")]
    Structure(String),
    /// The key cannot be computed or has no place in the order.
    #[error(
        "the key `{expression}` cannot be used; mend the record or the key, or leave such records out with `on_bad`"
    )]
    Key {
        /// The key expression.
        expression: String,
        /// Why not.
        #[source]
        fault: KeyFault,
    },
    /// The key is lower than the one before it.
    #[error(
        "the key `{expression}` goes down, from {previous} to {key}; joins and windows of time need keys that never go down: sort the stream, or let `reorder_within` do it where records are a little late, or leave such records out with `on_bad`"
    )]
    KeyWentDown {
        /// The key expression.
        expression: String,
        /// The key of the record before.
        previous: String,
        /// The key of this record.
        key: String,
    },
    /// The join went on without it: its stream was silent for as long as `.on_idle(..)` waits, and a left record that it matches was decided.
    #[error(
        "the record with the key `{expression}` = {key} comes late: its stream was silent for so long that the join went on without it; give `.on_idle(..)` more time, or leave such records out with `on_bad`"
    )]
    Late {
        /// The key expression.
        expression: String,
        /// The key.
        key: String,
    },
    /// A join promised `.unique()`, but the key was there before.
    #[error(
        "the key `{expression}` = {key} comes a second time, but the join promises `.unique()`: take out `.unique()`, or leave such records out with `on_bad`"
    )]
    KeyNotUnique {
        /// The key expression.
        expression: String,
        /// The key.
        key: String,
    },
    /// A dead letter that is read back does not hold a record.
    #[error("the dead letter of `{stream}`, {place}, does not hold a record of it; mend its `raw`")]
    Letter {
        /// The stream that the letter is from.
        stream: String,
        /// Where the record stood, of which it is a letter.
        place: RecordPlace,
        /// What is wrong with it now.
        #[source]
        cause: Box<BadCause>,
    },
    /// Another cause, from a codec of the user's own.
    #[error(
        "the codec could not decode the record; mend the record, or choose another policy for bad records"
    )]
    Other(#[source] BoxError),
}

impl BadCause {
    /// What kind of cause it is, in a word for programs: it stays the same when messages change.
    ///
    /// ```
    /// assert_eq!(watermill_core::BadCause::Truncated.kind(), "truncated");
    /// ```
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "syntax",
            Self::Shape(_) => "shape",
            Self::Truncated => "truncated",
            Self::NotUtf8(_) => "not_utf8",
            Self::TooDeep { .. } => "too_deep",
            Self::TooLong { .. } => "too_long",
            Self::Structure(_) => "structure",
            Self::Key { .. } => "key",
            Self::KeyWentDown { .. } => "key_went_down",
            Self::Late { .. } => "late",
            Self::KeyNotUnique { .. } => "key_not_unique",
            Self::Letter { cause, .. } => cause.kind(),
            Self::Other(_) => "other",
        }
    }

    /// Sorts an error of serde_json into [`Syntax`](Self::Syntax), [`Shape`](Self::Shape),
    /// [`Truncated`](Self::Truncated) and [`TooDeep`](Self::TooDeep).
    ///
    /// ```
    /// use watermill_core::BadCause;
    ///
    /// let cause = |text| serde_json::from_str::<u32>(text).map_err(BadCause::json);
    /// assert!(matches!(cause("}"), Err(BadCause::Syntax(_))));
    /// assert!(matches!(cause("\"text\""), Err(BadCause::Shape(_))));
    /// assert!(matches!(cause(""), Err(BadCause::Truncated)));
    /// ```
    #[must_use]
    pub fn json(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        match error.classify() {
            Category::Data => Self::Shape(Box::new(error)),
            Category::Eof => Self::Truncated,
            Category::Syntax if error.to_string().starts_with("recursion limit exceeded") => {
                Self::TooDeep { limit: DEEPEST_JSON }
            }
            Category::Syntax | Category::Io => Self::Syntax(Box::new(error)),
        }
    }
}
