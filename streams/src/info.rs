//! What there is to know of a stream.

use std::time::{Duration, SystemTime};

use crate::error::StreamsError;
use crate::ledger::{is_live, sweep, unfinished};
use crate::store::{Rows, StreamRow};
use crate::streams::time;

/// What there is to know of a stream: [`Streams::metadata`](crate::Streams::metadata).
///
/// ```
/// use watermill_streams::{Status, Streams};
///
/// let streams = Streams::open("memory:")?;
/// streams.put(&20, "readings")?;
/// let readings = streams.metadata("readings")?;
/// assert_eq!((readings.appended, readings.waiting, readings.messages, readings.bytes), (1, 1, 1, 2));
/// assert_eq!(readings.status, Status::Open);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: SystemTime,
    /// What can be done with it.
    pub status: Status,
    /// How often consumers look whether other processes have appended.
    pub interval: Duration,
    /// How old messages become.
    pub max_age: Option<Duration>,
    /// When a consumer was last done with messages.
    pub last_read: Option<SystemTime>,
    /// How many messages were ever appended; in MongoDB without those that Python's minibatch has consumed.
    pub appended: u64,
    /// How many messages at least one subscription is not done with; without any, all.
    pub waiting: u64,
    /// How many messages are stored: those that wait, that are kept, and that were left out.
    pub messages: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// How many were left out, since a consumer could not read them.
    pub refused: u64,
    /// Those who consume it. The one without a name is the one of all consumers that share it.
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// What can be done with a stream.
///
/// ```
/// use watermill_streams::{Status, Streams};
///
/// let streams = Streams::open("memory:")?;
/// streams.get("readings")?.close()?;
/// assert_eq!(streams.metadata("readings")?.status, Status::Closed);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Messages can be appended.
    Open,
    /// It takes no more messages, and those that are there are consumed.
    Closed,
    /// It was closed, and all of its subscriptions have come to its end.
    Processed,
}

/// What there is to know of a subscription.
///
/// ```
/// use watermill_streams::Streams;
///
/// let streams = Streams::open("memory:")?;
/// streams.put(&20, "readings")?;
/// streams.get("readings")?.subscribe("audit")?;
/// let audit = &streams.metadata("readings")?.subscriptions[0];
/// assert_eq!((audit.name.as_str(), audit.waiting, audit.claimed, audit.consumers), ("audit", 1, 0, 0));
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Its name; empty for the consumers that share the stream.
    pub name: String,
    /// How many messages it is not done with.
    pub waiting: u64,
    /// How many of these consumers have just now.
    pub claimed: u64,
    /// How many consumers that are.
    pub consumers: usize,
    /// How many messages it was done with.
    pub processed: u64,
    /// When the last ones were.
    pub last_read: Option<SystemTime>,
    /// Messages stay when it is done with them.
    pub keep: bool,
    /// It has come to the end of the stream.
    pub ended: bool,
}

impl StreamInfo {
    /// All of it.
    pub(crate) fn of(rows: &mut dyn Rows, stream: &StreamRow, now: i64) -> Result<Self, StreamsError> {
        let mut info = Self::without_messages(rows, stream, now)?;
        let mut count = |_, _, text: &[u8]| {
            info.messages += 1;
            info.bytes += text.len() as u64;
            true
        };
        rows.messages(stream.number, 0..stream.next, &mut count)?;
        rows.ahead(stream.number, &mut count)?;
        Ok(info)
    }

    /// What can be told without looking at the messages.
    pub(crate) fn without_messages(
        rows: &mut dyn Rows,
        stream: &StreamRow,
        now: i64,
    ) -> Result<Self, StreamsError> {
        let ahead = rows.unnumbered(stream.number, u64::MAX)?;
        let mut subscriptions = Vec::new();
        for row in rows.subscriptions(stream.number)? {
            let ranges = unfinished::of(rows, &row, stream.next)?;
            let waiting = unfinished::count(&ranges) + ahead;
            let claims = rows.claims(row.number)?;
            let live: Vec<_> = claims
                .iter()
                .filter(|claim| is_live(&claim.owner, claim.expires, claim.lease, now))
                .collect();
            let mut owners: Vec<&str> = live.iter().map(|claim| claim.owner.as_str()).collect();
            let mut claimed = live.iter().map(|claim| claim.until - claim.first).sum();
            if is_live(&row.owner, row.expires, row.lease, now) {
                owners.push(&row.owner);
                claimed = waiting;
            }
            owners.sort_unstable();
            owners.dedup();
            subscriptions.push(SubscriptionInfo {
                name: row.name.clone(),
                waiting,
                claimed,
                consumers: owners.len(),
                processed: row.processed,
                last_read: row.last_read.map(time),
                keep: row.keep,
                ended: row.ended,
            });
        }
        let ended = !subscriptions.is_empty() && subscriptions.iter().all(|subscription| subscription.ended);
        let status = match stream.closed {
            None => Status::Open,
            Some(_) if ended => Status::Processed,
            Some(_) => Status::Closed,
        };
        Ok(Self {
            name: stream.name.clone(),
            created: time(stream.created),
            status,
            interval: Duration::from_millis(stream.interval),
            max_age: stream.max_age.map(Duration::from_millis),
            last_read: subscriptions.iter().filter_map(|subscription| subscription.last_read).max(),
            appended: stream.next + ahead,
            waiting: sweep::waiting(rows, stream)?,
            messages: 0,
            bytes: 0,
            refused: rows.refused(stream.number, 0..stream.next)?.len() as u64,
            subscriptions,
        })
    }
}
