//! Windows of time, as they are declared: by a key of the master, or by when masters arrive.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::fixed::Fixed;
use super::rule::{ByArrival, ByEvent, OpenWindow, Times, WindowRule};
use super::session::Session;
use super::sliding::SlidingRule;
use super::{IntoWindow, Window};
use crate::engine::{KeyCheck, RoleCheck, Rule, describe};
use crate::error::Mistake;
use crate::key::{KeyExpr, WindowKey};
use crate::record::StreamRecord;

/// A window of time whose size is a `T`: by event time after [`by`](TimeWindow::by), by arrival as it is, if `T` is a [`Duration`].
///
/// - **By event time** windows are exact, and the same in every run over the same input, however it is cut into batches and wherever a
///   run was stopped. The key must never go down. A window closes when a master behind it has come, so it stays open while the stream is quiet.
///   A master whose key is `None` is in no window.
/// - **By arrival** windows go by the mill's [clock](crate::Mill::clock) and close by themselves. What has been read but not called yet is read again
///   by a restart, and then arrives later: such a run cannot be repeated. They do not work over joins.
///
/// Windows are aligned to the zero of the key, or to the Unix epoch, and half-open: a master at the end of one is in the next.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { time: i64 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Times { times: Vec<i64> }
///
/// fn times(readings: &[Reading]) -> Times {
///     Times { times: readings.iter().map(|reading| reading.time).collect() }
/// }
///
/// let found = Collected::<Times>::new();
/// let readings = [-1, 0, 59, 60].map(|time| Reading { time });
/// Mill::new(times)
///     .window(Window::fixed(60).by(Reading::fields().time))
///     .run_blocking(MemoryBroker::new().read(readings.into()).write(&found))?;
/// assert_eq!(found.take(), [vec![-1], vec![0, 59], vec![60]].map(|times| Times { times }));
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct TimeWindow<M, T> {
    shape: Shape<T>,
    empty: bool,
    master: PhantomData<fn(&M)>,
}

#[derive(Debug, Clone)]
enum Shape<T> {
    Fixed(T),
    Sliding(T, T),
    Session(T),
}

impl<M: StreamRecord> Window<M> {
    /// Windows of `size`, one behind the other: `Window::fixed(60).by(Reading::fields().time)` by event time,
    /// `Window::fixed(Duration::from_secs(60))` by arrival. Each master is in exactly one.
    ///
    /// See [`TimeWindow`] for both. Sizes that are zero, negative or infinite are a [`BuildError`](crate::BuildError).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use std::time::Duration;
    /// use watermill::prelude::*;
    /// use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # #[derive(StreamRecord, Debug, PartialEq)] struct Count { readings: usize }
    /// let count = |readings: &[Reading]| Count { readings: readings.len() };
    /// let mut test = TestMill::new(Mill::new(count).window(Window::fixed(Duration::from_secs(60))))?;
    /// test.feed_all([Reading { celsius: 20.0 }, Reading { celsius: 21.0 }]);
    /// test.run()?;
    /// assert!(test.results::<Count>().is_empty());
    /// // It closes by itself.
    /// test.advance(Duration::from_secs(60));
    /// test.run()?;
    /// assert_eq!(test.results::<Count>(), [Count { readings: 2 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn fixed<T>(size: T) -> TimeWindow<M, T> {
        TimeWindow::new(Shape::Fixed(size))
    }

    /// Windows of `size`, of which one begins every `step`: `Window::sliding(60, 10).by(Reading::fields().time)`. Each master is in every window that
    /// covers it.
    ///
    /// By event time with [`by`](TimeWindow::by), by arrival of [`Duration`]s: see [`TimeWindow`]. Steps that are longer than the windows would leave masters out, and are a
    /// [`BuildError`](crate::BuildError), as are sizes that are zero, negative or infinite. Since windows share their masters, calls are made one after the
    /// other.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Reading { time: i64, celsius: f64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Mean { until: i64, celsius: f64 }
    ///
    /// fn mean(readings: &[Reading], info: &WindowInfo) -> Mean {
    ///     let sum: f64 = readings.iter().map(|reading| reading.celsius).sum();
    ///     Mean { until: info.end().unwrap(), celsius: sum / readings.len() as f64 }
    /// }
    ///
    /// let means = Collected::<Mean>::new();
    /// let readings = [(5, 20.0), (15, 22.0)].map(|(time, celsius)| Reading { time, celsius });
    /// Mill::new(mean)
    ///     .window(Window::sliding(20, 10).by(Reading::fields().time))
    ///     .run_blocking(MemoryBroker::new().read(readings.into()).write(&means))?;
    /// let expected = [(10, 20.0), (20, 21.0), (30, 22.0)];
    /// assert_eq!(means.take(), expected.map(|(until, celsius)| Mean { until, celsius }));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn sliding<T>(size: T, step: T) -> TimeWindow<M, T> {
        TimeWindow::new(Shape::Sliding(size, step))
    }

    /// Masters that follow each other closely: one that is `gap` or more behind the one before begins a new window.
    ///
    /// By event time with [`by`](TimeWindow::by); by arrival, of a [`Duration`], a session also closes by itself, one gap behind its last
    /// master. See [`TimeWindow`].
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Click { time: i64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Visit { clicks: usize, until: i64 }
    ///
    /// fn visit(clicks: &[Click], info: &WindowInfo) -> Visit {
    ///     Visit { clicks: clicks.len(), until: info.end().unwrap() }
    /// }
    ///
    /// let visits = Collected::<Visit>::new();
    /// let clicks = [0, 20, 49, 79].map(|time| Click { time });
    /// Mill::new(visit)
    ///     .window(Window::session(30).by(Click::fields().time))
    ///     .run_blocking(MemoryBroker::new().read(clicks.into()).write(&visits))?;
    /// assert_eq!(visits.take(), [Visit { clicks: 3, until: 79 }, Visit { clicks: 1, until: 109 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn session<T>(gap: T) -> TimeWindow<M, T> {
        TimeWindow::new(Shape::Session(gap))
    }
}

impl<M: StreamRecord, T> TimeWindow<M, T> {
    fn new(shape: Shape<T>) -> Self {
        Self { shape, empty: false, master: PhantomData }
    }

    /// Calls the function for windows without masters as well, with an empty slice: those that lie between two windows of a run. By
    /// arrival they are called as time passes. Sessions are never empty.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Reading { time: i64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Count { readings: usize }
    ///
    /// let counts = Collected::<Count>::new();
    /// Mill::new(|readings: &[Reading]| Count { readings: readings.len() })
    ///     .window(Window::fixed(60).with_empty().by(Reading::fields().time))
    ///     .run_blocking(MemoryBroker::new().read(vec![Reading { time: 0 }, Reading { time: 150 }]).write(&counts))?;
    /// assert_eq!(counts.take(), [1, 0, 1].map(|readings| Count { readings }));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn with_empty(mut self) -> Self {
        self.empty = true;
        self
    }
}

impl<M: StreamRecord, T> TimeWindow<M, T>
where
    T: Clone + PartialOrd + fmt::Debug + Send + Sync + 'static,
{
    /// By event time: the window goes by this key of the masters, which must never go down.
    ///
    /// The size is in units of the key where that is a number, a duration of the same crate where it is a date.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// use std::time::{Duration, SystemTime};
    ///
    /// #[derive(StreamRecord)]
    /// struct Reading { seen: SystemTime }
    ///
    /// let readings = [0, 59, 60].map(|second| Reading { seen: SystemTime::UNIX_EPOCH + Duration::from_secs(second) });
    /// let minutes = Window::fixed(Duration::from_secs(60)).by(Reading::fields().seen);
    /// let mill = Mill::new(|_: &[Reading]| ()).window(minutes);
    /// assert_eq!(mill.run_blocking(MemoryBroker::new().read(readings.into()))?.calls, 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn by<E>(self, key: E) -> Window<M>
    where
        E: KeyExpr<M>,
        E::Value: WindowKey<T>,
    {
        let text = describe::<M, E>(&key);
        let key = Arc::new(key);
        let check = Arc::clone(&key);
        self.build(
            &format!("by {text}"),
            move || ByEvent::new(Arc::clone(&key)),
            move || Some(Box::new(KeyCheck::new(Arc::clone(&check), Rule::Ordered))),
        )
    }

    fn build<S: Times>(
        self,
        by: &str,
        times: impl Fn() -> S + Send + Sync + 'static,
        check: impl Fn() -> Option<Box<dyn RoleCheck<M>>> + Send + Sync + 'static,
    ) -> Window<M>
    where
        S::Key: WindowKey<T>,
    {
        let mut mistakes = Vec::new();
        let mut positive = |what: &str, size: &T| {
            if !S::Key::is_positive(size) {
                mistakes.push(Mistake::new(
                    format!("{what} of {size:?} is no time"),
                    "give it one that is more than zero, and finite",
                ));
            }
        };
        let text = match &self.shape {
            Shape::Fixed(size) => {
                positive("a window", size);
                format!("fixed window of {size:?} {by}")
            }
            Shape::Sliding(size, step) => {
                positive("a window", size);
                positive("a step", step);
                if size.partial_cmp(step) == Some(std::cmp::Ordering::Less) {
                    mistakes.push(Mistake::new(
                        format!(
                            "`Window::sliding({size:?}, {step:?})` would leave out the masters between its windows"
                        ),
                        format!("call `Window::sliding({size:?}, {size:?})`, or with a shorter step"),
                    ));
                }
                format!("sliding window of {size:?} every {step:?} {by}")
            }
            Shape::Session(gap) => {
                positive("a gap", gap);
                format!("session {by} with gaps of {gap:?}")
            }
        };
        let (shape, times, check) = (self.shape, Arc::new(times), Arc::new(check));
        let rule = |empty: bool| -> Arc<dyn WindowRule<M>> {
            let (shape, times, check) = (shape.clone(), Arc::clone(&times), Arc::clone(&check));
            let open = move || match shape.clone() {
                Shape::Fixed(size) => OpenWindow::Apart(Box::new(Fixed::new(times(), size, empty))),
                Shape::Sliding(size, step) => {
                    OpenWindow::Sliding(Box::new(SlidingRule::new(times(), size, step, empty)))
                }
                Shape::Session(gap) => OpenWindow::Apart(Box::new(Session::new(times(), gap))),
            };
            Arc::new(TimeRule { open, check: move || check() })
        };
        let mut window = Window::of(rule(false), text);
        window.empty = (!matches!(shape, Shape::Session(_))).then(|| rule(true));
        window.shared = matches!(shape, Shape::Sliding(..));
        if self.empty {
            window = window.with_empty();
        }
        window.mistakes.extend(mistakes);
        window.alone = S::ARRIVAL;
        window
    }
}

impl<M, T: fmt::Debug> fmt::Debug for TimeWindow<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shape.fmt(f)
    }
}

/// By arrival.
impl<M: StreamRecord> IntoWindow<M> for TimeWindow<M, Duration> {
    fn into_window(self) -> Window<M> {
        self.build("by arrival", || ByArrival, || None)
    }
}

struct TimeRule<O, C> {
    open: O,
    check: C,
}

impl<M, O, C> WindowRule<M> for TimeRule<O, C>
where
    O: Fn() -> OpenWindow + Send + Sync,
    C: Fn() -> Option<Box<dyn RoleCheck<M>>> + Send + Sync,
{
    fn open(&self) -> OpenWindow {
        (self.open)()
    }

    fn check(&self) -> Option<Box<dyn RoleCheck<M>>> {
        (self.check)()
    }
}
