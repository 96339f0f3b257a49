//! What of a collection is read, and how.

use std::time::Duration;

use bson::Document;

/// A collection that is read in the order of a key.
///
/// By itself it is read once, from its beginning to its end, in the order of the key by which the mill joins it. That needs an index on the key and `_id`; where there is none, the error says
/// how to make it. Only the fields that the record type has are sent, unless dead letters are wanted, which hold whole documents.
///
/// ```
/// use bson::doc;
/// use watermill_core::record::Json;
/// use watermill_mongodb::{MongoBroker, ReadCollection};
///
/// let recent = ReadCollection::new("locations").filter(doc! { "robot": "R2" }).order_by(["time"]);
/// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").read::<Json>(recent);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct ReadCollection {
    pub(crate) name: String,
    pub(crate) filter: Option<Document>,
    pub(crate) order: Option<Vec<String>>,
    pub(crate) whole: bool,
    pub(crate) follow: Option<Duration>,
    pub(crate) changes: Option<Changes>,
}

/// What of a change stream is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// What was there before the first run is left out.
    pub(crate) only: bool,
    pub(crate) no_updates: bool,
    pub(crate) deletes: bool,
}

impl ReadCollection {
    /// All of the collection `name`.
    ///
    /// ```
    /// # use watermill_mongodb::ReadCollection;
    /// // A name alone is the same.
    /// assert_eq!(ReadCollection::new("locations"), "locations".into());
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), filter: None, order: None, whole: false, follow: None, changes: None }
    }

    /// Only documents that match: a query as `find` takes it, which the server answers.
    ///
    /// An index may begin with fields that the filter fixes: for `{robot: "R2"}` and the key `time` either of `{time: 1, _id: 1}` and `{robot: 1, time: 1, _id: 1}` does.
    ///
    /// ```
    /// # use bson::doc;
    /// # use watermill_mongodb::ReadCollection;
    /// let fast = ReadCollection::new("locations").filter(doc! { "speed": { "$gt": 10 } });
    /// ```
    pub fn filter(mut self, filter: Document) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Reads in the order of these fields (paths), whatever the mill joins by. Needed where a key is a closure or computed from several fields, of which nobody can tell the order.
    ///
    /// ```
    /// # use watermill_mongodb::ReadCollection;
    /// let flights = ReadCollection::new("flights").order_by(["day", "minute"]);
    /// ```
    pub fn order_by<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.order = Some(fields.into_iter().map(Into::into).collect());
        self
    }

    /// Has the server send whole documents, not only the fields of the record type.
    ///
    /// ```
    /// # use watermill_mongodb::ReadCollection;
    /// let all = ReadCollection::new("locations").whole_documents();
    /// ```
    pub fn whole_documents(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Reads on as the collection grows, by asking again: for servers without change streams. See [`MongoBroker::watch`](crate::MongoBroker::watch) for those that have them.
    ///
    /// A document is read when its key has been the greatest one, or below it, for as long as `settle`: by then all that belongs before it must have been written, by whichever
    /// producer. What comes later than that, with a lower key or with an equal key and a lower `_id`, is not seen. The stream ends
    /// with the document `{"eos__": true}`, by [`eos_after`](watermill_core::Mill::eos_after), or when the run is stopped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_mongodb::ReadCollection;
    /// let growing = ReadCollection::new("locations").follow(Duration::from_secs(2));
    /// ```
    pub fn follow(mut self, settle: Duration) -> Self {
        self.follow = Some(settle);
        self
    }
}

impl<N: Into<String>> From<N> for ReadCollection {
    fn from(name: N) -> Self {
        Self::new(name)
    }
}

/// A collection of which first all that is there is read, in the order of a key, and then what changes, in the order in which it does.
///
/// ```
/// use watermill_core::record::Json;
/// use watermill_mongodb::{MongoBroker, WatchCollection};
///
/// let inserts = WatchCollection::new("locations").inserts_only();
/// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").watch::<Json>(inserts);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct WatchCollection {
    pub(crate) read: ReadCollection,
    pub(crate) changes: Changes,
}

impl WatchCollection {
    /// The collection `name`, and each document that is inserted, replaced or updated.
    ///
    /// ```
    /// # use watermill_mongodb::WatchCollection;
    /// assert_eq!(WatchCollection::new("locations"), "locations".into());
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self { read: ReadCollection::new(name), changes: Changes::default() }
    }

    /// Leaves out what was there before the first run.
    ///
    /// ```
    /// # use watermill_mongodb::WatchCollection;
    /// let changes = WatchCollection::new("locations").changes_only();
    /// ```
    pub fn changes_only(mut self) -> Self {
        self.changes.only = true;
        self
    }

    /// Only documents that are inserted, not those that change.
    ///
    /// ```
    /// # use watermill_mongodb::WatchCollection;
    /// let inserts = WatchCollection::new("locations").inserts_only();
    /// ```
    pub fn inserts_only(mut self) -> Self {
        self.changes.no_updates = true;
        self
    }

    /// Also documents that are deleted, of which only `_id` is known: a record is read from `{"_id": .., "deleted__": true}`, so its other fields need defaults.
    ///
    /// ```
    /// # use watermill_mongodb::WatchCollection;
    /// let all = WatchCollection::new("locations").deletes();
    /// ```
    pub fn deletes(mut self) -> Self {
        self.changes.deletes = true;
        self
    }

    /// Reads what was there in the order of these fields; see [`ReadCollection::order_by`].
    ///
    /// ```
    /// # use watermill_mongodb::WatchCollection;
    /// let flights = WatchCollection::new("flights").order_by(["day", "minute"]);
    /// ```
    pub fn order_by<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.read = self.read.order_by(fields);
        self
    }
}

impl<N: Into<String>> From<N> for WatchCollection {
    fn from(name: N) -> Self {
        Self::new(name)
    }
}
