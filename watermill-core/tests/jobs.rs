//! What brokers are told of a mill before it runs, and in what order two of them commit.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use watermill_core::broker::{
    AnySource, BoxFuture, Catalog, Checkpoint, Committer, Job, Lane, LaneOutputs, Ownership, Position,
    Session,
};
use watermill_core::error::BrokerError;
use watermill_core::prelude::*;
use watermill_core::window::{Buffer, Emit, WindowEmitter};
use watermill_derive::StreamRecord;

#[derive(Debug, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Reading {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(crate = watermill_core)]
struct Other {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(crate = watermill_core)]
struct Sum {
    time: i64,
}

/// A broker in memory that writes down what it is asked and when it commits.
struct Noting<B> {
    broker: B,
    name: &'static str,
    jobs: Arc<Mutex<Vec<Job>>>,
    commits: Arc<Mutex<Vec<&'static str>>>,
}

struct NotingSession(Box<dyn Session>, &'static str, Arc<Mutex<Vec<&'static str>>>);
struct NotingCommitter(Box<dyn Committer>, &'static str, Arc<Mutex<Vec<&'static str>>>);

impl<B: Broker> Broker for Noting<B> {
    fn name(&self) -> &str {
        self.name
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        self.broker.catalog()
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        Box::pin(async move {
            self.jobs.lock().unwrap().push(job.clone());
            let session = self.broker.open(job).await?;
            Ok(Box::new(NotingSession(session, self.name, Arc::clone(&self.commits))) as Box<dyn Session>)
        })
    }
}

impl Session for NotingSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        self.0.next_lane()
    }

    fn ownership(&mut self, lane: &Lane) -> Option<Ownership> {
        self.0.ownership(lane)
    }

    fn outputs<'a>(&'a mut self, lane: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        Box::pin(async move {
            let outputs = self.0.outputs(lane).await?;
            let committer = NotingCommitter(outputs.committer, self.1, Arc::clone(&self.2));
            Ok(LaneOutputs { committer: Box::new(committer), ..outputs })
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

impl Committer for NotingCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.2.lock().unwrap().push(self.1);
        self.0.commit(checkpoint)
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.0.abort()
    }
}

fn noting<B: Broker>(name: &'static str, broker: B, commits: &Arc<Mutex<Vec<&'static str>>>) -> Noting<B> {
    Noting { broker, name, jobs: Arc::default(), commits: Arc::clone(commits) }
}

fn readings() -> MemoryBroker {
    MemoryBroker::new().read(vec![Reading { time: 1 }, Reading { time: 2 }])
}

fn lot_of(mill: Mill<Reading>) -> Option<usize> {
    let broker = noting("memory", readings().read(vec![Other { time: 1 }]), &Arc::default());
    let jobs = Arc::clone(&broker.jobs);
    mill.run_blocking(broker).unwrap();
    jobs.lock().unwrap()[0].lot
}

struct First;

impl WindowEmitter<Reading> for First {
    fn emit(&mut self, _: Buffer<'_, Reading>) -> Emit {
        Emit::take([0])
    }
}

#[test]
fn masters_without_order_or_company_may_be_dealt_out() {
    let second = Duration::from_secs(1);
    let windows = || Mill::new(|_: &[Reading]| ());
    assert_eq!(lot_of(Mill::new(|_: &Reading| ())), Some(1));
    assert_eq!(lot_of(windows().window(Window::count(5))), Some(5));
    assert_eq!(lot_of(windows().window(Window::count(5).or_after(second))), Some(1));
    assert_eq!(lot_of(windows().window(Window::relaxed(second))), Some(1));
    assert_eq!(lot_of(windows().window(Window::fixed(second))), Some(1));
    assert_eq!(lot_of(windows().window(Window::session(second))), Some(1));
}

#[test]
fn what_needs_the_whole_stream_is_not_dealt_out() {
    let second = Duration::from_secs(1);
    let windows = || Mill::new(|_: &[Reading]| ());
    assert_eq!(lot_of(windows().window(Window::relaxed(second).with_empty())), None);
    assert_eq!(lot_of(windows().window(Window::sliding(second, second / 2))), None);
    assert_eq!(lot_of(windows().window(Window::by(Reading::fields().time))), None);
    assert_eq!(lot_of(windows().window(Window::by(|reading: &Reading| reading.time))), None);
    assert_eq!(lot_of(windows().window(Window::session(5).by(Reading::fields().time))), None);
    assert_eq!(lot_of(windows().window(Window::emitter(|| First))), None);
    let join = || JoinWith::new(Reading::fields().time, Other::fields().time).exists();
    assert_eq!(lot_of(Mill::new(|_: &Reading| ()).join(join())), None);
    let closures = JoinWith::lookup(|reading: &Reading| reading.time, |other: &Other| other.time).exists();
    assert_eq!(lot_of(Mill::new(|_: &Reading| ()).join(closures)), None);
}

#[test]
fn of_two_brokers_the_one_with_the_positions_commits_first() {
    let sum = |reading: &Reading| Sum { time: reading.time };
    for swapped in [false, true] {
        let commits = Arc::default();
        let reads = noting("reads", readings(), &commits);
        let writes = noting("writes", MemoryBroker::new().write(&Collected::<Sum>::new()), &commits);
        let jobs = [Arc::clone(&reads.jobs), Arc::clone(&writes.jobs)];
        let mill = Mill::new(sum).commit_after_calls(1);
        let report =
            if swapped { mill.run_blocking(writes.and(reads)) } else { mill.run_blocking(reads.and(writes)) };
        assert_eq!(report.unwrap().results, 2);
        let commits = commits.lock().unwrap();
        assert!(
            commits.len() >= 4 && commits.chunks(2).all(|pair| pair == ["writes", "reads"]),
            "{commits:?}"
        );
        // Each is told whether the other writes, and both that masters may be dealt out.
        for (jobs, results_elsewhere) in jobs.into_iter().zip([true, false]) {
            let jobs = jobs.lock().unwrap();
            assert_eq!((jobs[0].results_elsewhere, jobs[0].lot), (results_elsewhere, Some(1)));
        }
    }
}
