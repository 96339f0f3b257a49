//! What a transaction does with messages: gathered, and sent in few commands.

use std::sync::Arc;

use bson::oid::ObjectId;
use bson::{Document, RawDocumentBuf, doc};

use super::layout::{BUFFER, SEGMENTS};
use super::message::Marker;
use super::segments::Segment;
use super::transaction::{Find, MongoRows, Told};

/// What is to be done, in this order.
#[derive(Default)]
pub(super) struct Pending {
    /// Documents of messages.
    pub(super) inserts: Vec<RawDocumentBuf>,
    /// Messages that are claimed: of this stream, those of this segment.
    pub(super) marks: Vec<(String, Segment)>,
    /// Messages that leave: the marker, the first and the last `_id`.
    pub(super) deletes: Vec<(Marker, ObjectId, ObjectId)>,
    pub(super) segments: Vec<Segment>,
    /// Segments of which less is left: their `_id`, and from where to where.
    pub(super) cuts: Vec<(ObjectId, u64, u64)>,
}

/// The messages of a segment that are between two of them.
pub(super) fn between(marker: Marker, from: ObjectId, to: ObjectId) -> Document {
    doc! { "_id": { "$gte": from, "$lte": to }, "watermill": marker.text() }
}

impl MongoRows<'_> {
    /// Sends what is to be done with messages.
    pub(super) fn flush_messages(&mut self) -> Told<()> {
        let Pending { inserts, marks, deletes, segments, cuts } = std::mem::take(&mut self.pending);
        self.insert("append", BUFFER, inserts)?;
        for (name, segment) in marks {
            self.mark(&name, &segment)?;
        }
        let gone: Vec<Document> =
            deletes.into_iter().map(|(marker, from, to)| between(marker, from, to)).collect();
        if !gone.is_empty() {
            self.delete("remove messages", BUFFER, gone)?;
        }
        if !segments.is_empty() {
            let documents: Told<Vec<RawDocumentBuf>> =
                segments.iter().map(|segment| self.raw("number messages", &segment.document())).collect();
            self.insert("number messages", SEGMENTS, documents?)?;
            self.fresh.extend(segments);
        }
        let (gone, less): (Vec<_>, Vec<_>) = cuts.into_iter().partition(|(_, first, until)| first >= until);
        if !gone.is_empty() {
            let ids: Vec<ObjectId> = gone.into_iter().map(|(id, ..)| id).collect();
            self.delete("forget numbers", SEGMENTS, vec![doc! { "_id": { "$in": ids } }])?;
        }
        if !less.is_empty() {
            let cut = less.into_iter().map(|(id, first, until)| {
                doc! { "q": { "_id": id }, "u": { "$set": { "first": first.cast_signed(), "until": until.cast_signed() } } }
            });
            self.update("forget numbers", SEGMENTS, cut.collect())?;
        }
        Ok(())
    }

    /// Claims the messages of a segment.
    ///
    /// They were found before, perhaps in an earlier transaction, and are marked as a range, which costs a server a quarter of what it costs to look for each. In between others may have taken some of
    /// them, and put new ones among them. So they are read again, as they have to be anyway: what was marked must be what is numbered.
    fn mark(&mut self, name: &str, segment: &Segment) -> Told<()> {
        let (Some(first), Some(last)) = (segment.ids.first(), segment.ids.last()) else { return Ok(()) };
        let marker = Marker { stream: segment.stream, segment: segment.base };
        // A list of one name says the same as the name, and has the server of the tests go along the range, and not through all that wait in the stream.
        let of = doc! {
            "_id": { "$gte": *first, "$lte": *last }, "stream": { "$in": [name] }, "processed": false,
            "watermill": { "$exists": false },
        };
        let set = doc! { "$set": { "processed": true, "watermill": marker.text() } };
        let marked =
            self.update("claim messages", BUFFER, vec![doc! { "q": of, "u": set, "multi": true }])?;
        if usize::try_from(marked) != Ok(segment.ids.len()) {
            return Err(self.conflict());
        }
        let find = Find {
            filter: between(marker, *first, *last),
            fields: Some(doc! { "created": 1, "data": 1 }),
            sort: Some(doc! { "_id": 1 }),
            ..Find::default()
        };
        let ids = Arc::clone(&segment.ids);
        let (mut at, mut taken) = (0, Vec::new());
        self.each(BUFFER, find, |message| {
            if ids.get(at).copied() != message.get_object_id("_id").ok() {
                return Ok(false);
            }
            taken.push((segment.stream, segment.base + at as u64, message.to_owned()));
            at += 1;
            Ok(true)
        })?;
        if at != ids.len() {
            return Err(self.conflict());
        }
        self.taken.extend(taken);
        Ok(())
    }
}
