//! Reading a collection and then what changes in it: a snapshot at one point of the server's log, and the log from there on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::{Bson, Document, RawDocument, RawDocumentBuf, Timestamp, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType, ResumeToken};
use mongodb::options::{ChangeStreamOptions, FullDocumentType};
use serde::de::DeserializeOwned;
use watermill_core::broker::InputEnd;
use watermill_core::error::BrokerError;
use watermill_core::record::StreamRecord;

use crate::documents::{Documents, Finder, Told};
use crate::failure::{Told as Cause, code, driver_failure, failure};
use crate::index::Behind;
use crate::patience::Patience;
use crate::place::{Order, Place, read_token, token};
use crate::read_collection::Changes;
use crate::reader::{Reading, Stop, is_mark};
use crate::source::{Deliver, Gauge, Reader};

/// The server waits so long for a change before it says that there is none.
const AWAIT: Duration = Duration::from_millis(500);

/// Where nothing changes for so long, positions go on with the log all the same: it does not reach back for ever.
const IDLE: Duration = Duration::from_secs(30);

/// So long the last change before a restart is looked for, to be compared with.
const LAST: Duration = Duration::from_secs(5);

/// How far it was read.
#[derive(Debug, Clone)]
pub(crate) enum At {
    /// Nothing was.
    Beginning,
    /// The collection as it was at this time, up to a place.
    Snapshot(Timestamp, Option<Place>),
    /// All of that.
    From(Timestamp),
    /// All changes up to this one.
    Behind(ResumeToken),
}

/// Reads it.
pub(crate) struct ChangeReader {
    pub(crate) reading: Reading,
    pub(crate) changes: Changes,
    pub(crate) at: At,
    /// How many documents were before.
    pub(crate) next: u64,
    /// The last record before a restart: how many were before it, and from where it is read.
    pub(crate) last: Option<(u64, At)>,
    pub(crate) ended: bool,
}

impl At {
    /// As a position has it.
    fn token(&self, order: &Order) -> Option<String> {
        match self {
            Self::Beginning => None,
            Self::Snapshot(time, after) => {
                let after = after.as_ref().map(|place| order.document(place));
                Some(token(
                    "snapshot",
                    doc! { "at": *time, "after": after.map_or(Bson::Null, Bson::Document) },
                ))
            }
            Self::From(time) => Some(token("from", *time)),
            Self::Behind(behind) => {
                Some(token("behind", bson::serialize_to_bson(behind).unwrap_or(Bson::Null)))
            }
        }
    }

    /// What a token says; `None` of one that is another stream's.
    pub(crate) fn read(text: &str, order: &Order) -> Option<Self> {
        let mut token = read_token(text)?;
        if let Some(Bson::Document(mut snapshot)) = token.remove("snapshot") {
            let Some(Bson::Timestamp(time)) = snapshot.remove("at") else { return None };
            let after = match snapshot.remove("after") {
                Some(Bson::Document(after)) => Some(order.read(after)?),
                _ => None,
            };
            return Some(Self::Snapshot(time, after));
        }
        if let Some(Bson::Timestamp(time)) = token.remove("from") {
            return Some(Self::From(time));
        }
        let behind = bson::deserialize_from_bson(token.remove("behind")?).ok()?;
        Some(Self::Behind(behind))
    }
}

/// Documents of a snapshot are found by their places.
#[derive(Debug)]
struct BySnapshot(Arc<Order>, Timestamp);

impl Finder for BySnapshot {
    type Note = ();

    fn behind(&self, document: &RawDocument, (): &()) -> String {
        let at = At::Snapshot(self.1, Some(self.0.place(document)));
        at.token(&self.0).unwrap_or_default()
    }

    fn itself(&self, _: &RawDocument, (): &(), before: Option<String>) -> Option<String> {
        before.or_else(|| At::Snapshot(self.1, None).token(&self.0))
    }
}

/// Changes are found by the server's tokens; each is the next one behind the one before it.
#[derive(Debug)]
struct ByToken;

impl Finder for ByToken {
    type Note = ResumeToken;

    fn behind(&self, _: &RawDocument, note: &ResumeToken) -> String {
        token("behind", bson::serialize_to_bson(note).unwrap_or(Bson::Null))
    }

    fn itself(&self, _: &RawDocument, _: &ResumeToken, before: Option<String>) -> Option<String> {
        before
    }
}

type Event = ChangeStreamEvent<RawDocumentBuf>;

/// What an event is to the stream.
enum Seen {
    Document(RawDocumentBuf, Told),
    Mark,
    Nothing,
}

impl ChangeReader {
    fn order(&self) -> &Arc<Order> {
        &self.reading.order
    }

    async fn read_all<R>(mut self, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        if self.ended {
            return self.finish(to).await;
        }
        let mut patience = Patience::new(self.reading.driver.retry_for);
        if let Some((offset, at)) = self.last.take() {
            self.deliver_last(offset, &at, to).await?;
        }
        loop {
            let done = match self.at.clone() {
                At::Beginning => self.begin().await,
                At::Snapshot(time, after) => self.snapshot(time, after, to, &mut patience).await,
                At::From(_) | At::Behind(_) => match self.follow(to, &mut patience).await {
                    Ok(()) => return Ok(()),
                    Err(stop) => Err(stop),
                },
            };
            match done {
                Ok(()) => {}
                Err(Stop::Failed(error)) => {
                    if let Some(lost) = self.lost(&error) {
                        return Err(Stop::Broker(lost));
                    }
                    patience
                        .after(error, "read the changes of", self.reading.location())
                        .await
                        .map_err(Stop::Broker)?;
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// What to do where the server's log does not reach back so far, or where it has no such place.
    fn lost(&self, error: &mongodb::error::Error) -> Option<BrokerError> {
        let what = match code(error)? {
            286 | 280 => "the server's log does not reach back to where the last run stopped",
            239 | 246 => {
                "the server does not keep its past long enough for the snapshot that was being read (`minSnapshotHistoryWindowInSeconds`)"
            }
            260 | 40647 | 50811 | 50795 => {
                "the server does not know the place where the last run stopped: it is another server, or its data was restored"
            }
            72 | 40415 | 51024 => "the server cannot read at a point of its past, which takes MongoDB 5.0",
            40573 => "the server has no change streams: it belongs to no replica set",
            _ => return None,
        };
        let cause = format!(
            "{what} ({}); to read all that is there and then what changes, begin anew by `MongoBroker::start_over` or another `application`; to go on with what changes from now on, do so with `WatchCollection::changes_only`; and give the server a longer log (`replSetResizeOplog`)",
            error.kind
        );
        Some(failure("go on with the changes of", self.reading.location(), Cause(cause)))
    }

    /// Chooses the point between the snapshot and the changes.
    async fn begin(&mut self) -> Result<(), Stop> {
        let time = self.reading.driver.operation_time().await?;
        let Some(time) = time else {
            let cause = "the server tells no time of its log, which change streams need";
            return Err(Stop::Broker(failure("watch", self.reading.location(), cause)));
        };
        self.at = if self.changes.only { At::From(time) } else { At::Snapshot(time, None) };
        Ok(())
    }

    /// Reads the collection as it was at `time`.
    async fn snapshot<R>(
        &mut self,
        time: Timestamp,
        after: Option<Place>,
        to: &Deliver<R>,
        patience: &mut Patience,
    ) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let reading = &self.reading;
        let mut find = doc! {
            "find": &reading.name,
            "sort": reading.order.sort(1),
            "hint": &reading.index.name,
            "batchSize": 4000,
            "readConcern": { "level": "snapshot", "atClusterTime": time },
        };
        if let Some(after) = &after {
            let Behind { min, filter } = reading.index.behind(&reading.order, after);
            min.map(|min| find.insert("min", min));
            filter.map(|filter| find.insert("filter", filter));
        }
        if let Some(projection) = &reading.projection {
            find.insert("projection", projection.clone());
        }
        let cursor = reading.driver.db().run_cursor_command(find).await?;
        let mut cursor = cursor.with_type::<RawDocumentBuf>();
        let finder = Arc::new(BySnapshot(Arc::clone(&reading.order), time));
        let (mut skipping, mut marked, mut more) = (after, false, true);
        while more {
            let mut documents = Documents::new(Arc::clone(&finder), self.at.token(&reading.order));
            while !documents.is_full() {
                more = cursor.advance().await?;
                if !more {
                    break;
                }
                patience.restore();
                let document = cursor.current();
                if let Some(place) = skipping.take()
                    && reading.order.place(document) == place
                {
                    continue;
                }
                if is_mark(document) {
                    marked = true;
                } else if reading.takes(document) {
                    documents.push(document, ());
                }
            }
            if let Some(last) = documents.len().checked_sub(1).and_then(|last| documents.get(last)) {
                let (place, first) = (reading.order.place(last), self.next);
                self.next += documents.len() as u64;
                let delivery = reading.decoding.deliver::<R, _>(documents, first, self.next, &[], None);
                to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)?;
                self.at = At::Snapshot(time, Some(place));
            }
        }
        self.at = At::From(time);
        if marked {
            self.finish(to).await?;
            return Err(Stop::Closed);
        }
        Ok(())
    }

    fn options(&self, at: &At) -> ChangeStreamOptions {
        let mut options = ChangeStreamOptions::default();
        options.full_document = Some(FullDocumentType::UpdateLookup);
        options.max_await_time = Some(AWAIT);
        match at {
            // What happened at that time is in the snapshot.
            At::From(time) => {
                let (seconds, increment) = match time.increment.checked_add(1) {
                    Some(increment) => (time.time, increment),
                    None => (time.time + 1, 0),
                };
                options.start_at_operation_time = Some(Timestamp { time: seconds, increment });
            }
            At::Behind(token) => options.start_after = Some(token.clone()),
            At::Beginning | At::Snapshot(..) => {}
        }
        options
    }

    async fn open(&self, at: &At) -> Result<ChangeStream<Event>, mongodb::error::Error> {
        let collection =
            self.reading.driver.collection(&self.reading.name).clone_with_type::<RawDocumentBuf>();
        collection.watch().with_options(self.options(at)).await
    }

    /// Reads what changes, until the mark comes.
    async fn follow<R>(&mut self, to: &Deliver<R>, patience: &mut Patience) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let mut stream = self.open(&self.at).await?;
        let mut delivered = Instant::now();
        loop {
            let mut documents = Documents::new(Arc::new(ByToken), self.at.token(self.order()));
            let (mut told, mut marked) = (Vec::new(), false);
            // What is there is taken; where nothing is, this waits.
            while !documents.is_full() && !marked {
                let next = stream.next_if_any().await;
                let Some(event) = next? else {
                    patience.restore();
                    if documents.len() > 0 {
                        break;
                    }
                    if to.is_closed() {
                        return Err(Stop::Closed);
                    }
                    // Nothing has changed, but the log has gone on: its end is the better place to go on from.
                    if let Some(token) = stream.resume_token() {
                        self.at = At::Behind(token);
                        documents = Documents::new(Arc::new(ByToken), self.at.token(self.order()));
                    }
                    if delivered.elapsed() >= IDLE {
                        break;
                    }
                    continue;
                };
                patience.restore();
                let token = event.id.clone();
                match self.seen(event)? {
                    Seen::Document(document, how) => {
                        documents.push(&document, token.clone());
                        told.push(how);
                    }
                    Seen::Mark => marked = true,
                    Seen::Nothing => {}
                }
                self.at = At::Behind(token);
            }
            let first = self.next;
            self.next += documents.len() as u64;
            let end = marked.then_some(InputEnd::Mark);
            let delivery = self.reading.decoding.deliver::<R, _>(documents, first, self.next, &told, end);
            to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)?;
            delivered = Instant::now();
            if marked {
                return Ok(());
            }
        }
    }

    fn seen(&self, event: Event) -> Result<Seen, Stop> {
        let operation = match event.operation_type {
            OperationType::Insert => "insert",
            OperationType::Update if !self.changes.no_updates => "update",
            OperationType::Replace if !self.changes.no_updates => "replace",
            OperationType::Delete if self.changes.deletes => "delete",
            OperationType::Drop
            | OperationType::Rename
            | OperationType::DropDatabase
            | OperationType::Invalidate => {
                let cause = "the collection was dropped or renamed, which ends its changes; to read what takes its place, begin anew by `MongoBroker::start_over` or another `application`";
                return Err(Stop::Broker(failure("watch", self.reading.location(), cause)));
            }
            _ => return Ok(Seen::Nothing),
        };
        let milliseconds = match (event.wall_time, event.cluster_time) {
            (Some(time), _) => time.timestamp_millis(),
            (None, Some(time)) => i64::from(time.time) * 1000,
            (None, None) => -1,
        };
        let document = match operation {
            "delete" => {
                let mut deleted: Document = event.document_key.unwrap_or_default();
                deleted.insert("deleted__", true);
                RawDocumentBuf::try_from(&deleted).ok()
            }
            // Of an update it is looked up, and may be gone by then: its deletion is told later.
            _ => event.full_document,
        };
        let Some(document) = document else { return Ok(Seen::Nothing) };
        if operation == "insert" && is_mark(&document) {
            return Ok(Seen::Mark);
        }
        if !self.reading.takes(&document) {
            return Ok(Seen::Nothing);
        }
        Ok(Seen::Document(document, Told { milliseconds, operation }))
    }

    /// Delivers the last record that an earlier run has let in, if it can still be had: what comes is compared with its key.
    async fn deliver_last<R>(&self, offset: u64, at: &At, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let found = match at {
            // It stands in the snapshot, behind the one before it.
            At::Snapshot(time, after) => self.first_of_snapshot(*time, after.as_ref()).await,
            At::From(_) | At::Behind(_) => self.first_change(at).await,
            At::Beginning => Ok(None),
        };
        // A server that does not have it any more may still have what comes behind it.
        let Ok(Some(document)) = found else { return Ok(()) };
        let mut documents = Documents::new(Arc::new(ByToken), at.token(self.order()));
        let Some(note) = bson::deserialize_from_bson::<ResumeToken>(Bson::Document(Document::new())).ok()
        else {
            return Ok(());
        };
        documents.push(&document, note);
        let delivery = self.reading.decoding.deliver::<R, _>(documents, offset, offset + 1, &[], None);
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)
    }

    async fn first_of_snapshot(
        &self,
        time: Timestamp,
        after: Option<&Place>,
    ) -> Result<Option<RawDocumentBuf>, mongodb::error::Error> {
        let reading = &self.reading;
        let mut find = doc! {
            "find": &reading.name,
            "sort": reading.order.sort(1),
            "hint": &reading.index.name,
            "limit": 100,
            "singleBatch": true,
            "readConcern": { "level": "snapshot", "atClusterTime": time },
        };
        if let Some(after) = after {
            let Behind { min, filter } = reading.index.behind(&reading.order, after);
            min.map(|min| find.insert("min", min));
            filter.map(|filter| find.insert("filter", filter));
        }
        let cursor = reading.driver.db().run_cursor_command(find).await?;
        let mut cursor = cursor.with_type::<RawDocumentBuf>();
        while cursor.advance().await? {
            let document = cursor.current();
            let itself = after.is_some_and(|place| reading.order.place(document) == *place);
            if !itself && !is_mark(document) && reading.takes(document) {
                return Ok(Some(document.to_owned()));
            }
        }
        Ok(None)
    }

    async fn first_change(&self, at: &At) -> Result<Option<RawDocumentBuf>, mongodb::error::Error> {
        let mut stream = self.open(at).await?;
        let until = tokio::time::Instant::now() + LAST;
        while tokio::time::Instant::now() < until {
            let Some(event) = stream.next_if_any().await? else { continue };
            if let Ok(Seen::Document(document, _)) = self.seen(event) {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    async fn finish<R>(&self, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let documents = Documents::new(Arc::new(ByToken), self.at.token(self.order()));
        let delivery =
            self.reading.decoding.deliver::<R, _>(documents, self.next, self.next, &[], Some(InputEnd::Mark));
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)
    }
}

impl<R: StreamRecord + DeserializeOwned> Reader<R> for ChangeReader {
    async fn read(self, to: Deliver<R>, _: Arc<Gauge>) {
        let location = self.reading.location();
        match self.read_all(&to).await {
            Ok(()) | Err(Stop::Closed) => {}
            Err(Stop::Broker(error)) => drop(to.send(Err(error)).await),
            Err(Stop::Failed(error)) => drop(to.send(Err(driver_failure("read", location, error))).await),
        }
    }
}
