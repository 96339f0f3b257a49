//! The mill: a function, its joins and its window, ready to run on any broker.

use std::any::TypeId;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::broker::Broker;
use crate::clock::{Clock, SystemClock};
use crate::engine::lane::Settings;
use crate::engine::walk::Limits;
use crate::error::{BuildError, RunError};
use crate::function::{
    AnyFunction, AsyncCall, AsyncFunction, Call, CallMut, Injections, LaneFunction, Master, Outcome, Params,
    Shape, SyncFunction, Unchanging,
};
use crate::handle::{Control, MillHandle, StopOnDrop};
use crate::join_with::{JoinSpec, JoinWith};
use crate::key::KeyValue;
use crate::plan::Plan;
use crate::policy::OnBad;
use crate::record::{RecordType, StreamRecord};
use crate::report::RunReport;
use crate::window::Window;

/// More matches for one record than this are an error, unless [`Mill::max_group`] says otherwise.
pub const DEFAULT_MAX_GROUP: u64 = 1_000_000;

/// A walk may hold this many bytes of records, unless [`Mill::memory_budget`] says otherwise.
pub const DEFAULT_MEMORY_BUDGET: u64 = 1 << 30;

/// A function over the master stream `M`, with its joins and its window.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Location { time: i64, x: f64 }
/// /// The same data seen a second time: a self-join needs its own type.
/// #[derive(StreamRecord)]
/// struct Next { time: i64, x: f64 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Speed { time: i64, speed: f64 }
///
/// fn speed(here: &Location, next: &Joined<Location, Next>) -> Speed {
///     Speed { time: here.time, speed: (next[here][0].x - here.x) / 10.0 }
/// }
///
/// let speeds = Collected::<Speed>::new();
/// let broker = MemoryBroker::new()
///     .read(vec![Location { time: 0, x: 1.0 }, Location { time: 10, x: 6.0 }])
///     .read(vec![Next { time: 0, x: 1.0 }, Next { time: 10, x: 6.0 }])
///     .write(&speeds);
/// let report = Mill::new(speed)
///     .join(JoinWith::new(Location::fields().time + 10, Next::fields().time))
///     .run_blocking(broker)?;
/// assert_eq!(speeds.take(), [Speed { time: 0, speed: 0.5 }]);
/// assert_eq!(report.calls, 1);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Mill<M> {
    pub(crate) function: Box<dyn AnyFunction>,
    joins: Vec<Arc<JoinSpec>>,
    pub(crate) window: Option<Window<M>>,
    pub(crate) injected: Injections,
    pub(crate) on_bad: HashMap<TypeId, OnBad>,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mistakes: Vec<String>,
    /// Whether a progress bar is shown; without the feature `progress`, of no consequence.
    pub(crate) progress: bool,
    master: PhantomData<fn(&M)>,
}

impl<M: StreamRecord> Mill<M> {
    /// A mill of a `fn` or a closure that is `Fn + Send + Sync`.
    #[track_caller]
    pub fn new<F, Marker>(function: F) -> Self
    where
        F: Shape<Marker>,
        F::First: Master<Record = M>,
        F::Rest: Params,
        F::Output: Outcome,
        F: Unchanging<Marker>,
        F: Call<Marker>,
        Marker: 'static,
    {
        Self::of(Box::new(SyncFunction::new(function)))
    }

    /// A mill of an `async fn`, or of an async closure. Its calls are made one after the other, in the order of the masters.
    #[track_caller]
    pub fn new_async<F, Marker>(function: F) -> Self
    where
        F: Shape<Marker>,
        F::First: Master<Record = M>,
        F::Rest: Params,
        F::Output: Outcome,
        F: AsyncCall<Marker>,
        Marker: 'static,
    {
        Self::of(Box::new(AsyncFunction::new(function)))
    }

    /// A mill whose function is made anew for each lane, and may change what it captured: `Mill::per_lane(|| { let mut seen = 0;
    /// move |flight: &Flight| { seen += 1; .. } })`.
    #[track_caller]
    pub fn per_lane<G, F, Marker>(make: G) -> Self
    where
        G: Fn() -> F + Send + Sync + 'static,
        F: Shape<Marker>,
        F::First: Master<Record = M>,
        F::Rest: Params,
        F::Output: Outcome,
        F: CallMut<Marker>,
        Marker: 'static,
    {
        Self::of(Box::new(LaneFunction::new(make)))
    }

    fn of(function: Box<dyn AnyFunction>) -> Self {
        Self {
            function,
            joins: Vec::new(),
            window: None,
            injected: Injections::default(),
            on_bad: HashMap::new(),
            limits: Limits { max_group: DEFAULT_MAX_GROUP, budget: DEFAULT_MEMORY_BUDGET, masters: u64::MAX },
            settings: Settings::default(),
            clock: Arc::new(SystemClock::new()),
            mistakes: Vec::new(),
            progress: true,
            master: PhantomData,
        }
    }

    /// Joins a stream to the master, or to one that is joined already.
    #[must_use]
    pub fn join<L: StreamRecord, R: StreamRecord, V: KeyValue>(mut self, join: JoinWith<L, R, V>) -> Self {
        self.joins.push(Arc::new(join.into_spec()));
        self
    }

    /// Puts the masters together into windows, for a function that takes `&[M]`.
    #[must_use]
    pub fn window(mut self, window: Window<M>) -> Self {
        if self.window.is_some() {
            self.mistakes.push("the mill has two windows".to_owned());
        }
        self.mistakes.extend(window.mistake.clone());
        self.window = Some(window);
        self
    }

    /// Gives the function a value of type `T`, which it takes as `Inject<T>`.
    #[must_use]
    pub fn inject<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.inject_shared(Arc::new(value))
    }

    /// As [`inject`](Mill::inject), of a value that the caller wants to look at after the run.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    ///
    /// #[derive(StreamRecord)]
    /// struct Flight { delay: u64 }
    ///
    /// let total = Arc::new(AtomicU64::new(0));
    /// Mill::new(|flight: &Flight, total: Inject<AtomicU64>| {
    ///     total.fetch_add(flight.delay, Ordering::Relaxed);
    /// })
    /// .inject_shared(Arc::clone(&total))
    /// .run_blocking(MemoryBroker::new().read(vec![Flight { delay: 5 }, Flight { delay: 7 }]))?;
    /// assert_eq!(total.load(Ordering::Relaxed), 12);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn inject_shared<T: Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        if !self.injected.put(value) {
            self.mistakes.push(format!("two values of type `{}` are injected", std::any::type_name::<T>()));
        }
        self
    }

    /// What is done with bad records of `R`. The default is to stop.
    #[must_use]
    pub fn on_bad<R: StreamRecord>(mut self, policy: OnBad) -> Self {
        self.on_bad.insert(TypeId::of::<R>(), policy);
        self
    }

    /// The largest number of records that may match one record; more is [`RunError::GroupTooLarge`].
    #[must_use]
    pub fn max_group(mut self, records: u64) -> Self {
        if records == 0 {
            self.mistakes.push("`max_group(0)` allows no match at all".to_owned());
        }
        self.limits.max_group = records;
        self
    }

    /// How many bytes of records the walk may hold at one time, about; more is [`RunError::OverBudget`]. It holds a batch a
    /// stream, the groups in use and the open window.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.limits.budget = bytes;
        self
    }

    /// What the mill takes for time; the default is [`SystemClock`]. Tests and simulations give a
    /// [`ManualClock`](crate::clock::ManualClock).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use std::time::{Duration, SystemTime};
    /// use watermill::clock::ManualClock;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    /// let report = Mill::new(|_: &Reading| ())
    ///     .clock(clock.clone())
    ///     .run_blocking(MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]))?;
    /// // Nobody moved it.
    /// assert_eq!(report.elapsed, Duration::ZERO);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whether a progress bar is shown while the mill runs, with the feature `progress`. It is by default, but only when standard error
    /// is a terminal, the size of all inputs is known, and the run takes more than a second.
    #[must_use]
    pub fn progress(mut self, shown: bool) -> Self {
        self.progress = shown;
        self
    }

    /// The function and its join tree, as text.
    ///
    /// # Errors
    /// [`BuildError`]: what is wrong with the mill.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Location { time: i64 }
    /// # #[derive(StreamRecord)] struct Next { time: i64 }
    /// fn speed(here: &Location, next: &Joined<Location, Next>) {}
    ///
    /// let mill = Mill::new(speed).join(JoinWith::new(Location::fields().time + 10, Next::fields().time));
    /// assert_eq!(
    ///     mill.explain()?,
    ///     "speed(&Location, &Joined<Location, Next>)\n\
    ///      Location (master)\n\
    ///      └─ Next: inner, time + 10 = time\n"
    /// );
    /// # Ok::<(), watermill::BuildError>(())
    /// ```
    pub fn explain(&self) -> Result<String, BuildError> {
        Ok(self.plan()?.explain(self.window.as_ref().map(|window| window.text.as_str())))
    }

    /// The function, its join tree and its results as a [Mermaid](https://mermaid.js.org) flowchart.
    ///
    /// # Errors
    /// [`BuildError`]: what is wrong with the mill.
    pub fn mermaid(&self) -> Result<String, BuildError> {
        Ok(self.plan()?.mermaid(self.window.as_ref().map(|window| window.text.as_str())))
    }

    pub(crate) fn plan(&self) -> Result<Plan, BuildError> {
        let mut mistakes = self.mistakes.clone();
        mistakes.extend(self.misfits());
        Plan::new(
            &*self.function,
            RecordType::of::<M>(),
            &self.joins,
            &self.injected,
            self.window.is_some(),
            &mistakes,
        )
    }

    /// Runs the mill to its end.
    ///
    /// The walk has a thread of its own; async functions run in the context of the calling runtime. When the returned
    /// future is dropped, the run is asked to stop.
    ///
    /// # Errors
    /// [`RunError`]: the mill cannot be built, a record is bad, the function or the broker failed.
    pub async fn run(self, broker: impl Broker) -> Result<RunReport, RunError> {
        let handle = self.start(broker)?;
        let stop = StopOnDrop(Arc::clone(&handle.control));
        let result = handle.wait().await;
        drop(stop);
        result
    }

    /// Runs the mill to its end, blocking this thread.
    ///
    /// # Errors
    /// [`RunError`]: the mill cannot be built, a record is bad, the function or the broker failed.
    pub fn run_blocking(self, broker: impl Broker) -> Result<RunReport, RunError> {
        self.launch(Box::new(broker), None, Control::default())?.wait_blocking()
    }

    /// Starts the mill in the background. Inside a tokio runtime, async functions run in its context.
    ///
    /// # Errors
    /// [`RunError`]: the mill cannot be built, or its thread cannot be started.
    pub fn start(self, broker: impl Broker) -> Result<MillHandle, RunError> {
        self.launch(Box::new(broker), Handle::try_current().ok(), Control::default())
    }
}
