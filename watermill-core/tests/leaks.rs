//! A broker that loses a record is found out.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
extern crate watermill_core as watermill;

use std::sync::{Arc, Mutex};

use watermill::broker::{
    AnySource, Batch, BoxFuture, Broker, Catalog, Checkpoint, Committer, Fault, InputDecl, InputEnd, Job,
    Lane, LaneOutputs, Places, Position, Session, Source,
};
use watermill::error::BrokerError;
use watermill::prelude::*;
use watermill::record::RecordType;
use watermill::{BadCause, BadRecord, RunError};

/// Two records, and a bad one that claims to stand before the record at `fault_before`.
#[derive(Clone)]
struct Faulty {
    fault_before: usize,
    commits: Arc<Mutex<u64>>,
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, BrokerError>> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Broker for Faulty {
    fn name(&self) -> &str {
        "Faulty"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        let input = InputDecl { record: RecordType::of::<Json>(), name: None, location: String::new() };
        Ok(Catalog { inputs: vec![input], outputs: Vec::new() })
    }

    fn open<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        ready(Box::new(Run { faulty: self.clone(), given: false }))
    }
}

struct Run {
    faulty: Faulty,
    given: bool,
}

impl Session for Run {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        let given = std::mem::replace(&mut self.given, true);
        ready((!given).then_some(Lane { index: 0, count: 1 }))
    }

    fn outputs<'a>(&'a mut self, _: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        ready(LaneOutputs { sinks: Vec::new(), committer: Box::new(self.faulty.clone()), resume: None })
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        _: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        ready(vec![AnySource::new::<Json>(self.faulty.clone())])
    }
}

impl Source<Json> for Faulty {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<Json>, BrokerError>> {
        let records = vec![Json(0.into()), Json(1.into())];
        let places = Places::memory(40, 2);
        let error = Box::new(BadRecord {
            stream: "Json".to_owned(),
            place: places.place(1),
            key: None,
            excerpt: None,
            cause: BadCause::Truncated,
        });
        let mut batch = Batch::new(records, places);
        batch.faults.push(Fault {
            before: self.fault_before,
            error,
            raw: Vec::new(),
            cut: false,
            recoverable: true,
        });
        batch.end = Some(InputEnd::Exhausted);
        ready(batch)
    }
}

impl Committer for Faulty {
    fn commit<'a>(&'a mut self, _: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        *self.commits.lock().unwrap() += 1;
        ready(())
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        ready(())
    }
}

#[test]
fn a_fault_that_stands_nowhere_is_not_dropped_silently() {
    let run = |fault_before| {
        let faulty = Faulty { fault_before, commits: Arc::default() };
        let commits = Arc::clone(&faulty.commits);
        let result = Mill::new(|_: &Json| ()).on_bad::<Json>(OnBad::Skip).run_blocking(faulty);
        (result, *commits.lock().unwrap())
    };
    for sound in 0..=2 {
        let (report, commits) = run(sound);
        let input = &report.unwrap().inputs[0];
        assert_eq!((input.records, input.matched, input.skipped, commits), (3, 2, 1, 1));
    }
    let (Err(RunError::Leak { stream, place, what }), 0) = run(3) else { panic!("a bad record was lost") };
    assert_eq!((stream.as_str(), place.offset), ("Json", 40));
    assert_eq!(what, "a batch of 3 records has come, and 2 of them are accounted for");
}
