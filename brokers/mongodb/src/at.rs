//! How far a collection that is watched was read: a place in the server's log, and a frontier among its documents.

use std::sync::Arc;

use bson::{Bson, Document, RawDocument, Timestamp, doc};
use mongodb::change_stream::event::ResumeToken;

use crate::documents::Finder;
use crate::place::{Order, Place, read_token, token};

/// A place in the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum At {
    /// All that happened up to this time is known.
    From(Timestamp),
    /// All changes up to this one.
    Behind(ResumeToken),
}

/// Up to where documents were read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frontier {
    Start,
    At(Place),
    /// All of them.
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spot {
    pub(crate) at: At,
    pub(crate) frontier: Frontier,
}

/// Where one record is found again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Single {
    /// It is the document at this place.
    Document(Place),
    /// It is the first change behind this spot that is told.
    Change(Spot),
}

/// A change is found behind the one before it: so its token says that it is not that spot which is meant.
const NEXT: &str = "next";

impl Spot {
    /// As a position has it.
    pub(crate) fn token(&self, order: &Order) -> Option<String> {
        Some(token("changes", self.document(order)?))
    }

    /// What finds the change behind it.
    fn next(&self, order: &Order) -> Option<String> {
        let mut document = self.document(order)?;
        document.insert(NEXT, true);
        Some(token("changes", document))
    }

    fn document(&self, order: &Order) -> Option<Document> {
        let at = match &self.at {
            At::From(time) => doc! { "from": *time },
            At::Behind(behind) => doc! { "behind": bson::serialize_to_bson(behind).ok()? },
        };
        let read = match &self.frontier {
            Frontier::Start => Bson::Null,
            Frontier::At(place) => Bson::Document(order.document(place)),
            Frontier::End => Bson::Boolean(true),
        };
        Some(doc! { "at": at, "read": read })
    }

    /// What a token says; `None` of one that is another stream's.
    pub(crate) fn read(text: &str, order: &Order) -> Option<Self> {
        Self::read_document(changes_of(text)?, order)
    }

    fn read_document(mut changes: Document, order: &Order) -> Option<Self> {
        let Some(Bson::Document(mut at)) = changes.remove("at") else { return None };
        let at = match at.remove("from") {
            Some(Bson::Timestamp(time)) => At::From(time),
            _ => At::Behind(bson::deserialize_from_bson(at.remove("behind")?).ok()?),
        };
        let frontier = match changes.remove("read")? {
            Bson::Null => Frontier::Start,
            Bson::Document(place) => Frontier::At(order.read(place)?),
            Bson::Boolean(true) => Frontier::End,
            _ => return None,
        };
        Some(Self { at, frontier })
    }
}

impl Single {
    /// What the token of a record says.
    pub(crate) fn read(text: &str, order: &Order) -> Option<Self> {
        let changes = changes_of(text)?;
        let is_change = changes.contains_key(NEXT);
        let spot = Spot::read_document(changes, order)?;
        Some(match spot.frontier {
            Frontier::At(place) if !is_change => Self::Document(place),
            _ => Self::Change(spot),
        })
    }
}

fn changes_of(text: &str) -> Option<Document> {
    match read_token(text)?.remove("changes") {
        Some(Bson::Document(changes)) => Some(changes),
        _ => None,
    }
}

/// Documents of a chunk: each moves the frontier.
#[derive(Debug)]
pub(crate) struct BesideSnapshot {
    pub(crate) order: Arc<Order>,
    pub(crate) at: At,
}

impl Finder for BesideSnapshot {
    type Note = ();

    fn behind(&self, document: &RawDocument, (): &()) -> String {
        let frontier = Frontier::At(self.order.place(document));
        Spot { at: self.at.clone(), frontier }.token(&self.order).unwrap_or_default()
    }

    fn itself(&self, document: &RawDocument, (): &(), _: Option<String>) -> Option<String> {
        Some(self.behind(document, &()))
    }
}

/// Changes: each moves the place in the log, and is found again behind the one before it.
#[derive(Debug)]
pub(crate) struct ByChange {
    pub(crate) order: Arc<Order>,
    pub(crate) frontier: Frontier,
}

impl Finder for ByChange {
    type Note = ResumeToken;

    fn behind(&self, _: &RawDocument, note: &ResumeToken) -> String {
        let spot = Spot { at: At::Behind(note.clone()), frontier: self.frontier.clone() };
        spot.token(&self.order).unwrap_or_default()
    }

    fn itself(&self, _: &RawDocument, _: &ResumeToken, before: Option<String>) -> Option<String> {
        Spot::read(&before?, &self.order)?.next(&self.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_how_far_it_was() {
        let order = Order { fields: vec!["time".to_owned()] };
        let place = Place { key: vec![Bson::Int64(7)], id: Bson::String("a".to_owned()) };
        let time = Timestamp { time: 9, increment: 4 };
        let behind: ResumeToken =
            bson::deserialize_from_bson(Bson::Document(doc! { "_data": "82" })).unwrap();
        for at in [At::From(time), At::Behind(behind)] {
            for frontier in [Frontier::Start, Frontier::At(place.clone()), Frontier::End] {
                let text = Spot { at: at.clone(), frontier: frontier.clone() }.token(&order).unwrap();
                let read = Spot::read(&text, &order).unwrap();
                assert_eq!(read.frontier, frontier, "{text}");
                assert_eq!(read.token(&order).as_ref(), Some(&text));
                let next = read.next(&order).unwrap();
                assert_eq!(Single::read(&next, &order), Some(Single::Change(read)), "{next}");
            }
        }
        let itself =
            Spot { at: At::From(time), frontier: Frontier::At(place.clone()) }.token(&order).unwrap();
        assert_eq!(Single::read(&itself, &order), Some(Single::Document(place)));
        assert!(Spot::read("{\"after\":{\"_id\":1}}", &order).is_none());
    }
}
