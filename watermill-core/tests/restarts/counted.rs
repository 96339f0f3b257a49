//! A stream whose storage does not number its items: only tokens find them again, and the counts beside them say in which order they came.

use std::sync::Arc;

use watermill::broker::{
    Batch, BoxFuture, CountedOffsets, Fault, InputEnd, LastRecord, Offsets, Origin, Places, Position,
    RawRecords, Source, Tokens,
};
use watermill::error::{BadCause, BadRecord, BrokerError, RecordPlace};
use watermill::record::StreamRecord;

use super::store::{Die, Item};

/// The items of a batch, from this index on.
#[derive(Debug)]
struct Indexes(usize);

impl Tokens for Indexes {
    fn before(&self, entry: usize) -> Option<String> {
        Some(format!("behind {}", (self.0 + entry).checked_sub(1)?))
    }

    fn of(&self, entry: usize) -> Option<String> {
        Some(format!("is {}", self.0 + entry))
    }
}

fn index(token: &str, word: &str) -> usize {
    token.strip_prefix(word).and_then(|rest| rest.trim().parse().ok()).unwrap_or_else(|| panic!("{token:?}"))
}

pub(crate) struct CountedSource<R> {
    items: Arc<[Item<R>]>,
    next: usize,
    /// What is delivered first, to be compared with.
    lasts: Vec<LastRecord>,
    /// The count of the item at `next`.
    count: u64,
    die: Die,
    keep_raw: bool,
}

impl<R: StreamRecord + Clone> CountedSource<R> {
    pub(crate) fn new(items: Arc<[Item<R>]>, from: Option<&Position>, die: Die, keep_raw: bool) -> Self {
        let next = from.and_then(|from| from.token.as_deref()).map_or(0, |token| index(token, "behind") + 1);
        let mut lasts: Vec<LastRecord> =
            from.iter().flat_map(|from| from.last.iter().chain(&from.also_last).cloned()).collect();
        lasts.sort_by_key(|last| last.offset);
        Self { items, next, lasts, count: from.map_or(0, |from| from.next), die, keep_raw }
    }

    /// The items from `first` to before `end`, of which the first is the `count`th.
    fn batch(&self, first: usize, end: usize, count: u64, next: u64) -> Batch<R> {
        let origin = Arc::new(Origin::Collection { name: "counted".to_owned() });
        let (mut records, mut entries, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        let (mut buffer, mut ranges) = (Vec::new(), Vec::new());
        for (entry, item) in self.items[first..end].iter().enumerate() {
            let raw = format!("item {}", first + entry);
            match item {
                Item::Good(record) => {
                    records.push(record.clone());
                    entries.push(entry as u32);
                    let from = buffer.len();
                    buffer.extend(raw.as_bytes());
                    ranges.push(from..buffer.len());
                }
                Item::Bad => {
                    let offset = count + entry as u64;
                    let place = RecordPlace { origin: Arc::clone(&origin), offset, number: offset };
                    let cause = BadCause::Other("it is bad".into());
                    let stream = R::NAME.to_owned();
                    let error = Box::new(BadRecord { stream, place, key: None, excerpt: None, cause });
                    let (before, raw) = (records.len(), raw.into_bytes());
                    faults.push(Fault { before, error, raw, cut: false, recoverable: true });
                }
            }
        }
        let places = Places {
            origin,
            offsets: Offsets::Counted(CountedOffsets::new(count, entries, Arc::new(Indexes(first)))),
            next,
            first_number: count,
            timestamps: None,
            headers: None,
            raw: self.keep_raw.then(|| RawRecords::new(Arc::new(buffer), ranges)),
        };
        let mut batch = Batch::new(records, places);
        batch.faults = faults;
        batch
    }
}

impl<R: StreamRecord + Clone> Source<R> for CountedSource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(async move {
            let most = (self.die)(6)? as usize;
            // They may stand behind what is read on at, where records are sorted back: then they come by themselves.
            while !self.lasts.is_empty() {
                let last = self.lasts.remove(0);
                if last.offset < self.count {
                    let at = index(last.token.as_deref().unwrap_or_default(), "is");
                    return Ok(self.batch(at, at + 1, last.offset, last.offset + 1));
                }
            }
            let end = (self.next + most).min(self.items.len());
            let count = self.count + (end - self.next) as u64;
            let mut batch = self.batch(self.next, end, self.count, count);
            batch.end = (end == self.items.len()).then_some(InputEnd::Exhausted);
            (self.next, self.count) = (end, count);
            Ok(batch)
        })
    }
}
