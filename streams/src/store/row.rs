//! The rows that a store keeps.

use std::ops::Range;

/// A stream. Times are milliseconds since the Unix epoch.
///
/// ```
/// use watermill_streams::store::StreamRow;
///
/// let stream = StreamRow::new("readings", 1_700_000_000_000);
/// assert!(stream.number == 0 && stream.closed.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamRow {
    /// Its number.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: i64,
    /// No message below this one is there, but for such that were left out.
    pub first: u64,
    /// The number of the next message.
    pub next: u64,
    /// When it was closed.
    pub closed: Option<i64>,
    /// How often consumers look whether other processes have appended, in milliseconds.
    pub interval: u64,
    /// How old messages become, in milliseconds.
    pub max_age: Option<u64>,
}

impl StreamRow {
    /// A new one.
    ///
    /// ```
    /// # use watermill_streams::store::StreamRow;
    /// assert_eq!(StreamRow::new("readings", 0).next, 0);
    /// ```
    #[must_use]
    pub fn new(name: &str, created: i64) -> Self {
        Self { name: name.to_owned(), created, interval: 10, ..Self::default() }
    }
}

/// A subscription: who has seen what of a stream. Unfinished are its claims, and all from `next` on.
///
/// ```
/// use watermill_streams::store::SubscriptionRow;
///
/// assert_eq!(SubscriptionRow::default().owner, "");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubscriptionRow {
    /// Its number.
    pub number: u64,
    /// Which stream.
    pub stream: u64,
    /// Its name; that of the consumers that share the stream is empty.
    pub name: String,
    /// When it was made.
    pub created: i64,
    /// The first message that was never claimed.
    pub next: u64,
    /// Messages stay when they are done with.
    pub keep: bool,
    /// Who has the whole of it; empty for nobody.
    pub owner: String,
    /// How often the whole of it has changed hands.
    pub epoch: u64,
    /// Until when the owner has it.
    pub expires: i64,
    /// For how long owners have it when they renew it, in milliseconds.
    pub lease: u64,
    /// All of the stream is done with, and it was closed.
    pub ended: bool,
    /// How many messages were done with.
    pub processed: u64,
    /// When the last ones were.
    pub last_read: Option<i64>,
    /// From this message on all stay, though they are done with: what comes next is compared with it.
    pub hold: Option<u64>,
    /// The function of whoever has the whole of it was given what is before this message, as far as it is not done with.
    pub emitted: u64,
}

/// Messages that one consumer has, or that were given back.
///
/// ```
/// use watermill_streams::store::ClaimRow;
///
/// let given_back = ClaimRow { first: 10, until: 20, ..ClaimRow::default() };
/// assert_eq!(given_back.owner, "");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimRow {
    /// Its number.
    pub number: u64,
    /// Under which subscription.
    pub subscription: u64,
    /// The first message.
    pub first: u64,
    /// The one behind the last.
    pub until: u64,
    /// Who has them; empty for nobody.
    pub owner: String,
    /// How often they have changed hands.
    pub epoch: u64,
    /// Until when the owner has them.
    pub expires: i64,
    /// For how long owners have them when they renew the claim, in milliseconds.
    pub lease: u64,
    /// The function of the owner was given those before this one.
    pub emitted: u64,
}

/// Where the inputs of a lane stand.
///
/// ```
/// use watermill_streams::store::CheckpointRow;
///
/// let new = CheckpointRow { name: "speeds".to_owned(), ..CheckpointRow::default() };
/// assert_eq!((new.lane, new.epoch), (0, 0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointRow {
    /// Of which mill.
    pub name: String,
    /// Of which lane.
    pub lane: u32,
    /// How often the lane has changed hands.
    pub epoch: u64,
    /// What is recorded; empty before the first commit.
    pub state: String,
}

/// A window that a function was given, of messages that are kept.
///
/// ```
/// use watermill_streams::store::WindowRow;
///
/// let window = WindowRow { messages: vec![10..15, 17..20], ..WindowRow::default() };
/// assert_eq!(window.messages.iter().map(|range| range.end - range.start).sum::<u64>(), 8);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WindowRow {
    /// Its number. Those of a stream ascend.
    pub number: u64,
    /// Of which stream.
    pub stream: u64,
    /// Under which subscription.
    pub subscription: u64,
    /// When it was emitted.
    pub created: i64,
    /// Its messages, in the order of the window.
    pub messages: Vec<Range<u64>>,
}

impl WindowRow {
    /// The number behind the last of its messages; 0 where it has none.
    ///
    /// ```
    /// # use watermill_streams::store::WindowRow;
    /// let window = WindowRow { messages: vec![17..20, 10..15], ..WindowRow::default() };
    /// assert_eq!(window.until(), 20);
    /// ```
    #[must_use]
    pub fn until(&self) -> u64 {
        self.messages.iter().map(|range| range.end).max().unwrap_or(0)
    }
}
