//! Appends without a transaction, just as minibatch's; and whether a stream is open.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bson::oid::ObjectId;
use bson::{RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::InsertManyOptions;

use super::MongoStore;
use super::driver::wait;
use super::layout::{BUFFER, STREAM};
use super::{ledger, message};
use crate::error::StreamsError;
use crate::store::Append;

/// So old a look at a stream may be.
const FRESH: Duration = Duration::from_millis(250);

/// What was acknowledged within this time after the look before it was there before a consumer takes the stream for ended.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// A stream that was closed before that was closed long ago, by clocks that differ by less.
const LONG_AGO: Duration = Duration::from_secs(60);

/// What is known of streams.
#[derive(Default)]
pub(super) struct Gates {
    open: Mutex<HashMap<u64, Gate>>,
    /// When streams were closed, and when they were first seen so.
    closed: Mutex<HashMap<u64, (i64, Instant)>>,
}

/// A stream that was open.
#[derive(Clone, Copy)]
struct Gate {
    /// When the look began.
    looked: Instant,
    max_age: Option<u64>,
}

impl Gates {
    /// Looks again next time.
    pub(super) fn forget(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(&self, stream: u64) -> Option<Gate> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&stream).copied().filter(|gate| gate.looked.elapsed() < FRESH)
    }

    fn put(&self, stream: u64, gate: Gate) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(stream, gate);
    }

    /// A stream was seen.
    pub(super) fn note_closed(&self, stream: u64, closed: Option<i64>) {
        let mut all = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        match closed {
            None => drop(all.remove(&stream)),
            Some(when) if all.get(&stream).is_some_and(|(before, _)| *before == when) => {}
            Some(when) => drop(all.insert(stream, (when, Instant::now()))),
        }
    }

    /// Whether a stream was known to be closed for long enough before this moment.
    pub(super) fn is_settled(&self, stream: u64, at: Instant) -> bool {
        let all = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((closed, seen)) = all.get(&stream) else { return false };
        // A job that is run now and then has never known it for long.
        let before = LONG_AGO.checked_add(SETTLED).and_then(|ago| SystemTime::now().checked_sub(ago));
        at.saturating_duration_since(*seen) > SETTLED
            || before.is_some_and(|before| *closed < crate::streams::milliseconds(before))
    }
}

/// What becomes of one entry.
struct Entry {
    ids: Vec<ObjectId>,
    looked: Instant,
    answer: Result<Option<u64>, StreamsError>,
}

impl MongoStore {
    /// Whether a stream can be appended to.
    fn gate(&self, append: &Append<'_>) -> Result<Gate, StreamsError> {
        match self.gates.get(append.stream) {
            Some(gate) => Ok(gate),
            None => self.look(append),
        }
    }

    fn look(&self, append: &Append<'_>) -> Result<Gate, StreamsError> {
        let looked = Instant::now();
        let streams = self.driver.collection(STREAM);
        let found = wait(async { streams.find_one(doc! { "name": append.name }).await })
            .map_err(|cause| self.driver.failures.of("look at a stream", cause))?;
        let found = found.filter(|stream| ledger::number_of(stream) == Some(append.stream));
        let missing = || StreamsError::Missing {
            store: self.driver.failures.store.clone(),
            stream: append.name.to_owned(),
        };
        let stream = found.ok_or_else(missing)?;
        if ledger::closed_of(&stream).is_some() {
            return Err(StreamsError::Closed { stream: append.name.to_owned() });
        }
        let gate = Gate { looked, max_age: ledger::max_age_of(&stream) };
        self.gates.put(append.stream, gate);
        Ok(gate)
    }

    pub(super) fn append_all(
        &self,
        at: i64,
        appends: &[Append<'_>],
    ) -> Vec<Result<Option<u64>, StreamsError>> {
        let mut documents = Vec::new();
        // Of each document, to which entry it belongs.
        let mut of = Vec::new();
        let mut entries = Vec::with_capacity(appends.len());
        for (number, append) in appends.iter().enumerate() {
            let before = documents.len();
            let entry = self.prepare(at, append, &mut documents);
            of.resize(documents.len().max(before), number);
            entries.push(entry);
        }
        if !documents.is_empty()
            && let Err(error) = self.insert(&documents)
        {
            self.refused(error, &of, appends, &mut entries);
        }
        for (entry, append) in entries.iter_mut().zip(appends) {
            if entry.answer.is_ok() && entry.looked.elapsed() > SETTLED {
                self.again(entry, append);
            }
        }
        entries.into_iter().map(|entry| entry.answer).collect()
    }

    /// The documents of an entry: all of them, or none.
    fn prepare(&self, at: i64, append: &Append<'_>, documents: &mut Vec<RawDocumentBuf>) -> Entry {
        let mut entry = Entry { ids: Vec::new(), looked: Instant::now(), answer: Ok(None) };
        let before = documents.len();
        entry.answer = self.gate(append).and_then(|gate| {
            entry.looked = gate.looked;
            for text in append.texts.iter() {
                let id = ObjectId::new();
                documents.push(message::document(id, append.name, at, text, None)?);
                entry.ids.push(id);
            }
            Ok(gate.max_age)
        });
        if entry.answer.is_err() {
            documents.truncate(before);
        }
        entry
    }

    fn insert(&self, documents: &[RawDocumentBuf]) -> Result<(), Error> {
        let buffer = self.driver.durable_raw(BUFFER);
        if let [one] = documents {
            return wait(async { buffer.insert_one(one).await }).map(drop);
        }
        // One that is refused is not to keep those of others from being there.
        let options = InsertManyOptions::builder().ordered(false).build();
        wait(async { buffer.insert_many(documents).with_options(options).await }).map(drop)
    }

    /// Something was not inserted: its entries are taken out in whole.
    fn refused(&self, error: Error, of: &[usize], appends: &[Append<'_>], entries: &mut [Entry]) {
        let mut broken: Vec<usize> = match &*error.kind {
            ErrorKind::InsertMany(many) if many.write_concern_error.is_none() => many
                .write_errors
                .iter()
                .flatten()
                .filter_map(|refused| of.get(refused.index).copied())
                .collect(),
            _ => of.to_vec(),
        };
        broken.sort_unstable();
        broken.dedup();
        for number in broken {
            let (Some(entry), Some(append)) = (entries.get_mut(number), appends.get(number)) else {
                continue;
            };
            let action = format!("append to stream `{}`", append.name);
            entry.answer = Err(self.driver.failures.of(&action, error.clone()));
            if let Err(error) = self.take_out(entry) {
                tracing::debug!(target: "watermill", stream = append.name, error = %error.kind, "what was not appended in whole could not be taken out");
            }
        }
    }

    /// Takes out what nobody has taken. Returns how many messages that were.
    fn take_out(&self, entry: &Entry) -> Result<u64, Error> {
        let buffer = self.driver.collection(BUFFER);
        let own =
            doc! { "_id": { "$in": &entry.ids }, "processed": false, "watermill": { "$exists": false } };
        Ok(wait(async { buffer.delete_many(own).await })?.deleted_count)
    }

    /// An append that took long: the stream may have been closed, and its consumers have gone.
    fn again(&self, entry: &mut Entry, append: &Append<'_>) {
        let Err(error) = self.look(append) else { return };
        match self.take_out(entry) {
            // Somebody has it.
            Ok(0) if !entry.ids.is_empty() => {}
            Ok(_) => entry.answer = Err(error),
            Err(cause) => {
                let action =
                    format!("take back what was appended to stream `{}`, which was closed", append.name);
                entry.answer = Err(self.driver.failures.of(&action, cause));
            }
        }
    }
}
