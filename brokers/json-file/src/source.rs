//! A typed source: a few chunks are decoded at once on other threads, and handed over in order.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use watermill_core::broker::codec::Decode;
use watermill_core::broker::{Batch, BoxFuture, InputEnd, Lag, Offsets, Origin, Places, Source};
use watermill_core::error::{BrokerError, RecordPlace};
use watermill_core::record::StreamRecord;

use crate::decode::{CountedBatch, Decoder};
use crate::excerpt::excerpt_at;
use crate::failure::failure;
use crate::shared::{Next, Subscription};

/// How many chunks of a stream are read, decoded or waiting to be taken at once: with half as many, the walk and the jobs wait for each
/// other now and then.
const IN_FLIGHT: usize = 6;

/// What a job sends: its place in the order, and what became of its chunk.
type Outcome<R> = (u64, Result<Next<CountedBatch<R>>, BrokerError>);

/// A source of records from files.
pub(crate) struct FileSource<R, C> {
    work: Arc<Work<C>>,
    send: UnboundedSender<Outcome<R>>,
    receive: UnboundedReceiver<Outcome<R>>,
    /// What came before its turn.
    early: Vec<Outcome<R>>,
    /// The place in the order that is handed over next.
    turn: u64,
    /// How many jobs were started.
    started: u64,
    state: State,
    /// Where it ended, and how.
    tail: Option<Ended>,
    /// The file the last batch was from, and how many of its records were handed over.
    file: usize,
    number: u64,
    size: Option<u64>,
    /// How much of that was handed over.
    progress: u64,
    /// The file that the last batch was from, and where it went on behind it.
    behind: Option<(Arc<Origin>, u64)>,
    /// For a file that is followed.
    waiting: Option<Waiting>,
    record: PhantomData<fn() -> R>,
}

/// How a source waits for more of a file that is followed.
struct Waiting {
    versions: watch::Receiver<u64>,
    /// There was nothing more to read in this version of the file.
    quiet: Option<u64>,
}

#[derive(PartialEq)]
enum State {
    Reading,
    Ended,
    Broken,
}

/// What the jobs of a source share.
struct Work<C> {
    decoder: Decoder<C>,
    /// Whoever holds it takes the next chunk; the count is the chunk's place in the order.
    next: Mutex<(u64, Subscription)>,
    /// How many records the largest chunk had.
    expect: AtomicUsize,
    stop: Arc<AtomicBool>,
}

/// Where a source begins.
pub(crate) struct Beginning {
    pub(crate) subscription: Subscription,
    pub(crate) file: usize,
    /// How many records of that file lie before it.
    pub(crate) number: u64,
    pub(crate) size: Option<u64>,
    /// Raised when the source is dropped.
    pub(crate) stop: Arc<AtomicBool>,
    /// All of it was read by an earlier run.
    pub(crate) ended: Option<Ended>,
    /// Tells when a followed file has changed.
    pub(crate) versions: Option<watch::Receiver<u64>>,
}

/// How an input ended that is not read again.
pub(crate) struct Ended {
    pub(crate) origin: Arc<Origin>,
    pub(crate) next: u64,
    pub(crate) number: u64,
    pub(crate) marked: bool,
}

impl<R: StreamRecord, C: Decode<R>> FileSource<R, C> {
    pub(crate) fn new(decoder: Decoder<C>, from: Beginning) -> Self {
        let (send, receive) = unbounded_channel();
        let waiting = from.versions.map(|versions| Waiting { versions, quiet: None });
        let work = Work {
            decoder,
            next: Mutex::new((0, from.subscription)),
            expect: AtomicUsize::new(16),
            stop: from.stop,
        };
        Self {
            work: Arc::new(work),
            send,
            receive,
            early: Vec::new(),
            turn: 0,
            started: 0,
            state: if from.ended.is_some() { State::Ended } else { State::Reading },
            tail: from.ended,
            file: from.file,
            number: from.number,
            size: from.size,
            progress: 0,
            behind: None,
            waiting,
            record: PhantomData,
        }
    }

    fn start_jobs(&mut self) {
        // While nothing comes, one at a time looks whether there is something.
        let idle = self.waiting.as_ref().is_some_and(|waiting| waiting.quiet.is_some());
        let most = if idle { 1 } else { IN_FLIGHT as u64 };
        while self.started - self.turn < most {
            self.started += 1;
            let (work, send) = (Arc::clone(&self.work), self.send.clone());
            let job = Job { work, send, ran: false };
            // Its result comes through the channel.
            drop(tokio::task::spawn_blocking(move || job.run()));
        }
    }

    /// What became of the chunk whose turn it is. May be dropped and called again.
    async fn next_outcome(&mut self) -> Result<Option<CountedBatch<R>>, BrokerError> {
        loop {
            if self.started == self.turn
                && let Some(waiting) = &mut self.waiting
                && let Some(quiet) = waiting.quiet
            {
                // Dropped here, nothing is lost: no job is under way.
                let changed = waiting.versions.wait_for(|version| *version != quiet).await.map(drop);
                changed.map_err(|gone| failure("follow", &self.work.decoder.stream, gone))?;
            }
            self.start_jobs();
            if let Some(index) = self.early.iter().position(|(place, _)| *place == self.turn) {
                self.turn += 1;
                let (_, outcome) = self.early.swap_remove(index);
                let quiet = match &outcome {
                    Ok(Next::Later(version)) => Some(*version),
                    _ => None,
                };
                if let Some(waiting) = &mut self.waiting {
                    waiting.quiet = quiet;
                }
                match outcome? {
                    Next::Later(_) => continue,
                    Next::End => return Ok(None),
                    Next::Chunk(batch) => {
                        self.start_jobs();
                        return Ok(Some(batch));
                    }
                }
            }
            match self.receive.recv().await {
                Some((NEVER_RAN, Err(error))) => return Err(error),
                Some(outcome) => self.early.push(outcome),
                None => return Err(failure("read", &self.work.decoder.stream, "the reader has stopped")),
            }
        }
    }

    async fn next_batch(&mut self) -> Result<Batch<R>, BrokerError> {
        match self.state {
            State::Reading => {}
            State::Ended => return Ok(self.ending()),
            State::Broken => {
                let location = format!("stream `{}`", self.work.decoder.stream);
                let cause = "the input is broken; nothing behind the last fault can be read";
                return Err(failure("read", location, cause));
            }
        }
        let Some(counted) = self.next_outcome().await.inspect_err(|_| self.work.stop())? else {
            self.state = State::Ended;
            return Ok(self.ending());
        };
        let CountedBatch { mut batch, file, count, broken } = counted;
        if file != self.file {
            (self.file, self.number) = (file, 0);
        }
        batch.places.first_number = self.number;
        for fault in &mut batch.faults {
            fault.error.place.number += self.number;
        }
        self.number += count;
        self.progress += batch.progress;
        self.behind = Some((Arc::clone(&batch.places.origin), batch.places.next));
        if broken {
            self.state = State::Broken;
        } else if batch.end.is_some() {
            self.state = State::Ended;
        }
        if self.state != State::Reading {
            self.work.stop();
        }
        Ok(batch)
    }

    /// An empty batch that says that there is no more.
    fn ending(&self) -> Batch<R> {
        let mut places = Places::memory(0, 0);
        let mut end = InputEnd::Exhausted;
        if let Some(tail) = &self.tail {
            places.origin = Arc::clone(&tail.origin);
            (places.offsets, places.next) = (Offsets::Each(Vec::new()), tail.next);
            places.first_number = tail.number;
            end = if tail.marked { InputEnd::Mark } else { end };
        }
        let mut batch = Batch::new(Vec::new(), places);
        batch.end = Some(end);
        batch
    }
}

impl<R: StreamRecord, C: Decode<R>> Source<R> for FileSource<R, C> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(self.next_batch())
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    fn excerpt(&self, place: &RecordPlace) -> Option<String> {
        // A file that is followed may be another one by now.
        if self.waiting.is_some() { None } else { excerpt_at(place) }
    }

    fn lag(&self) -> Option<Lag> {
        if let (Some(_), Some((origin, next))) = (&self.waiting, &self.behind) {
            // A file that is followed grows.
            let Origin::File { path } = &**origin else { return None };
            let length = std::fs::metadata(path).ok()?.len();
            return Some(Lag::Bytes(length.saturating_sub(*next)));
        }
        Some(Lag::Bytes(self.size?.saturating_sub(self.progress)))
    }
}

impl<R, C> Drop for FileSource<R, C> {
    fn drop(&mut self) {
        self.work.stop();
    }
}

/// The place of a job that was dropped by its runtime.
const NEVER_RAN: u64 = u64::MAX;

/// One chunk to be read and decoded.
struct Job<R, C> {
    work: Arc<Work<C>>,
    send: UnboundedSender<Outcome<R>>,
    ran: bool,
}

impl<R: StreamRecord, C: Decode<R>> Job<R, C> {
    fn run(mut self) {
        self.ran = true;
        self.work.run(&self.send);
    }
}

impl<R, C> Drop for Job<R, C> {
    /// A runtime that is shut down drops its jobs: whoever waits for this one must not wait for ever.
    fn drop(&mut self) {
        if !self.ran {
            let location = format!("stream `{}`", self.work.decoder.stream);
            let error = failure("read", location, "the async runtime of the run was shut down");
            drop(self.send.send((NEVER_RAN, Err(error))));
        }
    }
}

impl<C> Work<C> {
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn run<R: StreamRecord>(&self, send: &UnboundedSender<Outcome<R>>)
    where
        C: Decode<R>,
    {
        let mut place = 0;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            place = next.0;
            next.0 += 1;
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Next::End);
            }
            let chunk = next.1.next()?;
            drop(next);
            let chunk = match chunk {
                Next::Chunk(chunk) => chunk,
                Next::End => return Ok(Next::End),
                Next::Later(version) => return Ok(Next::Later(version)),
            };
            let batch = self.decoder.decode(&chunk, self.expect.load(Ordering::Relaxed));
            self.expect.fetch_max(batch.batch.records.len(), Ordering::Relaxed);
            Ok(Next::Chunk(batch))
        }));
        let outcome = result.unwrap_or_else(|panic| {
            let text = panic_text(&*panic);
            let location = format!("stream `{}`", self.decoder.stream);
            Err(failure("decode", location, format!("the decoder panicked: {text}")))
        });
        // Nobody receives it when the source was dropped.
        drop(send.send((place, outcome)));
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
