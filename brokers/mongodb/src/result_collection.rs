//! Where results go: a collection, and which documents of it.

use std::sync::Arc;

use bson::Bson;
use serde::Serialize;
use watermill_core::error::BoxError;
use watermill_core::key::{KeyExpr, KeyValue};
use watermill_core::record::StreamRecord;

use crate::failure::Told;

/// A collection that results are written to, and how.
///
/// By itself each result is a document of its own.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::record::StreamRecord;
/// use watermill_mongodb::{MongoBroker, ResultCollection};
/// # use watermill_derive::StreamRecord;
/// # use serde::Serialize;
///
/// #[derive(StreamRecord, Serialize)]
/// # #[watermill(crate = watermill_core)]
/// struct RobotSpeed { robot: String, speed: f64 }
///
/// // The last speed of each robot.
/// let speeds = ResultCollection::new("speeds").replace_by(RobotSpeed::fields().robot);
/// let mongo = MongoBroker::new("mongodb://localhost:27017", "robots").write(speeds);
/// ```
pub struct ResultCollection<R> {
    pub(crate) name: String,
    pub(crate) placement: Placement<R>,
}

/// Which document a result becomes.
pub(crate) enum Placement<R> {
    /// A new one.
    Insert,
    /// That whose `_id` is the key, all of it.
    Replace(KeyOf<R>),
    /// The same; fields that the result does not have stay.
    Upsert(KeyOf<R>),
}

/// The key of a result.
pub(crate) type KeyOf<R> = Arc<dyn Fn(&R) -> Result<Bson, BoxError> + Send + Sync>;

impl<R> Clone for Placement<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Insert => Self::Insert,
            Self::Replace(key) => Self::Replace(Arc::clone(key)),
            Self::Upsert(key) => Self::Upsert(Arc::clone(key)),
        }
    }
}

impl<R: StreamRecord> ResultCollection<R> {
    /// The collection `name`: each result is inserted. One that has a field `_id` brings its own, the others get one.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::ResultCollection;
    /// let events = ResultCollection::<Json>::new("events");
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), placement: Placement::Insert }
    }

    /// Each result takes the place of the document whose `_id` is `key`, or becomes that.
    ///
    /// A key of several parts has to be a value with names, since `_id` cannot be an array.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::ResultCollection;
    /// // A field expression, or any closure that returns a key value.
    /// let latest = ResultCollection::new("latest").replace_by(|event: &Json| event["robot"].as_str().map(str::to_owned));
    /// ```
    #[must_use]
    pub fn replace_by<E>(mut self, key: E) -> Self
    where
        E: KeyExpr<R>,
        for<'a> <E::Value as KeyValue>::View<'a>: Serialize,
    {
        self.placement = Placement::Replace(key_of(key));
        self
    }

    /// Each result sets its fields in the document whose `_id` is `key`, which is made where there is none; other fields of it stay as they are.
    ///
    /// ```
    /// # use watermill_core::record::Json;
    /// # use watermill_mongodb::ResultCollection;
    /// let robots = ResultCollection::new("robots").upsert_by(|event: &Json| event["robot"].as_str().map(str::to_owned));
    /// ```
    #[must_use]
    pub fn upsert_by<E>(mut self, key: E) -> Self
    where
        E: KeyExpr<R>,
        for<'a> <E::Value as KeyValue>::View<'a>: Serialize,
    {
        self.placement = Placement::Upsert(key_of(key));
        self
    }
}

fn key_of<R, E>(key: E) -> KeyOf<R>
where
    E: KeyExpr<R>,
    for<'a> <E::Value as KeyValue>::View<'a>: Serialize,
{
    Arc::new(move |result: &R| {
        let Some(view) = key.key(result)? else {
            return Err(Told("it has no key, by which its document is found".to_owned()).into());
        };
        match bson::serialize_to_bson(&view)? {
            Bson::Array(_) => Err(Told(
                "its key is an array, which cannot be an `_id`; make a text of it, or a struct with names"
                    .to_owned(),
            )
            .into()),
            key => Ok(key),
        }
    })
}

impl<R: StreamRecord, N: Into<String>> From<N> for ResultCollection<R> {
    fn from(name: N) -> Self {
        Self::new(name)
    }
}
