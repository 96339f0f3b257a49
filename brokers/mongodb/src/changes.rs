//! Reading a collection and then what changes in it, without a gap between the two, and nothing twice.
//!
//! The collection is read in chunks, in the order of a key, and its change stream beside it from before the first chunk on. What was read reaches up to a *frontier*. A change of
//! a document beyond it is dropped: the document is read later, as it is then. A change of one before it is delivered. What changes while a chunk is read may be in the chunk or not:
//! so the changes are read up to a point behind the chunk before it is delivered, documents that have changed are left out of it, and their changes are delivered behind it. This needs
//! no more of the server than its change stream: no reading at a point of its past, which it does not keep for long.
//!
//! The point behind a chunk is a document of our own, written when the chunk was read: when it comes in the stream, all that was before has come. That the server has nothing to tell at the
//! moment says nothing, since it may not have looked through all of its log yet. So the stream is one of the database, of both collections.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocumentBuf, Timestamp, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType, ResumeToken};
use mongodb::options::{ChangeStreamOptions, FullDocumentType};
use serde::de::DeserializeOwned;
use watermill_core::broker::InputEnd;
use watermill_core::error::BrokerError;
use watermill_core::record::StreamRecord;

use crate::at::{At, BesideSnapshot, ByChange, Frontier, Single, Spot};
use crate::compare;
use crate::documents::{Documents, Told};
use crate::failure::{Told as Cause, code, driver_failure, failure};
use crate::patience::Patience;
use crate::place::Place;
use crate::read_collection::Changes;
use crate::reader::{Reading, Stop, is_mark};
use crate::source::{Deliver, Gauge, Reader};

/// The server waits so long for a change before it says that there is none.
const AWAIT: Duration = Duration::from_millis(500);

/// The same, while there are documents to be read.
const GLANCE: Duration = Duration::from_millis(100);

/// Where the documents are by which we know how far a stream has come.
pub(crate) const POINTS: &str = "watermill_points";

/// Such a document comes within this time, if it comes at all.
const COMES: Duration = Duration::from_secs(60);

/// So many documents are a chunk.
const CHUNK: usize = 2000;

/// Where nothing changes for so long, positions go on with the log all the same: it does not reach back for ever.
const IDLE: Duration = Duration::from_secs(30);

/// So long the last change before a restart is looked for, to be compared with.
const LAST: Duration = Duration::from_secs(5);

/// Reads it.
pub(crate) struct ChangeReader {
    pub(crate) reading: Reading,
    pub(crate) changes: Changes,
    /// `None` when nothing was read.
    pub(crate) spot: Option<Spot>,
    /// How many documents were before.
    pub(crate) next: u64,
    /// The last record before a restart: how many were before it, and where it is found.
    pub(crate) last: Option<(u64, Single)>,
    pub(crate) ended: bool,
}

type Event = ChangeStreamEvent<RawDocumentBuf>;

/// What an event is to the stream.
enum Seen {
    Document(RawDocumentBuf, Told),
    Mark,
    Nothing,
}

/// Where a change of `document` stands to what was read.
fn is_before(frontier: &Frontier, place: &Place) -> bool {
    match frontier {
        Frontier::Start => false,
        Frontier::At(at) => compare::places(place, at) != Ordering::Greater,
        Frontier::End => true,
    }
}

/// What tells a document apart.
fn id_of(document: &RawDocumentBuf) -> String {
    crate::place::value_at(document, "_id").to_string()
}

impl ChangeReader {
    async fn read_all<R>(mut self, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        if self.ended {
            return self.finish(to).await;
        }
        let mut patience = Patience::new(self.reading.driver.retry_for);
        if let Some((offset, single)) = self.last.take() {
            self.deliver_last(offset, &single, to).await?;
        }
        loop {
            match self.go_on(to, &mut patience).await {
                // What was delivered is behind `spot`, so it goes on exactly there.
                Err(Stop::Failed(error)) => {
                    if let Some(lost) = self.lost(&error) {
                        return Err(Stop::Broker(lost));
                    }
                    let location = self.reading.location();
                    patience.after(error, "read the changes of", location).await.map_err(Stop::Broker)?;
                }
                other => return other,
            }
        }
    }

    /// What to do where the server's log does not reach back so far, or where it has no such place.
    fn lost(&self, error: &mongodb::error::Error) -> Option<BrokerError> {
        let what = match code(error)? {
            286 | 280 => "the server's log does not reach back to where the last run stopped",
            260 | 40647 | 50811 | 50795 => {
                "the server does not know the place where the last run stopped: it is another server, or its data was restored"
            }
            40573 => "the server has no change streams: it belongs to no replica set",
            _ => return None,
        };
        let cause = format!(
            "{what} ({}); to read all that is there and then what changes, begin anew by `MongoBroker::start_over` or another `application`; to go on with what changes from now on, do so with `WatchCollection::changes_only`; and give the server a longer log (`replSetResizeOplog`)",
            error.kind
        );
        Some(failure("go on with the changes of", self.reading.location(), Cause(cause)))
    }

    async fn now(&self) -> Result<Timestamp, Stop> {
        let time = self.reading.driver.operation_time().await?;
        time.ok_or_else(|| {
            let cause = "the server tells no time of its log, which change streams need";
            Stop::Broker(failure("watch", self.reading.location(), cause))
        })
    }

    async fn go_on<R>(&mut self, to: &Deliver<R>, patience: &mut Patience) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let mut spot = match self.spot.take() {
            Some(spot) => spot,
            None => {
                let frontier = if self.changes.only { Frontier::End } else { Frontier::Start };
                Spot { at: At::From(self.now().await?), frontier }
            }
        };
        self.spot = Some(spot.clone());
        if spot.frontier != Frontier::End {
            let mut stream = self.open(&spot.at, GLANCE).await?;
            while spot.frontier != Frontier::End {
                if self.read_chunk(&mut stream, &mut spot, to, patience).await? {
                    return Ok(());
                }
            }
        }
        let mut stream = self.open(&spot.at, AWAIT).await?;
        self.follow(&mut stream, spot, to, patience).await
    }

    /// Reads the next chunk, and what has changed until then. Says whether the stream has come to its end.
    async fn read_chunk<R>(
        &mut self,
        stream: &mut ChangeStream<Event>,
        spot: &mut Spot,
        to: &Deliver<R>,
        patience: &mut Patience,
    ) -> Result<bool, Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let reading = &self.reading;
        let order = Arc::clone(&reading.order);
        let after = match &spot.frontier {
            Frontier::At(place) => Some(place.clone()),
            _ => None,
        };
        let collection = reading.driver.collection(&reading.name).clone_with_type::<RawDocumentBuf>();
        let (filter, mut options) = reading.query(after.as_ref(), None);
        // One more where the first is the place itself.
        options.limit = Some(CHUNK as i64 + 1);
        let mut cursor = collection.find(filter).with_options(options).await?;
        let mut chunk: Vec<(Place, RawDocumentBuf)> = Vec::new();
        let mut count = 0;
        while cursor.advance().await? {
            count += 1;
            let document = cursor.current();
            let place = order.place(document);
            if Some(&place) != after.as_ref() {
                chunk.push((place, document.to_owned()));
            }
        }
        patience.restore();
        let events = self.events_until_now(stream, patience).await?;
        let before = spot.clone();
        if let Some((place, _)) = chunk.last() {
            spot.frontier = Frontier::At(place.clone());
        }
        let is_last = count <= CHUNK;
        if is_last {
            spot.frontier = Frontier::End;
        }
        let mut changes = Vec::with_capacity(events.len());
        // Those that come as changes, and so not as documents of the chunk.
        let mut changed: HashSet<String> = HashSet::new();
        for event in events {
            let (token, seen) = (event.id.clone(), self.seen(event)?);
            if let Seen::Document(document, how) = &seen
                && self.is_delivered(document, how, &spot.frontier)
            {
                changed.insert(id_of(document));
            }
            changes.push((token, seen));
        }
        let place = BesideSnapshot { order: Arc::clone(&order), at: spot.at.clone() };
        let mut documents = Documents::new(Arc::new(place), before.token(&order));
        for (_, document) in &chunk {
            if !is_mark(document) && self.reading.takes(document) && !changed.contains(&id_of(document)) {
                documents.push(document, ());
            }
        }
        // Behind the chunk, and all that was left out of it is a change that is delivered next.
        self.deliver(documents, &[], None, spot, to).await?;
        if self.deliver_events(changes, spot, to).await? {
            return Ok(true);
        }
        // A mark that was there ends the stream with what was there.
        if is_last && self.has_mark().await? {
            self.finish(to).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether a change is told: one of a document that is read later is not. Of what was deleted no place is known.
    fn is_delivered(&self, document: &RawDocumentBuf, how: &Told, frontier: &Frontier) -> bool {
        how.operation == "delete" || is_before(frontier, &self.reading.order.place(document))
    }

    /// Whether the mark was there. Asked once, so it may take a look at every document.
    async fn has_mark(&self) -> Result<bool, mongodb::error::Error> {
        let collection =
            self.reading.driver.collection(&self.reading.name).clone_with_type::<RawDocumentBuf>();
        let found = collection.find_one(doc! { "eos__": true }).await?;
        Ok(found.is_some_and(|document| is_mark(&document)))
    }

    /// What has changed until now.
    async fn events_until_now(
        &self,
        stream: &mut ChangeStream<Event>,
        patience: &mut Patience,
    ) -> Result<Vec<Event>, Stop> {
        let own = ObjectId::new();
        let points = self.reading.driver.collection(POINTS);
        points.insert_one(doc! { "_id": own, "time": DateTime::now() }).await?;
        let since = Instant::now();
        let mut events = Vec::new();
        let is_own = |event: &Event| {
            let key = event.document_key.as_ref().and_then(|key| key.get_object_id("_id").ok());
            key == Some(own) && self.is_of(event, POINTS)
        };
        while since.elapsed() < COMES {
            let Some(event) = stream.next_if_any().await? else { continue };
            patience.restore();
            if is_own(&event) {
                // If it stays, it does no harm.
                drop(points.delete_one(doc! { "_id": own }).await);
                return Ok(events);
            }
            events.push(event);
        }
        let cause = format!(
            "the change stream of the database does not tell what is written to collection `{POINTS}`: it is behind by more than {COMES:?}"
        );
        Err(Stop::Broker(failure("watch", self.reading.location(), Cause(cause))))
    }

    fn is_of(&self, event: &Event, collection: &str) -> bool {
        event.ns.as_ref().is_some_and(|name| name.coll.as_deref() == Some(collection))
    }

    /// Delivers those changes that are of documents before the frontier.
    async fn deliver_events<R>(
        &mut self,
        events: Vec<(ResumeToken, Seen)>,
        spot: &mut Spot,
        to: &Deliver<R>,
    ) -> Result<bool, Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let order = Arc::clone(&self.reading.order);
        let mut rest = events.into_iter().peekable();
        while rest.peek().is_some() {
            let finder = Arc::new(ByChange { order: Arc::clone(&order), frontier: spot.frontier.clone() });
            let mut documents = Documents::new(finder, spot.token(&order));
            let (mut told, mut marked) = (Vec::new(), false);
            while let Some((token, seen)) = rest.next_if(|_| !documents.is_full() && !marked) {
                match seen {
                    Seen::Document(document, how) => {
                        if self.is_delivered(&document, &how, &spot.frontier) {
                            documents.push(&document, token.clone());
                            told.push(how);
                        }
                    }
                    Seen::Mark => marked = spot.frontier == Frontier::End,
                    Seen::Nothing => {}
                }
                spot.at = At::Behind(token);
            }
            let end = marked.then_some(InputEnd::Mark);
            self.deliver(documents, &told, end, spot, to).await?;
            if marked {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Delivers a batch, from behind which reading goes on at `spot`.
    async fn deliver<R, F>(
        &mut self,
        documents: Documents<F>,
        told: &[Told],
        end: Option<InputEnd>,
        spot: &Spot,
        to: &Deliver<R>,
    ) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
        F: crate::documents::Finder,
    {
        let first = self.next;
        self.next += documents.len() as u64;
        let documents = documents.then(spot.token(&self.reading.order));
        let delivery = self.reading.decoding.deliver::<R, _>(documents, first, self.next, told, end);
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)?;
        self.spot = Some(spot.clone());
        Ok(())
    }

    fn options(at: &At, wait: Duration) -> ChangeStreamOptions {
        let mut options = ChangeStreamOptions::default();
        options.full_document = Some(FullDocumentType::UpdateLookup);
        options.max_await_time = Some(wait);
        match at {
            // What happened at that time was there when reading began.
            At::From(time) => {
                let (seconds, increment) = match time.increment.checked_add(1) {
                    Some(increment) => (time.time, increment),
                    None => (time.time + 1, 0),
                };
                options.start_at_operation_time = Some(Timestamp { time: seconds, increment });
            }
            At::Behind(token) => options.start_after = Some(token.clone()),
        }
        options
    }

    async fn open(&self, at: &At, wait: Duration) -> Result<ChangeStream<Event>, mongodb::error::Error> {
        let of = doc! { "$match": { "ns.coll": { "$in": [&self.reading.name, POINTS] } } };
        let options = Self::options(at, wait);
        let stream = self.reading.driver.db().watch().pipeline([of]).with_options(options).await?;
        Ok(stream.with_type())
    }

    /// Reads what changes, until the mark comes.
    async fn follow<R>(
        &mut self,
        stream: &mut ChangeStream<Event>,
        mut spot: Spot,
        to: &Deliver<R>,
        patience: &mut Patience,
    ) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let mut delivered = Instant::now();
        loop {
            let mut events = Vec::new();
            // What is there is taken; where nothing is, this waits.
            while events.len() < CHUNK {
                let Some(event) = stream.next_if_any().await? else {
                    patience.restore();
                    break;
                };
                events.push((event.id.clone(), self.seen(event)?));
            }
            if to.is_closed() {
                return Err(Stop::Closed);
            }
            if !events.is_empty() {
                delivered = Instant::now();
                if self.deliver_events(events, &mut spot, to).await? {
                    return Ok(());
                }
            } else if delivered.elapsed() >= IDLE {
                // Nothing has changed, but the log has gone on.
                if let Some(token) = stream.resume_token() {
                    spot.at = At::Behind(token);
                }
                let finder =
                    Arc::new(ByChange { order: Arc::clone(&self.reading.order), frontier: Frontier::End });
                let documents = Documents::new(finder, None);
                self.deliver(documents, &[], None, &spot, to).await?;
                delivered = Instant::now();
            }
        }
    }

    fn seen(&self, event: Event) -> Result<Seen, Stop> {
        let of_database =
            matches!(event.operation_type, OperationType::DropDatabase | OperationType::Invalidate);
        if !of_database && !self.is_of(&event, &self.reading.name) {
            return Ok(Seen::Nothing);
        }
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
    async fn deliver_last<R>(&self, offset: u64, single: &Single, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let found = match single {
            Single::Document(place) => self.at_place(place).await,
            Single::Change(spot) => self.first_change(spot).await,
        };
        // A server that does not have it any more may still have what comes behind it.
        let (Ok(Some(document)), Some(spot)) = (found, &self.spot) else { return Ok(()) };
        // Reading goes on where the earlier run has left it, not behind this record: what finds a change is the place before it, and a commit that came before
        // anything else was read would have the next run read that change once more.
        let order = Arc::clone(&self.reading.order);
        let then = spot.token(&order);
        let place = BesideSnapshot { order, at: spot.at.clone() };
        let mut documents = Documents::new(Arc::new(place), None).then(then);
        documents.push(&document, ());
        let delivery = self.reading.decoding.deliver::<R, _>(documents, offset, offset + 1, &[], None);
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)
    }

    /// The document at a place, if it is still there.
    async fn at_place(&self, place: &Place) -> Result<Option<RawDocumentBuf>, mongodb::error::Error> {
        let collection =
            self.reading.driver.collection(&self.reading.name).clone_with_type::<RawDocumentBuf>();
        let found = collection.find_one(doc! { "_id": place.id.clone() }).await?;
        Ok(found.filter(|document| self.reading.order.place(document) == *place))
    }

    async fn first_change(&self, spot: &Spot) -> Result<Option<RawDocumentBuf>, mongodb::error::Error> {
        let mut stream = self.open(&spot.at, AWAIT).await?;
        let until = Instant::now() + LAST;
        while Instant::now() < until {
            let Some(event) = stream.next_if_any().await? else { continue };
            if let Ok(Seen::Document(document, how)) = self.seen(event)
                && self.is_delivered(&document, &how, &spot.frontier)
            {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    async fn finish<R>(&mut self, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let finder = Arc::new(ByChange { order: Arc::clone(&self.reading.order), frontier: Frontier::End });
        let token = self.spot.as_ref().and_then(|spot| spot.token(&self.reading.order));
        let documents = Documents::new(finder, token);
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
