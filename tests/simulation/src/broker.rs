//! A broker over a [`Store`], with a fault at any await.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use watermill::broker::{
    AnySink, AnySource, Batch, BoxFuture, Broker, Catalog, Checkpoint, Committer, Fault, InputDecl, InputEnd,
    Job, Lane, LaneOutputs, Offsets, OutputDecl, Places, Position, Session, Sink, Source,
};
use watermill::error::{BadCause, BadRecord, BrokerError};
use watermill::record::{RecordType, StreamRecord};

use crate::faults::Faults;
use crate::lock;
use crate::store::{Line, Store};

/// Reads vectors, as often as it is asked to, and writes to a [`Store`].
pub struct SimBroker {
    inputs: Vec<(InputDecl, Arc<OpenSource>)>,
    outputs: Vec<(OutputDecl, Arc<OpenSink>)>,
    parts: Parts,
}

/// Makes a source that begins there, perhaps at the mark behind the last record.
type OpenSource = dyn Fn(&Parts, usize, bool) -> AnySource + Send + Sync;
/// Makes a sink of the output at this place.
type OpenSink = dyn Fn(&Parts, Written, usize) -> AnySink + Send + Sync;
/// What was written since the last commit, for each output.
type Written = Arc<Mutex<Vec<Vec<Line>>>>;

#[derive(Clone)]
struct Parts {
    store: Arc<Store>,
    faults: Arc<Faults>,
    batch: u64,
    reads: Arc<Reads>,
}

/// What the sources have handed out.
#[derive(Debug, Default)]
pub struct Reads {
    state: Mutex<(u64, Option<SystemTime>)>,
}

impl Reads {
    /// How many records there were, over all sources.
    #[must_use]
    pub fn records(&self) -> u64 {
        lock(&self.state).0
    }

    /// When a record came last.
    #[must_use]
    pub fn last(&self) -> Option<SystemTime> {
        lock(&self.state).1
    }
}

impl SimBroker {
    /// A broker without streams, whose sources hand over at most `batch` records at a time.
    #[must_use]
    pub fn new(store: &Arc<Store>, faults: &Arc<Faults>, batch: u64) -> Self {
        let parts =
            Parts { store: Arc::clone(store), faults: Arc::clone(faults), batch, reads: Arc::default() };
        Self { inputs: Vec::new(), outputs: Vec::new(), parts }
    }

    /// What its sources hand out.
    #[must_use]
    pub fn reads(&self) -> Arc<Reads> {
        Arc::clone(&self.parts.reads)
    }

    /// Reads `records` as the stream of `R`.
    #[must_use]
    pub fn read<R: StreamRecord + Clone>(self, records: Vec<R>) -> Self {
        let bad = vec![false; records.len()];
        self.read_with(records, bad)
    }

    /// Reads `records` as the stream of `R`; some of them do not decode.
    #[must_use]
    pub fn read_with<R: StreamRecord + Clone>(mut self, records: Vec<R>, bad: Vec<bool>) -> Self {
        let decl = InputDecl { record: RecordType::of::<R>(), name: None, location: "memory".to_owned() };
        let records = Arc::new((records, bad));
        let open = move |parts: &Parts, from: usize, marked: bool| {
            let (records, parts) = (Arc::clone(&records), parts.clone());
            AnySource::new::<R>(SimSource { records, next: from, marked, ready: None, parts })
        };
        self.inputs.push((decl, Arc::new(open)));
        self
    }

    /// Keeps the results of `R`.
    #[must_use]
    pub fn write<R: StreamRecord + Into<Line>>(self) -> Self {
        self.write_as::<R>(Into::into)
    }

    /// Keeps the results of `R` as such lines.
    #[must_use]
    pub fn write_as<R: StreamRecord>(mut self, line: fn(R) -> Line) -> Self {
        let decl = OutputDecl { record: RecordType::of::<R>(), location: "memory".to_owned() };
        let open = move |parts: &Parts, written: Written, output: usize| {
            AnySink::new::<R>(SimSink { parts: parts.clone(), written, output, line })
        };
        self.outputs.push((decl, Arc::new(open)));
        self
    }
}

impl Broker for SimBroker {
    fn name(&self) -> &str {
        "SimBroker"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        Ok(Catalog {
            inputs: self.inputs.iter().map(|(decl, _)| decl.clone()).collect(),
            outputs: self.outputs.iter().map(|(decl, _)| decl.clone()).collect(),
        })
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        Box::pin(async move {
            self.parts.faults.pass("open").await?;
            Ok(Box::new(SimSession {
                inputs: job.inputs.iter().map(|input| Arc::clone(&self.inputs[input.input].1)).collect(),
                outputs: job.outputs.iter().map(|output| output.output).collect(),
                open: self.outputs.iter().map(|(_, open)| Arc::clone(open)).collect(),
                parts: self.parts.clone(),
                handed_out: false,
            }) as Box<dyn Session>)
        })
    }
}

struct SimSession {
    inputs: Vec<Arc<OpenSource>>,
    outputs: Vec<usize>,
    open: Vec<Arc<OpenSink>>,
    parts: Parts,
    handed_out: bool,
}

impl Session for SimSession {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        Box::pin(async move {
            self.parts.faults.pass("next_lane").await?;
            let lane = (!self.handed_out).then_some(Lane { index: 0, count: 1 });
            self.handed_out = true;
            Ok(lane)
        })
    }

    fn outputs<'a>(&'a mut self, _: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        Box::pin(async move {
            self.parts.faults.pass("outputs").await?;
            let parts = &self.parts;
            // Whoever opens the outputs owns the lane.
            let epoch = parts.store.revoke();
            let written = Arc::new(Mutex::new(vec![Vec::new(); self.open.len()]));
            let open = |output: &usize| self.open[*output](parts, Arc::clone(&written), *output);
            Ok(LaneOutputs {
                sinks: self.outputs.iter().map(open).collect(),
                committer: Box::new(SimCommitter {
                    parts: parts.clone(),
                    written: Arc::clone(&written),
                    epoch,
                }),
                resume: parts.store.durable().checkpoint,
            })
        })
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        Box::pin(async move {
            self.parts.faults.pass("sources").await?;
            let start = |from: &Position| match &from.last {
                // As the contract allows, at the last record before it, or not.
                Some(last) if self.parts.faults.chance(2) => last.offset,
                _ => from.next,
            };
            let open = |(open, from): (&Arc<OpenSource>, &Option<Position>)| {
                let marked = from.as_ref().is_some_and(|from| from.marked);
                open(&self.parts, from.as_ref().map_or(0, start) as usize, marked)
            };
            Ok(self.inputs.iter().zip(from).map(open).collect())
        })
    }
}

struct SimSource<R> {
    /// Which of them do not decode stands beside them.
    records: Arc<(Vec<R>, Vec<bool>)>,
    next: usize,
    /// It has ended by a mark, as far as is known.
    marked: bool,
    /// When the next batch is there. It stays when the future is dropped, as a real fetch does.
    ready: Option<SystemTime>,
    parts: Parts,
}

impl<R: StreamRecord + Clone> Source<R> for SimSource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(async move {
            let faults = &self.parts.faults;
            let ready = match self.ready {
                Some(ready) => ready,
                None => faults.clock().now() + faults.begin("read")?,
            };
            self.ready = Some(ready);
            if faults.clock().now() < ready {
                faults.clock().sleep_until(ready).await;
            }
            self.ready = None;
            faults.strike("read").await?;
            let (records, bad) = &*self.records;
            let left = records.len() - self.next;
            // Sometimes nothing has come after all.
            let least = u64::from(!faults.chance(10));
            let count = (faults.within(least, self.parts.batch) as usize).min(left);
            let end = self.next + count;
            let mut batch = Batch::new(Vec::new(), Places::memory(self.next as u64, count));
            let mut offsets = Vec::new();
            for at in self.next..end {
                if bad[at] {
                    batch.faults.push(fault::<R>(at - self.next, batch.records.len(), &batch.places));
                } else {
                    offsets.push(at as u64);
                    batch.records.push(records[at].clone());
                }
            }
            batch.places.offsets = Offsets::Each(offsets);
            batch.progress = count as u64;
            // Sometimes the end is seen with the last record, sometimes behind it.
            if end == records.len() && (self.marked || count == 0 || faults.chance(2)) {
                self.marked |= faults.chance(2);
                batch.end = Some(if !self.marked { InputEnd::Exhausted } else { InputEnd::Mark });
            }
            self.next = end;
            if count > 0 {
                let mut reads = lock(&self.parts.reads.state);
                *reads = (reads.0 + count as u64, Some(faults.clock().now()));
            }
            Ok(batch)
        })
    }
}

/// The record at `index` of the batch, which does not decode.
fn fault<R: StreamRecord>(index: usize, before: usize, places: &Places) -> Fault {
    let error = BadRecord {
        stream: R::NAME.to_owned(),
        place: places.place(index),
        key: None,
        excerpt: None,
        cause: BadCause::Other("it is bad".into()),
    };
    let raw = places.place(index).offset.to_string().into_bytes();
    Fault { before, error: Box::new(error), raw, cut: false, recoverable: true }
}

struct SimSink<R> {
    parts: Parts,
    written: Written,
    output: usize,
    line: fn(R) -> Line,
}

impl<R: StreamRecord> Sink<R> for SimSink<R> {
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.parts.faults.pass("write").await?;
            lock(&self.written)[self.output].extend(results.into_iter().map(self.line));
            self.parts.faults.pass("written").await
        })
    }
}

struct SimCommitter {
    parts: Parts,
    written: Written,
    epoch: u64,
}

impl Committer for SimCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let (store, faults) = (&self.parts.store, &self.parts.faults);
            store.committing(true);
            let passed = faults.pass("commit").await;
            store.committing(false);
            passed?;
            if !store.owned_by(self.epoch) {
                store.log(|| "a commit is refused".to_owned());
                return Err(faults.failure("commit", "the lane was revoked"));
            }
            let next: Vec<u64> = checkpoint.positions.iter().map(|position| position.next).collect();
            store.log(|| format!("commit {next:?}, finished: {}", checkpoint.finished));
            store.commit(&mut lock(&self.written), checkpoint);
            // It is durable: an error now only seems to be one.
            faults.pass("committed").await
        })
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            for lines in lock(&self.written).iter_mut() {
                lines.clear();
            }
            self.parts.faults.pass("abort").await
        })
    }
}
