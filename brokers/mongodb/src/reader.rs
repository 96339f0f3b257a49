//! Reading a collection in the order of a key: once, or on and on as it grows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use mongodb::options::{FindOneOptions, FindOptions, Hint};
use serde::de::DeserializeOwned;
use watermill_core::broker::InputEnd;
use watermill_core::error::BrokerError;
use watermill_core::record::StreamRecord;

use crate::documents::{Decoding, Documents, Finder};
use crate::driver::Driver;
use crate::index::{Behind, Index};
use crate::lane_rule::Lanes;
use crate::patience::Patience;
use crate::place::{Order, Place, token};
use crate::source::{Deliver, Gauge, Reader};

/// So many documents come with one answer of the server, at most.
const ANSWER: u32 = 4000;

/// A collection that grows is asked again after so long, at least.
const POLL: Duration = Duration::from_millis(50);

/// What is read, and in what order.
pub(crate) struct Reading {
    pub(crate) driver: Driver,
    pub(crate) name: String,
    pub(crate) filter: Option<Document>,
    pub(crate) order: Arc<Order>,
    pub(crate) index: Index,
    pub(crate) projection: Option<Document>,
    pub(crate) decoding: Decoding,
    /// The lane whose documents are wanted, where this side tells them apart.
    pub(crate) lane: Option<(Lanes, u32)>,
}

/// Where a reader begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beginning {
    /// The last records before it, which are delivered to be compared with, and how many were before each.
    pub(crate) lasts: Vec<(u64, Place)>,
    /// How many documents were before it.
    pub(crate) next: u64,
    /// Behind which place.
    pub(crate) after: Option<Place>,
}

/// Reads it.
pub(crate) struct CollectionReader {
    pub(crate) reading: Reading,
    pub(crate) from: Beginning,
    /// It grows: after how long what has come is complete.
    pub(crate) settle: Option<Duration>,
    /// It has ended by its mark before.
    pub(crate) ended: bool,
    /// The mark has come.
    pub(crate) marked: bool,
}

/// Documents are found by their places.
#[derive(Debug)]
pub(crate) struct ByPlace(pub(crate) Arc<Order>);

impl Finder for ByPlace {
    type Note = ();

    fn behind(&self, document: &RawDocument, (): &()) -> String {
        after(&self.0, &self.0.place(document))
    }

    fn itself(&self, document: &RawDocument, (): &(), _: Option<String>) -> Option<String> {
        Some(self.behind(document, &()))
    }
}

/// The token of what stands behind a place.
pub(crate) fn after(order: &Order, place: &Place) -> String {
    token("after", order.document(place))
}

/// Whether a document ends its stream: `{"eos__": true}`, whatever its `_id`.
pub(crate) fn is_mark(document: &RawDocument) -> bool {
    let mut fields = document.iter().flatten().filter(|(name, _)| name.as_str() != "_id");
    matches!((fields.next(), fields.next()), (Some((name, RawBsonRef::Boolean(true))), None) if name.as_str() == "eos__")
}

/// Why reading stopped.
pub(crate) enum Stop {
    /// Nobody takes it any more.
    Closed,
    Failed(mongodb::error::Error),
    Broker(BrokerError),
}

impl From<mongodb::error::Error> for Stop {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Failed(error)
    }
}

impl Reading {
    pub(crate) fn location(&self) -> String {
        format!("collection `{}` of database `{}`", self.name, self.driver.database)
    }

    pub(crate) fn takes(&self, document: &RawDocument) -> bool {
        self.lane.as_ref().is_none_or(|(lanes, lane)| lanes.takes(*lane, document))
    }

    /// How the documents behind a place are asked for.
    pub(crate) fn query(&self, after: Option<&Place>, most: Option<&Place>) -> (Document, FindOptions) {
        let Behind { min, filter } =
            after.map(|place| self.index.behind(&self.order, place)).unwrap_or_default();
        let filter = match (self.filter.clone(), filter) {
            (Some(own), Some(behind)) => doc! { "$and": [own, behind] },
            (own, behind) => own.or(behind).unwrap_or_default(),
        };
        // All that has this key, whatever its `_id`.
        let max = most.map(|place| self.index.bound(&self.order, place, Some(Bson::MaxKey)));
        let options = FindOptions::builder()
            .sort(self.order.sort(1))
            .hint(Hint::Name(self.index.name.clone()))
            .min(min)
            .max(max)
            .projection(self.projection.clone())
            .batch_size(ANSWER)
            .build();
        (filter, options)
    }

    /// Delivers the last records that an earlier run has let in, as far as they are there and unchanged.
    async fn deliver_lasts<R>(&self, lasts: &[(u64, Place)], to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        for (offset, place) in lasts {
            let collection = self.driver.collection(&self.name).clone_with_type::<RawDocumentBuf>();
            let options = FindOneOptions::builder().projection(self.projection.clone()).build();
            let found = collection.find_one(doc! { "_id": place.id.clone() }).with_options(options).await?;
            let Some(document) = found.filter(|document| self.order.place(document) == *place) else {
                continue;
            };
            let mut documents = Documents::new(Arc::new(ByPlace(Arc::clone(&self.order))), None);
            documents.push(&document, ());
            let delivery = self.decoding.deliver::<R, _>(documents, *offset, offset + 1, &[], None);
            to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)?;
        }
        Ok(())
    }

    /// The mark of a collection that is read by a key: without one it stands among those whose key is null, so that the index finds it.
    async fn has_mark(&self) -> Result<bool, mongodb::error::Error> {
        let Some(first) = self.order.fields.first() else { return Ok(false) };
        let collection = self.driver.collection(&self.name).clone_with_type::<RawDocumentBuf>();
        let found = collection.find_one(doc! { first: Bson::Null, "eos__": true }).await?;
        Ok(found.is_some_and(|document| is_mark(&document)))
    }

    /// The greatest key there is.
    async fn greatest(&self) -> Result<Option<Place>, mongodb::error::Error> {
        let collection = self.driver.collection(&self.name).clone_with_type::<RawDocumentBuf>();
        let found = collection
            .find_one(self.filter.clone().unwrap_or_default())
            .sort(self.order.sort(-1))
            .hint(Hint::Name(self.index.name.clone()))
            .await?;
        Ok(found.map(|document| self.order.place(&document)))
    }
}

impl CollectionReader {
    /// Reads all that is behind `self.from`, up to the key of `most`. A mark is noted wherever it stands: an `_id` says nothing of when it came.
    async fn pass<R>(
        &mut self,
        most: Option<&Place>,
        to: &Deliver<R>,
        patience: &mut Patience,
    ) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let reading = &self.reading;
        let collection = reading.driver.collection(&reading.name).clone_with_type::<RawDocumentBuf>();
        let (filter, options) = reading.query(self.from.after.as_ref(), most);
        let mut cursor = collection.find(filter).with_options(options).await?;
        let finder = Arc::new(ByPlace(Arc::clone(&reading.order)));
        let mut skipping = self.from.after.clone();
        loop {
            let before = self.from.after.as_ref().map(|place| after(&reading.order, place));
            let mut documents = Documents::new(Arc::clone(&finder), before);
            let mut more = true;
            while !documents.is_full() {
                more = cursor.advance().await?;
                if !more {
                    break;
                }
                patience.restore();
                let document = cursor.current();
                // The bound of an index includes the place itself.
                if let Some(place) = skipping.take()
                    && reading.order.place(document) == place
                {
                    continue;
                }
                if is_mark(document) {
                    self.marked = true;
                    continue;
                }
                if reading.takes(document) {
                    documents.push(document, ());
                }
            }
            if let Some(last) = documents.len().checked_sub(1).and_then(|last| documents.get(last)) {
                let (place, first) = (reading.order.place(last), self.from.next);
                let next = first + documents.len() as u64;
                let delivery = reading.decoding.deliver::<R, _>(documents, first, next, &[], None);
                to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)?;
                (self.from.next, self.from.after) = (next, Some(place));
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn finish<R>(&self, end: InputEnd, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let reading = &self.reading;
        let before = self.from.after.as_ref().map(|place| after(&reading.order, place));
        let documents = Documents::new(Arc::new(ByPlace(Arc::clone(&reading.order))), before);
        let next = self.from.next;
        let delivery = reading.decoding.deliver::<R, _>(documents, next, next, &[], Some(end));
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)
    }

    async fn count(&self, gauge: &Gauge) {
        let reading = &self.reading;
        if reading.filter.is_none()
            && reading.lane.is_none()
            && self.from.after.is_none()
            && self.settle.is_none()
            && let Ok(count) = reading.driver.collection(&reading.name).estimated_document_count().await
        {
            gauge.count.store(count + 1, Ordering::Relaxed);
        }
    }

    async fn read_once<R>(&mut self, to: &Deliver<R>, patience: &mut Patience) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        self.pass(None, to, patience).await?;
        let ended = self.marked || self.reading.has_mark().await?;
        self.finish(if ended { InputEnd::Mark } else { InputEnd::Exhausted }, to).await
    }

    /// Reads on as the collection grows. A key is read when it has been the greatest one, or below it, for long enough.
    async fn read_on<R>(
        &mut self,
        settle: Duration,
        greatest: &mut VecDeque<(Instant, Place)>,
        to: &Deliver<R>,
        patience: &mut Patience,
    ) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let mut marked: Option<Instant> = None;
        loop {
            if to.is_closed() {
                return Err(Stop::Closed);
            }
            let asked = Instant::now();
            let top = self.reading.greatest().await?;
            patience.restore();
            if let Some(top) = top
                && greatest.back().is_none_or(|(_, known)| known.key != top.key)
            {
                greatest.push_back((asked, top));
            }
            // The last one that has settled tells of those before it, too.
            let mut settled = None;
            while greatest.front().is_some_and(|(since, _)| since.elapsed() >= settle) {
                settled = greatest.pop_front();
            }
            if let Some((since, place)) = settled {
                self.pass(Some(&place), to, patience).await?;
                if greatest.is_empty() {
                    // It is known still, so that it does not count as new.
                    greatest.push_back((since, place));
                }
            }
            // What was written before the mark has settled when that has.
            if marked.is_none() && self.reading.has_mark().await? {
                marked = Some(asked);
            }
            if marked.is_some_and(|since| since.elapsed() >= settle) {
                self.pass(None, to, patience).await?;
                return self.finish(InputEnd::Mark, to).await;
            }
            tokio::time::sleep((settle / 4).max(POLL)).await;
        }
    }

    async fn read_all<R>(mut self, to: &Deliver<R>, gauge: &Gauge) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        if self.ended {
            return self.finish(InputEnd::Mark, to).await;
        }
        let mut patience = Patience::new(self.reading.driver.retry_for);
        self.count(gauge).await;
        let lasts = std::mem::take(&mut self.from.lasts);
        while let Err(stop) = self.reading.deliver_lasts(&lasts, to).await {
            let Stop::Failed(error) = stop else { return Err(stop) };
            patience.after(error, "read", self.reading.location()).await.map_err(Stop::Broker)?;
        }
        let mut greatest = VecDeque::new();
        loop {
            let done = match self.settle {
                None => self.read_once(to, &mut patience).await,
                Some(settle) => self.read_on(settle, &mut greatest, to, &mut patience).await,
            };
            match done {
                // What was delivered is behind `from`, so it goes on exactly there.
                Err(Stop::Failed(error)) => {
                    patience.after(error, "read", self.reading.location()).await.map_err(Stop::Broker)?;
                }
                other => return other,
            }
        }
    }
}

impl<R: StreamRecord + DeserializeOwned> Reader<R> for CollectionReader {
    async fn read(self, to: Deliver<R>, gauge: Arc<Gauge>) {
        let location = self.reading.location();
        match self.read_all(&to, &gauge).await {
            Ok(()) | Err(Stop::Closed) => {}
            Err(Stop::Broker(error)) => drop(to.send(Err(error)).await),
            Err(Stop::Failed(error)) => {
                let error = crate::failure::driver_failure("read", location, error);
                drop(to.send(Err(error)).await);
            }
        }
    }
}
