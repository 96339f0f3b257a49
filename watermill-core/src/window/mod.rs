//! Windows: several masters in one call.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::engine::{KeyCheck, RoleCheck, Rule, Tape, describe, key_of};
use crate::error::Mistake;
use crate::key::{KeyExpr, KeyValue};
use crate::record::StreamRecord;

/// How masters are put together for a function that takes `&[M]`.
///
/// Only masters that the joins keep are in a window. An open window is emitted at the end of the stream.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { time: i64 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Minute { minute: i64, readings: usize }
///
/// fn minute(readings: &[Reading]) -> Minute {
///     Minute { minute: readings[0].time / 60, readings: readings.len() }
/// }
///
/// let minutes = Collected::<Minute>::new();
/// let readings = [0, 59, 60].map(|time| Reading { time });
/// Mill::new(minute)
///     .window(Window::by(Reading::fields().time / 60))
///     .run_blocking(MemoryBroker::new().read(Vec::from(readings)).write(&minutes))?;
/// assert_eq!(minutes.take(), [Minute { minute: 0, readings: 2 }, Minute { minute: 1, readings: 1 }]);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Window<M> {
    rule: Arc<dyn WindowRule<M>>,
    pub(crate) text: String,
    pub(crate) mistake: Option<Mistake>,
}

impl<M: StreamRecord> Window<M> {
    /// Neighbours with an equal key: `Window::by(Reading::fields().time / 60)`. The key needs no order: whenever it
    /// changes, a new window begins.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sample { sensor: u32 }
    /// # let samples = [7, 7, 3, 7].map(|sensor| Sample { sensor });
    /// # let broker = MemoryBroker::new().read(Vec::from(samples));
    /// let mill = Mill::new(|samples: &[Sample]| assert!(samples.iter().all(|one| one.sensor == samples[0].sensor)))
    ///     .window(Window::by(Sample::fields().sensor));
    /// // The sensors 7, 7 and 3 and 7 again.
    /// assert_eq!(mill.run_blocking(broker)?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn by<E: KeyExpr<M>>(key: E) -> Self {
        let text = format!("window by {}", describe::<M, E>(&key));
        Self { rule: Arc::new(ByKey(Arc::new(key))), text, mistake: None }
    }

    /// A number of masters; only the last window may be smaller. Zero is a [`BuildError`](crate::BuildError).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sample { sensor: u32 }
    /// # let samples = [7, 7, 3, 7, 3].map(|sensor| Sample { sensor });
    /// # let broker = MemoryBroker::new().read(Vec::from(samples));
    /// let mill = Mill::new(|samples: &[Sample]| assert!(samples.len() <= 2)).window(Window::count(2));
    /// // Of five masters.
    /// assert_eq!(mill.run_blocking(broker)?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn count(masters: usize) -> Self {
        let problem = "`Window::count(0)` is a window of 0 masters, which would never close";
        let mistake = (masters == 0).then(|| Mistake::new(problem, "call `Window::count(1)`, or with more"));
        Self { rule: Arc::new(ByCount(masters)), text: format!("window of {masters}"), mistake }
    }

    pub(crate) fn open(&self) -> Box<dyn AnyWindow> {
        self.rule.open()
    }

    /// The check of the window's key, a `Box<dyn RoleCheck<M>>`.
    pub(crate) fn check(&self) -> Option<Box<dyn Any + Send>> {
        self.rule.check().map(|check| Box::new(check) as Box<dyn Any + Send>)
    }
}

impl<M> fmt::Debug for Window<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

trait WindowRule<M>: Send + Sync {
    fn open(&self) -> Box<dyn AnyWindow>;
    fn check(&self) -> Option<Box<dyn RoleCheck<M>>>;
}

/// The state of a window on one lane. Tapes come as `&Tape<M>`.
pub(crate) trait AnyWindow: Send {
    /// The window that holds masters already closes before the one at `position` comes in.
    fn closes_before(&mut self, tape: &dyn Any, position: u64) -> bool;
    /// The master at `position` comes in as the `count`th.
    fn came_in(&mut self, tape: &dyn Any, position: u64, count: usize);
    /// The window closes now.
    fn is_full(&self, count: usize) -> bool;
    /// Why it closes when it does so by itself.
    fn reason(&self) -> CloseReason;
}

struct ByCount(usize);

impl<M> WindowRule<M> for ByCount {
    fn open(&self) -> Box<dyn AnyWindow> {
        Box::new(Self(self.0))
    }

    fn check(&self) -> Option<Box<dyn RoleCheck<M>>> {
        None
    }
}

impl AnyWindow for ByCount {
    fn closes_before(&mut self, _: &dyn Any, _: u64) -> bool {
        false
    }

    fn came_in(&mut self, _: &dyn Any, _: u64, _: usize) {}

    fn is_full(&self, count: usize) -> bool {
        count >= self.0
    }

    fn reason(&self) -> CloseReason {
        CloseReason::Full
    }
}

struct ByKey<E>(Arc<E>);

impl<M: StreamRecord, E: KeyExpr<M>> WindowRule<M> for ByKey<E> {
    fn open(&self) -> Box<dyn AnyWindow> {
        Box::new(OpenByKey::<M, E> { key: Arc::clone(&self.0), current: None })
    }

    fn check(&self) -> Option<Box<dyn RoleCheck<M>>> {
        Some(Box::new(KeyCheck::new(Arc::clone(&self.0), Rule::Valid)))
    }
}

struct OpenByKey<M, E: KeyExpr<M>> {
    key: Arc<E>,
    /// The key of the window; `None` is a key like any other here.
    current: Option<E::Value>,
}

impl<M: StreamRecord, E: KeyExpr<M>> AnyWindow for OpenByKey<M, E> {
    fn closes_before(&mut self, tape: &dyn Any, position: u64) -> bool {
        let Some(record) = tape.downcast_ref::<Tape<M>>().and_then(|tape| tape.get(position)) else {
            return false;
        };
        let key = key_of(&*self.key, record).ok().flatten();
        let current = self.current.as_ref().and_then(|current| current.view().ok().flatten());
        key != current
    }

    fn came_in(&mut self, tape: &dyn Any, position: u64, count: usize) {
        if count > 1 {
            return;
        }
        let record = tape.downcast_ref::<Tape<M>>().and_then(|tape| tape.get(position));
        self.current = record
            .and_then(|record| key_of(&*self.key, record).ok().flatten())
            .map(|key| E::Value::detach(&key));
    }

    fn is_full(&self, _: usize) -> bool {
        false
    }

    fn reason(&self) -> CloseReason {
        CloseReason::KeyChanged
    }
}

/// Why a window closed.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::window::CloseReason;
///
/// #[derive(StreamRecord)]
/// struct Sample { minute: i64 }
///
/// /// Writes nothing for a minute that may not be complete.
/// fn complete(samples: &[Sample], info: &WindowInfo) -> Option<Json> {
///     match info.reason() {
///         CloseReason::KeyChanged => Some(Json(samples.len().into())),
///         CloseReason::EndOfStream => None,
///         other => unreachable!("{other:?}: this window is not one of a number of masters"),
///     }
/// }
///
/// let counts = Collected::<Json>::new();
/// let samples = [1, 1, 2].map(|minute| Sample { minute });
/// let broker = MemoryBroker::new().read(Vec::from(samples)).write(&counts);
/// Mill::new(complete).window(Window::by(Sample::fields().minute)).run_blocking(broker)?;
/// assert_eq!(counts.take(), [Json(2.into())]);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The next master has another window key.
    KeyChanged,
    /// It holds as many masters as it can.
    Full,
    /// There are no more masters.
    EndOfStream,
}

/// The window of a call: how many windows there were before, and why it closed. Taken as `&WindowInfo`.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::window::CloseReason;
///
/// #[derive(StreamRecord)]
/// struct Reading { time: i64 }
///
/// fn pair(readings: &[Reading], info: &WindowInfo) {
///     let full = info.reason() == CloseReason::Full;
///     assert_eq!((readings.len(), full), if info.index() == 0 { (2, true) } else { (1, false) });
/// }
///
/// let readings = [0, 1, 2].map(|time| Reading { time });
/// let broker = MemoryBroker::new().read(Vec::from(readings));
/// assert_eq!(Mill::new(pair).window(Window::count(2)).run_blocking(broker)?.calls, 2);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone)]
pub struct WindowInfo {
    index: u64,
    reason: CloseReason,
}

impl WindowInfo {
    pub(crate) fn new() -> Self {
        Self { index: 0, reason: CloseReason::EndOfStream }
    }

    pub(crate) fn set(&mut self, index: u64, reason: CloseReason) {
        (self.index, self.reason) = (index, reason);
    }

    /// The number of this window on its lane in this run, from 0.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sample { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..6).map(|value| Sample { value }).collect());
    /// let mill = Mill::new(|samples: &[Sample], info: &WindowInfo| assert_eq!(samples[0].value, info.index() * 2));
    /// assert_eq!(mill.window(Window::count(2)).run_blocking(broker)?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Why it closed.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::window::CloseReason;
    /// # #[derive(StreamRecord)] struct Sample { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..3).map(|value| Sample { value }).collect());
    /// let mill = Mill::new(|samples: &[Sample], info: &WindowInfo| {
    ///     assert_eq!(info.reason() == CloseReason::Full, samples.len() == 2);
    /// });
    /// assert_eq!(mill.window(Window::count(2)).run_blocking(broker)?.calls, 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn reason(&self) -> CloseReason {
        self.reason
    }
}
