//! Which messages have which numbers: those that were given at once stand in one document, their `_id`s in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Document, RawDocument, doc};

/// So many `_id`s are remembered.
const REMEMBERED: usize = 1 << 18;

/// No document has more.
pub(super) const LARGEST: usize = 1 << 16;

#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) id: ObjectId,
    pub(super) stream: u64,
    /// The number of its first message.
    pub(super) base: u64,
    /// Before this one nothing of it is left.
    pub(super) first: u64,
    /// From this one on.
    pub(super) until: u64,
    /// Of all its messages, those that have gone included.
    pub(super) ids: Arc<[ObjectId]>,
}

impl Segment {
    pub(super) fn new(stream: u64, base: u64, ids: &[ObjectId]) -> Self {
        let until = base + ids.len() as u64;
        Self { id: ObjectId::new(), stream, base, first: base, until, ids: ids.into() }
    }

    /// The number behind its last message.
    pub(super) fn end(&self) -> u64 {
        self.base + self.ids.len() as u64
    }

    /// The `_id`s of a range of messages.
    pub(super) fn ids(&self, from: u64, until: u64) -> &[ObjectId] {
        let at = |number: u64| {
            usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.ids.len())
        };
        self.ids.get(at(from)..at(until)).unwrap_or_default()
    }

    pub(super) fn document(&self) -> Document {
        let mut bytes = Vec::with_capacity(self.ids.len() * 12);
        self.ids.iter().for_each(|id| bytes.extend_from_slice(&id.bytes()));
        doc! {
            "_id": self.id, "stream": self.stream.cast_signed(), "base": self.base.cast_signed(),
            "first": self.first.cast_signed(), "until": self.until.cast_signed(),
            "ids": Binary { subtype: BinarySubtype::Generic, bytes },
        }
    }

    /// From a document; without the `_id`s of the messages where these were not asked for.
    pub(super) fn read(document: &RawDocument) -> Option<Self> {
        let number = |name: &str| document.get_i64(name).ok().map(i64::cast_unsigned);
        let bytes = document.get_binary("ids").map_or(&[][..], |binary| binary.bytes);
        let ids = bytes.chunks_exact(12).filter_map(|id| id.try_into().ok()).map(ObjectId::from_bytes);
        Some(Self {
            id: document.get_object_id("_id").ok()?,
            stream: number("stream")?,
            base: number("base")?,
            first: number("first")?,
            until: number("until")?,
            ids: ids.collect(),
        })
    }
}

/// Segments that were made or read here before. Which number a message has never changes.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// By stream and first number.
    all: BTreeMap<(u64, u64), Segment>,
    order: VecDeque<(u64, u64)>,
    count: usize,
}

impl Remembered {
    pub(super) fn add(&mut self, segment: Segment) {
        let key = (segment.stream, segment.base);
        self.count += segment.ids.len();
        match self.all.insert(key, segment) {
            Some(before) => self.count -= before.ids.len(),
            None => self.order.push_back(key),
        }
        while self.count > REMEMBERED && self.order.len() > 1 {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(gone) = self.all.remove(&oldest) {
                self.count -= gone.ids.len();
            }
        }
    }

    /// The one that a message is in.
    pub(super) fn of(&self, stream: u64, message: u64) -> Option<Segment> {
        let (_, found) = self.all.range((stream, 0)..=(stream, message)).next_back()?;
        (message < found.end()).then(|| found.clone())
    }
}
