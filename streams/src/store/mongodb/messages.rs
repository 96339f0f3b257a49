//! Messages within a transaction: those that have numbers, and those that wait for some.

use std::ops::Range;

use bson::oid::ObjectId;
use bson::{DateTime, Document, RawDocument, RawDocumentBuf, doc};

use super::candidates::MANY;
use super::driver::wait;
use super::layout::{BUFFER, SEGMENTS};
use super::message::{self, Marker};
use super::pending::between;
use super::segments::Segment;
use super::transaction::{Find, MongoRows, Told};
use super::values;
use crate::store::Texts;

/// What is shown of a document: the number of the message, and what was asked for. Says whether more is wanted.
pub(super) type EachDocument<'a> = dyn FnMut(u64, &RawDocument) -> Result<bool, bson::error::Error> + 'a;

/// So many segments are read at once.
const SEGMENTS_AT_ONCE: i64 = 16;

/// The messages that wait: appended by whomever, taken by nobody.
pub(super) fn waiting(name: &str) -> Document {
    // Other kinds of `_id` are none that minibatch makes.
    let (least, most) = (ObjectId::from_bytes([0; 12]), ObjectId::from_bytes([0xff; 12]));
    doc! {
        "stream": name, "processed": false, "_id": { "$gte": least, "$lte": most }, "watermill": { "$exists": false },
    }
}

/// When a message came, and its text.
pub(super) fn shown(message: &RawDocument, text: &mut Vec<u8>) -> Result<i64, bson::error::Error> {
    text.clear();
    if let Some(data) = message.get("data")? {
        values::decode(data, text)?;
    }
    Ok(message.get_datetime("created").map_or(0, DateTime::timestamp_millis))
}

impl MongoRows<'_> {
    /// The messages that have no numbers yet, up to `most`.
    pub(super) fn look_ahead(&mut self, stream: u64, name: &str, most: u64) -> Told<()> {
        let wanted = usize::try_from(most).unwrap_or(usize::MAX);
        let known = self.ahead.as_ref();
        if known.is_some_and(|(of, ids, all)| *of == stream && (*all || ids.len() >= wanted)) {
            return Ok(());
        }
        if let Some(ids) = self.store.candidates().first(stream, wanted) {
            self.ahead = Some((stream, ids, false));
            return Ok(());
        }
        self.flush_messages()?;
        let bold = self.store.candidates().is_bold();
        let sought = if bold { wanted.max(MANY) } else { wanted };
        let mut ids = Vec::new();
        let find = Find {
            filter: waiting(name),
            fields: Some(doc! { "_id": 1 }),
            sort: Some(doc! { "_id": 1 }),
            limit: i64::try_from(sought).ok().filter(|most| *most < i64::MAX),
        };
        self.each(BUFFER, find, |message| {
            ids.extend(message.get_object_id("_id").ok());
            Ok(true)
        })?;
        let all = ids.len() < wanted;
        if bold && !all {
            self.store.candidates().put(stream, ids.clone());
            ids.truncate(wanted);
        }
        self.ahead = Some((stream, ids, all));
        Ok(())
    }

    /// How many messages have no numbers yet, counted by the server.
    pub(super) fn count(&mut self, name: &str) -> Told<u64> {
        let buffer = self.store.driver.collection(BUFFER);
        let counted = wait(async { buffer.count_documents(waiting(name)).await });
        counted.map_err(|error| self.broken("count messages", error))
    }

    /// The segments that messages of a range are in, in order, beginning with `range.start`: some of them.
    fn segments(&mut self, stream: u64, range: &Range<u64>) -> Told<Vec<Segment>> {
        let mut all = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Some(found) = self.store.remembered().of(stream, at) else { break };
            at = found.end();
            all.push(found);
        }
        if !all.is_empty() {
            return Ok(all);
        }
        let find = Find {
            filter: doc! { "stream": stream.cast_signed(), "until": { "$gt": range.start.cast_signed() } },
            sort: Some(doc! { "until": 1 }),
            limit: Some(SEGMENTS_AT_ONCE),
            ..Find::default()
        };
        let end = range.end;
        self.each(SEGMENTS, find, |document| {
            all.extend(Segment::read(document).filter(|segment| segment.first < end));
            Ok(true)
        })?;
        if self.session.is_none() {
            let mut remembered = self.store.remembered();
            all.iter().for_each(|segment| remembered.add(segment.clone()));
        }
        Ok(all)
    }

    /// Shows the documents of a range of messages in their order, with these fields, until `each` says no.
    pub(super) fn walk(
        &mut self,
        stream: u64,
        range: Range<u64>,
        fields: Document,
        each: &mut EachDocument<'_>,
    ) -> Told<()> {
        self.flush_messages()?;
        let mut left = range;
        while !left.is_empty() {
            let segments = self.segments(stream, &left)?;
            let Some(end) = segments.last().map(Segment::end) else { return Ok(()) };
            for segment in &segments {
                if !self.walk_segment(segment, &left, &fields, each)? {
                    return Ok(());
                }
            }
            left.start = end.max(left.start + 1);
        }
        Ok(())
    }

    /// Says whether more is wanted.
    fn walk_segment(
        &mut self,
        segment: &Segment,
        range: &Range<u64>,
        fields: &Document,
        each: &mut EachDocument<'_>,
    ) -> Told<bool> {
        let from = range.start.max(segment.base);
        let ids = segment.ids(from, range.end);
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(true) };
        let find = Find {
            filter: between(Marker { stream: segment.stream, segment: segment.base }, *first, *last),
            fields: Some(fields.clone()),
            sort: Some(doc! { "_id": 1 }),
            ..Find::default()
        };
        let (mut at, mut more) = (0, true);
        self.each(BUFFER, find, |message| {
            let id = message.get_object_id("_id").ok();
            // Both are in the same order.
            while id.is_some_and(|id| ids.get(at).is_some_and(|other| *other < id)) {
                at += 1;
            }
            if id.is_some() && ids.get(at).copied() == id {
                more = each(from + at as u64, message)?;
            }
            Ok(more)
        })?;
        Ok(more)
    }

    /// Gathers documents of messages.
    pub(super) fn documents(
        &mut self,
        name: &str,
        at: i64,
        texts: &Texts,
        marker: Option<Marker>,
    ) -> Told<Vec<ObjectId>> {
        let mut ids = Vec::with_capacity(texts.len());
        for text in texts.iter() {
            let id = ObjectId::new();
            let document: RawDocumentBuf = message::document(id, name, at, text, marker)?;
            self.pending.inserts.push(document);
            ids.push(id);
        }
        Ok(ids)
    }

    /// Takes messages of a range away, and the numbers of segments of which nothing is left.
    pub(super) fn remove_part(&mut self, stream: u64, part: &Range<u64>) -> Told<()> {
        let find = Find {
            filter: doc! { "stream": stream.cast_signed(), "until": { "$gt": part.start.cast_signed() } },
            fields: Some(doc! { "ids": 0 }),
            sort: Some(doc! { "until": 1 }),
            ..Find::default()
        };
        let mut found = Vec::new();
        self.each(SEGMENTS, find, |document| {
            let segment = Segment::read(document);
            let more = segment.as_ref().is_none_or(|segment| segment.first < part.end);
            found.extend(segment.filter(|_| more));
            Ok(more)
        })?;
        for segment in found {
            let (from, until) = (part.start.max(segment.first), part.end.min(segment.until));
            if from >= until {
                continue;
            }
            let marker = Marker { stream, segment: segment.base };
            if from == segment.first && until == segment.until {
                self.pending.cuts.push((segment.id, until, until));
            } else if from == segment.first {
                self.pending.cuts.push((segment.id, until, segment.until));
            } else if until == segment.until {
                self.pending.cuts.push((segment.id, segment.first, from));
            }
            let known = self.store.remembered().of(stream, from).filter(|known| known.base == segment.base);
            let whole = match known {
                Some(known) => Some(known),
                None => {
                    let mut read = None;
                    let find = Find { filter: doc! { "_id": segment.id }, ..Find::default() };
                    self.each(SEGMENTS, find, |document| {
                        read = Segment::read(document);
                        Ok(false)
                    })?;
                    read
                }
            };
            let Some(whole) = whole else { continue };
            let ids = whole.ids(from, until);
            if let (Some(first), Some(last)) = (ids.first(), ids.last()) {
                self.pending.deletes.push((marker, *first, *last));
            }
        }
        Ok(())
    }
}
