//! The mill that is fed record by record.

mod observe;

use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::State;
use crate::broker::feed::{Feed, lock, make_collect, make_feed};
use crate::broker::{BoxFuture, Checkpoint, Committer};
use crate::clock::{Clock, ManualClock};
use crate::engine::lane::Steering;
use crate::error::{BrokerError, BuildError, BuildProblem, RunError};
use crate::handle::Control;
use crate::letter::DeadLetter;
use crate::mill::Mill;
use crate::record::{RecordType, StreamRecord};
use crate::report::RunReport;

/// A mill that is fed record by record: see the [module](crate::testing).
///
/// ```
/// # extern crate watermill_core as watermill;
/// # use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # use watermill::testing::TestMill;
/// # #[derive(StreamRecord)] struct Number { value: i64 }
/// # #[derive(StreamRecord, Debug, PartialEq)] struct Half { value: i64 }
/// let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
/// test.feed(Number { value: 4 });
/// test.run()?;
/// assert_eq!(test.results::<Half>(), [Half { value: 2 }]);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct TestMill {
    run: Option<Run>,
    runtime: tokio::runtime::Runtime,
    control: Arc<Control>,
    streams: Vec<Stream>,
    ports: Vec<(RecordType, Box<dyn Any + Send>)>,
    clock: ManualClock,
    report: Option<RunReport>,
    function: String,
    /// A stream that was fed or ended and is not there.
    unknown: Option<String>,
}

/// The run of the lane, stopped wherever it last waited.
type Run = Pin<Box<dyn Future<Output = Result<RunReport, RunError>>>>;

struct Stream {
    record: RecordType,
    name: Option<Arc<str>>,
    /// An `Arc<Mutex<Feed<R>>>`.
    feed: Box<dyn Any + Send>,
}

impl TestMill {
    /// A mill that waits to be fed. Every stream that its function names can be fed; every result stream is kept.
    ///
    /// # Errors
    /// [`RunError::Build`]: what is wrong with the mill.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::testing::TestMill;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// let factor = Mill::new(|_: &Number, _: Inject<f64>| ());
    /// let error = TestMill::new(factor).err().map(|error| error.to_string());
    /// assert!(error.is_some_and(|text| text.contains("was given no value; give it one: `.inject(value)`")));
    /// ```
    pub fn new<M: StreamRecord>(mill: Mill<M>) -> Result<Self, RunError> {
        Self::going_on(mill, None)
    }

    /// As [`new`](TestMill::new), of a run that goes on where another one was stopped: with what [`window`](TestMill::window) of that one said. It
    /// is then fed from the [`position`](TestMill::position) of each stream on.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { time: i64 }
    /// # #[derive(StreamRecord, Debug, PartialEq)] struct Count { readings: usize }
    /// let mill = || {
    ///     let count = |readings: &[Reading]| Count { readings: readings.len() };
    ///     Mill::new(count).window(Window::sliding(20, 10).by(Reading::fields().time))
    /// };
    /// let mut first = TestMill::new(mill())?;
    /// first.feed_all([Reading { time: 5 }, Reading { time: 20 }]);
    /// first.run()?;
    /// // The windows until 10 and until 20; the next one begins at 10.
    /// assert_eq!((first.results::<Count>().len(), first.position::<Reading>()), (2, 1));
    ///
    /// let mut second = TestMill::going_on(mill(), first.window())?;
    /// second.feed(Reading { time: 20 });
    /// second.end::<Reading>();
    /// second.run()?;
    /// assert_eq!(second.results::<Count>(), [1, 1].map(|readings| Count { readings }));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    ///
    /// # Errors
    /// [`RunError::Build`]: what is wrong with the mill.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::testing::TestMill;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord, Debug, PartialEq)] struct Sum { value: i64 }
    /// fn sum(numbers: &[Number]) -> Sum {
    ///     Sum { value: numbers.iter().map(|number| number.value).sum() }
    /// }
    ///
    /// let mill = || Mill::new(sum).window(Window::count(2));
    /// let mut first = TestMill::new(mill())?;
    /// first.feed_all([1, 2, 3].map(|value| Number { value }));
    /// first.run()?;
    /// assert_eq!(first.results::<Sum>(), [Sum { value: 3 }]);
    ///
    /// // The window of 3 is open, so its stream goes on with it.
    /// let next = first.position::<Number>() as i64 + 1;
    /// let mut second = TestMill::going_on(mill(), first.window())?;
    /// second.feed_all((next..=4).map(|value| Number { value }));
    /// second.run()?;
    /// assert_eq!(second.results::<Sum>(), [Sum { value: 7 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn going_on<M: StreamRecord>(mill: Mill<M>, window: Option<String>) -> Result<Self, RunError> {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
        let mill = mill.clock(clock.clone());
        let plan = mill.plan()?;
        let control = Arc::new(Control::with_details());
        let mut streams = Vec::new();
        let mut sources = Vec::new();
        for node in &plan.nodes {
            let make = match node.parent {
                None => make_feed::<M>,
                Some(edge) => plan.edges[edge].spec.make_feed,
            };
            let (source, feed) = make();
            sources.push(source);
            streams.push(Stream { record: node.record, name: node.name.clone(), feed });
        }
        let mut ports = Vec::new();
        let mut sinks = Vec::new();
        for port in &plan.ports {
            let (sink, kept) = (port.spec.collect)();
            sinks.push(sink);
            ports.push((port.spec.record, kept));
        }
        if mill.has_letters(&plan) {
            let (sink, kept) = make_collect::<DeadLetter>();
            sinks.push(sink);
            ports.push((RecordType::of::<DeadLetter>(), kept));
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|cause| {
                RunError::Runtime {
                    what: "its async runtime could not be started".to_owned(),
                    cause: Box::new(cause),
                }
            })?;
        let function = plan.function.to_string();
        let steering = Steering::sole(Arc::clone(&control));
        let run = async move {
            let lane = mill.assembly(&Arc::new(plan)).lane(
                sources,
                &[],
                sinks,
                Box::new(NoCommit),
                mill.open_window(),
                steering,
            );
            match lane {
                Some(mut lane) => {
                    lane.go_on(&[], window.as_deref());
                    lane.run().await.map_err(|failed| failed.error)
                }
                None => Err(RunError::Runtime {
                    what: "the test driver made a stream of another type".to_owned(),
                    cause: "this is a mistake in watermill".into(),
                }),
            }
        };
        Ok(Self {
            run: Some(Box::pin(run)),
            runtime,
            control,
            streams,
            ports,
            clock,
            report: None,
            function,
            unknown: None,
        })
    }

    /// Adds a record to the stream of its type. When the mill has no such stream, [`run`](TestMill::run) says so.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.feed(Number { value: 1 });
    /// test.run()?;
    /// assert_eq!(test.input::<Number>().map(|input| input.records), Some(1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn feed<R: StreamRecord>(&mut self, record: R) {
        self.feed_all([record]);
    }

    /// Adds records to the stream of their type, to be read as one batch.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.feed_all([1, 2].map(|value| Number { value }));
    /// test.run()?;
    /// assert_eq!(test.input::<Number>().map(|input| input.records), Some(2));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn feed_all<R: StreamRecord>(&mut self, records: impl IntoIterator<Item = R>) {
        if let Some(mut feed) = self.feed_of::<R>(None) {
            feed.records.extend(records);
        }
    }

    /// Adds a record to the stream of this name.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::TestMill};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sound { frame: u32 }
    /// # #[derive(StreamRecord)] struct Picture { frame: u32 }
    /// # let join = JoinWith::new(Sound::fields().frame, Picture::fields().frame).from("left");
    /// # let mut test = TestMill::new(Mill::new(|_: &Sound, _: &Joined<Sound, Picture>| ()).join(join))?;
    /// test.feed(Sound { frame: 1 });
    /// test.feed_as("left", Picture { frame: 1 });
    /// test.feed_as("left", Picture { frame: 2 });
    /// test.run()?;
    /// assert_eq!(test.input::<Sound>().map(|input| input.records), Some(1));
    /// # assert_eq!(test.input_as::<Picture>("left").map(|input| input.records), Some(2));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn feed_as<R: StreamRecord>(&mut self, name: &str, record: R) {
        if let Some(mut feed) = self.feed_of::<R>(Some(name)) {
            feed.records.push_back(record);
        }
    }

    /// Ends the stream of `R`.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.end::<Number>();
    /// assert_eq!(test.run()?, State::Ended);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn end<R: StreamRecord>(&mut self) {
        if let Some(mut feed) = self.feed_of::<R>(None) {
            feed.ended = true;
        }
    }

    /// Ends the stream of this name.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::TestMill};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sound { frame: u32 }
    /// # #[derive(StreamRecord)] struct Picture { frame: u32 }
    /// # let join = JoinWith::new(Sound::fields().frame, Picture::fields().frame).from("left");
    /// # let mut test = TestMill::new(Mill::new(|_: &Sound, _: &Joined<Sound, Picture>| ()).join(join))?;
    /// test.feed(Sound { frame: 1 });
    /// test.feed_as("left", Picture { frame: 1 });
    /// // No more pictures of frame 1 will come: its group is complete.
    /// test.end_as::<Picture>("left");
    /// test.run()?;
    /// assert_eq!(test.input::<Sound>().map(|input| input.matched), Some(1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn end_as<R: StreamRecord>(&mut self, name: &str) {
        if let Some(mut feed) = self.feed_of::<R>(Some(name)) {
            feed.ended = true;
        }
    }

    /// Runs until the mill waits for an input, or has ended.
    ///
    /// # Errors
    /// Why the run failed: the mill is then at its end. Or [`RunError::Build`], when a stream was fed or ended that the mill does not have.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::{prelude::*, testing::{State, TestMill}};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: i64 }
    /// # #[derive(StreamRecord)] struct Half { value: i64 }
    /// # let mut test = TestMill::new(Mill::new(|number: &Number| Half { value: number.value / 2 }))?;
    /// test.feed(Number { value: 1 });
    /// assert_eq!(test.run()?, State::Waiting("Number".to_owned()));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn run(&mut self) -> Result<State, RunError> {
        if let Some(stream) = self.unknown.take() {
            let names: Vec<_> = self
                .streams
                .iter()
                .map(|stream| format!("`{}`", stream_name(stream.record.name(), stream.name.as_deref())))
                .collect();
            let fix = format!("feed {}; those with a name by `feed_as` and `end_as`", names.join(", "));
            let problem = Box::new(BuildProblem::NoStream { stream });
            return Err(BuildError { function: self.function.clone(), problem, fix }.into());
        }
        let Some(mut run) = self.run.take() else { return Ok(State::Ended) };
        let control = &self.control;
        let result = self.runtime.block_on(poll_fn(|context| match run.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            // Pending for a record is the end of this step; pending for anything else (a timer of an async function) is not.
            Poll::Pending if control.is_parked() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }));
        match result {
            Some(Ok(report)) => {
                self.report = Some(report);
                Ok(State::Ended)
            }
            Some(Err(error)) => Err(error),
            None => {
                self.run = Some(run);
                let watch = self.control.watch();
                Ok(match &watch.waiting_for {
                    Some(stream) => State::Waiting(stream.clone()),
                    None => State::Unfinished(watch.unfinished),
                })
            }
        }
    }

    /// Moves the time of the mill on. It stands still otherwise, and starts at the Unix epoch.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::{Duration, SystemTime};
    /// # use watermill::prelude::*;
    /// # use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let mut test = TestMill::new(Mill::new(|_: &Reading| ()))?;
    /// test.advance(Duration::from_secs(5));
    /// assert_eq!(test.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
    }

    /// The time of the mill.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use std::time::SystemTime;
    /// # use watermill::testing::TestMill;
    /// # let test = TestMill::new(Mill::new(|_: &Json| ()))?;
    /// // It begins at the epoch and goes on only by `advance`.
    /// assert_eq!(test.now(), SystemTime::UNIX_EPOCH);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn index<R: StreamRecord>(&self, name: Option<&str>) -> Option<usize> {
        let record = RecordType::of::<R>();
        self.streams.iter().position(|stream| stream.record == record && stream.name.as_deref() == name)
    }

    /// The stream of `R` with this name. That there is none is told by the next [`run`](TestMill::run).
    fn feed_of<R: StreamRecord>(&mut self, name: Option<&str>) -> Option<MutexGuard<'_, Feed<R>>> {
        let Some(index) = self.index::<R>(name) else {
            self.unknown.get_or_insert_with(|| stream_name(R::NAME, name));
            return None;
        };
        let stream = self.streams.get(index)?;
        let mut feed = lock(stream.feed.downcast_ref::<Arc<Mutex<Feed<R>>>>()?);
        feed.wake();
        Some(feed)
    }
}

/// How reports call a stream.
fn stream_name(record: &str, name: Option<&str>) -> String {
    name.map_or_else(|| record.to_owned(), |name| format!("{record} \"{name}\""))
}

/// Nothing to make durable.
struct NoCommit;

impl Committer for NoCommit {
    fn commit<'a>(&'a mut self, _: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
