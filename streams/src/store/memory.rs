//! [`MemoryStore`]: streams that end with the process, for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    CheckpointRow, ClaimRow, EachMessage, EachWindow, Rows, Store, StreamRow, SubscriptionRow, Texts,
    WindowRow, Work,
};
use crate::error::StreamsError;

/// Streams in memory.
///
/// ```
/// use watermill_streams::Streams;
/// use watermill_streams::store::MemoryStore;
///
/// let streams = Streams::on(MemoryStore::new());
/// assert!(streams.list("*")?.is_empty());
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    version: AtomicU64,
}

impl MemoryStore {
    /// An empty one.
    ///
    /// ```
    /// # use watermill_streams::store::{MemoryStore, Store};
    /// assert_eq!(MemoryStore::new().name(), "memory");
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn name(&self) -> &str {
        "memory"
    }

    fn write(&self, _: bool, work: &mut Work<'_>) -> Result<(), StreamsError> {
        let mut tables = self.tables();
        let mut transaction = Transaction { tables: &mut tables, undo: Vec::new() };
        let result = work(&mut transaction);
        let undo = transaction.undo;
        if result.is_err() {
            for undo in undo.into_iter().rev() {
                undo(&mut tables);
            }
        }
        drop(tables);
        self.version.fetch_add(1, Ordering::Release);
        result
    }

    fn read(&self, work: &mut Work<'_>) -> Result<(), StreamsError> {
        let mut tables = self.tables();
        work(&mut Transaction { tables: &mut tables, undo: Vec::new() })
    }

    fn version(&self) -> Result<u64, StreamsError> {
        Ok(self.version.load(Ordering::Acquire))
    }
}

/// A message: when it came, and its text.
type Message = (i64, Vec<u8>);

#[derive(Debug, Default)]
struct Tables {
    last_number: u64,
    streams: BTreeMap<u64, StreamRow>,
    subscriptions: BTreeMap<u64, SubscriptionRow>,
    claims: BTreeMap<u64, ClaimRow>,
    /// By stream and number.
    messages: BTreeMap<(u64, u64), Message>,
    /// Stream, message, subscription.
    refused: BTreeMap<(u64, u64, u64), ()>,
    checkpoints: BTreeMap<(String, u32), CheckpointRow>,
    windows: BTreeMap<u64, WindowRow>,
}

/// What takes a change back.
type Undo = Box<dyn FnOnce(&mut Tables)>;

struct Transaction<'a> {
    tables: &'a mut Tables,
    undo: Vec<Undo>,
}

impl Transaction<'_> {
    /// Puts a value into a table, or takes it out.
    fn set<K, V>(&mut self, table: fn(&mut Tables) -> &mut BTreeMap<K, V>, key: K, value: Option<V>)
    where
        K: Ord + Clone + 'static,
        V: 'static,
    {
        let before = match value {
            Some(value) => table(self.tables).insert(key.clone(), value),
            None => table(self.tables).remove(&key),
        };
        self.undo.push(Box::new(move |tables| {
            match before {
                Some(before) => table(tables).insert(key, before),
                None => table(tables).remove(&key),
            };
        }));
    }

    /// The number of a row, which is given one if it has none.
    fn number(&mut self, number: &mut u64) -> u64 {
        if *number == 0 {
            self.tables.last_number += 1;
            *number = self.tables.last_number;
        }
        *number
    }
}

fn streams(tables: &mut Tables) -> &mut BTreeMap<u64, StreamRow> {
    &mut tables.streams
}

fn subscriptions(tables: &mut Tables) -> &mut BTreeMap<u64, SubscriptionRow> {
    &mut tables.subscriptions
}

fn claims(tables: &mut Tables) -> &mut BTreeMap<u64, ClaimRow> {
    &mut tables.claims
}

fn messages(tables: &mut Tables) -> &mut BTreeMap<(u64, u64), Message> {
    &mut tables.messages
}

fn refused(tables: &mut Tables) -> &mut BTreeMap<(u64, u64, u64), ()> {
    &mut tables.refused
}

fn checkpoints(tables: &mut Tables) -> &mut BTreeMap<(String, u32), CheckpointRow> {
    &mut tables.checkpoints
}

fn windows(tables: &mut Tables) -> &mut BTreeMap<u64, WindowRow> {
    &mut tables.windows
}

impl Rows for Transaction<'_> {
    fn streams(&mut self) -> Result<Vec<StreamRow>, StreamsError> {
        let mut all: Vec<StreamRow> = self.tables.streams.values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn stream_named(&mut self, name: &str) -> Result<Option<StreamRow>, StreamsError> {
        Ok(self.tables.streams.values().find(|row| row.name == name).cloned())
    }

    fn stream(&mut self, number: u64) -> Result<Option<StreamRow>, StreamsError> {
        Ok(self.tables.streams.get(&number).cloned())
    }

    fn put_stream(&mut self, row: &mut StreamRow) -> Result<(), StreamsError> {
        if self.tables.streams.values().any(|other| other.name == row.name && other.number != row.number) {
            let cause = format!("there is a stream `{}` already", row.name);
            return Err(StreamsError::storage("memory", "make a stream", cause));
        }
        let number = self.number(&mut row.number);
        self.set(streams, number, Some(row.clone()));
        Ok(())
    }

    fn remove_stream(&mut self, number: u64) -> Result<(), StreamsError> {
        self.remove_messages(number, 0..u64::MAX)?;
        self.forgive(number, 0..u64::MAX)?;
        for subscription in self.subscriptions(number)? {
            for claim in self.claims(subscription.number)? {
                self.remove_claim(claim.number)?;
            }
            self.set(subscriptions, subscription.number, None);
        }
        self.remove_windows(number, u64::MAX)?;
        self.set(streams, number, None);
        Ok(())
    }

    fn subscriptions(&mut self, stream: u64) -> Result<Vec<SubscriptionRow>, StreamsError> {
        Ok(self.tables.subscriptions.values().filter(|row| row.stream == stream).cloned().collect())
    }

    fn subscription(&mut self, number: u64) -> Result<Option<SubscriptionRow>, StreamsError> {
        Ok(self.tables.subscriptions.get(&number).cloned())
    }

    fn put_subscription(&mut self, row: &mut SubscriptionRow) -> Result<(), StreamsError> {
        let number = self.number(&mut row.number);
        self.set(subscriptions, number, Some(row.clone()));
        Ok(())
    }

    fn remove_subscription(&mut self, number: u64) -> Result<(), StreamsError> {
        self.set(subscriptions, number, None);
        Ok(())
    }

    fn claims(&mut self, subscription: u64) -> Result<Vec<ClaimRow>, StreamsError> {
        let own = self.tables.claims.values().filter(|row| row.subscription == subscription);
        let mut all: Vec<ClaimRow> = own.cloned().collect();
        all.sort_by_key(|row| row.first);
        Ok(all)
    }

    fn put_claim(&mut self, row: &mut ClaimRow) -> Result<(), StreamsError> {
        let number = self.number(&mut row.number);
        self.set(claims, number, Some(row.clone()));
        Ok(())
    }

    fn remove_claim(&mut self, number: u64) -> Result<(), StreamsError> {
        self.set(claims, number, None);
        Ok(())
    }

    fn append(&mut self, stream: u64, first: u64, at: i64, texts: &Texts) -> Result<(), StreamsError> {
        for (number, text) in (first..).zip(texts.iter()) {
            self.set(messages, (stream, number), Some((at, text.to_vec())));
        }
        Ok(())
    }

    fn messages(
        &mut self,
        stream: u64,
        range: Range<u64>,
        each: &mut EachMessage<'_>,
    ) -> Result<(), StreamsError> {
        if range.is_empty() {
            return Ok(());
        }
        for ((_, number), (at, text)) in
            self.tables.messages.range((stream, range.start)..(stream, range.end))
        {
            if !each(*number, *at, text) {
                break;
            }
        }
        Ok(())
    }

    fn remove_messages(&mut self, stream: u64, range: Range<u64>) -> Result<(), StreamsError> {
        if range.is_empty() {
            return Ok(());
        }
        let keys = self.tables.messages.range((stream, range.start)..(stream, range.end));
        let keys: Vec<(u64, u64)> = keys.map(|(key, _)| *key).collect();
        for key in keys {
            self.set(messages, key, None);
        }
        Ok(())
    }

    fn refused(&mut self, stream: u64, range: Range<u64>) -> Result<Vec<(u64, u64)>, StreamsError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let marks = self.tables.refused.range((stream, range.start, 0)..(stream, range.end, 0));
        Ok(marks.map(|((_, message, subscription), ())| (*message, *subscription)).collect())
    }

    fn refuse(&mut self, stream: u64, message: u64, subscription: u64) -> Result<(), StreamsError> {
        self.set(refused, (stream, message, subscription), Some(()));
        Ok(())
    }

    fn forgive(&mut self, stream: u64, range: Range<u64>) -> Result<(), StreamsError> {
        for (message, subscription) in self.refused(stream, range)? {
            self.set(refused, (stream, message, subscription), None);
        }
        Ok(())
    }

    fn put_window(&mut self, row: &mut WindowRow) -> Result<(), StreamsError> {
        let number = self.number(&mut row.number);
        self.set(windows, number, Some(row.clone()));
        Ok(())
    }

    fn windows(&mut self, stream: u64, from: u64, each: &mut EachWindow<'_>) -> Result<(), StreamsError> {
        let mut own =
            self.tables.windows.range(from..).map(|(_, row)| row).filter(|row| row.stream == stream);
        while own.next().is_some_and(&mut *each) {}
        Ok(())
    }

    fn remove_windows(&mut self, stream: u64, before: u64) -> Result<u64, StreamsError> {
        let old = self.tables.windows.values().filter(|row| row.stream == stream && row.until() <= before);
        let old: Vec<u64> = old.map(|row| row.number).collect();
        for number in &old {
            self.set(windows, *number, None);
        }
        Ok(old.len() as u64)
    }

    fn checkpoint(&mut self, name: &str, lane: u32) -> Result<Option<CheckpointRow>, StreamsError> {
        Ok(self.tables.checkpoints.get(&(name.to_owned(), lane)).cloned())
    }

    fn put_checkpoint(&mut self, row: &CheckpointRow) -> Result<(), StreamsError> {
        self.set(checkpoints, (row.name.clone(), row.lane), Some(row.clone()));
        Ok(())
    }

    fn remove_checkpoints(&mut self, name: &str) -> Result<(), StreamsError> {
        let keys = self.tables.checkpoints.keys().filter(|(of, _)| of == name);
        let keys: Vec<(String, u32)> = keys.cloned().collect();
        for key in keys {
            self.set(checkpoints, key, None);
        }
        Ok(())
    }
}
