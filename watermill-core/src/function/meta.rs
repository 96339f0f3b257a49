//! Where the masters of a call came from.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use crate::broker::{Headers, Origin, Places};
use crate::error::RecordPlace;
use crate::lined::{Lined, arrange, drop_front};

/// Where one record came from.
///
/// One entry of a [`Meta`].
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::function::RecordMeta;
///
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// /// For a message about one record of a window.
/// fn place(meta: &RecordMeta) -> String {
///     format!("{}, offset {}", meta.file().unwrap_or("not a file"), meta.offset())
/// }
///
/// fn check(readings: &[Reading], meta: &Meta<Reading>) {
///     let places: Vec<String> = meta.iter().map(place).collect();
///     assert_eq!(places, ["not a file, offset 0", "not a file, offset 1"]);
/// }
///
/// let readings = [20.0, 21.0].map(|celsius| Reading { celsius });
/// let broker = MemoryBroker::new().read(Vec::from(readings));
/// Mill::new(check).window(Window::count(2)).run_blocking(broker)?;
/// # Ok::<(), watermill::RunError>(())
/// ```
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
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::broker::Origin;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert_eq!(meta.get(0).map(|entry| entry.origin()), Some(&Origin::Memory));
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.places.origin
    }

    /// The path of the file, on brokers of files.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     // A file broker gives its path.
    ///     assert_eq!(meta.get(0).and_then(|entry| entry.file()), None);
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        match self.origin() {
            Origin::File { path } => Some(path),
            _ => None,
        }
    }

    /// The topic, on brokers that have topics.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert_eq!(meta.get(0).map(|entry| entry.topic().unwrap_or("no topic")), Some("no topic"));
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match self.origin() {
            Origin::Topic { topic, .. } => Some(topic),
            _ => None,
        }
    }

    /// The partition, on brokers that have partitions.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert!(meta.iter().all(|entry| entry.partition().is_none()));
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        match self.origin() {
            Origin::Topic { partition, .. } => Some(*partition),
            _ => None,
        }
    }

    /// The offset: in bytes within a file, of a message within its partition, or an index.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read([20.0, 21.0].map(|celsius| Reading { celsius }).into());
    /// fn check(_: &[Reading], meta: &Meta<Reading>) {
    ///     assert!(meta.iter().map(|entry| entry.offset()).eq([0, 1]));
    /// }
    /// # assert_eq!(Mill::new(check).window(Window::count(2)).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.places.offset(self.index)
    }

    /// The record as it was read, where the mill puts records of its stream aside
    /// ([`OnBad::DeadLetter`](crate::OnBad::DeadLetter)) and the broker has such.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &[Reading], meta: &Meta<Reading>) {
    ///     // Records in memory have no bytes of their own.
    ///     assert!(meta.iter().all(|entry| entry.raw().is_none()));
    /// }
    /// # assert_eq!(Mill::new(check).window(Window::count(1)).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn raw(&self) -> Option<&[u8]> {
        self.places.raw(self.index)
    }

    /// Where the record stands. Its number is exact unless a bad record stands before it in its batch.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read([20.0, 21.0].map(|celsius| Reading { celsius }).into());
    /// fn check(_: &[Reading], meta: &Meta<Reading>) {
    ///     assert!(meta.iter().map(|entry| entry.place().to_string()).eq(["record 0", "record 1"]));
    /// }
    /// # assert_eq!(Mill::new(check).window(Window::count(2)).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn place(&self) -> RecordPlace {
        self.places.place(self.index)
    }

    /// The timestamp in milliseconds since the Unix epoch, on brokers that have such.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     // Of the youngest master; records in memory have none.
    ///     assert_eq!(meta.iter().filter_map(|entry| entry.timestamp()).max(), None);
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.places.timestamps.as_ref()?.get(self.index).copied()
    }

    /// The headers, on brokers that have such.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     let traced = meta.iter().filter(|entry| entry.headers().iter().any(|(name, _)| name == "trace"));
    ///     assert_eq!(traced.count(), 0);
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
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
    /// Those of the masters that the function sees.
    shown: Range<usize>,
    master: PhantomData<fn(&M)>,
}

impl<M> Meta<M> {
    pub(crate) fn new() -> Self {
        Self { stream: Arc::from(""), records: Vec::new(), shown: 0..0, master: PhantomData }
    }

    pub(crate) fn set_stream(&mut self, stream: &Arc<str>) {
        self.stream = Arc::clone(stream);
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.shown = 0..0;
    }

    pub(crate) fn push(&mut self, meta: RecordMeta) {
        self.records.push(meta);
        self.shown.end = self.records.len();
    }

    fn shown(&self) -> &[RecordMeta] {
        self.records.get(self.shown.clone()).unwrap_or(&[])
    }

    fn first(&self) -> Option<&RecordMeta> {
        self.shown().first()
    }

    /// The name of the stream.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert_eq!(meta.stream(), "Reading");
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The entry of the master at `index` of the window.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read([20.0, 120.0].map(|celsius| Reading { celsius }).into());
    /// fn check(readings: &[Reading], meta: &Meta<Reading>) {
    ///     let boils = readings.iter().position(|reading| reading.celsius >= 100.0);
    ///     assert_eq!(boils.and_then(|index| meta.get(index)).map(|entry| entry.offset()), Some(1));
    /// }
    /// # assert_eq!(Mill::new(check).window(Window::count(2)).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&RecordMeta> {
        self.shown().get(index)
    }

    /// The entries of all masters of this call.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read([20.0, 120.0].map(|celsius| Reading { celsius }).into());
    /// fn check(readings: &[Reading], meta: &Meta<Reading>) {
    ///     for (reading, entry) in readings.iter().zip(meta.iter()) {
    ///         assert_eq!(reading.celsius > 100.0, entry.offset() == 1);
    ///     }
    /// }
    /// # assert_eq!(Mill::new(check).window(Window::count(2)).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &RecordMeta> {
        self.shown().iter()
    }

    /// The path of the file, on brokers of files.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert_eq!(meta.file().unwrap_or("memory"), "memory");
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.first()?.file()
    }

    /// The topic, on brokers that have topics.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert_eq!(meta.topic().unwrap_or("no topic"), "no topic");
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.first()?.topic()
    }

    /// The partition, on brokers that have partitions.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert_eq!((meta.topic(), meta.partition()), (None, None));
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn partition(&self) -> Option<i32> {
        self.first()?.partition()
    }

    /// The offset: in bytes within a file, of a message within its partition, or an index.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Number { value: u64 }
    ///
    /// let check = |number: &Number, meta: &Meta<Number>| assert_eq!(meta.offset(), number.value);
    /// let broker = MemoryBroker::new().read((0..3).map(|value| Number { value }).collect());
    /// assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.first().map_or(0, RecordMeta::offset)
    }

    /// The timestamp in milliseconds since the Unix epoch, on brokers that have such.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert_eq!(meta.timestamp(), None, "records in memory have none");
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.first()?.timestamp()
    }

    /// The headers, on brokers that have such.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(_: &Reading, meta: &Meta<Reading>) {
    ///     assert!(meta.headers().iter().all(|(name, _)| name != "trace"));
    /// }
    /// # assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        self.first().map_or(&[], RecordMeta::headers)
    }
}

impl<M> Lined for Meta<M> {
    fn show(&mut self, shown: Range<usize>) {
        self.shown = shown;
    }

    fn arrange(&mut self, order: &[usize]) {
        arrange(&mut self.records, order);
    }

    fn drop_front(&mut self, count: usize) {
        drop_front(&mut self.records, count);
    }
}
