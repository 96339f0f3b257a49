//! What a mill is given beside its function, joins and window: values, limits, policies, time.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use super::Mill;
use crate::clock::Clock;
use crate::error::Mistake;
use crate::policy::OnBad;
use crate::record::StreamRecord;

impl<M: StreamRecord> Mill<M> {
    /// Keeps what the last call was given, for debugging: the master and the records joined to it, their places and numbers, and how many results
    /// it wrote. To be asked for while the run goes on ([`MillHandle::checkpoint`](crate::MillHandle::checkpoint)), in its report, and in
    /// [`RunError::Function`](crate::RunError::Function) when a call fails.
    ///
    /// It costs little: a call leaves behind positions, which are looked up when the run waits, fails or is asked. Records are not copied; the batches in which those of the last
    /// call stand are held on to. `WATERMILL_CHECKPOINT=off` (or `0`, `false`) in the environment switches it off without a rebuild.
    ///
    /// It has nothing to do with the [`broker::Checkpoint`](crate::broker::Checkpoint) of a commit.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Line { order: u32 }
    /// # let broker = MemoryBroker::new().read([1, 2].map(|id| Order { id }).into()).read([1, 2, 2].map(|order| Line { order }).into());
    /// let sole = |_: &Order, lines: &Joined<Order, Line>| if lines.only().len() == 1 { Ok(()) } else { Err("too many") };
    /// let mill = Mill::new(sole).join(JoinWith::new(Order::fields().id, Line::fields().order));
    /// let error = mill.checkpoint().run_blocking(broker).unwrap_err();
    /// assert!(error.to_string().ends_with("it was given `Order` at record 1 with key 2, 2 `Line` from record 1 to record 2"));
    /// ```
    #[must_use]
    pub fn checkpoint(mut self) -> Self {
        self.settings.checkpoint = true;
        self
    }

    /// Gives the function a value of type `T`, which it takes as `Inject<T>`.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// struct Limit(f64);
    ///
    /// let mill = Mill::new(|reading: &Reading, limit: Inject<Limit>| assert!(reading.celsius < limit.0));
    /// assert_eq!(mill.inject(Limit(25.0)).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
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
            let name = std::any::type_name::<T>();
            self.mistakes.push(Mistake::new(
                format!("two values of type `{name}` are injected"),
                "leave out one of the two `.inject(..)` calls, or give it a value of a type of its own: `struct Second(..)`",
            ));
        }
        self
    }

    /// What is done with bad records of `R`. The default is to stop. Of no consequence where the mill does not read `R`: mills of
    /// different trees can be given the same settings.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { time: i64, room: u32 }
    /// # #[derive(StreamRecord)] struct Door { time: i64 }
    /// # let readings = [(10, 1), (5, 1), (20, 1)].map(|(time, room)| Reading { time, room });
    /// # let broker = MemoryBroker::new().read(Vec::from(readings)).read(vec![Door { time: 20 }]);
    /// // The time of the second reading goes down.
    /// let report = Mill::new(|_: &Reading| ())
    ///     .join(JoinWith::new(Reading::fields().time, Door::fields().time).exists())
    ///     .on_bad::<Reading>(OnBad::Skip)
    ///     .run_blocking(broker)?;
    /// assert_eq!((report.calls, report.inputs[0].skipped), (1, 1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn on_bad<R: StreamRecord>(mut self, policy: OnBad) -> Self {
        self.on_bad.insert(TypeId::of::<R>(), policy);
        self
    }

    /// The stream of `R` has ended when nothing has come from it for so long while the walk waits for it. What comes later is not read by this run. By
    /// the mill's clock. Of no consequence where the mill does not read `R`.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use std::time::Duration;
    /// use watermill::prelude::*;
    /// use watermill::testing::{State, TestMill};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let mill = Mill::new(|_: &Reading| ()).eos_after::<Reading>(Duration::from_secs(60));
    /// let mut test = TestMill::new(mill)?;
    /// test.feed(Reading { celsius: 20.0 });
    /// test.run()?;
    /// test.advance(Duration::from_secs(60));
    /// assert_eq!(test.run()?, State::Ended);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn eos_after<R: StreamRecord>(mut self, silence: Duration) -> Self {
        if silence.is_zero() {
            self.mistakes.push(Mistake::new(
                format!("`.eos_after::<{}>(0ns)` would end the stream before its first record", R::NAME),
                "give it more time, or leave it out",
            ));
        }
        self.eos_after.insert(TypeId::of::<R>(), silence);
        self
    }

    /// What is done with results of `R` that the broker cannot write: they cannot be encoded, or are too large for it. The default is to stop.
    /// Left out, they are counted in [`OutputReport::refused`](crate::OutputReport::refused); put aside, each leaves a
    /// [`DeadLetter`](crate::DeadLetter) of the kind `result` with the number of the result, but without bytes, since it has none.
    /// Of no consequence where the mill does not write `R`.
    ///
    /// A storage that fails as a whole is another matter: [`restart`](Mill::restart).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # #[derive(StreamRecord)] struct Hot { celsius: f64 }
    /// let hot = Collected::<Hot>::new();
    /// let report = Mill::new(|reading: &Reading| Hot { celsius: reading.celsius })
    ///     .on_refused::<Hot>(OnBad::Skip)
    ///     .run_blocking(MemoryBroker::new().read(vec![Reading { celsius: 99.0 }]).write(&hot))?;
    /// // Memory refuses nothing.
    /// assert_eq!((report.outputs[0].records, report.outputs[0].refused), (1, 0));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn on_refused<R: StreamRecord>(mut self, policy: OnBad) -> Self {
        self.on_refused.insert(TypeId::of::<R>(), policy);
        self
    }

    /// The largest number of records that may match one record; more is [`RunError::GroupTooLarge`](crate::RunError::GroupTooLarge).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::RunError;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Line { order: u32 }
    /// # let lines = [1, 1, 1].map(|order| Line { order });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// // The order has three lines.
    /// let error = Mill::new(|_: &Order, _: &Joined<Order, Line>| ())
    ///     .join(JoinWith::new(Order::fields().id, Line::fields().order))
    ///     .max_group(2)
    ///     .run_blocking(broker);
    /// assert!(matches!(error, Err(RunError::GroupTooLarge { limit: 2, .. })));
    /// ```
    #[must_use]
    pub fn max_group(mut self, records: u64) -> Self {
        if records == 0 {
            let fix = "call `.max_group(1)`, or with more";
            self.mistakes.push(Mistake::new("`.max_group(0)` allows no match at all", fix));
        }
        self.limits.max_group = records;
        self
    }

    /// How many bytes of records the walk may hold at one time, about; more is [`RunError::OverBudget`](crate::RunError::OverBudget). It holds a batch a
    /// stream, the groups in use and the open window.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::RunError;
    /// # #[derive(StreamRecord)] struct Order { product: u32 }
    /// # #[derive(StreamRecord)] struct Product { id: u32, weights: [u64; 8] }
    /// # let products = (0..1000).map(|id| Product { id, weights: [0; 8] }).collect();
    /// # let broker = MemoryBroker::new().read(vec![Order { product: 1 }]).read::<Product>(products);
    /// // A table of a thousand products of 72 bytes each.
    /// let error = Mill::new(|_: &Order, _: &Joined<Order, Product>| ())
    ///     .join(JoinWith::lookup(Order::fields().product, Product::fields().id))
    ///     .memory_budget(10_000)
    ///     .run_blocking(broker);
    /// assert!(matches!(error, Err(RunError::OverBudget { budget: 10_000, .. })));
    /// ```
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.limits.budget = bytes;
        self
    }

    /// Commits so often that a result waits about this long for its commit at most; the default is one second, or what suits the storage. Commits that
    /// take long begin earlier by that, but no earlier than half of this time after the last one. Results and the positions of the inputs become
    /// durable together, so that a restart goes on from the last commit.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use std::time::Duration;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// // A job that is cheap to do again commits less often.
    /// let mill = Mill::new(|_: &Reading| ()).commit_every(Duration::from_secs(60));
    /// assert_eq!(mill.run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn commit_every(mut self, time: Duration) -> Self {
        self.settings.commits.time = Some(time);
        self
    }

    /// Commits when the function was called this often since the last commit, beside [`commit_every`](Mill::commit_every).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = || MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// let mill = || Mill::new(|_: &Reading| ());
    /// assert_eq!(mill().commit_after_calls(1000).run_blocking(broker())?.calls, 1);
    /// // Zero is refused before anything is read.
    /// assert!(mill().commit_after_calls(0).run_blocking(broker()).is_err());
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn commit_after_calls(mut self, calls: u64) -> Self {
        if calls == 0 {
            let fix = "call `.commit_after_calls(1)`, which commits after every call, or with more";
            self.mistakes.push(Mistake::new("`.commit_after_calls(0)` would commit without end", fix));
        }
        self.settings.commits.calls = Some(calls.max(1));
        self
    }

    /// What the mill takes for time; the default is [`SystemClock`](crate::clock::SystemClock). Tests and simulations give a
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
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
    /// // For a program that draws on the terminal itself.
    /// assert_eq!(Mill::new(|_: &Reading| ()).progress(false).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn progress(mut self, shown: bool) -> Self {
        self.progress = shown;
        self
    }
}
