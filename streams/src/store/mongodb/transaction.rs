//! Reads and writes of a transaction. What the ledger changes is gathered, and sent in few commands when it is done.

use std::collections::BTreeMap;
use std::time::Instant;

use bson::oid::ObjectId;
use bson::raw::RawArrayBuf;
use bson::{Document, RawDocument, RawDocumentBuf, doc, rawdoc};
use mongodb::ClientSession;
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{FindOptions, ReadConcern, TransactionOptions};

use super::driver::{majority, wait};
use super::failure::code;
use super::layout::{CHECKPOINTS, LAYOUT, LEDGERS, STREAM};
use super::ledger::{self, Ledger};
use super::pending::Pending;
use super::segments::Segment;
use super::{MongoStore, PATIENCE};
use crate::error::StreamsError;
use crate::store::{CheckpointRow, WindowRow, Work};

pub(super) type Told<T> = Result<T, StreamsError>;

/// One command has no more bytes of documents, if it has several.
const COMMAND: usize = 12 << 20;

/// Why a transaction came to nothing.
pub(super) enum Broken {
    Failed(StreamsError),
    /// Something was in its way, or the server is gone for the moment.
    Again(StreamsError),
}

/// The rows within a transaction, or without one.
pub(super) struct MongoRows<'a> {
    pub(super) store: &'a MongoStore,
    pub(super) session: Option<ClientSession>,
    /// Before anything was read.
    pub(super) begun: Instant,
    /// Those that were read or made, by number; `None` for such that are not there.
    pub(super) ledgers: BTreeMap<u64, Option<Ledger>>,
    /// Those that were read or written, by name and lane; `None` for such that are not there. And whether they were written.
    pub(super) checkpoints: BTreeMap<(String, u32), (Option<CheckpointRow>, bool)>,
    pub(super) pending: Pending,
    /// What messages have no numbers yet: the stream, their `_id`s, and whether these are all.
    pub(super) ahead: Option<(u64, Vec<ObjectId>, bool)>,
    /// Windows that are to be written.
    pub(super) windows: Vec<WindowRow>,
    /// What was removed.
    pub(super) removed: Vec<(u64, std::ops::Range<u64>)>,
    /// Segments that will be there when it is over, and messages that will belong to them: stream and number.
    pub(super) fresh: Vec<Segment>,
    pub(super) taken: Vec<(u64, u64, RawDocumentBuf)>,
    /// Streams that will be there no more: name and number.
    pub(super) dropped: Vec<(String, u64)>,
    /// A stream that has no number.
    adopt: Option<String>,
    pub(super) again: bool,
    pub(super) wrote: bool,
    /// Messages were shown.
    pub(super) showed: bool,
    /// Something of a stream was changed.
    pub(super) gates: bool,
}

/// What is looked for.
#[derive(Default)]
pub(super) struct Find {
    pub(super) filter: Document,
    pub(super) fields: Option<Document>,
    pub(super) sort: Option<Document>,
    pub(super) limit: Option<i64>,
}

impl<'a> MongoRows<'a> {
    pub(super) fn new(store: &'a MongoStore, session: Option<ClientSession>) -> Self {
        Self {
            store,
            session,
            begun: Instant::now(),
            ledgers: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            pending: Pending::default(),
            ahead: None,
            windows: Vec::new(),
            removed: Vec::new(),
            fresh: Vec::new(),
            taken: Vec::new(),
            dropped: Vec::new(),
            adopt: None,
            again: false,
            wrote: false,
            showed: false,
            gates: false,
        }
    }

    /// Whether what was read is not of one moment: messages were read after what is known of their streams, and that has changed.
    pub(super) fn is_torn(&mut self) -> Told<bool> {
        let known = self.ledgers.values().flatten();
        let known: BTreeMap<i64, i64> =
            known.map(|ledger| (ledger.row.number.cast_signed(), ledger.version)).collect();
        if !self.showed || known.is_empty() {
            return Ok(false);
        }
        let ids: Vec<i64> = known.keys().copied().collect();
        let fields = Some(doc! { "version": 1 });
        let find = Find { filter: doc! { "_id": { "$in": ids } }, fields, ..Find::default() };
        let mut same = 0;
        self.each(LEDGERS, find, |own| {
            same += usize::from(known.get(&own.get_i64("_id")?) == Some(&own.get_i64("version")?));
            Ok(true)
        })?;
        Ok(same < known.len())
    }

    pub(super) fn unnumbered_stream(&mut self) -> Option<String> {
        self.adopt.take()
    }

    /// Gives the session back.
    pub(super) fn close(mut self) -> Option<ClientSession> {
        self.session.take()
    }

    /// Has `work` done, and what it has changed written. What belongs to the streams `contended` is taken at once, so that others begin again, who are quicker otherwise.
    pub(super) fn transact(&mut self, contended: &[u64], work: &mut Work<'_>) -> Result<(), Broken> {
        let options = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .write_concern(majority())
            .build();
        if let Some(session) = &mut self.session {
            wait(async { session.start_transaction().with_options(options).await }).map_err(|cause| {
                Broken::Failed(self.store.driver.failures.of("begin a transaction", cause))
            })?;
        }
        let done = self.take(contended).and_then(|()| work(self)).and_then(|()| self.flush());
        match done {
            Ok(()) if self.wrote => {
                if let Err(broken) = self.commit() {
                    self.store.candidates().forget(true);
                    return Err(broken);
                }
            }
            Ok(()) => self.abort(),
            Err(error) => {
                self.abort();
                self.store.candidates().forget(self.again);
                return Err(if self.again { Broken::Again(error) } else { Broken::Failed(error) });
            }
        }
        let mut remembered = self.store.remembered();
        for segment in self.fresh.drain(..) {
            if let Some(last) = segment.ids.last() {
                self.store.candidates().claimed(segment.stream, *last);
            }
            remembered.add(segment);
        }
        drop(remembered);
        let (mut taken, now) = (self.store.taken(), Instant::now());
        self.taken.drain(..).for_each(|(stream, number, message)| taken.add(now, stream, number, message));
        self.removed.iter().for_each(|(stream, range)| taken.forget(*stream, range));
        drop(taken);
        if self.gates {
            self.store.gates.forget();
        }
        self.dropped.drain(..).for_each(|(name, number)| self.store.sweep(&name, number));
        Ok(())
    }

    fn take(&mut self, contended: &[u64]) -> Told<()> {
        if contended.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = contended.iter().map(|number| number.cast_signed()).collect();
        let (of, mark) = (doc! { "_id": { "$in": numbers } }, doc! { "$inc": { "contended": 1_i64 } });
        let update = doc! { "q": of, "u": mark, "multi": true };
        self.update("take what others change", LEDGERS, vec![update])?;
        // That alone is nothing to commit.
        self.wrote = false;
        Ok(())
    }

    fn abort(&mut self) {
        if let Some(session) = &mut self.session {
            // The server ends it by itself if it is not told.
            let _ = wait(async { session.abort_transaction().await });
        }
    }

    fn commit(&mut self) -> Result<(), Broken> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let since = Instant::now();
        loop {
            let Err(error) = wait(async { session.commit_transaction().await }) else { return Ok(()) };
            // As the driver's specification has it: the same commit again, where its end was not told; all of it again, where it was undone.
            let unknown = error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT);
            let transient = error.contains_label(TRANSIENT_TRANSACTION_ERROR);
            if unknown && !transient && code(&error) != Some(50) && since.elapsed() < PATIENCE {
                std::thread::sleep(std::time::Duration::from_millis(20));
                continue;
            }
            let action = if unknown { "commit; whether it has is not known" } else { "commit" };
            let told = self.store.driver.failures.of(action, error);
            return Err(if transient { Broken::Again(told) } else { Broken::Failed(told) });
        }
    }

    /// An error of the driver; notes whether to begin again.
    pub(super) fn broken(&mut self, action: &str, error: Error) -> StreamsError {
        // A conflict, a transaction that was ended by others, a document that another one has made meanwhile.
        self.again |= error.contains_label(TRANSIENT_TRANSACTION_ERROR)
            || code(&error).is_some_and(|code| matches!(code, 112 | 251 | 11000));
        self.store.driver.failures.of(action, error)
    }

    /// Another one has changed what was read.
    pub(super) fn conflict(&mut self) -> StreamsError {
        self.again = true;
        self.store.driver.failures.told("commit", "another one has changed the same")
    }

    /// Shows the documents that fit, until `each` says no.
    pub(super) fn each(
        &mut self,
        collection: &str,
        find: Find,
        mut each: impl FnMut(&RawDocument) -> Result<bool, bson::error::Error>,
    ) -> Told<()> {
        let options = FindOptions::builder()
            .projection(find.fields)
            .sort(find.sort)
            .limit(find.limit)
            .batch_size(16_384)
            .build();
        let mut read = || -> Result<(), Error> {
            match &mut self.session {
                Some(session) => {
                    let documents = self.store.driver.raw(collection);
                    let found = documents.find(find.filter.clone()).with_options(options.clone());
                    let mut cursor = wait(async { found.session(&mut *session).await })?;
                    while wait(cursor.advance(session))? {
                        if !each(cursor.current())? {
                            break;
                        }
                    }
                }
                None => {
                    let documents = self.store.driver.durable_raw(collection);
                    let found = documents.find(find.filter.clone()).with_options(options.clone());
                    let mut cursor = wait(async { found.await })?;
                    while wait(cursor.advance())? {
                        if !each(cursor.current())? {
                            break;
                        }
                    }
                }
            }
            Ok(())
        };
        let read = read();
        read.map_err(|error| self.broken(&format!("read collection `{collection}`"), error))
    }

    pub(super) fn one(&mut self, collection: &str, filter: Document) -> Told<Option<Document>> {
        let mut found = None;
        let find = Find { filter, limit: Some(1), ..Find::default() };
        self.each(collection, find, |document| {
            found = Some(Document::try_from(document)?);
            Ok(false)
        })?;
        Ok(found)
    }

    /// Sends a command that writes. Returns how many documents it was about.
    pub(super) fn run(&mut self, action: &str, command: RawDocumentBuf) -> Told<i64> {
        self.wrote = true;
        let database = self.store.driver.plain();
        let Some(session) = &mut self.session else {
            return Err(self.store.driver.failures.told(action, "it is only to be read here"));
        };
        let answer = wait(async { database.run_raw_command(command).session(session).await });
        let answer = answer.map_err(|error| self.broken(action, error))?;
        let refused =
            answer.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document().cloned());
        if let Some(refused) = refused {
            self.again |= refused.get_i32("code").is_ok_and(|code| matches!(code, 112 | 11000));
            let cause = refused.get_str("errmsg").unwrap_or("the server gives no reason");
            return Err(self.store.driver.failures.told(action, cause));
        }
        Ok(answer.get_i32("n").map(i64::from).or_else(|_| answer.get_i64("n")).unwrap_or_default())
    }

    pub(super) fn update(&mut self, action: &str, collection: &str, updates: Vec<Document>) -> Told<i64> {
        let mut all = RawArrayBuf::new();
        for update in updates {
            all.push(self.raw(action, &update)?);
        }
        self.run(action, rawdoc! { "update": collection, "updates": all })
    }

    pub(super) fn raw(&self, action: &str, document: &Document) -> Told<RawDocumentBuf> {
        RawDocumentBuf::try_from(document)
            .map_err(|cause| StreamsError::storage(&self.store.driver.failures.store, action, cause))
    }

    pub(super) fn delete(&mut self, action: &str, collection: &str, filters: Vec<Document>) -> Told<i64> {
        let mut all = RawArrayBuf::new();
        for filter in filters {
            all.push(self.raw(action, &doc! { "q": filter, "limit": 0 })?);
        }
        self.run(action, rawdoc! { "delete": collection, "deletes": all })
    }

    pub(super) fn insert(
        &mut self,
        action: &str,
        collection: &str,
        documents: Vec<RawDocumentBuf>,
    ) -> Told<()> {
        let (mut all, mut bytes) = (RawArrayBuf::new(), 0);
        for document in documents {
            let length = document.as_bytes().len();
            if bytes > 0 && bytes + length > COMMAND {
                let full = std::mem::replace(&mut all, RawArrayBuf::new());
                self.run(action, rawdoc! { "insert": collection, "documents": full })?;
                bytes = 0;
            }
            bytes += length;
            all.push(document);
        }
        if bytes > 0 {
            self.run(action, rawdoc! { "insert": collection, "documents": all })?;
        }
        Ok(())
    }

    /// Sends all that was gathered; the ledgers last, which others wait for.
    fn flush(&mut self) -> Told<()> {
        self.flush_windows()?;
        self.flush_messages()?;
        let changed: Vec<Ledger> =
            self.ledgers.values().flatten().filter(|ledger| ledger.stream_changed).cloned().collect();
        for ledger in changed {
            let of = doc! { "name": &ledger.row.name, "watermill.number": ledger.row.number.cast_signed() };
            let update = doc! { "q": of, "u": { "$set": ledger.stream_fields() } };
            if self.update("change a stream", STREAM, vec![update])? != 1 {
                return Err(self.conflict());
            }
            self.gates = true;
        }
        let checkpoints = std::mem::take(&mut self.checkpoints);
        let anything = self.wrote
            || checkpoints.values().any(|(_, written)| *written)
            || self.ledgers.values().flatten().any(|ledger| ledger.changed);
        if !anything {
            return Ok(());
        }
        let rows = checkpoints.into_iter().filter_map(|((name, lane), (row, written))| {
            let of = doc! { "_id": format!("{lane} {name}") };
            match row {
                Some(row) if written => {
                    let row = doc! { "name": name, "lane": i64::from(lane), "epoch": row.epoch.cast_signed(), "state": row.state };
                    Some(doc! { "q": of, "u": { "$set": row }, "upsert": true })
                }
                // Who changes what was read here is to be in our way.
                Some(_) => Some(doc! { "q": of, "u": { "$inc": { "read": 1_i64 } } }),
                None => None,
            }
        });
        let rows: Vec<Document> = rows.collect();
        if !rows.is_empty() {
            self.update("record positions", CHECKPOINTS, rows)?;
        }
        let mut updates = Vec::new();
        for ledger in self.ledgers.values().flatten() {
            let of = doc! { "_id": ledger.row.number.cast_signed(), "version": ledger.version };
            let of = if ledger.is_new {
                doc! { "_id": ledger.row.number.cast_signed() }
            } else {
                of
            };
            let change = if ledger.changed {
                ledger.document()
            } else {
                doc! { "$inc": { "version": 1_i64 } }
            };
            updates.push(doc! { "q": of, "u": change, "upsert": ledger.is_new });
        }
        let count = updates.len();
        if count > 0 && usize::try_from(self.update("record what is claimed", LEDGERS, updates)?) != Ok(count)
        {
            return Err(self.conflict());
        }
        Ok(())
    }

    /// Reads a stream by its number.
    pub(super) fn load(&mut self, number: u64) -> Told<Option<&mut Ledger>> {
        if !self.ledgers.contains_key(&number) {
            let read = match self.one(LEDGERS, doc! { "_id": number.cast_signed() })? {
                None => None,
                Some(own) => {
                    let name = own.get_str("name").unwrap_or_default();
                    let stream = self.one(STREAM, doc! { "name": name })?;
                    let stream = stream.filter(|stream| ledger::number_of(stream) == Some(number));
                    stream.map(|stream| self.noted(&stream, &own))
                }
            };
            self.ledgers.insert(number, read);
        }
        Ok(self.ledgers.get_mut(&number).and_then(Option::as_mut))
    }

    fn noted(&self, stream: &Document, own: &Document) -> Ledger {
        let ledger = Ledger::read(stream, own);
        self.store.gates.note_closed(ledger.row.number, ledger.row.closed);
        ledger
    }

    /// Reads a stream by its name.
    pub(super) fn load_named(&mut self, name: &str) -> Told<Option<u64>> {
        let known = self.ledgers.values().flatten().find(|ledger| ledger.row.name == name);
        if let Some(known) = known {
            return Ok(Some(known.row.number));
        }
        let Some(stream) = self.one(STREAM, doc! { "name": name })? else { return Ok(None) };
        let Some(number) = ledger::number_of(&stream) else {
            return self.adopt(name, &stream).map(Some);
        };
        if let Some(own) = self.one(LEDGERS, doc! { "_id": number.cast_signed() })? {
            let ledger = self.noted(&stream, &own);
            self.ledgers.insert(number, Some(ledger));
            return Ok(Some(number));
        }
        if self.session.is_none() {
            self.adopt = Some(name.to_owned());
            return Err(self.store.driver.failures.told("read a stream", "its numbers are missing"));
        }
        self.make(&stream, number);
        Ok(Some(number))
    }

    /// A stream that Python has made is given a number.
    pub(super) fn adopt(&mut self, name: &str, stream: &Document) -> Told<u64> {
        if self.session.is_none() {
            self.adopt = Some(name.to_owned());
            return Err(self.store.driver.failures.told("read a stream", "it has no number yet"));
        }
        let number = self.fresh_number()?;
        self.make(stream, number);
        let of = doc! { "name": name, "watermill": { "$exists": false } };
        let set = doc! { "$set": { "watermill": { "number": number.cast_signed() } } };
        if self.update("use a stream", STREAM, vec![doc! { "q": of, "u": set }])? != 1 {
            return Err(self.conflict());
        }
        Ok(number)
    }

    fn make(&mut self, stream: &Document, number: u64) {
        let mut ledger = self.noted(stream, &doc! { "_id": number.cast_signed() });
        (ledger.is_new, ledger.changed) = (true, true);
        self.ledgers.insert(number, Some(ledger));
    }

    /// The number of a new stream. None comes again.
    pub(super) fn fresh_number(&mut self) -> Told<u64> {
        let one_more = doc! { "q": { "_id": "layout" }, "u": { "$inc": { "last": 1_i64 } } };
        self.update("number a stream", LAYOUT, vec![one_more])?;
        let layout = self.one(LAYOUT, doc! { "_id": "layout" })?.unwrap_or_default();
        match layout.get_i64("last") {
            Ok(last) if last > 0 => Ok(last.cast_unsigned()),
            _ => {
                Err(self.store.driver.failures.told("number a stream", "the document of the layout is gone"))
            }
        }
    }
}
