//! Batches: what a source hands over.

use std::ops::Range;
use std::sync::Arc;

use super::{CountedOffsets, Position};
use crate::error::BadRecord;
use crate::origin::{Origin, RecordPlace};

/// Records of one stream in stream order, and where they stood.
///
/// ```
/// use watermill_core::broker::{Batch, InputEnd, Places};
///
/// let mut batch = Batch::new(vec!["first", "second"], Places::memory(10, 2));
/// batch.end = Some(InputEnd::Exhausted);
/// batch.progress = 2;
/// assert_eq!((batch.places.offset(1), batch.places.next, batch.faults.len()), (11, 12, 0));
/// ```
#[derive(Debug)]
pub struct Batch<R> {
    /// The records.
    pub records: Vec<R>,
    /// Where each of them stood.
    pub places: Places,
    /// What could not be decoded, in stream order.
    pub faults: Vec<Fault>,
    /// Set on the last batch of the stream. Never set because the input was cut: that is a fault.
    pub end: Option<InputEnd>,
    /// How much memory the records take beyond their own size, as far as the source can tell: their encoded length.
    pub bytes: u64,
    /// How far this batch brings the reading, in the units of [`Source::size`](super::Source::size).
    pub progress: u64,
}

impl<R> Batch<R> {
    /// A batch of `records` with nothing else known.
    ///
    /// ```
    /// # use watermill_core::broker::{Batch, Places};
    /// let batch = Batch::new(vec!["first"], Places::memory(0, 1));
    /// assert!(batch.end.is_none() && batch.faults.is_empty());
    /// ```
    #[must_use]
    pub fn new(records: Vec<R>, places: Places) -> Self {
        Self { records, places, faults: Vec::new(), end: None, bytes: 0, progress: 0 }
    }
}

/// How a stream ended.
///
/// A run reports which of them it was.
///
/// ```
/// use watermill_core::EndReason;
/// use watermill_core::prelude::*;
///
/// // A vector is exhausted; it has no mark.
/// let report = Mill::new(|_: &Json| ()).run_blocking(MemoryBroker::new().read(Vec::<Json>::new()))?;
/// assert_eq!(report.end, EndReason::InputEnded { stream: "Json".to_owned(), marked: false });
/// # Ok::<(), watermill_core::RunError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputEnd {
    /// By its EndOfStream mark.
    Mark,
    /// There is no more: the end of the file.
    Exhausted,
    /// There is no more for this run, and more may come for the next one. What cannot be decided without it is left for that: the run stops as soon as the
    /// walk waits for this stream, and nothing of it counts as ended. Only the table of a [lookup](crate::JoinWith::lookup) is whole with what there is.
    Paused,
}

/// A record that could not be decoded, at its place among the others of its batch.
///
/// ```
/// use watermill_core::broker::{Batch, Fault, Places};
/// use watermill_core::{BadCause, BadRecord};
///
/// /// A number a line; what is none is a fault at its place.
/// fn read(text: &str) -> Batch<u64> {
///     let mut batch = Batch::new(Vec::new(), Places::memory(0, 0));
///     for (number, line) in text.lines().enumerate() {
///         match line.parse() {
///             Ok(value) => batch.records.push(value),
///             Err(cause) => batch.faults.push(Fault {
///                 before: batch.records.len(),
///                 error: Box::new(BadRecord {
///                     stream: "Number".to_owned(),
///                     place: batch.places.place(number),
///                     key: None,
///                     excerpt: Some(line.to_owned()),
///                     cause: BadCause::Other(Box::new(cause)),
///                 }),
///                 raw: line.as_bytes().to_vec(),
///                 cut: false,
///                 recoverable: true,
///             }),
///         }
///     }
///     batch
/// }
///
/// let batch = read("1\ntwo\n3");
/// assert_eq!((batch.records, batch.faults[0].before), (vec![1, 3], 1));
/// ```
#[derive(Debug)]
pub struct Fault {
    /// The index in [`Batch::records`] of the first record behind it.
    pub before: usize,
    /// What is wrong with it, and where.
    pub error: Box<BadRecord>,
    /// Its raw bytes, for a dead letter.
    pub raw: Vec<u8>,
    /// `raw` is only the beginning of the record.
    pub cut: bool,
    /// Whether the records behind it can still be read. False for input that is cut or has no structure any more.
    pub recoverable: bool,
}

/// Where the records of a batch stood.
///
/// ```
/// use std::sync::Arc;
/// use watermill_core::broker::{Offsets, Origin, Places};
///
/// // Two lines of 40 bytes and their line feeds, at the start of a file.
/// let places = Places {
///     origin: Arc::new(Origin::File { path: "data/flights.ndjson".to_owned() }),
///     offsets: Offsets::Each(vec![0, 41]),
///     next: 82,
///     first_number: 0,
///     timestamps: None,
///     headers: None,
///     raw: None,
/// };
/// assert_eq!(places.place(1).to_string(), "file `data/flights.ndjson`, byte 41, record 1");
/// assert_eq!((places.position(1).next, places.tail().next), (41, 82));
/// ```
#[derive(Debug, Clone)]
pub struct Places {
    /// The file or partition all of them are from.
    pub origin: Arc<Origin>,
    /// One offset a record.
    pub offsets: Offsets,
    /// Where reading goes on behind this batch, faults included.
    pub next: u64,
    /// The number of the first record within the origin, from 0, counting bad ones too.
    pub first_number: u64,
    /// Milliseconds since the Unix epoch, one a record, where the storage has such.
    pub timestamps: Option<Vec<i64>>,
    /// Headers, one list a record, where the storage has such.
    pub headers: Option<Vec<Headers>>,
    /// The raw bytes of the records, where [`InputRequest::keep_raw`](super::InputRequest::keep_raw) asks for them and the storage has such.
    pub raw: Option<RawRecords>,
}

/// The raw bytes of the records of a batch: one buffer that they share, and where in it each of them is.
///
/// ```
/// use std::sync::Arc;
/// use watermill_core::broker::RawRecords;
///
/// let raw = RawRecords::new(Arc::new(b"one\ntwo\n".to_vec()), vec![0..3, 4..7]);
/// assert_eq!(raw.get(1), Some(&b"two"[..]));
/// ```
#[derive(Debug, Clone)]
pub struct RawRecords {
    buffer: Arc<Vec<u8>>,
    ranges: Vec<Range<usize>>,
}

impl RawRecords {
    /// The records at `ranges` of `buffer`, in the order of the batch.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use watermill_core::broker::{Places, RawRecords};
    ///
    /// let mut places = Places::memory(0, 2);
    /// places.raw = Some(RawRecords::new(Arc::new(b"[1, 20]".to_vec()), vec![1..2, 4..6]));
    /// assert_eq!(places.raw(1), Some(&b"20"[..]));
    /// ```
    #[must_use]
    pub fn new(buffer: Arc<Vec<u8>>, ranges: Vec<Range<usize>>) -> Self {
        Self { buffer, ranges }
    }

    /// The bytes of the record at `index`.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watermill_core::broker::RawRecords;
    /// let raw = RawRecords::new(Arc::new(b"one\ntwo\n".to_vec()), vec![0..3, 4..7]);
    /// assert_eq!((raw.get(0), raw.get(2)), (Some(&b"one"[..]), None));
    /// ```
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.buffer.get(self.ranges.get(index)?.clone())
    }

    /// How much memory they hold, in bytes.
    fn bytes(&self) -> u64 {
        (self.buffer.len() + size_of_val(self.ranges.as_slice())) as u64
    }
}

/// The headers of one record.
///
/// ```
/// use watermill_core::broker::Headers;
///
/// let headers: Headers = vec![("trace".to_owned(), b"7f3a".to_vec())];
/// assert!(headers.iter().any(|(name, value)| name == "trace" && value == b"7f3a"));
/// ```
pub type Headers = Vec<(String, Vec<u8>)>;

/// One offset a record.
///
/// ```
/// use watermill_core::broker::Offsets;
///
/// assert_eq!(Offsets::From(10).get(2), Some(12));
/// // Messages 11 and 12 are gone.
/// assert_eq!(Offsets::Each(vec![10, 13]).get(1), Some(13));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Offsets {
    /// Consecutive numbers from this one on (indexes).
    From(u64),
    /// Any numbers that go up (byte offsets, Kafka offsets with gaps).
    Each(Vec<u64>),
    /// Numbers that say how many records came before, where the storage has none: a position needs a token beside them.
    Counted(CountedOffsets),
}

impl Offsets {
    /// The offset of the record at `index`.
    ///
    /// ```
    /// # use watermill_core::broker::Offsets;
    /// assert_eq!(Offsets::Each(vec![10, 13]).get(2), None);
    /// ```
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u64> {
        match self {
            Self::From(first) => Some(first + index as u64),
            Self::Each(all) => all.get(index).copied(),
            Self::Counted(counted) => counted.get(index),
        }
    }
}

impl Places {
    /// Places of records that stand one behind the other from `first` on, in memory.
    ///
    /// ```
    /// # use watermill_core::broker::Places;
    /// let places = Places::memory(100, 3);
    /// assert_eq!((places.offset(0), places.offset(2), places.next), (100, 102, 103));
    /// ```
    #[must_use]
    pub fn memory(first: u64, count: usize) -> Self {
        Self {
            origin: Arc::new(Origin::Memory),
            offsets: Offsets::From(first),
            next: first + count as u64,
            first_number: first,
            timestamps: None,
            headers: None,
            raw: None,
        }
    }

    /// The raw bytes of the record at `index`, where they are kept.
    ///
    /// ```
    /// # use watermill_core::broker::Places;
    /// // Records in memory have no bytes of their own.
    /// assert_eq!(Places::memory(100, 3).raw(0), None);
    /// ```
    #[must_use]
    pub fn raw(&self, index: usize) -> Option<&[u8]> {
        self.raw.as_ref()?.get(index)
    }

    /// How much memory the raw bytes hold.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw.as_ref().map_or(0, RawRecords::bytes)
    }

    /// The places of the records at `indexes` alone.
    pub(crate) fn pick(&self, indexes: &[usize]) -> Self {
        Self {
            origin: Arc::clone(&self.origin),
            offsets: match &self.offsets {
                Offsets::Counted(counted) => Offsets::Counted(counted.pick(indexes)),
                _ => Offsets::Each(indexes.iter().map(|index| self.offset(*index)).collect()),
            },
            next: self.next,
            first_number: self.first_number,
            timestamps: pick(self.timestamps.as_deref(), indexes),
            headers: pick(self.headers.as_deref(), indexes),
            raw: self.raw.as_ref().map(|raw| RawRecords {
                buffer: Arc::clone(&raw.buffer),
                ranges: pick(Some(&raw.ranges), indexes).unwrap_or_default(),
            }),
        }
    }

    /// Where the record at `index` stood; behind the last one, where reading goes on.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watermill_core::broker::{Offsets, Origin, Places};
    /// # let origin = Arc::new(Origin::File { path: "data/flights.ndjson".to_owned() });
    /// # let offsets = Offsets::Each(vec![0, 40]);
    /// # let places = Places { origin, offsets, next: 81, first_number: 0, timestamps: None, headers: None, raw: None };
    /// // The records at 0 and 40 of a file, 81 being its length.
    /// assert_eq!((places.offset(1), places.offset(2)), (40, 81));
    /// ```
    #[must_use]
    pub fn offset(&self, index: usize) -> u64 {
        self.offsets.get(index).unwrap_or(self.next)
    }

    /// The position at which reading starts with the record at `index`; behind the last one, where reading goes on.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watermill_core::broker::{Offsets, Origin, Places};
    /// # let origin = Arc::new(Origin::File { path: "data/flights.ndjson".to_owned() });
    /// # let offsets = Offsets::Each(vec![0, 40]);
    /// # let places = Places { origin, offsets, next: 81, first_number: 0, timestamps: None, headers: None, raw: None };
    /// let position = places.position(1);
    /// assert_eq!((position.part.as_str(), position.next, position.number), ("data/flights.ndjson", 40, 1));
    /// ```
    #[must_use]
    pub fn position(&self, index: usize) -> Position {
        Position {
            part: self.part().to_owned(),
            next: self.offset(index),
            number: self.first_number + index as u64,
            token: self.token_at(self.offset(index)),
            ..Position::default()
        }
    }

    /// What finds the place of `offset` again, in storages where that does not.
    pub(crate) fn token_at(&self, offset: u64) -> Option<String> {
        match &self.offsets {
            Offsets::Counted(counted) => counted.token_at(offset),
            _ => None,
        }
    }

    /// What finds the record at `index` again, in storages where its offset does not.
    pub(crate) fn record_token(&self, index: usize) -> Option<String> {
        match &self.offsets {
            Offsets::Counted(counted) => counted.record_token(index),
            _ => None,
        }
    }

    /// The part of the stream that the batch is from, as positions call it.
    pub(crate) fn part(&self) -> &str {
        self.origin.part()
    }

    /// Leaves out the first `records` records and the first `faults` faults, all of which stand before the others.
    pub(crate) fn skip(&mut self, records: usize, faults: usize) {
        match &mut self.offsets {
            Offsets::From(first) => *first += records as u64,
            Offsets::Each(all) => drop(all.drain(..records.min(all.len()))),
            Offsets::Counted(counted) => counted.skip(records),
        }
        if let Some(all) = &mut self.timestamps {
            all.drain(..records.min(all.len()));
        }
        if let Some(all) = &mut self.headers {
            all.drain(..records.min(all.len()));
        }
        if let Some(raw) = &mut self.raw {
            raw.ranges.drain(..records.min(raw.ranges.len()));
        }
        self.first_number += (records + faults) as u64;
    }

    /// The position behind the whole batch.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watermill_core::broker::{Offsets, Origin, Places};
    /// # let origin = Arc::new(Origin::File { path: "data/flights.ndjson".to_owned() });
    /// # let offsets = Offsets::Each(vec![0, 40]);
    /// # let places = Places { origin, offsets, next: 81, first_number: 0, timestamps: None, headers: None, raw: None };
    /// let tail = places.tail();
    /// assert_eq!((tail.next, tail.number), (81, 2));
    /// ```
    #[must_use]
    pub fn tail(&self) -> Position {
        let count = match &self.offsets {
            Offsets::From(first) => self.next.saturating_sub(*first),
            Offsets::Each(all) => all.len() as u64,
            Offsets::Counted(counted) => counted.len() as u64,
        };
        let token = self.token_at(self.next);
        Position { next: self.next, number: self.first_number + count, token, ..self.position(0) }
    }

    /// The place of the record at `index`, for messages. Its number is exact unless a fault stands before it in the batch.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watermill_core::broker::{Offsets, Origin, Places};
    /// # let origin = Arc::new(Origin::File { path: "data/flights.ndjson".to_owned() });
    /// # let offsets = Offsets::Each(vec![0, 40]);
    /// # let places = Places { origin, offsets, next: 81, first_number: 0, timestamps: None, headers: None, raw: None };
    /// assert_eq!(places.place(1).to_string(), "file `data/flights.ndjson`, byte 40, record 1");
    /// ```
    #[must_use]
    pub fn place(&self, index: usize) -> RecordPlace {
        RecordPlace {
            origin: Arc::clone(&self.origin),
            offset: self.offset(index),
            number: self.first_number + index as u64,
        }
    }
}

fn pick<T: Clone>(all: Option<&[T]>, indexes: &[usize]) -> Option<Vec<T>> {
    all.map(|all| indexes.iter().filter_map(|index| all.get(*index).cloned()).collect())
}
