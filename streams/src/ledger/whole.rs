//! A stream that one consumer has alone, since its mill needs all of it in its order: the lease of a subscription, and how far it has come.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use watermill_core::broker::{Checkpoint, FinishedRange};

use super::claims::Claimant;
use super::{is_live, sweep, unfinished};
use crate::error::StreamsError;
use crate::store::{CheckpointRow, ClaimRow, Rows, SubscriptionRow};

/// Under which name the positions of a mill over a stream are kept.
pub(crate) fn checkpoint_name(stream: &str, subscription: &str) -> String {
    match (stream.contains(", "), subscription.is_empty()) {
        (false, true) => format!("stream {stream}"),
        (false, false) => format!("stream {stream}, {subscription}"),
        // What separates the two cannot be in a name.
        (true, _) => format!("stream {stream}\u{1f}{subscription}"),
    }
}

/// What is kept of a lane.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// As [`watermill_core::broker::Job::mill`].
    pub(crate) mill: String,
    pub(crate) streams: Vec<String>,
    /// For each of them the number of the stream in the store; 0 where it is elsewhere.
    pub(crate) numbers: Vec<u64>,
    pub(crate) checkpoint: Checkpoint,
}

impl State {
    pub(crate) fn read(row: &CheckpointRow) -> Result<Option<Self>, StreamsError> {
        if row.state.is_empty() {
            return Ok(None);
        }
        let read = serde_json::from_str(&row.state);
        read.map(Some).map_err(|cause| {
            StreamsError::storage("the store", &format!("read the positions of {}", row.name), cause)
        })
    }

    pub(crate) fn text(&self) -> Result<String, StreamsError> {
        serde_json::to_string(self)
            .map_err(|cause| StreamsError::storage("the store", "write positions", cause))
    }
}

/// Takes the whole subscription, unless somebody has something of it.
pub(crate) fn take(rows: &mut dyn Rows, who: &Claimant, now: i64) -> Result<bool, StreamsError> {
    // Who waits for what is not there any more would wait for ever.
    let gone =
        || StreamsError::Missing { store: "the store".to_owned(), stream: "that was dropped".to_owned() };
    let mut subscription = rows.subscription(who.subscription)?.ok_or_else(gone)?;
    let live = is_live(&subscription.owner, subscription.expires, subscription.lease, now);
    if live && subscription.owner != who.owner {
        return Ok(false);
    }
    let claims = rows.claims(who.subscription)?;
    if claims.iter().any(|claim| is_live(&claim.owner, claim.expires, claim.lease, now)) {
        return Ok(false);
    }
    for mut claim in claims {
        claim.owner.clear();
        (claim.expires, claim.emitted) = (0, 0);
        rows.put_claim(&mut claim)?;
    }
    subscription.owner.clone_from(&who.owner);
    subscription.epoch += 1;
    subscription.expires = now.saturating_add_unsigned(who.lease);
    subscription.lease = who.lease;
    subscription.emitted = 0;
    unfinished::tidy(rows, &mut subscription)?;
    rows.put_subscription(&mut subscription)?;
    Ok(true)
}

/// The subscription, if it is still this consumer's.
fn own(rows: &mut dyn Rows, who: &Claimant) -> Result<Option<SubscriptionRow>, StreamsError> {
    Ok(rows.subscription(who.subscription)?.filter(|subscription| subscription.owner == who.owner))
}

/// The lease goes on, and the function was given what is before `emitted`. Says whether it is still the consumer's.
pub(crate) fn renew(
    rows: &mut dyn Rows,
    who: &Claimant,
    emitted: u64,
    now: i64,
) -> Result<bool, StreamsError> {
    let Some(mut subscription) = own(rows, who)? else { return Ok(false) };
    subscription.expires = now.saturating_add_unsigned(who.lease);
    subscription.emitted = subscription.emitted.max(emitted);
    rows.put_subscription(&mut subscription)?;
    Ok(true)
}

/// The stream is free again.
pub(crate) fn release(rows: &mut dyn Rows, who: &Claimant) -> Result<(), StreamsError> {
    if let Some(mut subscription) = own(rows, who)? {
        subscription.owner.clear();
        (subscription.expires, subscription.emitted) = (0, 0);
        rows.put_subscription(&mut subscription)?;
    }
    Ok(())
}

/// How far a consumer of the whole has come.
#[derive(Debug, Default)]
pub(crate) struct Advance {
    /// All before this one is done with.
    pub(crate) until: u64,
    /// From this one on messages stay, to be compared with.
    pub(crate) hold: Option<u64>,
    /// Those that could not be read and stay.
    pub(crate) refused: Vec<u64>,
    pub(crate) ended: bool,
}

/// Messages are done with; fails when the lease is another one's by now.
pub(crate) fn advance(
    rows: &mut dyn Rows,
    who: &Claimant,
    to: &Advance,
    now: i64,
) -> Result<(), StreamsError> {
    let Some(mut subscription) = own(rows, who)? else {
        let stream = match rows.subscription(who.subscription)? {
            Some(subscription) => rows.stream(subscription.stream)?.map(|stream| stream.name),
            None => None,
        };
        return Err(StreamsError::Lost { stream: stream.unwrap_or_else(|| "that was dropped".to_owned()) });
    };
    let Some(mut stream) = rows.stream(subscription.stream)? else {
        return Err(StreamsError::Lost { stream: "that was dropped".to_owned() });
    };
    let mut done = 0;
    for claim in rows.claims(who.subscription)? {
        let until = to.until.clamp(claim.first, claim.until);
        done += until - claim.first;
        if until == claim.until {
            rows.remove_claim(claim.number)?;
        } else if until > claim.first {
            rows.put_claim(&mut ClaimRow { first: until, ..claim })?;
        }
    }
    let next = to.until.clamp(subscription.next, stream.next.max(subscription.next));
    done += next - subscription.next;
    subscription.next = next;
    // What comes after an end is compared with nothing.
    subscription.hold = to.hold.filter(|hold| *hold < to.until && !to.ended);
    subscription.ended |= to.ended;
    subscription.processed += done;
    if done > 0 {
        subscription.last_read = Some(now);
    }
    rows.put_subscription(&mut subscription)?;
    for message in &to.refused {
        rows.refuse(stream.number, *message, who.subscription)?;
    }
    sweep::done(rows, &mut stream, &[])
}

/// Consumers that share the stream take it over from one that had it alone: what that one had finished behind its position is finished for them, too.
pub(crate) fn deal_out(rows: &mut dyn Rows, name: &str, subscription: u64) -> Result<(), StreamsError> {
    let Some(row) = rows.checkpoint(name, 0)? else { return Ok(()) };
    let finished: Vec<FinishedRange> = match State::read(&row)? {
        Some(state) => {
            state.checkpoint.positions.first().map(|position| position.finished.clone()).unwrap_or_default()
        }
        None => Vec::new(),
    };
    rows.remove_checkpoints(name)?;
    let Some(mut subscription) = rows.subscription(subscription)? else { return Ok(()) };
    subscription.hold = None;
    for range in finished {
        cut(rows, &mut subscription, range.from..range.to)?;
    }
    rows.put_subscription(&mut subscription)
}

/// Takes a range out of what is unfinished.
fn cut(
    rows: &mut dyn Rows,
    subscription: &mut SubscriptionRow,
    range: Range<u64>,
) -> Result<(), StreamsError> {
    if range.end > subscription.next {
        let before = subscription.next..range.end;
        subscription.next = range.end;
        super::give_back(rows, subscription.number, before)?;
    }
    for claim in rows.claims(subscription.number)? {
        let (first, until) = (range.start.max(claim.first), range.end.min(claim.until));
        if first >= until {
            continue;
        }
        rows.remove_claim(claim.number)?;
        for rest in [claim.first..first, until..claim.until] {
            if !rest.is_empty() {
                super::give_back(rows, subscription.number, rest)?;
            }
        }
    }
    Ok(())
}

/// A mill that has ended goes on.
pub(crate) fn go_on(rows: &mut dyn Rows, name: &str) -> Result<(), StreamsError> {
    let Some(mut row) = rows.checkpoint(name, 0)? else { return Ok(()) };
    let Some(mut state) = State::read(&row)? else { return Ok(()) };
    let checkpoint = &mut state.checkpoint;
    checkpoint.finished = false;
    checkpoint.ended_outputs.iter_mut().for_each(|ended| *ended = false);
    for position in &mut checkpoint.positions {
        (position.ended, position.marked) = (false, false);
    }
    row.state = state.text()?;
    rows.put_checkpoint(&row)
}
