//! Which messages a subscription is not done with: the ranges of its claims, whoever has them, and all from its `next` on.

use std::ops::Range;

use crate::error::StreamsError;
use crate::store::{Rows, SubscriptionRow};

/// Up to `end`, in order.
pub(crate) fn of(
    rows: &mut dyn Rows,
    subscription: &SubscriptionRow,
    end: u64,
) -> Result<Vec<Range<u64>>, StreamsError> {
    let mut ranges: Vec<Range<u64>> =
        rows.claims(subscription.number)?.iter().map(|claim| claim.first..claim.until).collect();
    if subscription.next < end {
        ranges.push(subscription.next..end);
    }
    Ok(ranges)
}

/// Each number once, in order.
pub(crate) fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// How many numbers there are in ranges.
pub(crate) fn count(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Whether a number is in one of the ranges, which are in order.
pub(crate) fn has(ranges: &[Range<u64>], number: u64) -> bool {
    let behind = ranges.partition_point(|range| range.end <= number);
    ranges.get(behind).is_some_and(|range| range.contains(&number))
}

/// Ranges that are nobody's and stand side by side become one, so that their number does not grow with how often runs were stopped; those before `next` become part of what was
/// never claimed.
pub(crate) fn tidy(rows: &mut dyn Rows, subscription: &mut SubscriptionRow) -> Result<(), StreamsError> {
    let mut claims = rows.claims(subscription.number)?;
    let mut at = claims.len();
    while let Some(before) = at.checked_sub(1) {
        at = before;
        let claim = claims[at].clone();
        if !claim.owner.is_empty() {
            continue;
        }
        if claim.until == subscription.next {
            subscription.next = claim.first;
            rows.remove_claim(claim.number)?;
            rows.put_subscription(subscription)?;
            claims.remove(at);
        } else if let Some(next) = claims.get(at + 1)
            && next.owner.is_empty()
            && next.first == claim.until
        {
            let mut both = next.clone();
            both.first = claim.first;
            both.epoch = both.epoch.max(claim.epoch);
            rows.put_claim(&mut both)?;
            rows.remove_claim(claim.number)?;
            claims[at + 1] = both;
            claims.remove(at);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{count, has, merged};

    #[test]
    fn ranges_that_meet_are_one() {
        let ranges = merged(vec![5..7, 0..2, 2..4, 6..9]);
        assert_eq!(ranges, [0..4, 5..9]);
        assert_eq!(count(&ranges), 8);
        for number in 0..10 {
            assert_eq!(has(&ranges, number), number != 4 && number != 9, "{number}");
        }
    }
}
