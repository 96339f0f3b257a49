//! Where the masters of a call came from.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::broker::{Headers, Origin, Places};

/// Where one record came from.
#[derive(Clone)]
pub struct RecordMeta {
    places: Arc<Places>,
    index: usize,
}

impl RecordMeta {
    pub(crate) fn new(places: Arc<Places>, index: usize) -> Self {
        Self { places, index }
    }

    /// The file or the partition.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.places.origin
    }

    /// The path of the file, on brokers of files.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self.origin() {
            Origin::File { path } => Some(path),
            _ => None,
        }
    }

    /// The topic, on brokers that have topics.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match self.origin() {
            Origin::Topic { topic, .. } => Some(topic),
            _ => None,
        }
    }

    /// The partition, on brokers that have partitions.
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        match self.origin() {
            Origin::Topic { partition, .. } => Some(*partition),
            _ => None,
        }
    }

    /// The offset: in bytes within a file, of a message within its partition, or an index.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.places.offset(self.index)
    }

    /// The timestamp in milliseconds since the Unix epoch, on brokers that have such.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.places.timestamps.as_ref()?.get(self.index).copied()
    }

    /// The headers, on brokers that have such.
    #[must_use]
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        self.places
            .headers
            .as_ref()
            .and_then(|all: &Vec<Headers>| all.get(self.index))
            .map_or(&[], Vec::as_slice)
    }
}

impl std::fmt::Debug for RecordMeta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, offset {}", self.origin(), self.offset())
    }
}

/// Where the master of a call came from: stream, file or topic, partition, offset, timestamp, headers.
///
/// Taken as `&Meta<M>`. In a function over a window there is one entry for each master of the window, in their
/// order; the methods that name no index speak of the first.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// fn note(_: &Reading, meta: &Meta<Reading>) {
///     assert_eq!((meta.stream(), meta.offset(), meta.file()), ("Reading", 0, None));
/// }
///
/// Mill::new(note).run_blocking(MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]))?;
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Meta<M> {
    stream: Arc<str>,
    records: Vec<RecordMeta>,
    master: PhantomData<fn(&M)>,
}

impl<M> Meta<M> {
    pub(crate) fn new() -> Self {
        Self { stream: Arc::from(""), records: Vec::new(), master: PhantomData }
    }

    pub(crate) fn set_stream(&mut self, stream: &Arc<str>) {
        self.stream = Arc::clone(stream);
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
    }

    pub(crate) fn push(&mut self, meta: RecordMeta) {
        self.records.push(meta);
    }

    /// The name of the stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The entry of the master at `index` of the window.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&RecordMeta> {
        self.records.get(index)
    }

    /// The entries of all masters of this call.
    pub fn iter(&self) -> impl Iterator<Item = &RecordMeta> {
        self.records.iter()
    }

    /// The path of the file, on brokers of files.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.records.first()?.file()
    }

    /// The topic, on brokers that have topics.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.records.first()?.topic()
    }

    /// The partition, on brokers that have partitions.
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        self.records.first()?.partition()
    }

    /// The offset: in bytes within a file, of a message within its partition, or an index.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.records.first().map_or(0, RecordMeta::offset)
    }

    /// The timestamp in milliseconds since the Unix epoch, on brokers that have such.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.records.first()?.timestamp()
    }

    /// The headers, on brokers that have such.
    #[must_use]
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        self.records.first().map_or(&[], RecordMeta::headers)
    }
}
