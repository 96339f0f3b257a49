//! Storage that returns from a commit before it is durable, and storage whose commits take time.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use watermill_core::Backoff;
use watermill_core::broker::{
    AnySource, BoxFuture, Catalog, Checkpoint, Committer, Job, Lane, LaneOutputs, Position, Session,
};
use watermill_core::clock::{Clock, ManualClock};
use watermill_core::error::BrokerError;
use watermill_core::prelude::*;
use watermill_derive::StreamRecord;

#[derive(Debug, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Reading {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(crate = watermill_core)]
struct Sum {
    time: i64,
}

/// What a storage was asked.
#[derive(Default)]
struct Log {
    events: Vec<String>,
    begun: Vec<SystemTime>,
}

/// A broker in memory whose commits become durable later, all but the one that `fails` counts down to, and take `takes`.
struct Late {
    /// Memory is read once, so there is another for each attempt.
    memory: Box<dyn Fn() -> MemoryBroker + Send + Sync>,
    name: &'static str,
    log: Arc<Mutex<Log>>,
    fails: Arc<AtomicUsize>,
    takes: Duration,
    clock: ManualClock,
}

struct LateSession(Box<dyn Session>, LateCommitter);

#[derive(Clone)]
struct LateCommitter {
    name: &'static str,
    log: Arc<Mutex<Log>>,
    fails: Arc<AtomicUsize>,
    /// A commit is on its way.
    open: bool,
    takes: Duration,
    clock: ManualClock,
}

impl Broker for Late {
    fn name(&self) -> &str {
        self.name
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        (self.memory)().catalog()
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        let Self { name, takes, .. } = *self;
        let (log, fails, clock) = (Arc::clone(&self.log), Arc::clone(&self.fails), self.clock.clone());
        let committer = LateCommitter { name, log, fails, open: false, takes, clock };
        Box::pin(async move {
            let session = (self.memory)().open(job).await?;
            Ok(Box::new(LateSession(session, committer)) as Box<dyn Session>)
        })
    }
}

impl Session for LateSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        self.0.next_lane()
    }

    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        Box::pin(async move {
            let outputs = self.0.outputs(lane).await?;
            Ok(LaneOutputs { committer: Box::new(self.1.clone()), ..outputs })
        })
    }

    fn sources<'a>(
        &'a mut self,
        lane: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        self.0.sources(lane, from)
    }
}

impl Committer for LateCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        assert!(!self.open, "a commit before the last one was waited for");
        let mut log = self.log.lock().unwrap();
        log.events.push(format!("{} commits", self.name));
        log.begun.push(self.clock.now());
        drop(log);
        self.clock.advance(self.takes);
        self.open = !checkpoint.finished;
        Box::pin(std::future::ready(Ok(())))
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        let failed = std::mem::take(&mut self.open) && self.fails.fetch_sub(1, Ordering::Relaxed) == 1;
        self.log.lock().unwrap().events.push(format!("{} settles", self.name));
        let error = || BrokerError {
            broker: self.name.to_owned(),
            action: "sync".to_owned(),
            location: "the disk".to_owned(),
            cause: "it is full".into(),
        };
        Box::pin(std::future::ready(if failed { Err(error()) } else { Ok(()) }))
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn late(
    name: &'static str,
    memory: impl Fn() -> MemoryBroker + Send + Sync + 'static,
    log: &Arc<Mutex<Log>>,
) -> Late {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    let memory = Box::new(memory);
    Late {
        memory,
        name,
        log: Arc::clone(log),
        fails: Arc::new(usize::MAX.into()),
        takes: Duration::ZERO,
        clock,
    }
}

fn readings(count: i64) -> MemoryBroker {
    MemoryBroker::new().read((0..count).map(|time| Reading { time }).collect::<Vec<_>>())
}

fn sum(reading: &Reading) -> Sum {
    Sum { time: reading.time }
}

#[test]
fn what_was_read_elsewhere_is_given_up_when_the_results_are_durable() {
    let log = Arc::default();
    let reads = late("reads", || readings(3), &log);
    let writes = late("writes", || MemoryBroker::new().write(&Collected::<Sum>::new()), &log);
    Mill::new(sum).commit_after_calls(1).run_blocking(reads.and(writes)).unwrap();
    let events = &log.lock().unwrap().events;
    let commits = events.iter().enumerate().filter(|(_, event)| *event == "reads commits");
    let before: Vec<&String> = commits.map(|(at, _)| &events[at - 1]).collect();
    assert!(before.len() >= 3 && before.iter().all(|event| *event == "writes settles"), "{events:?}");
}

#[test]
fn a_stopped_run_fails_when_its_last_commit_does_not_become_durable() {
    let log = Arc::default();
    let broker = late("late", || readings(10).write(&Collected::<Sum>::new()), &log);
    let report = Mill::new(sum).commit_after_calls(1).stop_after_commits(2).run_blocking(broker).unwrap();
    // The last one says that the run has ended here.
    assert_eq!((report.commits, report.results), (3, 2));

    let broker = late("late", || readings(10).write(&Collected::<Sum>::new()), &log);
    broker.fails.store(3, Ordering::Relaxed);
    let error = Mill::new(sum).commit_after_calls(1).stop_after_commits(2).run_blocking(broker).unwrap_err();
    assert!(error.to_string().contains("the disk"), "{error}");
}

#[test]
fn a_commit_that_did_not_become_durable_is_not_counted() {
    let log = Arc::default();
    let broker = late("late", || readings(10).write(&Collected::<Sum>::new()), &log);
    broker.fails.store(2, Ordering::Relaxed);
    let backoff = Backoff::exponential(Duration::ZERO, Duration::ZERO);
    let report = Mill::new(sum).commit_after_calls(1).restart(1, backoff).run_blocking(broker).unwrap();
    // This storage remembers nothing: the one that was durable, and all of them once more.
    assert_eq!((report.results, report.calls), (11, 11));
}

/// An interval is how long results wait: what a commit takes is part of it.
#[test]
fn commits_that_take_long_begin_earlier() {
    for (takes, apart) in [(0, 100), (20, 80), (40, 90), (500, 550)] {
        let log = Arc::default();
        let mut broker = late("slow", || readings(400).write(&Collected::<Sum>::new()), &log);
        broker.takes = Duration::from_millis(takes);
        let clock = broker.clock.clone();
        let tick = clock.clone();
        let slow = move |reading: &Reading| {
            tick.advance(Duration::from_millis(1));
            sum(reading)
        };
        Mill::new(slow).clock(clock).commit_every(Duration::from_millis(100)).run_blocking(broker).unwrap();
        let begun = &log.lock().unwrap().begun;
        // The first comes a whole interval behind the start, the last at the end.
        let between: Vec<u128> =
            begun.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap().as_millis()).collect();
        let regular = between.split_last().unwrap().1;
        let near = |time: &u128| (apart..apart + 8).contains(time);
        assert!(!regular.is_empty() && regular.iter().all(near), "{takes}: {between:?}");
    }
}
