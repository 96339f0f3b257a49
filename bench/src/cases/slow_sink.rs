//! A sink that is much slower than the source, and the memory that takes.

use std::time::{Duration, Instant};

use watermill::broker::{
    AnySink, AnySource, Batch, BoxFuture, Catalog, Checkpoint, Committer, InputDecl, InputEnd, Lane,
    LaneOutputs, OutputDecl, Places, Position, Session, Sink, Source,
};
use watermill::error::BrokerError;
use watermill::prelude::*;
use watermill::record::RecordType;

use super::Job;
use crate::Failure;
use crate::measure::Outcome;
use crate::records::{RobotLocation, Turn};

const BATCH: u64 = 4096;

/// Locations without end, until the time is over, and a sink that takes 20,000 results a second at most.
struct Slow {
    until: Instant,
}

impl Broker for Slow {
    fn name(&self) -> &str {
        "Slow"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        let location = "nowhere".to_owned();
        let input = InputDecl { record: RecordType::of::<RobotLocation>(), name: None, location };
        let output = OutputDecl { record: RecordType::of::<Turn>(), location: "nowhere".to_owned() };
        Ok(Catalog { inputs: vec![input], outputs: vec![output] })
    }

    fn open<'a>(
        &'a self,
        _: &'a watermill::broker::Job,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        let session: Box<dyn Session> = Box::new(SlowSession { until: self.until, handed_out: false });
        Box::pin(std::future::ready(Ok(session)))
    }
}

struct SlowSession {
    until: Instant,
    handed_out: bool,
}

impl Session for SlowSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        let lane = (!self.handed_out).then_some(Lane { index: 0, count: 1 });
        self.handed_out = true;
        Box::pin(std::future::ready(Ok(lane)))
    }

    fn outputs<'a>(&'a mut self, _: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        let sinks = vec![AnySink::new::<Turn>(SlowSink)];
        let outputs = LaneOutputs { sinks, committer: Box::new(SlowSink), resume: None };
        Box::pin(std::future::ready(Ok(outputs)))
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        _: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        let source = AnySource::new::<RobotLocation>(Endless { until: self.until, next: 0 });
        Box::pin(std::future::ready(Ok(vec![source])))
    }
}

struct Endless {
    until: Instant,
    next: u64,
}

impl Source<RobotLocation> for Endless {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<RobotLocation>, BrokerError>> {
        let first = self.next;
        self.next += BATCH;
        let locations = (first..self.next).map(|time| RobotLocation { time: time as i64, x: 0.0, y: 0.0 });
        let mut batch = Batch::new(locations.collect(), Places::memory(first, BATCH as usize));
        batch.end = (Instant::now() >= self.until).then_some(InputEnd::Exhausted);
        Box::pin(std::future::ready(Ok(batch)))
    }
}

struct SlowSink;

impl Sink<Turn> for SlowSink {
    fn write(&mut self, results: Vec<Turn>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let time = Duration::from_micros(50) * results.len() as u32;
        Box::pin(async move {
            std::thread::sleep(time);
            Ok(())
        })
    }
}

impl Committer for SlowSink {
    fn commit<'a>(&'a mut self, _: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// `seconds` of a mill with two workers.
fn run(seconds: u64) -> Result<Outcome, Failure> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let turn = |location: &RobotLocation| Turn { time: location.time, across: location.x };
    Mill::new(turn).workers(2).run_blocking(Slow { until })?;
    // How far it comes differs from run to run.
    Ok(Outcome::new(0, 0))
}

pub(crate) fn a_tenth(job: &Job) -> Result<Outcome, Failure> {
    run(job.size / 10)
}

pub(crate) fn whole(job: &Job) -> Result<Outcome, Failure> {
    run(job.size)
}
