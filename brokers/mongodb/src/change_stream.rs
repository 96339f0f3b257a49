//! The change stream of a collection: opened at a place in the server's log, and what its events are to a stream of records.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocumentBuf, Timestamp, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use mongodb::options::{ChangeStreamOptions, FullDocumentType};
use watermill_core::error::BrokerError;

use crate::at::{At, Frontier, Spot};
use crate::compare;
use crate::documents::Told;
use crate::failure::{Told as Cause, code, failure};
use crate::patience::Patience;
use crate::place::Place;
use crate::read_collection::Changes;
use crate::reader::{Reading, Stop, is_mark};

/// The server waits so long for a change before it says that there is none.
pub(crate) const AWAIT: Duration = Duration::from_millis(500);

/// The same, while there are documents to be read.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);

/// Where the documents are by which we know how far a stream has come.
pub(crate) const POINTS: &str = "watermill_points";

/// Such a document comes within this time, if it comes at all.
const COMES: Duration = Duration::from_secs(60);

/// So long the last change before a restart is looked for, to be compared with.
const LAST: Duration = Duration::from_secs(5);

/// A collection, and which of its changes count.
pub(crate) struct Watched {
    pub(crate) reading: Reading,
    pub(crate) changes: Changes,
}

/// What the server tells.
pub(crate) type Event = ChangeStreamEvent<RawDocumentBuf>;

/// What an event is to the stream.
pub(crate) enum Seen {
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

impl Watched {
    /// What to do where the server's log does not reach back so far, or where it has no such place.
    pub(crate) fn lost(&self, error: &mongodb::error::Error) -> Option<BrokerError> {
        let what = match code(error)? {
            // The last one is what the log itself says when what a stream stands at is removed from it.
            286 | 280 | 136 => "the server's log does not reach back to where the last run stopped",
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

    /// Now, in the server's log.
    pub(crate) async fn now(&self) -> Result<Timestamp, Stop> {
        let time = self.reading.driver.operation_time().await?;
        time.ok_or_else(|| {
            let cause = "the server tells no time of its log, which change streams need";
            Stop::Broker(failure("watch", self.reading.location(), cause))
        })
    }

    /// Whether a change is told: one of a document that is read later is not. Of what was deleted no place is known.
    pub(crate) fn is_delivered(&self, document: &RawDocumentBuf, how: &Told, frontier: &Frontier) -> bool {
        how.operation == "delete" || is_before(frontier, &self.reading.order.place(document))
    }

    /// Whether the mark was there. Asked once, so it may take a look at every document.
    pub(crate) async fn has_mark(&self) -> Result<bool, mongodb::error::Error> {
        let collection =
            self.reading.driver.collection(&self.reading.name).clone_with_type::<RawDocumentBuf>();
        let found = collection.find_one(doc! { "eos__": true }).await?;
        Ok(found.is_some_and(|document| is_mark(&document)))
    }

    /// What has changed until now.
    pub(crate) async fn events_until_now(
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

    /// Opens it at a place in the log.
    pub(crate) async fn open(
        &self,
        at: &At,
        wait: Duration,
    ) -> Result<ChangeStream<Event>, mongodb::error::Error> {
        let of = doc! { "$match": { "ns.coll": { "$in": [&self.reading.name, POINTS] } } };
        let options = Self::options(at, wait);
        let stream = self.reading.driver.db().watch().pipeline([of]).with_options(options).await?;
        Ok(stream.with_type())
    }

    /// What an event is to the stream.
    pub(crate) fn seen(&self, event: Event) -> Result<Seen, Stop> {
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

    /// The document at a place, if it is still there.
    pub(crate) async fn at_place(
        &self,
        place: &Place,
    ) -> Result<Option<RawDocumentBuf>, mongodb::error::Error> {
        let collection =
            self.reading.driver.collection(&self.reading.name).clone_with_type::<RawDocumentBuf>();
        let found = collection.find_one(doc! { "_id": place.id.clone() }).await?;
        Ok(found.filter(|document| self.reading.order.place(document) == *place))
    }

    /// The first change behind a spot that is told.
    pub(crate) async fn first_change(
        &self,
        spot: &Spot,
    ) -> Result<Option<RawDocumentBuf>, mongodb::error::Error> {
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
}
