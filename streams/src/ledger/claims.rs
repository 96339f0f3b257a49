//! Claims: messages that one of several consumers has, under a lease.

use std::ops::Range;

use super::{is_closed, is_live, sweep, unfinished};
use crate::error::StreamsError;
use crate::store::{ClaimRow, Rows, StreamRow, SubscriptionRow};

/// Who claims.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    pub(crate) subscription: u64,
    pub(crate) owner: String,
    /// How long a lease lasts, in milliseconds.
    pub(crate) lease: u64,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// So many messages at most, but for a lot that is larger.
    pub(crate) most: u64,
    /// Messages are taken in lots of so many.
    pub(crate) lot: u64,
    /// So many of a lot are there already.
    pub(crate) filled: u64,
    /// What was delivered ends before this message: only later ones can follow.
    pub(crate) after: u64,
}

/// What there was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// These messages, in order.
    Taken(Vec<ClaimRow>),
    /// Messages before those that were delivered are to be had: who wants them begins anew.
    Earlier,
    /// Nothing for now.
    Nothing {
        /// No more messages come.
        closed: bool,
        /// Others have messages that they may give back.
        others: bool,
    },
    /// The subscription has come to its end.
    Ended,
}

/// Where subscription and stream stand.
fn standing(rows: &mut dyn Rows, number: u64) -> Result<(SubscriptionRow, StreamRow), StreamsError> {
    let gone = |store: &str| StreamsError::Missing {
        store: store.to_owned(),
        stream: "that was dropped".to_owned(),
    };
    let subscription = rows.subscription(number)?.ok_or_else(|| gone("the store"))?;
    let stream = rows.stream(subscription.stream)?.ok_or_else(|| gone("the store"))?;
    Ok((subscription, stream))
}

/// What is free, in order: ranges that were given back or have expired, and what was never claimed.
struct Free {
    claims: Vec<ClaimRow>,
    fresh: Range<u64>,
    /// Somebody else has something.
    others: bool,
    /// Somebody else has all.
    whole: bool,
}

impl Free {
    fn count(&self) -> u64 {
        let back: u64 = self.claims.iter().map(|claim| claim.until - claim.first).sum();
        back + (self.fresh.end - self.fresh.start)
    }
}

fn free(
    rows: &mut dyn Rows,
    who: &Claimant,
    subscription: &SubscriptionRow,
    stream: &StreamRow,
    now: i64,
) -> Result<Free, StreamsError> {
    let whole = is_live(&subscription.owner, subscription.expires, subscription.lease, now);
    let mut free = Free { claims: Vec::new(), fresh: subscription.next..stream.next, others: whole, whole };
    if whole {
        // Who has all of it has also what was given back.
        free.fresh = 0..0;
        return Ok(free);
    }
    for claim in rows.claims(who.subscription)? {
        if claim.owner == who.owner {
            continue;
        }
        if is_live(&claim.owner, claim.expires, claim.lease, now) {
            free.others = true;
        } else {
            free.claims.push(claim);
        }
    }
    Ok(free)
}

/// How many messages have no numbers yet, as far as that matters. Who has all of a stream has them, too.
fn unnumbered(rows: &mut dyn Rows, free: &Free, stream: &StreamRow, wish: Wish) -> Result<u64, StreamsError> {
    let wanted = wish.most.max(wish.lot).max(1).saturating_sub(free.count());
    if free.whole || wanted == 0 { Ok(0) } else { rows.unnumbered(stream.number, wanted) }
}

/// How many messages are taken.
fn how_many(wish: Wish, free: u64, closed: bool) -> u64 {
    let lot = wish.lot.max(1);
    let most = wish.most.max(lot);
    let take = free.min(most);
    let aligned = (take + wish.filled) / lot * lot;
    match aligned.checked_sub(wish.filled) {
        Some(take) if take > 0 => take,
        // The last messages of a stream that was closed are no whole lot.
        _ if closed => free,
        _ => 0,
    }
}

/// Whether there is anything to be had, as far as it can be told without writing.
pub(crate) fn look(rows: &mut dyn Rows, who: &Claimant, wish: Wish, now: i64) -> Result<bool, StreamsError> {
    // One lot is enough to know.
    let wish = Wish { most: wish.lot, ..wish };
    let (subscription, stream) = standing(rows, who.subscription)?;
    if subscription.ended {
        return Ok(true);
    }
    let free = free(rows, who, &subscription, &stream, now)?;
    let there = free.count() + unnumbered(rows, &free, &stream, wish)?;
    let closed = is_closed(rows, &stream);
    Ok(how_many(wish, there, closed) > 0 || (closed && there == 0))
}

/// Takes messages.
pub(crate) fn claim(
    rows: &mut dyn Rows,
    who: &Claimant,
    wish: Wish,
    now: i64,
) -> Result<Claimed, StreamsError> {
    let (mut subscription, mut stream) = standing(rows, who.subscription)?;
    if subscription.ended {
        return Ok(Claimed::Ended);
    }
    let free = free(rows, who, &subscription, &stream, now)?;
    let there = free.count() + unnumbered(rows, &free, &stream, wish)?;
    let closed = is_closed(rows, &stream);
    let mut left = how_many(wish, there, closed);
    if left == 0 {
        return Ok(Claimed::Nothing { closed: closed && there == 0, others: free.others });
    }
    if free.claims.iter().any(|claim| claim.first < wish.after) {
        return Ok(Claimed::Earlier);
    }
    if let Some(more) = left.checked_sub(free.count()) {
        // No more than are wanted: others may be there that know of no numbers.
        left = free.count() + rows.number(&mut stream, more)?;
    }
    let expires = now.saturating_add_unsigned(who.lease);
    let mut taken = Vec::new();
    for old in free.claims {
        if left == 0 {
            break;
        }
        let count = left.min(old.until - old.first);
        let mut own = ClaimRow {
            until: old.first + count,
            owner: who.owner.clone(),
            epoch: old.epoch + 1,
            expires,
            lease: who.lease,
            emitted: 0,
            ..old.clone()
        };
        rows.put_claim(&mut own)?;
        if own.until < old.until {
            // What is left of it stays as it is, under a number of its own.
            rows.put_claim(&mut ClaimRow { number: 0, first: own.until, emitted: 0, ..old })?;
        }
        left -= count;
        taken.push(own);
    }
    if left > 0 {
        let mut own = ClaimRow {
            number: 0,
            subscription: who.subscription,
            first: subscription.next,
            until: subscription.next + left,
            owner: who.owner.clone(),
            epoch: 1,
            expires,
            lease: who.lease,
            emitted: 0,
        };
        rows.put_claim(&mut own)?;
        subscription.next = own.until;
        rows.put_subscription(&mut subscription)?;
        taken.push(own);
    }
    Ok(Claimed::Taken(taken))
}

/// What has become of claimed messages.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// All of the consumer's before this one are done with.
    pub(crate) until: u64,
    /// Of them, those that could not be read and stay.
    pub(crate) refused: Vec<u64>,
    /// The consumer ends the stream for all.
    pub(crate) ends: bool,
}

/// What is left of the claims, and whether nothing at all is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) claims: Vec<ClaimRow>,
    /// The stream was closed, and nobody has anything of it any more.
    pub(crate) ended: bool,
}

/// Messages are done with. Nothing is, when any of `claims` is another one's by now.
pub(crate) fn finish(
    rows: &mut dyn Rows,
    who: &Claimant,
    claims: &[ClaimRow],
    done: &Done,
    now: i64,
) -> Result<Left, StreamsError> {
    let (mut subscription, mut stream) = standing(rows, who.subscription)?;
    let found = rows.claims(who.subscription)?;
    let mut left = Vec::new();
    let mut ranges = Vec::new();
    for claim in claims {
        let own = found.iter().find(|row| row.number == claim.number && row.owner == who.owner);
        let Some(own) = own.filter(|own| own.first == claim.first && own.until == claim.until) else {
            return Err(StreamsError::Lost { stream: stream.name });
        };
        let until = done.until.clamp(own.first, own.until);
        if until > own.first {
            ranges.push(own.first..until);
        }
        if until == own.until {
            rows.remove_claim(own.number)?;
        } else {
            let mut rest = ClaimRow { first: until, ..own.clone() };
            if until > own.first {
                rows.put_claim(&mut rest)?;
            }
            left.push(rest);
        }
    }
    subscription.processed += unfinished::count(&ranges);
    if !ranges.is_empty() {
        subscription.last_read = Some(now);
    }
    for message in &done.refused {
        rows.refuse(stream.number, *message, who.subscription)?;
    }
    let nothing_left = left.is_empty()
        && subscription.next >= stream.next
        && is_closed(rows, &stream)
        && rows.unnumbered(stream.number, 1)? == 0
        && found.iter().all(|row| claims.iter().any(|claim| claim.number == row.number));
    let ended = done.ends || nothing_left;
    subscription.ended |= ended;
    rows.put_subscription(&mut subscription)?;
    sweep::done(rows, &mut stream, &ranges)?;
    Ok(Left { claims: left, ended })
}

/// The lease of these claims goes on, and the function was given what is before `emitted`. Says whether all of them are still the consumer's.
pub(crate) fn renew(
    rows: &mut dyn Rows,
    who: &Claimant,
    claims: &[ClaimRow],
    emitted: u64,
    now: i64,
) -> Result<bool, StreamsError> {
    let found = rows.claims(who.subscription)?;
    let mut all = true;
    for claim in claims {
        match found.iter().find(|row| row.number == claim.number && row.owner == who.owner) {
            Some(own) => {
                rows.put_claim(&mut ClaimRow {
                    expires: now.saturating_add_unsigned(who.lease),
                    emitted: own.emitted.max(emitted.min(own.until)),
                    ..own.clone()
                })?;
            }
            None => all = false,
        }
    }
    Ok(all)
}

/// All that the consumer still has is free again.
pub(crate) fn release(rows: &mut dyn Rows, who: &Claimant) -> Result<(), StreamsError> {
    // The stream may have been dropped meanwhile.
    let Some(mut subscription) = rows.subscription(who.subscription)? else { return Ok(()) };
    for mut claim in rows.claims(who.subscription)? {
        if claim.owner == who.owner {
            claim.owner.clear();
            (claim.expires, claim.emitted) = (0, 0);
            rows.put_claim(&mut claim)?;
        }
    }
    unfinished::tidy(rows, &mut subscription)
}
