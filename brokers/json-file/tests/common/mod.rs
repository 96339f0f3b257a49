//! Helpers of the tests: a broker driven by its contract alone.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

use std::path::Path;

use serde::{Deserialize, Serialize};
use watermill_core::broker::{
    Broker, Checkpoint, Committer, Fault, InputEnd, InputRequest, Job, Lane, OutputRequest, Position, Sink,
    Source,
};
use watermill_core::error::{BadCause, BrokerError};
use watermill_core::key::Place;
use watermill_core::record::StreamRecord;
use watermill_json_file::JsonFileBroker;

/// A record of the tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    pub time: i64,
    pub x: f64,
    pub y: f64,
}

/// The same, seen a second time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Next {
    pub time: i64,
}

macro_rules! record {
    ($($name:ident),*) => {$(
        impl StreamRecord for $name {
            const NAME: &'static str = stringify!($name);
            type Fields<P: Place<Value = Self>> = ();
            fn fields_below<P: Place<Value = Self>>() -> &'static () {
                &()
            }
        }
    )*};
}
record!(Location, Next);

pub fn location(time: i64) -> Location {
    Location { time, x: time as f64 + 0.5, y: -1.0 }
}

/// Runs a future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A job for all that was declared.
pub fn job(broker: &JsonFileBroker) -> Result<Job, BrokerError> {
    let catalog = broker.catalog()?;
    let mut job = Job { function: "test".to_owned(), ..Job::default() };
    for (input, decl) in catalog.inputs.iter().enumerate() {
        let stream = decl.record.name().to_owned();
        job.streams.push(stream.clone());
        job.inputs.push(InputRequest { input, stream, node: input, keep_raw: true });
    }
    for (output, decl) in catalog.outputs.iter().enumerate() {
        job.outputs.push(OutputRequest {
            output,
            stream: decl.record.name().to_owned(),
            letters: false,
            leave_out: false,
        });
    }
    Ok(job)
}

pub const LANE: Lane = Lane { index: 0, count: 1 };

/// What a stream yielded.
#[derive(Debug)]
pub struct Yield<R> {
    pub records: Vec<R>,
    /// Origin, offset and number of each record.
    pub places: Vec<(String, u64, u64)>,
    pub faults: Vec<Fault>,
    /// How many records stood before each fault.
    pub before: Vec<usize>,
    pub end: Option<InputEnd>,
    pub progress: u64,
    pub bytes: u64,
    pub size: Option<u64>,
    pub batches: usize,
    /// A position behind each batch, and how many records were before it.
    pub positions: Vec<(Position, usize)>,
}

impl<R> Yield<R> {
    pub fn causes(&self) -> Vec<&BadCause> {
        self.faults.iter().map(|fault| &fault.error.cause).collect()
    }

    pub fn only_fault(&self) -> &Fault {
        assert_eq!(self.faults.len(), 1, "{:#?}", self.faults);
        &self.faults[0]
    }
}

/// Takes everything a source has.
pub async fn drain<R>(source: &mut dyn Source<R>) -> Result<Yield<R>, BrokerError> {
    let mut all = Yield {
        records: Vec::new(),
        places: Vec::new(),
        faults: Vec::new(),
        before: Vec::new(),
        end: None,
        progress: 0,
        bytes: 0,
        size: source.size(),
        batches: 0,
        positions: Vec::new(),
    };
    loop {
        let batch = source.next().await?;
        all.batches += 1;
        let origin = batch.places.origin.to_string();
        let mut bad = batch.faults.iter().map(|fault| fault.before).peekable();
        let mut skipped = 0;
        for index in 0..batch.records.len() {
            while bad.next_if(|before| *before <= index).is_some() {
                skipped += 1;
            }
            let number = batch.places.first_number + index as u64 + skipped;
            all.places.push((origin.clone(), batch.places.offset(index), number));
        }
        let total = (batch.records.len() + batch.faults.len()) as u64;
        let mut position = Position::at(batch.places.next);
        if let watermill_core::broker::Origin::File { path } = &*batch.places.origin {
            position.part.clone_from(path);
        }
        position.number = batch.places.first_number + total;
        all.before.extend(batch.faults.iter().map(|fault| all.records.len() + fault.before));
        all.records.extend(batch.records);
        all.positions.push((position, all.records.len()));
        all.progress += batch.progress;
        all.bytes += batch.bytes;
        all.end = batch.end;
        let broken = batch.faults.iter().any(|fault| !fault.recoverable);
        assert!(!(broken && batch.end.is_some()), "a broken stream must not end");
        all.faults.extend(batch.faults);
        if broken || batch.end.is_some() {
            return Ok(all);
        }
    }
}

/// The sources of all declared inputs, which must all be of `R`.
pub async fn sources<R: StreamRecord>(
    broker: &JsonFileBroker,
    from: &[Option<Position>],
) -> Result<Vec<Box<dyn Source<R>>>, BrokerError> {
    let mut session = broker.open(&job(broker)?).await?;
    let lane = session.next_lane().await?.unwrap();
    assert_eq!(lane, LANE);
    assert!(session.next_lane().await?.is_none());
    let sources = session.sources(&lane, from).await?;
    Ok(sources.into_iter().map(|source| source.typed::<R>().unwrap()).collect())
}

/// All of the only input.
pub fn read_all<R: StreamRecord>(broker: &JsonFileBroker) -> Result<Yield<R>, BrokerError> {
    read_from(broker, None)
}

/// All of the only input, from a position on.
pub fn read_from<R: StreamRecord>(
    broker: &JsonFileBroker,
    from: Option<Position>,
) -> Result<Yield<R>, BrokerError> {
    block_on(async {
        let mut sources = sources::<R>(broker, &[from]).await?;
        drain(&mut *sources[0]).await
    })
}

/// The locations in a file with this content.
pub fn read_bytes(content: &[u8]) -> Yield<Location> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("input");
    std::fs::write(&path, content).unwrap();
    read_all(&JsonFileBroker::new().read::<Location>(path)).unwrap()
}

/// The outputs of a broker.
pub struct Outputs<R> {
    pub sinks: Vec<Box<dyn Sink<R>>>,
    pub committer: Box<dyn Committer>,
}

pub async fn outputs<R: StreamRecord>(broker: &JsonFileBroker) -> Result<Outputs<R>, BrokerError> {
    let mut session = broker.open(&job(broker)?).await?;
    let outputs = session.outputs(&LANE).await?;
    let sinks = outputs.sinks.into_iter().map(|sink| sink.typed::<R>().unwrap()).collect();
    Ok(Outputs { sinks, committer: outputs.committer })
}

pub fn checkpoint(finished: bool, ended: bool) -> Checkpoint {
    let mut checkpoint = Checkpoint::default();
    checkpoint.finished = finished;
    checkpoint.ended_outputs = vec![ended; 4];
    checkpoint
}

/// Writes records to the only output and finishes it.
pub fn write_all<R: StreamRecord>(broker: &JsonFileBroker, records: Vec<R>) -> Result<(), BrokerError> {
    block_on(async {
        let mut outputs = outputs::<R>(broker).await?;
        outputs.sinks[0].write(records).await?;
        outputs.committer.commit(&checkpoint(true, true)).await
    })
}

/// The names in a directory, hidden ones included.
pub fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The chain of an error's messages.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
