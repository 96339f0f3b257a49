//! Bookmarks: where a record stood, kept while its batch may go. Making one costs no memory: what is told of it is worked out when it is
//! asked for, from what all records of a batch share.

use std::sync::Arc;

use super::keyless::Behind;
use crate::broker::{LastRecord, Places, Position};
use crate::error::RecordPlace;

/// One record, by what is known of its batch.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) places: Arc<Places>,
    /// Its index among the places.
    pub(super) index: usize,
    /// Its number within its part of the stream.
    pub(super) number: u64,
}

impl Spot {
    pub(super) fn last_record(&self) -> LastRecord {
        let part = self.places.part().to_owned();
        let token = self.places.record_token(self.index);
        LastRecord { part, offset: self.places.offset(self.index), number: self.number, token }
    }
}

/// The record before one.
#[derive(Debug, Clone)]
pub(super) enum Last {
    /// It was on the tape.
    Read(Spot),
    /// It was not any more, or never, or it has no key.
    Behind(Arc<Behind>),
}

/// Where a record stood.
#[derive(Debug, Clone)]
pub(crate) struct Bookmark {
    /// The record; `None` when it was not read yet.
    pub(super) record: Option<Spot>,
    pub(super) last: Option<Last>,
    /// Where reading goes on behind all that was read, and whether that is the end.
    pub(super) tail: Arc<Position>,
    pub(super) ended: bool,
    pub(super) marked: bool,
    /// The position, where records are sorted back: it was worked out then, since what was read is known in another order.
    pub(super) sorted: Option<Arc<Position>>,
}

impl Bookmark {
    /// Where a restart reads on to find the record, or where reading goes on when there is none yet.
    pub(crate) fn position(&self) -> Position {
        if let Some(sorted) = &self.sorted {
            return Position::clone(sorted);
        }
        let mut position = match &self.record {
            Some(Spot { places, index, number }) => Position { number: *number, ..places.position(*index) },
            None => Position {
                ended: self.ended || self.tail.ended,
                marked: self.marked || self.tail.marked,
                ..Position::clone(&self.tail)
            },
        };
        match &self.last {
            Some(Last::Read(spot)) => position.set_lasts(vec![spot.last_record()]),
            Some(Last::Behind(behind)) => behind.put(&mut position),
            None => position.set_lasts(Vec::new()),
        }
        position
    }

    /// Where the record stood, for messages; `None` when it was not read yet.
    pub(crate) fn place(&self) -> Option<RecordPlace> {
        let Spot { places, index, number } = self.record.as_ref()?;
        Some(RecordPlace { number: *number, ..places.place(*index) })
    }
}
