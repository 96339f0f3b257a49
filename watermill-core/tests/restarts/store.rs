//! A storage that dies when it is told to, and keeps what was committed: streams of several parts whose offsets have gaps, with records in
//! them that do not decode.

use std::sync::{Arc, Mutex, MutexGuard};

use watermill::DeadLetter;
use watermill::broker::{
    AnySink, AnySource, Batch, BoxFuture, Broker, Catalog, Checkpoint, Committer, Fault, InputDecl, InputEnd,
    Job, Lane, LaneOutputs, Offsets, Origin, OutputDecl, Places, Position, RawRecords, Session, Sink, Source,
};
use watermill::error::{BadCause, BadRecord, BrokerError, RecordPlace};
use watermill::record::{RecordType, StreamRecord};

use super::counted::CountedSource;
use super::random::Random;

/// A record, or one that does not decode.
#[derive(Debug, Clone)]
pub(crate) enum Item<R> {
    Good(R),
    Bad,
}

/// What was committed.
pub(crate) struct Kept<O> {
    pub results: Vec<O>,
    pub letters: Vec<DeadLetter>,
    pub checkpoint: Option<Checkpoint>,
}

struct State<O> {
    kept: Kept<O>,
    /// What was written since the last commit.
    results: Vec<O>,
    letters: Vec<DeadLetter>,
    /// How many reads and commits there may be before the storage dies.
    fuel: u64,
    random: Random,
}

type MakeSource = Box<dyn Fn(Option<&Position>, Die, bool) -> AnySource + Send + Sync>;

/// Burns fuel; says whether there was some, and gives a random number.
pub(crate) type Die = Arc<dyn Fn(u64) -> Result<u64, BrokerError> + Send + Sync>;

/// The storage. Its clones are the same one.
pub(crate) struct Store<O> {
    inputs: Arc<Mutex<Vec<(InputDecl, MakeSource)>>>,
    state: Arc<Mutex<State<O>>>,
    /// Its streams have no offsets of their own.
    counted: bool,
}

impl<O> Clone for Store<O> {
    fn clone(&self) -> Self {
        Self { inputs: Arc::clone(&self.inputs), state: Arc::clone(&self.state), counted: self.counted }
    }
}

fn dead() -> BrokerError {
    BrokerError {
        broker: "Store".to_owned(),
        action: "go on".to_owned(),
        location: "anywhere".to_owned(),
        cause: "it died".into(),
    }
}

impl<O: StreamRecord> Store<O> {
    /// `counted` where its streams have no offsets of their own.
    pub(crate) fn new(seed: u64, counted: bool) -> Self {
        let kept = Kept { results: Vec::new(), letters: Vec::new(), checkpoint: None };
        let (results, letters) = (Vec::new(), Vec::new());
        let state = State { kept, results, letters, fuel: u64::MAX, random: Random::new(seed) };
        Self { inputs: Arc::default(), state: Arc::new(Mutex::new(state)), counted }
    }

    /// Reads these items as the stream of `R`, in parts of so many.
    pub(crate) fn read<R: StreamRecord + Clone>(self, items: &[Item<R>], part: usize) -> Self {
        let items: Arc<[Item<R>]> = items.into();
        let counted = self.counted;
        let make: MakeSource = Box::new(move |from, die, keep_raw| {
            if counted {
                return AnySource::new(CountedSource::new(Arc::clone(&items), from, die, keep_raw));
            }
            let start = from.map_or(0, |from| start(from, part));
            AnySource::new(StoredSource { items: Arc::clone(&items), next: start, part, die, keep_raw })
        });
        let decl = InputDecl { record: RecordType::of::<R>(), name: None, location: "store".to_owned() };
        self.inputs.lock().unwrap().push((decl, make));
        self
    }

    /// Dies after so many reads and commits.
    pub(crate) fn dies_after(&self, steps: u64) {
        self.state().fuel = steps;
    }

    pub(crate) fn state_of<T>(&self, look: impl FnOnce(&Kept<O>) -> T) -> T {
        look(&self.state().kept)
    }

    fn state(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap()
    }

    fn die(&self) -> Die {
        let store = self.clone();
        Arc::new(move |below| {
            let mut state = store.state();
            state.fuel = state.fuel.checked_sub(1).ok_or_else(dead)?;
            Ok(state.random.below(below))
        })
    }
}

/// Where item `index` stands: its part, and its offset in that.
fn place(index: usize, part: usize) -> (String, u64, u64) {
    let within = (index % part) as u64;
    (format!("part {}", index / part), 3 + within * 10, within)
}

fn index_of(part_name: &str, offset: u64, part: usize) -> usize {
    let number: usize = part_name.strip_prefix("part ").map_or(0, |number| number.parse().unwrap());
    // Where reading goes on behind a record is no place of one: it is the place of the next.
    number * part + (offset.saturating_sub(3)).div_ceil(10) as usize
}

/// A source begins at the last record that was let in, or at the first unfinished one if that stands before it.
fn start(from: &Position, part: usize) -> usize {
    let next = index_of(&from.part, from.next, part);
    from.last.as_ref().map_or(next, |last| next.min(index_of(&last.part, last.offset, part)))
}

struct StoredSource<R> {
    items: Arc<[Item<R>]>,
    next: usize,
    part: usize,
    die: Die,
    keep_raw: bool,
}

impl<R: StreamRecord + Clone> Source<R> for StoredSource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(async move {
            let most = (self.die)(6)? as usize;
            let first = self.next;
            let end_of_part = (first / self.part + 1) * self.part;
            let end = (first + most).min(end_of_part).min(self.items.len());
            let (name, _, number) = place(first, self.part);
            let origin = Arc::new(Origin::File { path: name });
            let (mut records, mut offsets, mut faults) = (Vec::new(), Vec::new(), Vec::new());
            let (mut buffer, mut ranges) = (Vec::new(), Vec::new());
            for index in first..end {
                let (_, offset, number) = place(index, self.part);
                let raw = format!("item {index}");
                match &self.items[index] {
                    Item::Good(record) => {
                        records.push(record.clone());
                        offsets.push(offset);
                        let from = buffer.len();
                        buffer.extend(raw.as_bytes());
                        ranges.push(from..buffer.len());
                    }
                    Item::Bad => {
                        let place = RecordPlace { origin: Arc::clone(&origin), offset, number };
                        let cause = BadCause::Other("it is bad".into());
                        let stream = R::NAME.to_owned();
                        let error = Box::new(BadRecord { stream, place, key: None, excerpt: None, cause });
                        let (before, raw) = (records.len(), raw.into_bytes());
                        faults.push(Fault { before, error, raw, cut: false, recoverable: true });
                    }
                }
            }
            let places = Places {
                origin,
                offsets: Offsets::Each(offsets),
                // Right behind the last item, which is not yet the place of the next.
                next: if end == first { place(first, self.part).1 } else { place(end - 1, self.part).1 + 1 },
                first_number: number,
                timestamps: None,
                headers: None,
                raw: self.keep_raw.then(|| RawRecords::new(Arc::new(buffer), ranges)),
            };
            let mut batch = Batch::new(records, places);
            batch.faults = faults;
            batch.end = (end == self.items.len()).then_some(InputEnd::Exhausted);
            self.next = end;
            Ok(batch)
        })
    }
}

struct StoredSink<O>(Store<O>);

impl<O: StreamRecord> Sink<O> for StoredSink<O> {
    fn write(&mut self, mut results: Vec<O>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.0.state().results.append(&mut results);
        Box::pin(std::future::ready(Ok(())))
    }
}

struct LetterSink<O>(Store<O>);

impl<O: StreamRecord> Sink<DeadLetter> for LetterSink<O> {
    fn write(&mut self, mut results: Vec<DeadLetter>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.0.state().letters.append(&mut results);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl<O: StreamRecord> Committer for Store<O> {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        let die = self.die();
        Box::pin(async move {
            die(1)?;
            let mut state = self.state();
            let State { kept, results, letters, .. } = &mut *state;
            kept.results.append(results);
            kept.letters.append(letters);
            kept.checkpoint = Some(checkpoint.clone());
            drop(state);
            // Durable, but nobody is told.
            die(1).map(drop)
        })
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        let mut state = self.state();
        state.results.clear();
        state.letters.clear();
        Box::pin(std::future::ready(Ok(())))
    }
}

struct StoredSession<O> {
    store: Store<O>,
    job: Job,
    given: bool,
}

impl<O: StreamRecord> Session for StoredSession<O> {
    fn next_lane(&mut self) -> BoxFuture<'_, Result<Option<Lane>, BrokerError>> {
        let lane = (!std::mem::replace(&mut self.given, true)).then_some(Lane { index: 0, count: 1 });
        Box::pin(std::future::ready(Ok(lane)))
    }

    fn outputs<'a>(&'a mut self, _: &'a Lane) -> BoxFuture<'a, Result<LaneOutputs, BrokerError>> {
        let sink = |output: &watermill::broker::OutputRequest| {
            let store = self.store.clone();
            if output.letters { AnySink::new(LetterSink(store)) } else { AnySink::new(StoredSink(store)) }
        };
        let sinks = self.job.outputs.iter().map(sink).collect();
        let committer = Box::new(self.store.clone());
        let resume = self.store.state_of(|kept| kept.checkpoint.clone());
        Box::pin(std::future::ready(Ok(LaneOutputs { sinks, committer, resume })))
    }

    fn sources<'a>(
        &'a mut self,
        _: &'a Lane,
        from: &'a [Option<Position>],
    ) -> BoxFuture<'a, Result<Vec<AnySource>, BrokerError>> {
        let inputs = self.store.inputs.lock().unwrap();
        let sources = self.job.inputs.iter().zip(from).map(|(request, from)| {
            (inputs[request.input].1)(from.as_ref(), self.store.die(), request.keep_raw)
        });
        let sources = sources.collect();
        Box::pin(std::future::ready(Ok(sources)))
    }
}

impl<O: StreamRecord> Broker for Store<O> {
    fn name(&self) -> &str {
        "Store"
    }

    fn catalog(&self) -> Result<Catalog, BrokerError> {
        let inputs = self.inputs.lock().unwrap().iter().map(|(decl, _)| decl.clone()).collect();
        let output = |record| OutputDecl { record, location: "store".to_owned() };
        let outputs = vec![output(RecordType::of::<O>()), output(RecordType::of::<DeadLetter>())];
        Ok(Catalog { inputs, outputs })
    }

    fn open<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Box<dyn Session>, BrokerError>> {
        let session = StoredSession { store: self.clone(), job: job.clone(), given: false };
        Box::pin(std::future::ready(Ok(Box::new(session) as Box<dyn Session>)))
    }
}
