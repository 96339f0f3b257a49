//! Reading a collection and then what changes in it, without a gap between the two, and nothing twice.
//!
//! The collection is read in chunks, in the order of a key, and its change stream beside it from before the first chunk on. What was read reaches up to a *frontier*. A change of
//! a document beyond it is dropped: the document is read later, as it is then. A change of one before it is delivered. What changes while a chunk is read may be in the chunk or not:
//! so the changes are read up to a point behind the chunk before it is delivered, documents that have changed are left out of it, and their changes are delivered behind it. This needs
//! no more of the server than its change stream: no reading at a point of its past, which it does not keep for long.
//!
//! The point behind a chunk is a document of our own, written when the chunk was read: when it comes in the stream, all that was before has come. That the server has nothing to tell at the
//! moment says nothing, since it may not have looked through all of its log yet. So the stream is one of the database, of both collections.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::RawDocumentBuf;
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ResumeToken;
use serde::de::DeserializeOwned;
use watermill_core::broker::InputEnd;
use watermill_core::record::StreamRecord;

use crate::at::{At, BesideSnapshot, ByChange, Frontier, Single, Spot};
use crate::change_stream::{AWAIT, Event, GLANCE, Seen, Watched};
use crate::documents::{Documents, Told};
use crate::failure::driver_failure;
use crate::patience::Patience;
use crate::place::Place;
use crate::reader::{Stop, is_mark};
use crate::source::{Deliver, Gauge, Reader};

/// So many documents are a chunk.
const CHUNK: usize = 2000;

/// Where nothing changes for so long, positions go on with the log all the same: it does not reach back for ever.
const IDLE: Duration = Duration::from_secs(30);

/// Reads it.
pub(crate) struct ChangeReader {
    pub(crate) watched: Watched,
    /// `None` when nothing was read.
    pub(crate) spot: Option<Spot>,
    /// How many documents were before.
    pub(crate) next: u64,
    /// The last record before a restart: how many were before it, and where it is found.
    pub(crate) last: Option<(u64, Single)>,
    pub(crate) ended: bool,
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
        let mut patience = Patience::new(self.watched.reading.driver.retry_for);
        if let Some((offset, single)) = self.last.take() {
            self.deliver_last(offset, &single, to).await?;
        }
        loop {
            match self.go_on(to, &mut patience).await {
                // What was delivered is behind `spot`, so it goes on exactly there.
                Err(Stop::Failed(error)) => {
                    if let Some(lost) = self.watched.lost(&error) {
                        return Err(Stop::Broker(lost));
                    }
                    let location = self.watched.reading.location();
                    patience.after(error, "read the changes of", location).await.map_err(Stop::Broker)?;
                }
                other => return other,
            }
        }
    }

    async fn go_on<R>(&mut self, to: &Deliver<R>, patience: &mut Patience) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let mut spot = match self.spot.take() {
            Some(spot) => spot,
            None => {
                let frontier = if self.watched.changes.only { Frontier::End } else { Frontier::Start };
                Spot { at: At::From(self.watched.now().await?), frontier }
            }
        };
        self.spot = Some(spot.clone());
        if spot.frontier != Frontier::End {
            let mut stream = self.watched.open(&spot.at, GLANCE).await?;
            while spot.frontier != Frontier::End {
                if self.read_chunk(&mut stream, &mut spot, to, patience).await? {
                    return Ok(());
                }
            }
        }
        let mut stream = self.watched.open(&spot.at, AWAIT).await?;
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
        let reading = &self.watched.reading;
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
        let events = self.watched.events_until_now(stream, patience).await?;
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
            let (token, seen) = (event.id.clone(), self.watched.seen(event)?);
            if let Seen::Document(document, how) = &seen
                && self.watched.is_delivered(document, how, &spot.frontier)
            {
                changed.insert(id_of(document));
            }
            changes.push((token, seen));
        }
        let place = BesideSnapshot { order: Arc::clone(&order), at: spot.at.clone() };
        let mut documents = Documents::new(Arc::new(place), before.token(&order));
        for (_, document) in &chunk {
            if !is_mark(document)
                && self.watched.reading.takes(document)
                && !changed.contains(&id_of(document))
            {
                documents.push(document, ());
            }
        }
        // Behind the chunk, and all that was left out of it is a change that is delivered next.
        self.deliver(documents, &[], None, spot, to).await?;
        if self.deliver_events(changes, spot, to).await? {
            return Ok(true);
        }
        // A mark that was there ends the stream with what was there.
        if is_last && self.watched.has_mark().await? {
            self.finish(to).await?;
            return Ok(true);
        }
        Ok(false)
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
        let order = Arc::clone(&self.watched.reading.order);
        let mut rest = events.into_iter().peekable();
        while rest.peek().is_some() {
            let finder = Arc::new(ByChange { order: Arc::clone(&order), frontier: spot.frontier.clone() });
            let mut documents = Documents::new(finder, spot.token(&order));
            let (mut told, mut marked) = (Vec::new(), false);
            while let Some((token, seen)) = rest.next_if(|_| !documents.is_full() && !marked) {
                match seen {
                    Seen::Document(document, how) => {
                        if self.watched.is_delivered(&document, &how, &spot.frontier) {
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
        let documents = documents.then(spot.token(&self.watched.reading.order));
        let delivery = self.watched.reading.decoding.deliver::<R, _>(documents, first, self.next, told, end);
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)?;
        self.spot = Some(spot.clone());
        Ok(())
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
                events.push((event.id.clone(), self.watched.seen(event)?));
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
                let finder = Arc::new(ByChange {
                    order: Arc::clone(&self.watched.reading.order),
                    frontier: Frontier::End,
                });
                let documents = Documents::new(finder, None);
                self.deliver(documents, &[], None, &spot, to).await?;
                delivered = Instant::now();
            }
        }
    }

    /// Delivers the last record that an earlier run has let in, if it can still be had: what comes is compared with its key.
    async fn deliver_last<R>(&self, offset: u64, single: &Single, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let found = match single {
            Single::Document(place) => self.watched.at_place(place).await,
            Single::Change(spot) => self.watched.first_change(spot).await,
        };
        // A server that does not have it any more may still have what comes behind it.
        let (Ok(Some(document)), Some(spot)) = (found, &self.spot) else { return Ok(()) };
        // Reading goes on where the earlier run has left it, not behind this record: what finds a change is the place before it, and a commit that came before
        // anything else was read would have the next run read that change once more.
        let order = Arc::clone(&self.watched.reading.order);
        let then = spot.token(&order);
        let place = BesideSnapshot { order, at: spot.at.clone() };
        let mut documents = Documents::new(Arc::new(place), None).then(then);
        documents.push(&document, ());
        let delivery =
            self.watched.reading.decoding.deliver::<R, _>(documents, offset, offset + 1, &[], None);
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)
    }

    async fn finish<R>(&mut self, to: &Deliver<R>) -> Result<(), Stop>
    where
        R: StreamRecord + DeserializeOwned,
    {
        let finder =
            Arc::new(ByChange { order: Arc::clone(&self.watched.reading.order), frontier: Frontier::End });
        let token = self.spot.as_ref().and_then(|spot| spot.token(&self.watched.reading.order));
        let documents = Documents::new(finder, token);
        let delivery = self.watched.reading.decoding.deliver::<R, _>(
            documents,
            self.next,
            self.next,
            &[],
            Some(InputEnd::Mark),
        );
        to.send(Ok(delivery)).await.map_err(|_| Stop::Closed)
    }
}

impl<R: StreamRecord + DeserializeOwned> Reader<R> for ChangeReader {
    async fn read(self, to: Deliver<R>, _: Arc<Gauge>) {
        let location = self.watched.reading.location();
        match self.read_all(&to).await {
            Ok(()) | Err(Stop::Closed) => {}
            Err(Stop::Broker(error)) => drop(to.send(Err(error)).await),
            Err(Stop::Failed(error)) => drop(to.send(Err(driver_failure("read", location, error))).await),
        }
    }
}
