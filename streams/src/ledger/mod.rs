//! What streams promise, as changes of rows: once for all stores.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | streams: made, appended to, closed, cleared |
//! | `unfinished.rs` | which messages a subscription is not done with: ranges |
//! | `claims.rs` | messages that one of several consumers has |
//! | `whole.rs` | a stream that one consumer has alone |
//! | `sweep.rs` | messages that all are done with, or that are too old, leave |

pub(crate) mod claims;
pub(crate) mod sweep;
pub(crate) mod unfinished;
pub(crate) mod whole;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::StreamsError;
use crate::store::{ClaimRow, Rows, StreamRow, SubscriptionRow, Texts};

/// A name for whoever holds a lease; nobody else has it.
pub(crate) fn owner() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut random = RandomState::new().build_hasher();
    random.write_u64(COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{}-{:016x}", std::process::id(), random.finish())
}

/// Whether a lease holds. One that ends further ahead than four leases last was given by a clock that has been set back since; clocks of
/// processes that differ by less do not take from each other what is renewed.
pub(crate) fn is_live(owner: &str, expires: i64, lease: u64, now: i64) -> bool {
    let most = now.saturating_add_unsigned(lease.saturating_mul(4));
    !owner.is_empty() && expires > now && expires <= most
}

/// The stream of this name; made if there is none.
pub(crate) fn stream(rows: &mut dyn Rows, name: &str, now: i64) -> Result<StreamRow, StreamsError> {
    if let Some(found) = rows.stream_named(name)? {
        return Ok(found);
    }
    let mut new = StreamRow::new(name, now);
    rows.put_stream(&mut new)?;
    Ok(new)
}

/// No more messages come, and all that came can be seen.
pub(crate) fn is_closed(rows: &mut dyn Rows, stream: &StreamRow) -> bool {
    stream.closed.is_some() && rows.is_settled(stream)
}

/// Messages come behind those that are there. Returns their numbers, where they have some.
pub(crate) fn append(
    rows: &mut dyn Rows,
    stream: &mut StreamRow,
    texts: &Texts,
    now: i64,
) -> Result<Option<Range<u64>>, StreamsError> {
    if stream.closed.is_some() {
        return Err(StreamsError::Closed { stream: stream.name.clone() });
    }
    if rows.add(stream.number, now, texts)? {
        // Whoever closes the stream meanwhile changes the same row.
        rows.put_stream(stream)?;
        return Ok(None);
    }
    let first = stream.next;
    rows.append(stream.number, first, now, texts)?;
    stream.next += texts.len() as u64;
    rows.put_stream(stream)?;
    Ok(Some(first..stream.next))
}

/// The subscription of this name; made if there is none, for all that is there and not done with by all others.
pub(crate) fn subscribe(
    rows: &mut dyn Rows,
    stream: &StreamRow,
    name: &str,
    now: i64,
) -> Result<SubscriptionRow, StreamsError> {
    let others = rows.subscriptions(stream.number)?;
    if let Some(found) = others.iter().find(|other| other.name == name) {
        return Ok(found.clone());
    }
    let mut new = SubscriptionRow {
        stream: stream.number,
        name: name.to_owned(),
        created: now,
        next: stream.first,
        ..SubscriptionRow::default()
    };
    let all_is_there = others.is_empty() || others.iter().any(|other| other.keep);
    if all_is_there {
        rows.put_subscription(&mut new)?;
        return Ok(new);
    }
    // What all others are done with may be gone, here and there.
    let mut left = Vec::new();
    for other in &others {
        left.extend(unfinished::of(rows, other, stream.next)?);
    }
    new.next = stream.next;
    rows.put_subscription(&mut new)?;
    for range in unfinished::merged(left) {
        give_back(rows, new.number, range)?;
    }
    unfinished::tidy(rows, &mut new)?;
    Ok(new)
}

/// Writes that these messages are nobody's.
pub(crate) fn give_back(
    rows: &mut dyn Rows,
    subscription: u64,
    range: Range<u64>,
) -> Result<(), StreamsError> {
    rows.put_claim(&mut ClaimRow {
        subscription,
        first: range.start,
        until: range.end,
        ..ClaimRow::default()
    })
}

/// No more messages come. Says whether that is new.
pub(crate) fn close(rows: &mut dyn Rows, stream: &mut StreamRow, now: i64) -> Result<(), StreamsError> {
    if stream.closed.is_none() {
        stream.closed = Some(now);
        rows.put_stream(stream)?;
    }
    Ok(())
}

/// Messages may come again, and who has ended goes on.
pub(crate) fn reopen(rows: &mut dyn Rows, stream: &mut StreamRow) -> Result<(), StreamsError> {
    stream.closed = None;
    rows.put_stream(stream)?;
    for mut subscription in rows.subscriptions(stream.number)? {
        let name = whole::checkpoint_name(&stream.name, &subscription.name);
        whole::go_on(rows, &name)?;
        subscription.ended = false;
        rows.put_subscription(&mut subscription)?;
    }
    Ok(())
}

/// All messages leave, whoever has them, and what is known of their windows.
pub(crate) fn clear(rows: &mut dyn Rows, stream: &mut StreamRow) -> Result<(), StreamsError> {
    // These are given no numbers any more, but they were appended.
    stream.next += rows.remove_unnumbered(stream.number, i64::MAX)?;
    for mut subscription in rows.subscriptions(stream.number)? {
        for claim in rows.claims(subscription.number)? {
            rows.remove_claim(claim.number)?;
        }
        subscription.next = stream.next;
        subscription.hold = None;
        rows.put_subscription(&mut subscription)?;
    }
    rows.remove_messages(stream.number, 0..stream.next)?;
    rows.forgive(stream.number, 0..stream.next)?;
    rows.remove_windows(stream.number, u64::MAX)?;
    stream.first = stream.next;
    rows.put_stream(stream)
}

/// The stream leaves, with all that belongs to it.
pub(crate) fn drop(rows: &mut dyn Rows, stream: &StreamRow) -> Result<(), StreamsError> {
    for subscription in rows.subscriptions(stream.number)? {
        rows.remove_checkpoints(&whole::checkpoint_name(&stream.name, &subscription.name))?;
    }
    rows.remove_stream(stream.number)
}

/// A subscription leaves. Says whether there was one.
pub(crate) fn unsubscribe(
    rows: &mut dyn Rows,
    stream: &mut StreamRow,
    name: &str,
) -> Result<bool, StreamsError> {
    let found = rows.subscriptions(stream.number)?.into_iter().find(|subscription| subscription.name == name);
    let Some(subscription) = found else { return Ok(false) };
    for claim in rows.claims(subscription.number)? {
        rows.remove_claim(claim.number)?;
    }
    rows.remove_subscription(subscription.number)?;
    rows.remove_checkpoints(&whole::checkpoint_name(&stream.name, name))?;
    if !rows.subscriptions(stream.number)?.is_empty() {
        // It may have been the last that needed some messages.
        sweep::done(rows, stream, &[])?;
    }
    Ok(true)
}

/// What could not be read waits again. Returns how many messages that are.
pub(crate) fn retry_refused(rows: &mut dyn Rows, stream: &mut StreamRow) -> Result<u64, StreamsError> {
    let refused = rows.refused(stream.number, 0..stream.next)?;
    let mut by_subscription: BTreeMap<u64, Vec<Range<u64>>> = BTreeMap::new();
    for (message, subscription) in &refused {
        by_subscription.entry(*subscription).or_default().push(*message..*message + 1);
    }
    for (number, messages) in by_subscription {
        let Some(mut subscription) = rows.subscription(number)? else { continue };
        for range in unfinished::merged(messages) {
            give_back(rows, number, range)?;
        }
        // A position before which all is done with does not hold any more.
        rows.remove_checkpoints(&whole::checkpoint_name(&stream.name, &subscription.name))?;
        subscription.hold = None;
        subscription.ended = false;
        rows.put_subscription(&mut subscription)?;
        unfinished::tidy(rows, &mut subscription)?;
    }
    rows.forgive(stream.number, 0..stream.next)?;
    if let Some((first, _)) = refused.first() {
        stream.first = stream.first.min(*first);
        rows.put_stream(stream)?;
    }
    let mut messages: Vec<u64> = refused.into_iter().map(|(message, _)| message).collect();
    messages.dedup();
    Ok(messages.len() as u64)
}
