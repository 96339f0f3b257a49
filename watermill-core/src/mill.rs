//! The mill: a function, its joins and its window, ready to run on any broker.

mod lanes;
mod launch;
mod options;
mod reorder;
mod running;

use std::any::TypeId;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::broker::Broker;
use crate::clock::{Clock, SystemClock};
use crate::engine::lane::Settings;
use crate::engine::walk::Limits;
use crate::error::{BuildError, Mistake, RunError};
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
use crate::window::{IntoWindow, Window};
use reorder::Reorder;

/// More matches for one record than this are an error, unless [`Mill::max_group`] says otherwise.
///
/// ```
/// # use watermill_core::{DEFAULT_MAX_GROUP, Mill, record::Json};
/// let mill = Mill::new(|_: &Json| ()).max_group(10 * DEFAULT_MAX_GROUP);
/// assert!(mill.explain().is_ok());
/// ```
pub const DEFAULT_MAX_GROUP: u64 = 1_000_000;

/// A walk may hold this many bytes of records, unless [`Mill::memory_budget`] says otherwise.
///
/// ```
/// # use watermill_core::{DEFAULT_MEMORY_BUDGET, Mill, record::Json};
/// let mill = Mill::new(|_: &Json| ()).memory_budget(DEFAULT_MEMORY_BUDGET / 4);
/// assert!(mill.explain().is_ok());
/// ```
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
    function: Arc<dyn AnyFunction>,
    joins: Vec<Arc<JoinSpec>>,
    window: Option<Window<M>>,
    injected: Injections,
    on_bad: HashMap<TypeId, OnBad>,
    on_refused: HashMap<TypeId, OnBad>,
    eos_after: HashMap<TypeId, Duration>,
    reorder: HashMap<TypeId, Reorder>,
    limits: Limits,
    settings: Settings,
    clock: Arc<dyn Clock>,
    mistakes: Vec<Mistake>,
    /// Whether a progress bar is shown; without the feature `progress`, of no consequence.
    progress: bool,
    master: PhantomData<fn(&M)>,
}

impl<M: StreamRecord> Mill<M> {
    /// A mill of a `fn` or a closure that is `Fn + Send + Sync`.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// fn check(reading: &Reading) {
    ///     assert!(reading.celsius < 100.0);
    /// }
    ///
    /// assert_eq!(Mill::new(check).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
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
        Self::of(Arc::new(SyncFunction::new(function)))
    }

    /// A mill of an `async fn`, or of an async closure. Its calls are made one after the other, in the order of the masters.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// async fn store(reading: &Reading) -> Result<(), std::io::Error> {
    ///     # let _ = reading;
    ///     // In place of a database.
    ///     tokio::task::yield_now().await;
    ///     Ok(())
    /// }
    ///
    /// assert_eq!(Mill::new_async(store).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
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
        Self::of(Arc::new(AsyncFunction::new(function)))
    }

    /// A mill whose function is made anew for each lane, and may change what it captured: `Mill::per_lane(|| { let mut seen = 0;
    /// move |flight: &Flight| { seen += 1; .. } })`.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Payment { cents: u64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Balance { cents: u64 }
    ///
    /// # let balances = Collected::<Balance>::new();
    /// # let broker = MemoryBroker::new().read([20, 30].map(|cents| Payment { cents }).into()).write(&balances);
    /// let mill = Mill::per_lane(|| {
    ///     let mut cents = 0;
    ///     move |payment: &Payment| {
    ///         cents += payment.cents;
    ///         Balance { cents }
    ///     }
    /// });
    /// mill.run_blocking(broker)?;
    /// assert_eq!(balances.take(), [20, 50].map(|cents| Balance { cents }));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
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
        Self::of(Arc::new(LaneFunction::new(make)))
    }

    fn of(function: Arc<dyn AnyFunction>) -> Self {
        Self {
            function,
            joins: Vec::new(),
            window: None,
            injected: Injections::default(),
            on_bad: HashMap::new(),
            on_refused: HashMap::new(),
            eos_after: HashMap::new(),
            reorder: HashMap::new(),
            limits: Limits { max_group: DEFAULT_MAX_GROUP, budget: DEFAULT_MEMORY_BUDGET, masters: u64::MAX },
            settings: Settings::default(),
            clock: Arc::new(SystemClock::new()),
            mistakes: Vec::new(),
            progress: true,
            master: PhantomData,
        }
    }

    /// Joins a stream to the master, or to one that is joined already.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Line { order: u32, product: u32 }
    /// # #[derive(StreamRecord)] struct Price { product: u32 }
    /// fn total(order: &Order, lines: &Joined<Order, Line>, prices: &Joined<Line, Price>) {}
    ///
    /// let mill = Mill::new(total)
    ///     .join(JoinWith::new(Order::fields().id, Line::fields().order))
    ///     .join(JoinWith::lookup(Line::fields().product, Price::fields().product));
    /// assert!(mill.explain()?.ends_with(
    ///     "Order (master)\n\
    ///      └─ Line: inner, id = order\n   \
    ///         └─ Price: inner, product looked up by product\n"
    /// ));
    /// # Ok::<(), watermill::BuildError>(())
    /// ```
    #[must_use]
    pub fn join<L: StreamRecord, R: StreamRecord, V: KeyValue>(mut self, join: JoinWith<L, R, V>) -> Self {
        self.joins.push(Arc::new(join.into_spec()));
        self
    }

    /// Puts the masters together into windows, for a function that takes `&[M]`.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { time: i64 }
    /// # let broker = MemoryBroker::new().read([0, 59, 60].map(|time| Reading { time }).into());
    /// let mill = Mill::new(|readings: &[Reading]| assert!(readings.len() <= 2))
    ///     .window(Window::by(Reading::fields().time / 60));
    /// assert_eq!(mill.run_blocking(broker)?.calls, 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn window(mut self, window: impl IntoWindow<M>) -> Self {
        let mut window = window.into_window();
        if self.window.is_some() {
            self.mistakes.push(Mistake::new(
                "the mill has two windows",
                "leave out one of the two `.window(..)` calls",
            ));
        }
        self.mistakes.append(&mut window.mistakes);
        self.window = Some(window);
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
    /// let chart = mill.mermaid()?;
    /// assert!(chart.starts_with("flowchart TD\n") && chart.contains("\"inner, time + 10 = time\""));
    /// # Ok::<(), watermill::BuildError>(())
    /// ```
    pub fn mermaid(&self) -> Result<String, BuildError> {
        Ok(self.plan()?.mermaid(self.window.as_ref().map(|window| window.text.as_str())))
    }

    pub(crate) fn plan(&self) -> Result<Plan, BuildError> {
        let mut mistakes = self.mistakes.clone();
        mistakes.extend(self.misfits());
        let mut plan = Plan::new(
            &*self.function,
            RecordType::of::<M>(),
            &self.joins,
            &self.injected,
            self.window.is_some(),
            &mistakes,
        )?;
        self.sort_back(&mut plan)?;
        Ok(plan)
    }

    /// Runs the mill to its end.
    ///
    /// The walk has a thread of its own; async functions run in the context of the calling runtime. When the returned
    /// future is dropped, the run is asked to stop.
    ///
    /// # Errors
    /// [`RunError`]: the mill cannot be built, a record is bad, the function or the broker failed.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read(vec![Number { value: 1 }, Number { value: 2 }]);
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let report = Mill::new(|_: &Number| ()).run(broker).await?;
    /// assert_eq!(report.calls, 2);
    /// # Ok::<(), watermill::RunError>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read(vec![Number { value: 1 }, Number { value: 2 }]);
    /// let report = Mill::new(|_: &Number| ()).run_blocking(broker)?;
    /// assert!(report.to_string().contains("2 calls, 0 results"));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn run_blocking(self, broker: impl Broker) -> Result<RunReport, RunError> {
        self.launch(Box::new(broker), None, Control::default())?.wait_blocking()
    }

    /// Starts the mill in the background. Inside a tokio runtime, async functions run in its context.
    ///
    /// # Errors
    /// [`RunError`]: the mill cannot be built, or its thread cannot be started.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # let broker = MemoryBroker::new().read(vec![Number { value: 1 }, Number { value: 2 }]);
    /// let handle = Mill::new(|_: &Number| ()).start(broker)?;
    /// // Something else is done here.
    /// assert_eq!(handle.wait_blocking()?.calls, 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn start(self, broker: impl Broker) -> Result<MillHandle, RunError> {
        self.launch(Box::new(broker), Handle::try_current().ok(), Control::default())
    }
}
