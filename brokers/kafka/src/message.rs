//! A message as a reader of one's own sees it.

use watermill_core::broker::Headers;
use watermill_core::broker::codec::{Decode, Decoded};
use watermill_core::error::BadCause;

use crate::native::Native;

/// A message of Kafka, with all that is known of it: for records that are made of more than its value.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_kafka::{KafkaBroker, KafkaMessage};
/// # use watermill_derive::StreamRecord;
/// # use watermill::BadCause;
///
/// #[derive(StreamRecord)]
/// # #[watermill(crate = watermill_core)]
/// struct Reading { sensor: String, time: i64, celsius: f64 }
///
/// fn reading(message: &KafkaMessage<'_>) -> Result<Reading, BadCause> {
///     let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
///     Ok(Reading {
///         sensor: message.key().map(text).unwrap_or_default(),
///         time: message.timestamp().unwrap_or_default(),
///         celsius: serde_json::from_slice(message.value()).map_err(BadCause::json)?,
///     })
/// }
///
/// let kafka = KafkaBroker::new("localhost:9092", "sensors").read_by("readings", reading);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct KafkaMessage<'a> {
    value: &'a [u8],
    key: Option<&'a [u8]>,
    timestamp: Option<i64>,
    partition: i32,
    offset: u64,
    headers: &'a [(String, Vec<u8>)],
}

impl<'a> KafkaMessage<'a> {
    /// Its value.
    ///
    /// ```
    /// # use watermill_kafka::KafkaMessage;
    /// fn length(message: &KafkaMessage<'_>) -> usize { message.value().len() }
    /// ```
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Its key, where it has one.
    ///
    /// ```
    /// # use watermill_kafka::KafkaMessage;
    /// fn has_key(message: &KafkaMessage<'_>) -> bool { message.key().is_some() }
    /// ```
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        self.key
    }

    /// Its time, in milliseconds since the Unix epoch: when it was written, or what its writer says.
    ///
    /// ```
    /// # use watermill_kafka::KafkaMessage;
    /// fn seconds(message: &KafkaMessage<'_>) -> Option<i64> { Some(message.timestamp()? / 1000) }
    /// ```
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    /// Its partition.
    ///
    /// ```
    /// # use watermill_kafka::KafkaMessage;
    /// fn place(message: &KafkaMessage<'_>) -> (i32, u64) { (message.partition(), message.offset()) }
    /// ```
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Its offset.
    ///
    /// ```
    /// # use watermill_kafka::KafkaMessage;
    /// fn is_first(message: &KafkaMessage<'_>) -> bool { message.offset() == 0 }
    /// ```
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The value of its first header of this name.
    ///
    /// ```
    /// # use watermill_kafka::KafkaMessage;
    /// fn trace<'a>(message: &KafkaMessage<'a>) -> Option<&'a [u8]> { message.header("trace") }
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }
}

/// Makes records from messages.
pub(crate) trait DecodeMessage<R>: Send + Sync + 'static {
    fn decode(&self, message: &KafkaMessage<'_>) -> Result<Decoded<R>, BadCause>;
}

/// Looks at the value alone.
pub(crate) struct ByValue<C>(pub(crate) C);

impl<R, C: Decode<R>> DecodeMessage<R> for ByValue<C> {
    #[inline]
    fn decode(&self, message: &KafkaMessage<'_>) -> Result<Decoded<R>, BadCause> {
        match std::str::from_utf8(message.value) {
            Ok(text) => self.0.decode_str(text),
            Err(_) => self.0.decode(message.value),
        }
    }
}

/// A function of the user's.
pub(crate) struct ByFunction<F>(pub(crate) F);

impl<R, F> DecodeMessage<R> for ByFunction<F>
where
    F: Fn(&KafkaMessage<'_>) -> Result<R, BadCause> + Send + Sync + 'static,
{
    fn decode(&self, message: &KafkaMessage<'_>) -> Result<Decoded<R>, BadCause> {
        if watermill_core::broker::codec::is_eos_mark(message.value) {
            return Ok(Decoded::EndOfStream);
        }
        (self.0)(message).map(Decoded::Record)
    }
}

/// What is known of `message`, whose headers are `headers`.
pub(crate) fn message_of<'a>(
    message: &Native<'a>,
    value: &'a [u8],
    headers: &'a Headers,
) -> KafkaMessage<'a> {
    KafkaMessage {
        value,
        key: message.key(),
        timestamp: message.timestamp(),
        partition: message.partition(),
        offset: message.offset(),
        headers,
    }
}
