//! Checkpoints for debugging: what the last call was given, and what came of it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{Seen, SeenStream};
use crate::error::RecordPlace;
use crate::record::StreamRecord;

/// Switches checkpoints off without a rebuild.
const SWITCH: &str = "WATERMILL_CHECKPOINT";

/// Whether the environment leaves checkpoints on.
pub(crate) fn allowed() -> bool {
    let set = std::env::var(SWITCH).unwrap_or_default();
    !["off", "0", "false"].iter().any(|off| set.trim().eq_ignore_ascii_case(off))
}

/// The names that a call is told with.
pub(crate) struct CallNames {
    pub(crate) outputs: Vec<String>,
}

/// What the last call of a function was given, and what came of it: [`Mill::checkpoint`](crate::Mill::checkpoint).
///
/// Taken when a run waits, ends or fails, and while it is busy every few milliseconds, so that a call that hangs is the one after it. Records need neither
/// `Clone` nor `Debug` for it: it holds on to the batches that they stand in, as long as it lives. The masters of a window are the
/// function's alone; only their number and places are known here.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// use watermill::testing::TestMill;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Order { id: u32 }
/// #[derive(StreamRecord)]
/// struct Line { order: u32, price: u32 }
///
/// let mill = Mill::new(|_: &Order, _: &Joined<Order, Line>| ())
///     .join(JoinWith::new(Order::fields().id, Line::fields().order))
///     .checkpoint();
/// let mut test = TestMill::new(mill)?;
/// test.feed_all([1, 2].map(|id| Order { id }));
/// test.feed_all([(1, 5), (1, 7), (2, 3)].map(|(order, price)| Line { order, price }));
/// // Order 2 may have more lines.
/// test.run()?;
/// let call = test.checkpoint().expect("a call was made");
/// assert_eq!(call.master::<Order>().map(|order| order.id), Some(1));
/// assert_eq!(call.records::<Line>().map(|line| line.price).sum::<u32>(), 12);
/// assert_eq!(call.to_string(), "`Order` at record 0 with key 1, 2 `Line` from record 0 to record 1");
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Clone)]
pub struct LastCall {
    pub(crate) names: Arc<CallNames>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) results: Vec<u64>,
    pub(crate) failed: bool,
}

impl LastCall {
    /// The master; `None` for windows, and where the master is of another type.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..10).map(|value| Number { value }).collect());
    /// let handle = Mill::new(|_: &Number| ()).checkpoint().start(broker)?;
    /// let control = handle.control();
    /// handle.wait_blocking()?;
    /// let last = control.checkpoint().expect("calls were made");
    /// assert_eq!(last.master::<Number>().map(|number| number.value), Some(9));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn master<M: StreamRecord>(&self) -> Option<&M> {
        self.seen.streams.first().and_then(|master| records_of(master).next())
    }

    /// The records of type `R` that were joined to the master, over all joins, in stream order: the first few thousand.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Line { order: u32 }
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 4 }]).read([4, 4].map(|order| Line { order }).into());
    /// let count = |_: &Order, lines: &Joined<Order, Line>| assert!(lines.only().len() > 2, "too few");
    /// let mill = Mill::new(count).join(JoinWith::new(Order::fields().id, Line::fields().order));
    /// let handle = mill.checkpoint().start(broker)?;
    /// let control = handle.control();
    /// handle.wait_blocking().unwrap_err();
    /// assert_eq!(control.checkpoint().expect("the call that failed").records::<Line>().count(), 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn records<R: StreamRecord>(&self) -> impl Iterator<Item = &R> {
        self.seen.streams.iter().skip(1).flat_map(records_of)
    }

    /// The same without the records: places and numbers, as text.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..10).map(|value| Number { value }).collect());
    /// let handle = Mill::new(|_: &Number| ()).checkpoint().start(broker)?;
    /// let control = handle.control();
    /// let report = handle.wait_blocking()?;
    /// assert_eq!(control.checkpoint().map(|last| last.report()), report.last_call);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> CallReport {
        let text = |place: &Option<RecordPlace>| place.as_ref().map(ToString::to_string);
        let input = |seen: &SeenStream| CallInput {
            stream: seen.stream.to_string(),
            records: seen.records,
            first: text(&seen.first),
            last: text(&seen.last),
        };
        let result =
            |(stream, records): (&String, &u64)| CallResults { stream: stream.clone(), records: *records };
        CallReport {
            inputs: self.seen.streams.iter().map(input).collect(),
            key: self.seen.key.clone(),
            results: self.names.outputs.iter().zip(&self.results).map(result).collect(),
            failed: self.failed,
        }
    }
}

fn records_of<R: StreamRecord>(seen: &SeenStream) -> impl Iterator<Item = &R> {
    let batches = seen.kept.iter().filter_map(|(batch, run)| {
        let batch: &(dyn Any + Send + Sync) = &**batch;
        batch.downcast_ref::<Vec<R>>()?.get(run.clone())
    });
    batches.flatten()
}

impl fmt::Display for LastCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report().fmt(f)
    }
}

impl fmt::Debug for LastCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastCall").field(&self.report()).finish()
    }
}

/// What a call was given and what came of it, in places and numbers: [`LastCall::report`], and [`RunReport::last_call`](crate::RunReport::last_call).
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
/// #[derive(StreamRecord)]
/// struct Alarm { celsius: f64 }
///
/// let alarm = |reading: &Reading| (reading.celsius > 30.0).then_some(Alarm { celsius: reading.celsius });
/// let readings = [20.0, 35.0].map(|celsius| Reading { celsius }).into();
/// let broker = MemoryBroker::new().read(readings).write(&Collected::<Alarm>::new());
/// let report = Mill::new(alarm).checkpoint().run_blocking(broker)?;
/// let last = report.last_call.expect("there were calls");
/// assert_eq!((last.inputs[0].stream.as_str(), last.results[0].records), ("Reading", 1));
/// assert_eq!(last.to_string(), "`Reading` at record 1; 1 `Alarm`");
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallReport {
    /// What it was given, master first; of a window only the masters.
    pub inputs: Vec<CallInput>,
    /// The key of the master's first join.
    pub key: Option<String>,
    /// How many results it wrote, for each result stream; none where it failed.
    pub results: Vec<CallResults>,
    /// It failed.
    pub failed: bool,
}

/// What a call was given of one stream.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
/// let readings = (0..25).map(|_| Reading { celsius: 20.0 }).collect();
/// let mill = Mill::new(|_: &[Reading]| ()).window(Window::count(10)).checkpoint();
/// let report = mill.run_blocking(MemoryBroker::new().read::<Reading>(readings))?;
/// let masters = &report.last_call.expect("there were calls").inputs[0];
/// assert_eq!((masters.records, masters.first.as_deref(), masters.last.as_deref()), (5, Some("record 20"), Some("record 24")));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallInput {
    /// The stream, by its record type and name.
    pub stream: String,
    /// How many records of it.
    pub records: u64,
    /// Where the first of them stood.
    pub first: Option<String>,
    /// Where the last of them stood.
    pub last: Option<String>,
}

/// How many results a call wrote to one stream.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Number { value: u64 }
/// # #[derive(StreamRecord)] struct Divisor { value: u64 }
/// fn divisors(number: &Number) -> Vec<Divisor> {
///     (1..=number.value).filter(|value| number.value % value == 0).map(|value| Divisor { value }).collect()
/// }
///
/// let broker = MemoryBroker::new().read([7, 12].map(|value| Number { value }).into()).write(&Collected::<Divisor>::new());
/// let report = Mill::new(divisors).checkpoint().run_blocking(broker)?;
/// let results = &report.last_call.expect("there were calls").results;
/// assert_eq!((results[0].stream.as_str(), results[0].records), ("Divisor", 6));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallResults {
    /// The stream, by its record type.
    pub stream: String,
    /// How many.
    pub records: u64,
}

impl fmt::Display for CallInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.records, &self.first, &self.last) {
            (1, Some(place), _) => write!(f, "`{}` at {place}", self.stream),
            (records, Some(first), Some(last)) => {
                write!(f, "{records} `{}` from {first} to {last}", self.stream)
            }
            (records, ..) => write!(f, "{records} `{}`", self.stream),
        }
    }
}

impl fmt::Display for CallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, input) in self.inputs.iter().enumerate() {
            let between = if index > 0 { ", " } else { "" };
            write!(f, "{between}{input}")?;
            if let (0, Some(key)) = (index, &self.key) {
                write!(f, " with key {key}")?;
            }
        }
        for (index, result) in self.results.iter().enumerate().filter(|_| !self.failed) {
            let between = if index > 0 { ", " } else { "; " };
            write!(f, "{between}{} `{}`", result.records, result.stream)?;
        }
        Ok(())
    }
}
