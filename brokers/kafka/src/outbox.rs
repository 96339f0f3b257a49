//! What a lane has written and not committed: encoded, in one buffer, so that a transaction can be made again.

use std::ops::Range;

use rdkafka::message::OwnedHeaders;

/// A message to be sent.
pub(crate) struct Message {
    /// The place of its topic among those of the lane.
    pub(crate) topic: usize,
    pub(crate) partition: i32,
    pub(crate) key: Option<Range<usize>>,
    pub(crate) value: Range<usize>,
    /// In milliseconds since the epoch.
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Option<OwnedHeaders>,
}

/// The messages of a lane since its last commit, in their order.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Message>,
    /// How many of them were sent already, where that is not done within transactions.
    pub(crate) sent: usize,
}

/// What the buffers may keep when they are emptied.
const KEEP: usize = 1 << 20;

impl Outbox {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.messages.clear();
        self.messages.shrink_to(KEEP / size_of::<Message>());
        self.sent = 0;
    }

    pub(crate) fn bytes_of(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.messages.len() * size_of::<Message>()
    }
}
