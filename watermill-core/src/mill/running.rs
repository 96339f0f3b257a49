//! What can be set about the runs of a mill: commits, parallel calls, failures, and when a run ends by itself.

use std::time::Duration;

use crate::engine::lane::Work;
use crate::error::Mistake;
use crate::function::{Kind, ParamKind};
use crate::mill::Mill;
use crate::plan::Plan;
use crate::record::StreamRecord;
use crate::retry::{Backoff, OnError};

/// So many calls may wait for their `Ack`, unless `in_flight` says otherwise.
const ACKS_IN_FLIGHT: usize = 256;

/// So many calls are given out for each worker, so that none of them waits for the lane.
const CALLS_PER_WORKER: usize = 16;

impl<M: StreamRecord> Mill<M> {
    /// Has up to `workers` threads call the function. Results leave in the order of the masters, whichever call is finished first, and
    /// no commit passes a call that is not finished. Worth it for functions that take long: a call that is handed to another thread costs
    /// some microseconds more.
    ///
    /// Sliding windows and those of an emitter share their masters, so that their calls are made one after the other: more than one worker is a
    /// [`BuildError`](crate::BuildError) with them.
    ///
    /// For functions given to [`Mill::new`]. A closure of [`Mill::per_lane`] belongs to one lane alone, and async functions have
    /// [`in_flight`](Mill::in_flight): both are a [`BuildError`](crate::BuildError) here.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # #[derive(StreamRecord)] struct Steps { value: u64, steps: u64 }
    /// fn collatz(number: &Number) -> Steps {
    ///     let (mut at, mut steps) = (number.value, 0);
    ///     while at != 1 {
    ///         at = if at % 2 == 0 { at / 2 } else { 3 * at + 1 };
    ///         steps += 1;
    ///     }
    ///     Steps { value: number.value, steps }
    /// }
    ///
    /// let steps = Collected::<Steps>::new();
    /// let numbers = (1..1000).map(|value| Number { value }).collect();
    /// Mill::new(collatz).workers(2).run_blocking(MemoryBroker::new().read::<Number>(numbers).write(&steps))?;
    /// assert!(steps.take().iter().map(|found| found.value).eq(1..1000));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        if workers == 0 {
            let problem = "`.workers(0)` leaves nobody to call the function";
            self.mistakes.push(Mistake::new(problem, "call `.workers(1)`, or with more"));
        }
        self.settings.workers = Some(workers.max(1));
        self
    }

    /// Lets up to `calls` calls be under way: of an async function, whose calls then wait beside each other, or of a function that
    /// takes an [`Ack`](crate::function::Ack) (256 unless set). Results leave in the order of the masters, and no commit passes a call that is not
    /// finished.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Query { id: u64 }
    /// # #[derive(StreamRecord)] struct Answer { id: u64 }
    /// async fn ask(query: &Query) -> Answer {
    ///     tokio::time::sleep(Duration::from_millis(1)).await;
    ///     Answer { id: query.id }
    /// }
    ///
    /// let answers = Collected::<Answer>::new();
    /// let queries = (0..100).map(|id| Query { id }).collect();
    /// Mill::new_async(ask).in_flight(50).run_blocking(MemoryBroker::new().read::<Query>(queries).write(&answers))?;
    /// assert!(answers.take().iter().map(|answer| answer.id).eq(0..100));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn in_flight(mut self, calls: usize) -> Self {
        if calls == 0 {
            let problem = "`.in_flight(0)` allows no call at all";
            self.mistakes.push(Mistake::new(problem, "call `.in_flight(1)`, or with more"));
        }
        self.settings.in_flight = Some(calls.max(1));
        self
    }

    /// What is done when a call fails. The default is to stop.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let check = |reading: &Reading| if reading.celsius < 100.0 { Ok(()) } else { Err("it boils") };
    /// let readings = vec![Reading { celsius: 20.0 }, Reading { celsius: 120.0 }];
    /// let report = Mill::new(check)
    ///     .on_error(watermill::OnError::skip())
    ///     .run_blocking(MemoryBroker::new().read(readings))?;
    /// assert_eq!(report.given_up, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn on_error(mut self, policy: OnError) -> Self {
        self.settings.on_error = policy;
        self
    }

    /// A call that takes longer has failed. An async function is dropped where it waits; the `Ack` of a call is closed. A
    /// function that is not async cannot be interrupted: it is called on a [worker](Mill::workers) thread, which is left to
    /// it and replaced, and since its arguments are not free for another attempt, [`OnError::retry`] is a
    /// [`BuildError`](crate::BuildError) with it.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::prelude::*;
    /// # use watermill::OnError;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Query { id: u64 }
    /// async fn ask(query: &Query) {
    ///     if query.id == 1 {
    ///         std::future::pending::<()>().await;
    ///     }
    /// }
    ///
    /// let queries = (0..3).map(|id| Query { id }).collect();
    /// let report = Mill::new_async(ask)
    ///     .timeout(Duration::from_millis(20))
    ///     .on_error(OnError::skip())
    ///     .run_blocking(MemoryBroker::new().read::<Query>(queries))?;
    /// assert_eq!((report.calls, report.given_up), (3, 1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = Some(limit);
        self
    }

    /// When the storage behind a broker fails, the run goes back to its last commit and begins again there, up to `retries` times
    /// in a row, with a pause before each; a commit in between starts the count anew. Without this a failure of the storage ends the run.
    ///
    /// Only brokers that can open their streams again can do so; [`MemoryBroker`](crate::broker::memory::MemoryBroker) hands its records out once.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::prelude::*;
    /// # use watermill::Backoff;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # fn broker() -> MemoryBroker { MemoryBroker::new().read::<Reading>(Vec::new()) }
    /// let pauses = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60));
    /// Mill::new(|_: &Reading| ()).restart(10, pauses).run_blocking(broker())?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn restart(mut self, retries: u32, backoff: Backoff) -> Self {
        self.settings.restart = OnError::retry(retries, backoff);
        self
    }

    /// Ends the run when no record has come for so long, and no call is under way.
    ///
    /// As with the other `stop_..`, what was done is committed, and the next run goes on from there; the results get no EndOfStream.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::prelude::*;
    /// # use watermill::testing::{State, TestMill};
    /// # use watermill::EndReason;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let mut test = TestMill::new(Mill::new(|_: &Reading| ()).stop_when_idle(Duration::from_secs(60)))?;
    /// test.feed(Reading { celsius: 20.0 });
    /// assert_eq!(test.run()?, State::Waiting("Reading".to_owned()));
    /// test.advance(Duration::from_secs(60));
    /// assert_eq!(test.run()?, State::Ended);
    /// assert_eq!(test.report().map(|report| &report.end), Some(&EndReason::Idle));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn stop_when_idle(mut self, silence: Duration) -> Self {
        self.settings.ending.idle = Some(silence);
        self
    }

    /// Ends the run after so much time: for jobs that a scheduler starts anew.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::prelude::*;
    /// # use watermill::testing::{State, TestMill};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let mut test = TestMill::new(Mill::new(|_: &Reading| ()).stop_after(Duration::from_secs(3600)))?;
    /// test.run()?;
    /// test.advance(Duration::from_secs(3600));
    /// assert_eq!(test.run()?, State::Ended);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn stop_after(mut self, lifetime: Duration) -> Self {
        self.settings.ending.lifetime = Some(lifetime);
        self
    }

    /// Ends the run after so many commits.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let readings = (0..100).map(|_| Reading { celsius: 20.0 }).collect();
    /// let mill = Mill::new(|_: &Reading| ()).commit_after_calls(10).stop_after_commits(2);
    /// assert_eq!(mill.run_blocking(MemoryBroker::new().read::<Reading>(readings))?.calls, 20);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn stop_after_commits(mut self, commits: u64) -> Self {
        self.settings.ending.commits = Some(commits);
        self
    }

    /// Ends the run when so many masters are done with, those included that the joins did not keep. Each run counts from its own beginning.
    ///
    /// Masters of an open window are not done with: the run goes on until it closes, so that each run gets at least one window further.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let readings = (0..100).map(|_| Reading { celsius: 20.0 }).collect();
    /// let mill = Mill::new(|_: &Reading| ()).stop_after_records(30);
    /// assert_eq!(mill.run_blocking(MemoryBroker::new().read::<Reading>(readings))?.calls, 30);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn stop_after_records(mut self, masters: u64) -> Self {
        self.settings.ending.records = Some(masters);
        self.limits.masters = masters;
        self
    }

    /// Fails the run with [`RunError::NoCommit`](crate::RunError::NoCommit) when nothing was committed for so long, so that a supervisor starts it anew: also when
    /// a call hangs. By the machine's time. Input that is quiet for so long counts as stuck too.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::prelude::*;
    /// # use watermill::RunError;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// let hangs = |_: &Reading| std::thread::sleep(Duration::from_secs(3600));
    /// let mill = Mill::new(hangs).fail_without_commit(Duration::from_millis(50));
    /// let result = mill.run_blocking(MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]));
    /// assert!(matches!(result, Err(RunError::NoCommit { .. })));
    /// ```
    #[must_use]
    pub fn fail_without_commit(mut self, limit: Duration) -> Self {
        self.settings.ending.stuck = Some(limit);
        self
    }

    /// SIGINT and SIGTERM stop the run as [`MillHandle::stop`](crate::MillHandle::stop) does: it finishes its calls, commits, and returns its report with
    /// [`EndReason::Signal`](crate::EndReason::Signal). A second signal gives it up at once, as [`MillHandle::abort`](crate::MillHandle::abort). On systems without these
    /// signals Ctrl-C is meant.
    ///
    /// For programs: a library should leave signals to the program. From the first such run on, the program is not ended by these signals any
    /// more, also when the run is over. All mills of a program that ask for signals get them.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # fn broker() -> MemoryBroker { MemoryBroker::new().read::<Reading>(Vec::new()) }
    /// let report = Mill::new(|_: &Reading| ()).stop_on_signals().run_blocking(broker())?;
    /// println!("{report}");
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[cfg(feature = "signals")]
    #[must_use]
    pub fn stop_on_signals(mut self) -> Self {
        self.settings.signals = true;
        self
    }

    /// How calls are made that do not wait for each other, and how many are under way at most.
    pub(crate) fn work(&self, plan: &Plan) -> Option<(Work, usize)> {
        let settings = &self.settings;
        let acks = !plan.acks().is_empty();
        let timed = settings.timeout.is_some();
        let shared = self.window.as_ref().is_some_and(|window| window.shared);
        let work = match self.function.kind() {
            Kind::Async if acks => Some((Work::Tasks, settings.in_flight.unwrap_or(ACKS_IN_FLIGHT))),
            Kind::Async => settings.in_flight.filter(|calls| *calls > 1).map(|calls| (Work::Tasks, calls)),
            Kind::Shared if settings.workers.is_some_and(|workers| workers > 1) || timed => {
                let workers = settings.workers.unwrap_or(1);
                let room = if acks { ACKS_IN_FLIGHT } else { workers * CALLS_PER_WORKER };
                Some((Work::Threads(workers), settings.in_flight.unwrap_or(room)))
            }
            _ => acks.then(|| (Work::Lane, settings.in_flight.unwrap_or(ACKS_IN_FLIGHT))),
        };
        // The masters of windows that share them stand in one stage.
        work.map(|(work, room)| (work, if shared { 1 } else { room }))
    }

    /// Settings that do not go with the function.
    pub(crate) fn misfits(&self) -> Vec<Mistake> {
        let settings = &self.settings;
        let kind = self.function.kind();
        let has_acks = self.function.params().iter().any(|spec| matches!(spec.kind, ParamKind::Ack(_)));
        let mut misfits = Vec::new();
        let many = settings.workers.filter(|workers| *workers > 1);
        if let Some(window) = &self.window {
            let several = many.is_some() || settings.in_flight.is_some_and(|calls| calls > 1);
            let cut_short = kind == Kind::Shared && settings.timeout.is_some();
            misfits.extend(window.misfits(!self.joins.is_empty(), several, cut_short));
        }
        match kind {
            Kind::PerLane => {
                if let Some(workers) = many {
                    misfits.push(Mistake::new(
                        format!("the closure of `per_lane` belongs to one lane, so `.workers({workers})` cannot share it"),
                        format!("leave out `.workers({workers})`, or call `Mill::new(..)` with a function that shares its state by `Inject<Mutex<..>>`"),
                    ));
                }
                if settings.timeout.is_some() {
                    misfits.push(Mistake::new(
                        "the closure of `per_lane` cannot be interrupted by `.timeout(..)`, and no other thread can take it over",
                        "leave out `.timeout(..)`, or call `Mill::new(..)` or `Mill::new_async(..)` instead of `Mill::per_lane(..)`",
                    ));
                }
            }
            Kind::Async => {
                if let Some(workers) = many {
                    misfits.push(Mistake::new(
                        format!("the calls of an async function wait beside each other on one thread, so `.workers({workers})` is not for it"),
                        format!("call `.in_flight({workers})` instead"),
                    ));
                }
            }
            Kind::Shared => {
                if settings.timeout.is_some() && settings.on_error.retries() > 0 {
                    misfits.push(Mistake::new(
                        "a function that is not async cannot be interrupted by `.timeout(..)`, so its arguments are not free for another attempt",
                        "call `Mill::new_async(..)` with an async function, or `.on_error(OnError::stop())` or `.on_error(OnError::skip())`",
                    ));
                }
            }
        }
        if let Some(calls) = settings.in_flight.filter(|calls| *calls > 1)
            && kind != Kind::Async
            && !has_acks
            && many.is_none()
        {
            misfits.push(Mistake::new(
                format!("`.in_flight({calls})` is for async functions and for those that take an `Ack`"),
                match kind {
                    Kind::PerLane => format!("leave out `.in_flight({calls})`"),
                    _ => format!("call `.workers({calls})` instead"),
                },
            ));
        }
        misfits
    }
}
