//! The inputs of a run: in what order each is read, by which index, what is sent of its documents, and where a lane goes on with it.

use std::sync::Arc;
use std::time::Duration;

use bson::{Bson, Document, doc};
use watermill_core::broker::{AnySource, Origin, Position};
use watermill_core::error::BrokerError;

use crate::at::{Single, Spot};
use crate::broker::Input;
use crate::change_stream::Watched;
use crate::changes::ChangeReader;
use crate::documents::Decoding;
use crate::driver::Driver;
use crate::failure::{Told, failure};
use crate::index::{self, Index};
use crate::lane_rule::Lanes;
use crate::options::Options;
use crate::order::order_of;
use crate::place::{Order, Place, read_token};
use crate::read_collection::Changes;
use crate::reader::{Beginning, CollectionReader, Reading};

/// A stream that is watched on a server without change streams is asked for anew, and this is how long what has come takes to settle.
const SETTLE: Duration = Duration::from_secs(2);

/// An input, with all that was asked of the server before it is opened.
pub(crate) struct PlannedInput {
    input: Input,
    stream: String,
    keep_raw: bool,
    order: Arc<Order>,
    index: Index,
    projection: Option<Document>,
    changes: Option<Changes>,
    follow: Option<Duration>,
}

impl PlannedInput {
    /// Whether what is there is read beside what changes, so that points in the change stream have to be told.
    pub(crate) fn needs_points(&self) -> bool {
        self.changes.is_some_and(|changes| !changes.only)
    }

    pub(crate) fn location(&self, driver: &Driver) -> String {
        format!("collection `{}` of database `{}`", self.input.read.name, driver.database)
    }

    /// Opens it for a lane, at a position.
    pub(crate) fn open(
        &self,
        driver: &Driver,
        lane: Option<(&Lanes, u32)>,
        position: Option<&Position>,
    ) -> Result<AnySource, BrokerError> {
        let name = self.input.read.name.clone();
        let decoding = Decoding {
            stream: self.stream.clone(),
            origin: Arc::new(Origin::Collection { name: name.clone() }),
            keep_raw: self.keep_raw,
        };
        let of_lane = lane.and_then(|(lanes, lane)| lanes.filter(lane));
        let filter = match (self.input.read.filter.clone(), of_lane) {
            (Some(own), Some(of_lane)) => Some(doc! { "$and": [own, of_lane] }),
            (own, of_lane) => own.or(of_lane),
        };
        let reading = Reading {
            driver: driver.clone(),
            name,
            filter,
            order: Arc::clone(&self.order),
            index: self.index.clone(),
            projection: self.projection.clone(),
            decoding,
            lane: lane.map(|(lanes, lane)| (lanes.clone(), lane)),
        };
        let ended = position.is_some_and(|position| position.ended && position.marked);
        let unknown = || {
            let cause = "its position is one of another stream, or was read in another order; begin anew by `MongoBroker::start_over` or under another name";
            failure("go on with", self.location(driver), Told(cause.to_owned()))
        };
        if let Some(changes) = self.changes {
            let reader = self.change_reader(reading, changes, position, ended).ok_or_else(unknown)?;
            return (self.input.open_changes)(driver, self.location(driver), reader);
        }
        if position.is_some_and(|position| !position.finished.is_empty()) {
            let cause = "records of it were finished out of their order (`reorder_within`), and a collection does not say which those were; the server sorts it: read it in the order of the key by `ReadCollection::order_by`, and leave out `reorder_within`";
            return Err(failure("go on with", self.location(driver), Told(cause.to_owned())));
        }
        let from = self.beginning(position).ok_or_else(unknown)?;
        let reader = CollectionReader { reading, from, settle: self.follow, ended, marked: false };
        (self.input.open)(driver, self.location(driver), reader)
    }

    fn beginning(&self, position: Option<&Position>) -> Option<Beginning> {
        let Some(position) = position else { return Some(Beginning::default()) };
        let place = |text: &str| -> Option<Place> {
            match read_token(text)?.remove("after")? {
                Bson::Document(after) => self.order.read(after),
                _ => None,
            }
        };
        let after = match &position.token {
            Some(text) => Some(place(text)?),
            None => None,
        };
        let mut lasts = Vec::new();
        for last in position.last.iter().chain(&position.also_last).filter(|last| last.offset < position.next)
        {
            if let Some(text) = &last.token {
                lasts.push((last.offset, place(text)?));
            }
        }
        lasts.sort_by_key(|(offset, _)| *offset);
        Some(Beginning { lasts, next: position.next, after })
    }

    fn change_reader(
        &self,
        reading: Reading,
        changes: Changes,
        position: Option<&Position>,
        ended: bool,
    ) -> Option<ChangeReader> {
        let mut reader =
            ChangeReader { watched: Watched { reading, changes }, spot: None, next: 0, last: None, ended };
        if let Some(position) = position {
            reader.next = position.next;
            if let Some(token) = &position.token {
                reader.spot = Some(Spot::read(token, &self.order)?);
            }
            let last = position.last.as_ref().filter(|last| last.offset < position.next);
            if let Some((last, token)) = last.and_then(|last| Some((last, last.token.as_ref()?))) {
                reader.last = Some((last.offset, Single::read(token, &self.order)?));
            }
        }
        Some(reader)
    }
}

/// Finds out in what order an input is read, by which index, and what of its documents is sent.
pub(crate) async fn plan_input(
    driver: &Driver,
    input: Input,
    stream: String,
    keep_raw: bool,
    orders: &[String],
    options: &Options,
) -> Result<PlannedInput, BrokerError> {
    let lanes_by_range = options.lanes.as_ref().is_some_and(|lanes| lanes.filter(0).is_some());
    let lane_field = options.lanes.as_ref().map(Lanes::field);
    let read = &input.read;
    let location = || format!("collection `{}` of database `{}`", read.name, driver.database);
    let known = input.fields.as_deref();
    let fields = match &read.order {
        Some(fields) => fields.clone(),
        None => order_of(orders, known).map_err(|cause| failure("read", location(), Told(cause)))?,
    };
    let order = Order { fields: fields.into_iter().filter(|field| field != "_id").collect() };
    let (mut changes, mut follow) = (read.changes, read.follow);
    if let Some(wanted) = changes.filter(|_| !driver.facts.transactions) {
        if wanted.only || wanted.deletes {
            let cause = "the server has no change streams, since it belongs to no replica set; what was there before, and deletions, cannot be told without: make it a replica set (one node will do), or leave out `changes_only` and `deletes`";
            return Err(failure("watch", location(), Told(cause.to_owned())));
        }
        tracing::warn!(target: "watermill", collection = %read.name, settle = ?SETTLE, "the server has no change streams: the collection is read on by its key, and only what is inserted is seen");
        (changes, follow) = (None, Some(SETTLE));
    }
    if changes.is_some() && lanes_by_range {
        let cause = "changes are divided into lanes by this side alone: use `Lanes::by_hash`";
        return Err(failure("watch", location(), Told(cause.to_owned())));
    }
    if follow.is_some() && order.fields.is_empty() {
        let cause = "what comes is found by a key that goes up: the order of `_id`s of several producers says nothing of when their documents came; join by a key, name one by `ReadCollection::order_by`, or watch the collection by `MongoBroker::watch` on a replica set";
        return Err(failure("follow", location(), Told(cause.to_owned())));
    }
    let index = index::find(driver, &read.name, &order, read.filter.as_ref(), options.create_indexes).await?;
    // Whole documents are for dead letters; what `_id`, order and lane need is always sent.
    let projection = known.filter(|_| !read.whole && !keep_raw).map(|known| {
        let mut wanted: Vec<&str> = known.to_vec();
        wanted.extend(order.fields.iter().map(String::as_str));
        wanted.extend(lane_field);
        wanted.extend(["eos__", "_id"]);
        projection_of(&wanted)
    });
    Ok(PlannedInput { stream, keep_raw, order: Arc::new(order), index, projection, changes, follow, input })
}

/// Has these fields sent. Of a path whose beginning is wanted as a whole the beginning is enough, and both together are refused by the server.
fn projection_of(wanted: &[&str]) -> Document {
    let mut projection = Document::new();
    for field in wanted {
        let covered =
            wanted.iter().any(|other| field.strip_prefix(*other).is_some_and(|rest| rest.starts_with('.')));
        if !covered {
            projection.insert(*field, 1);
        }
    }
    projection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_a_wanted_field_is_not_asked_for_again() {
        let projection = projection_of(&["at", "at.x", "attic", "time", "_id"]);
        assert_eq!(projection, doc! { "at": 1, "attic": 1, "time": 1, "_id": 1 });
    }
}
