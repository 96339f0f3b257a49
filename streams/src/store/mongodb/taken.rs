//! Messages that were read when they were claimed, until they are shown: nobody asks the server for them once more.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bson::RawDocumentBuf;

/// Half as many bytes as there may be. What is not asked for makes room for what is claimed after it.
const HALF: usize = 8 << 20;

/// Half as long as they are kept: others may take them away, after a lease or without asking.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Taken {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    /// By stream and number.
    messages: BTreeMap<(u64, u64), RawDocumentBuf>,
    bytes: usize,
    since: Option<Instant>,
}

impl Taken {
    pub(super) fn add(&mut self, now: Instant, stream: u64, number: u64, message: RawDocumentBuf) {
        self.tidy(now);
        self.young.since.get_or_insert(now);
        self.young.bytes += message.as_bytes().len();
        self.young.messages.insert((stream, number), message);
    }

    /// It is kept no longer.
    pub(super) fn take(&mut self, now: Instant, stream: u64, number: u64) -> Option<RawDocumentBuf> {
        self.tidy(now);
        let key = (stream, number);
        self.young.take(key).or_else(|| self.old.take(key))
    }

    /// These are there no more.
    pub(super) fn forget(&mut self, stream: u64, range: &Range<u64>) {
        let gone = (stream, range.start)..(stream, range.end.max(range.start));
        for generation in [&mut self.young, &mut self.old] {
            let keys: Vec<_> = generation.messages.range(gone.clone()).map(|(key, _)| *key).collect();
            keys.into_iter().for_each(|key| drop(generation.take(key)));
        }
    }

    fn tidy(&mut self, now: Instant) {
        if self.old.is_stale(now) {
            self.old = Generation::default();
        }
        if self.young.bytes > HALF || self.young.is_stale(now) {
            self.old = std::mem::take(&mut self.young);
            // What has become old by lying there is stale by now.
            self.old.since = self.old.since.map(|since| since + FRESH);
            if self.old.is_stale(now) {
                self.old = Generation::default();
            }
        }
    }
}

impl Generation {
    fn is_stale(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) > FRESH)
    }

    fn take(&mut self, key: (u64, u64)) -> Option<RawDocumentBuf> {
        let message = self.messages.remove(&key)?;
        self.bytes -= message.as_bytes().len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn a_message_is_there_once_and_for_two_seconds_at_most() {
        let (mut taken, begin) = (Taken::default(), Instant::now());
        let after = |milliseconds| begin + Duration::from_millis(milliseconds);
        (0..5).for_each(|number| taken.add(begin, 1, number, rawdoc! { "number": number.cast_signed() }));
        assert!(taken.take(after(900), 1, 0).is_some() && taken.take(after(900), 1, 0).is_none());
        assert!(taken.take(after(900), 2, 1).is_none());
        taken.forget(1, &(3..9));
        assert!(taken.take(after(900), 1, 3).is_none());
        // In the second half of its time it is another generation's.
        assert!(taken.take(after(1500), 1, 1).is_some());
        assert!(taken.take(after(2100), 1, 2).is_none());
        taken.add(after(5000), 1, 5, rawdoc! {});
        assert!(taken.take(after(9000), 1, 5).is_none());
    }

    #[test]
    fn what_is_claimed_later_takes_the_place_of_what_nobody_asks_for() {
        let (mut taken, now) = (Taken::default(), Instant::now());
        let large = "x".repeat(1 << 20);
        (0..64).for_each(|number| taken.add(now, 1, number, rawdoc! { "text": large.as_str() }));
        let left: Vec<u64> = (0..64).filter(|number| taken.take(now, 1, *number).is_some()).collect();
        assert!((8..=17).contains(&left.len()) && left.last() == Some(&63), "{left:?}");
    }
}
