//! A broker that plays scripts.
//!
//! What a [`MemoryBroker`](watermill::prelude::MemoryBroker) never does can be had here: batches of any sizes, empty ones
//! too, an end that comes alone or with the last batch, records that do not decode, storage that fails, and sources that must never be asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use watermill::broker::{
    AnySink, AnySource, Batch, BoxFuture, Broker, Catalog, Checkpoint, Committer, Fault, InputDecl, InputEnd,
    Job, Lane, LaneOutputs, Origin, OutputDecl, Places, Position, Session, Sink, Source,
};
use watermill::error::{BadCause, BadRecord, BrokerError, RecordPlace};
use watermill::record::{RecordType, StreamRecord};

/// What a source does when it is asked the next time. When the script is over, the stream ends.
#[derive(Debug)]
pub enum Step<R> {
    /// Hands over these records.
    Batch(Vec<R>),
    /// Hands over these records, the last ones.
    LastBatch(Vec<R>),
    /// Hands over these records and behind them one that did not decode.
    Undecodable(Vec<R>),
    /// Fails as storage fails.
    Fail,
    /// Must never be asked.
    Never,
}

type MakeSource = Box<dyn Fn() -> AnySource + Send + Sync>;
type MakeSink = Box<dyn Fn() -> AnySink + Send + Sync>;

/// The broker.
#[derive(Default)]
pub struct ScriptBroker {
    catalog: Catalog,
    sources: Arc<Vec<MakeSource>>,
    sinks: Arc<Vec<MakeSink>>,
}

impl ScriptBroker {
    /// With no streams yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input.
    #[must_use]
    pub fn read<R: StreamRecord>(self, steps: Vec<Step<R>>) -> Self {
        self.read_counting(steps, &Arc::default())
    }

    /// Adds an input that counts in `asked` how often it was asked.
    #[must_use]
    pub fn read_counting<R: StreamRecord>(mut self, steps: Vec<Step<R>>, asked: &Arc<AtomicUsize>) -> Self {
        let name = R::NAME.to_owned();
        self.catalog.inputs.push(InputDecl { record: RecordType::of::<R>(), name: None, location: name });
        let script = Mutex::new(Some(VecDeque::from(steps)));
        let asked = Arc::clone(asked);
        let make = move || {
            let steps = script.lock().unwrap().take().expect("a script is played once");
            AnySource::new(Player { steps, read: 0, asked: Arc::clone(&asked) })
        };
        Arc::get_mut(&mut self.sources).unwrap().push(Box::new(make));
        self
    }

    /// Adds an output, and says where its results will be.
    #[must_use]
    pub fn write<R: StreamRecord>(mut self) -> (Self, Arc<Mutex<Vec<R>>>) {
        let results = Arc::new(Mutex::new(Vec::new()));
        self.catalog.outputs.push(OutputDecl { record: RecordType::of::<R>(), location: R::NAME.to_owned() });
        let into = Arc::clone(&results);
        let make = move || AnySink::new(Keeper { results: Arc::clone(&into) });
        Arc::get_mut(&mut self.sinks).unwrap().push(Box::new(make));
        (self, results)
    }
}

impl Broker for ScriptBroker {
    fn name(&self) -> &str {
        "ScriptBroker"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        Ok(self.catalog.clone())
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        let play = Play {
            sources: Arc::clone(&self.sources),
            sinks: Arc::clone(&self.sinks),
            inputs: job.inputs.iter().map(|input| input.input).collect(),
            outputs: job.outputs.iter().map(|output| output.output).collect(),
            lanes: 0,
        };
        Box::pin(async move { Ok(Box::new(play) as Box<dyn Session>) })
    }
}

struct Play {
    sources: Arc<Vec<MakeSource>>,
    sinks: Arc<Vec<MakeSink>>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    lanes: u32,
}

impl Session for Play {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        self.lanes += 1;
        let lane = (self.lanes == 1).then_some(Lane { index: 0, count: 1 });
        Box::pin(async move { Ok(lane) })
    }

    fn outputs<'a>(&'a mut self, _: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        let sinks = self.outputs.iter().map(|at| self.sinks[*at]()).collect();
        Box::pin(async move { Ok(LaneOutputs { sinks, committer: Box::new(Nothing), resume: None }) })
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        _: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        let sources = self.inputs.iter().map(|at| self.sources[*at]()).collect();
        Box::pin(async move { Ok(sources) })
    }
}

struct Player<R> {
    steps: VecDeque<Step<R>>,
    read: u64,
    asked: Arc<AtomicUsize>,
}

impl<R: StreamRecord> Source<R> for Player<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut batch = |records: Vec<R>| {
            let count = records.len();
            let batch = Batch::new(records, Places::memory(self.read, count));
            self.read += count as u64;
            batch
        };
        let next = match self.steps.pop_front() {
            Some(Step::Batch(records)) => Ok(batch(records)),
            Some(Step::LastBatch(records)) => {
                let mut last = batch(records);
                last.end = Some(InputEnd::Exhausted);
                Ok(last)
            }
            Some(Step::Undecodable(records)) => {
                let mut batch = batch(records);
                let place =
                    RecordPlace { origin: Arc::new(Origin::Memory), offset: self.read, number: self.read };
                let cause = BadCause::Structure("it does not decode".to_owned());
                let error = BadRecord { stream: R::NAME.to_owned(), place, key: None, excerpt: None, cause };
                batch.faults.push(Fault {
                    before: batch.records.len(),
                    error: Box::new(error),
                    raw: Vec::new(),
                    cut: false,
                    recoverable: true,
                });
                self.read += 1;
                batch.places.next = self.read;
                Ok(batch)
            }
            Some(Step::Fail) => Err(BrokerError {
                broker: "ScriptBroker".to_owned(),
                action: "read".to_owned(),
                location: R::NAME.to_owned(),
                cause: "the script says so".into(),
            }),
            Some(Step::Never) => panic!("the source of `{}` was asked for more than is needed", R::NAME),
            None => {
                let mut end = batch(Vec::new());
                end.end = Some(InputEnd::Exhausted);
                Ok(end)
            }
        };
        Box::pin(async move { next })
    }
}

struct Keeper<R> {
    results: Arc<Mutex<Vec<R>>>,
}

impl<R: StreamRecord> Sink<R> for Keeper<R> {
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.results.lock().unwrap().extend(results);
        Box::pin(async { Ok(()) })
    }
}

struct Nothing;

impl Committer for Nothing {
    fn commit<'a>(&'a mut self, _: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async { Ok(()) })
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async { Ok(()) })
    }
}
