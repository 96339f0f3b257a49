//! Records: what a stream is made of.
//!
//! A record is a plain struct with `#[derive(StreamRecord)]`. The derive gives it a name and
//! [`fields()`](StreamRecord::fields): a typed expression for each field, from which join and window keys are
//! built (see [`crate::key`]).

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::key::Place;

/// A struct that streams are made of; implemented by `#[derive(StreamRecord)]`.
///
/// Records are told apart by their place in memory, never by value: they need neither `Eq` nor `Hash` nor
/// `Clone`. That is why a record must have a size: a struct without fields is refused at compile time.
/// Reading and writing a record is the broker's affair: brokers that decode ask for serde's traits,
/// [`MemoryBroker`](crate::broker::memory::MemoryBroker) asks for none.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::record::StreamRecord;
/// use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct RobotLocation { time: i64, x: f64, y: f64 }
///
/// assert_eq!(RobotLocation::NAME, "RobotLocation");
/// assert_eq!((RobotLocation::fields().time + 10).to_string(), "time + 10");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stream record",
    label = "not a stream record",
    note = "add `#[derive(StreamRecord)]` to `{Self}`",
    note = "a function takes its master as `&M` or `&[M]`, joined records as `&Joined<L, R>`, results as `&mut Out<R>`"
)]
pub trait StreamRecord: Sized + Send + Sync + 'static {
    /// The name of the struct, as messages show it.
    const NAME: &'static str;

    /// The struct of typed field expressions below the place `P`; written by the derive.
    type Fields<P: Place<Value = Self>>: 'static;

    /// The field expressions below `P`; written by the derive, used through [`StreamRecord::fields`].
    fn fields_below<P: Place<Value = Self>>() -> &'static Self::Fields<P>;

    /// Typed expressions for the fields of this record: `RobotLocation::fields().time + 10`.
    #[must_use]
    fn fields() -> &'static Self::Fields<Whole<Self>> {
        Self::fields_below::<Whole<Self>>()
    }
}

/// The place that is the whole record, from which the places of its fields start.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill_core::key::{Field, KeyExpr};
/// use watermill_core::record::{StreamRecord, Whole};
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Flight { day: u32, minute: u32 }
///
/// // What a closure does, as a part of an expression.
/// let flight = Field::<Whole<Flight>>::new();
/// let hour = flight.map(|flight| flight.day * 1440 + flight.minute) / 60;
/// assert_eq!(hour.key(&Flight { day: 1, minute: 90 }), Ok(Some(25)));
/// ```
pub struct Whole<R>(PhantomData<fn() -> R>);

impl<R: StreamRecord> Place for Whole<R> {
    type Record = R;
    type Value = R;

    fn get(record: &R) -> &R {
        record
    }

    fn write_path(_: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Which record type a stream has: its identity and its name.
///
/// Types of the same name are told apart by their identity.
///
/// ```
/// # extern crate watermill_core as watermill;
/// # use watermill_core::record::{RecordType, StreamRecord};
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
/// mod other {
///     # use watermill_derive::StreamRecord;
///     #[derive(StreamRecord)]
///     pub struct Reading { pub fahrenheit: f64 }
/// }
///
/// let (here, there) = (RecordType::of::<Reading>(), RecordType::of::<other::Reading>());
/// assert!(here != there && here.name() == there.name());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordType {
    id: TypeId,
    name: &'static str,
}

impl RecordType {
    /// The type of `R`.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill_core::record::{RecordType, StreamRecord};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// assert_eq!(RecordType::of::<Reading>().to_string(), "Reading");
    /// ```
    #[must_use]
    pub fn of<R: StreamRecord>() -> Self {
        Self { id: TypeId::of::<R>(), name: R::NAME }
    }

    /// The name of the struct.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill_core::record::{RecordType, StreamRecord};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// assert_eq!(RecordType::of::<Reading>().name(), Reading::NAME);
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The identity of the type.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill_core::record::{RecordType, StreamRecord};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// assert_eq!(RecordType::of::<Reading>().id(), std::any::TypeId::of::<Reading>());
    /// ```
    #[must_use]
    pub fn id(self) -> TypeId {
        self.id
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A record of an untyped stream: any JSON value.
///
/// Keys of such records are closures: `|r: &Json| r["time"].as_i64()`. A missing field is then `None`, which
/// matches nothing.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
///
/// let events = Collected::<Json>::new();
/// let broker = MemoryBroker::new()
///     .read(vec![Json(serde_json::json!({"time": 1, "what": "start"}))])
///     .write(&events);
/// Mill::new(|event: &Json| event["what"].is_string().then(|| event.clone())).run_blocking(broker)?;
/// assert_eq!(events.take()[0]["time"], 1);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(pub serde_json::Value);

impl StreamRecord for Json {
    const NAME: &'static str = "Json";
    type Fields<P: Place<Value = Self>> = ();

    fn fields_below<P: Place<Value = Self>>() -> &'static () {
        &()
    }
}

impl std::ops::Deref for Json {
    type Target = serde_json::Value;

    fn deref(&self) -> &serde_json::Value {
        &self.0
    }
}

impl std::ops::DerefMut for Json {
    fn deref_mut(&mut self) -> &mut serde_json::Value {
        &mut self.0
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value)
    }
}
