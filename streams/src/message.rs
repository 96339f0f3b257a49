//! [`Message`]: what is in a stream, looked at without consuming it.

use std::time::SystemTime;

use serde::de::DeserializeOwned;
use watermill_core::BadCause;
use watermill_core::broker::codec::{Decode, Decoded, JsonCodec};
use watermill_core::record::StreamRecord;

/// A message of a stream.
///
/// ```
/// use watermill_core::record::Json;
/// use watermill_streams::{MessageState, Streams};
///
/// let readings = Streams::open("memory:")?.get("readings")?;
/// readings.append(&Json(serde_json::json!({"celsius": 20})))?;
/// let message = &readings.buffer()?[0];
/// assert_eq!((message.number, message.state), (0, MessageState::Appended));
/// assert_eq!(message.text, br#"{"celsius":20}"#);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number within the stream, from 0, in the order in which messages were appended.
    pub number: u64,
    /// When it was appended.
    pub appended: SystemTime,
    /// What has become of it.
    pub state: MessageState,
    /// As it was written.
    pub text: Vec<u8>,
}

impl Message {
    /// The message as a record.
    ///
    /// # Errors
    /// What is wrong with it, when it is none of `T`.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let streams = Streams::open("memory:")?;
    /// streams.put(&serde_json::json!({"celsius": 20}), "readings")?;
    /// let messages = streams.get("readings")?.buffer()?;
    /// assert_eq!(messages[0].get::<Json>()?["celsius"], 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get<T: StreamRecord + DeserializeOwned>(&self) -> Result<T, BadCause> {
        match JsonCodec.decode(&self.text)? {
            Decoded::Record(record) => Ok(record),
            Decoded::EndOfStream | Decoded::Nothing => {
                Err(BadCause::Structure("it is the mark of an end and no record".to_owned()))
            }
        }
    }
}

/// What has become of a message.
///
/// ```
/// use watermill_streams::{MessageState, Streams};
///
/// let streams = Streams::open("memory:")?;
/// streams.put(&20, "readings")?;
/// let waiting = streams.get("readings")?.buffer()?;
/// assert!(waiting.iter().all(|message| message.state == MessageState::Appended));
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageState {
    /// It waits for its consumers.
    Appended,
    /// A consumer has it.
    Claimed,
    /// All are done with it, and it was kept.
    Processed,
    /// A consumer that leaves out what it cannot read has left it out.
    Refused,
}
