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
    /// A consumer has it, and has given it to its function. Others are told of this when the consumer renews its lease, after a third of it: a function that is done before
    /// is never seen at it. Of masters that a [`WindowEmitter`](watermill_core::window::WindowEmitter) leaves in its buffer, also those that stand before one it has emitted.
    Emitted,
    /// All are done with it, and it was kept.
    Processed,
    /// A consumer that leaves out what it cannot read has left it out.
    Refused,
}

/// A window that a mill was given, of a stream whose messages are kept: from [`Stream::windows`](crate::Stream::windows).
///
/// ```
/// use watermill_core::prelude::*;
/// use watermill_streams::Streams;
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// numbers.append_all(&[1, 2].map(|number| Json(number.into())))?;
/// # numbers.close()?;
/// let sum = |window: &[Json]| Json(window.iter().filter_map(|number| number.as_i64()).sum::<i64>().into());
/// Mill::new(sum).window(Window::count(2)).run_blocking(numbers.consumer().keep().write_with(|_: &[Json]| Ok::<(), &str>(())))?;
/// let window = &numbers.windows(0, 1)?[0];
/// assert_eq!(window.messages.iter().map(|message| message.number).collect::<Vec<_>>(), [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptWindow {
    /// Its number: those that came later have larger ones.
    pub number: u64,
    /// When the function was called with it.
    pub emitted: SystemTime,
    /// Under which subscription; empty for that of the consumers that share the stream. `None` when it was ended.
    pub subscription: Option<String>,
    /// Its messages, in the order of the window, as far as they are still there.
    pub messages: Vec<Message>,
}
