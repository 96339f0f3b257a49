//! Messages leave: those that all are done with, and those that are too old.

use std::ops::Range;

use super::{is_live, unfinished};
use crate::error::StreamsError;
use crate::store::{ClaimRow, Rows, StreamRow, SubscriptionRow};

/// These messages are done with by one subscription. What all are done with leaves, unless one of them keeps; what could not be read stays.
pub(crate) fn done(
    rows: &mut dyn Rows,
    stream: &mut StreamRow,
    ranges: &[Range<u64>],
) -> Result<(), StreamsError> {
    let subscriptions = rows.subscriptions(stream.number)?;
    if subscriptions.iter().any(|subscription| subscription.keep) {
        return Ok(());
    }
    if subscriptions.len() == 1 && subscriptions[0].hold.is_none() {
        // What one of several consumers is done with leaves even where another one is behind.
        for range in ranges {
            remove(rows, stream.number, range.clone())?;
        }
    }
    let mut low = stream.next;
    for subscription in &subscriptions {
        low = low.min(lowest(rows, subscription)?);
    }
    if low > stream.first {
        remove(rows, stream.number, stream.first..low)?;
        rows.remove_windows(stream.number, low)?;
        stream.first = low;
        rows.put_stream(stream)?;
    }
    Ok(())
}

/// The first message that a subscription needs.
fn lowest(rows: &mut dyn Rows, subscription: &SubscriptionRow) -> Result<u64, StreamsError> {
    let first = rows.claims(subscription.number)?.first().map_or(subscription.next, |claim| claim.first);
    Ok(first.min(subscription.hold.unwrap_or(u64::MAX)))
}

/// Removes messages, but for those that could not be read.
fn remove(rows: &mut dyn Rows, stream: u64, range: Range<u64>) -> Result<(), StreamsError> {
    let mut from = range.start;
    for (refused, _) in rows.refused(stream, range.clone())? {
        rows.remove_messages(stream, from..refused)?;
        from = refused + 1;
    }
    rows.remove_messages(stream, from..range.end)
}

/// Messages that are older than the stream lets them become leave, done with or not; those that a consumer has just now stay until it is done. Returns how far that went.
pub(crate) fn old(rows: &mut dyn Rows, stream: &mut StreamRow, now: i64) -> Result<u64, StreamsError> {
    let Some(max_age) = stream.max_age else { return Ok(0) };
    let oldest = now.saturating_sub_unsigned(max_age);
    let mut end = stream.next;
    let subscriptions = rows.subscriptions(stream.number)?;
    for subscription in &subscriptions {
        if is_live(&subscription.owner, subscription.expires, subscription.lease, now) {
            end = end.min(lowest(rows, subscription)?);
        }
        for claim in rows.claims(subscription.number)? {
            if is_live(&claim.owner, claim.expires, claim.lease, now) {
                end = end.min(claim.first);
            }
        }
    }
    // Those that could not be read may stand before the first one.
    let mut until = 0;
    let mut count = 0;
    rows.messages(stream.number, 0..end, &mut |number, appended, _| {
        let is_old = appended < oldest;
        if is_old {
            until = number + 1;
            count += 1;
        }
        is_old
    })?;
    if end == stream.next {
        count += rows.remove_unnumbered(stream.number, oldest)?;
    }
    if until == 0 {
        return Ok(count);
    }
    rows.remove_messages(stream.number, 0..until)?;
    rows.remove_windows(stream.number, until)?;
    rows.forgive(stream.number, 0..until)?;
    for mut subscription in subscriptions {
        for claim in rows.claims(subscription.number)? {
            if claim.until <= until {
                rows.remove_claim(claim.number)?;
            } else if claim.first < until {
                rows.put_claim(&mut ClaimRow { first: until, ..claim })?;
            }
        }
        if subscription.next < until {
            subscription.next = until;
            rows.put_subscription(&mut subscription)?;
        }
    }
    stream.first = stream.first.max(until);
    rows.put_stream(stream)?;
    Ok(count)
}

/// How many messages somebody is not done with; all that are there, where nobody has subscribed yet.
pub(crate) fn waiting(rows: &mut dyn Rows, stream: &StreamRow) -> Result<u64, StreamsError> {
    let subscriptions = rows.subscriptions(stream.number)?;
    let ahead = rows.unnumbered(stream.number, u64::MAX)?;
    if subscriptions.is_empty() {
        return Ok(stream.next - stream.first + ahead);
    }
    let mut all = Vec::new();
    for subscription in &subscriptions {
        all.extend(unfinished::of(rows, subscription, stream.next)?);
    }
    Ok(unfinished::count(&unfinished::merged(all)) + ahead)
}
