//! A typed sink: records are formatted and written on a thread of their own.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use watermill_core::broker::codec::Encode;
use watermill_core::broker::{AnySink, BoxFuture, Refused, Sink};
use watermill_core::error::{BoxError, BrokerError};
use watermill_core::record::StreamRecord;

use crate::deferred::Unsynced;
use crate::failure::{SharedFailure, failure};
use crate::lanes::{LaneBuffer, for_lane};
use crate::output_text::{Committed, OutputText};

/// How many orders may wait for the writer.
const QUEUED: usize = 64;

/// How many records may wait for the writer, over all orders: enough that neither side waits for the other now and then, which cost the
/// self-join of `bench/` a tenth of its time with a quarter of this. One order of more records waits alone.
const RECORDS_QUEUED: u32 = 64 * 1024;

/// What the writer is asked to do.
enum Order<R> {
    Write(Vec<R>, OwnedSemaphorePermit),
    Commit {
        step: CommitStep,
        done: oneshot::Sender<(Committed, Option<Unsynced>)>,
    },
    /// Which results were left out?
    Refused {
        done: oneshot::Sender<Vec<Refused>>,
    },
    /// Let go of the file; what was not committed is of no interest any more.
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// What a commit asks of one output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitStep {
    /// Write the EndOfStream mark.
    pub(crate) mark: bool,
    /// Complete the text.
    pub(crate) finish: bool,
    /// Somebody else makes it durable.
    pub(crate) later: bool,
}

/// The first failure of a writer, for all who ask.
type FailureSlot = Arc<Mutex<Option<SharedFailure>>>;

/// A sink of records into one file.
pub(crate) struct FileSink<R> {
    orders: mpsc::Sender<Order<R>>,
    /// Room for records that wait.
    room: Arc<Semaphore>,
    failure: FailureSlot,
    shown: String,
}

/// A writer as the committer sees it, whatever it writes.
pub(crate) trait Writer: Send {
    /// A sink for one of several lanes, and what its results wait in.
    fn for_lane(&self) -> (AnySink, Box<dyn LaneBuffer>);
    /// Carries out `step` behind all that was written before; returns what is durable then, or will be when the rest is synced.
    fn commit(
        &mut self,
        step: CommitStep,
    ) -> BoxFuture<'_, Result<(Committed, Option<Unsynced>), BrokerError>>;
    /// Lets go of the file, so that the next run can have it.
    fn stop(&mut self) -> BoxFuture<'_, ()>;
}

impl<R: StreamRecord> FileSink<R> {
    /// Starts the writer's thread.
    pub(crate) fn start<E: Encode<R>>(
        text: OutputText,
        codec: Arc<E>,
        rules: Rules,
        shown: &str,
    ) -> Result<(Self, Box<dyn Writer>), BrokerError> {
        let (orders, received) = mpsc::channel(QUEUED);
        let failure = FailureSlot::default();
        let room = Arc::new(Semaphore::new(RECORDS_QUEUED as usize));
        let sink = Self { orders, room, failure: Arc::clone(&failure), shown: shown.to_owned() };
        let control = sink.another();
        let (number, refused, shown) = (0, Vec::new(), shown.to_owned());
        let job = WriterJob { text, codec, rules, number, refused, shown };
        thread::Builder::new()
            .name("watermill-writer".to_owned())
            .spawn(move || job.run(received, &failure))
            .map_err(|cause| {
                crate::failure::failure("start the writer of", format_args!("`{}`", sink.shown), cause)
            })?;
        Ok((sink, Box::new(control)))
    }

    /// Another sink of the same writer.
    fn another(&self) -> Self {
        Self {
            orders: self.orders.clone(),
            room: Arc::clone(&self.room),
            failure: Arc::clone(&self.failure),
            shown: self.shown.clone(),
        }
    }

    async fn order(&self, order: Order<R>) -> Result<(), BrokerError> {
        self.orders.send(order).await.map_err(|_| self.reason())
    }

    /// Why the writer does not answer any more.
    fn reason(&self) -> BrokerError {
        let slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match &*slot {
            Some(failure) => failure.error(),
            None => failure("write", format_args!("`{}`", self.shown), "the writer has stopped"),
        }
    }
}

impl<R: StreamRecord> Sink<R> for FileSink<R> {
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            if results.is_empty() {
                return Ok(());
            }
            let records = u32::try_from(results.len()).unwrap_or(u32::MAX).min(RECORDS_QUEUED);
            // The room is given back when the order is done with, or dropped.
            let room = Arc::clone(&self.room).acquire_many_owned(records).await.map_err(|_| self.reason())?;
            self.order(Order::Write(results, room)).await
        })
    }

    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            self.order(Order::Refused { done }).await?;
            answer.await.map_err(|_| self.reason())
        })
    }
}

impl<R: StreamRecord> Writer for FileSink<R> {
    fn for_lane(&self) -> (AnySink, Box<dyn LaneBuffer>) {
        for_lane(self.another())
    }

    fn commit(
        &mut self,
        step: CommitStep,
    ) -> BoxFuture<'_, Result<(Committed, Option<Unsynced>), BrokerError>> {
        Box::pin(async move {
            let (done, answer) = oneshot::channel();
            self.order(Order::Commit { step, done }).await?;
            answer.await.map_err(|_| self.reason())
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (done, stopped) = oneshot::channel();
            // A writer that is gone has let go already.
            if self.order(Order::Stop { done }).await.is_ok() {
                let _ = stopped.await;
            }
        })
    }
}

/// Leaves the first failure for those who will ask.
fn tell(slot: &FailureSlot, error: BrokerError) {
    tracing::debug!(target: "watermill", %error, "a writer stops");
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.into());
}

/// What the writer's thread has.
struct WriterJob<E> {
    text: OutputText,
    codec: Arc<E>,
    rules: Rules,
    /// The number of the next record.
    number: u64,
    /// Those that were left out.
    refused: Vec<Refused>,
    shown: String,
}

/// What a writer looks at in each record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether a line feed inside a record has to be looked for.
    pub(crate) one_a_line: bool,
    /// A record that cannot be written is left out.
    pub(crate) leave_out: bool,
}

impl<E> WriterJob<E> {
    fn run<R>(mut self, mut orders: mpsc::Receiver<Order<R>>, slot: &FailureSlot)
    where
        E: Encode<R>,
    {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work(&mut orders, slot)));
        let error = match result {
            Ok(Ok(stopped)) => {
                drop(self.text);
                if let Some(stopped) = stopped {
                    let _ = stopped.send(());
                }
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => self.failure("encode for", "the encoder panicked"),
        };
        tell(slot, error);
        // Only now are the senders told, by dropping `orders`.
    }

    /// Works until nobody orders any more; returns who waits for the file to be let go.
    fn work<R>(
        &mut self,
        orders: &mut mpsc::Receiver<Order<R>>,
        slot: &FailureSlot,
    ) -> Result<Option<oneshot::Sender<()>>, BrokerError>
    where
        E: Encode<R>,
    {
        loop {
            let order = match orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) => {
                    if self.text.is_live() {
                        self.text.flush().map_err(|cause| self.io_failure(cause))?;
                    }
                    match orders.blocking_recv() {
                        Some(order) => order,
                        None => return Ok(None),
                    }
                }
            };
            match order {
                Order::Write(records, _room) => self.write(&records)?,
                Order::Refused { done } => {
                    let _ = done.send(std::mem::take(&mut self.refused));
                }
                Order::Stop { done } => return Ok(Some(done)),
                Order::Commit { step, done } => {
                    match self.commit(step) {
                        // The committer may have been dropped.
                        Ok(committed) => {
                            let _ = done.send(committed);
                        }
                        Err(cause) => {
                            // Before the committer hears that there will be no answer.
                            tell(slot, self.io_failure(cause));
                            return Ok(None);
                        }
                    }
                }
            }
        }
    }

    fn write<R>(&mut self, records: &[R]) -> Result<(), BrokerError>
    where
        E: Encode<R>,
    {
        for record in records {
            if let Err(error) = self.element(record) {
                if !self.rules.leave_out {
                    return Err(self.failure("encode a record for", error));
                }
                self.refused.push(Refused { number: self.number, error });
            }
            self.number += 1;
            self.text.write_if_full().map_err(|cause| self.io_failure(cause))?;
        }
        Ok(())
    }

    /// Adds one record to the text, or nothing.
    fn element<R>(&mut self, record: &R) -> Result<(), BoxError>
    where
        E: Encode<R>,
    {
        let from = self.text.pending();
        let codec = &self.codec;
        self.text.element(|buffer| codec.encode(record, buffer))?;
        if self.rules.one_a_line {
            let text = self.text.pending_text(from).trim_ascii();
            if text.is_empty() || text.contains(&b'\n') {
                self.text.take_back(from);
                return Err(
                    "its text is empty or has a line feed in it, which one record a line does not allow"
                        .into(),
                );
            }
        }
        Ok(())
    }

    fn commit(&mut self, step: CommitStep) -> std::io::Result<(Committed, Option<Unsynced>)> {
        if step.mark {
            self.text.mark()?;
        }
        if step.later {
            return self.text.commit_later();
        }
        let committed = if step.finish { self.text.finish() } else { self.text.commit() }?;
        Ok((committed, None))
    }

    fn failure(&self, action: &str, cause: impl Into<BoxError>) -> BrokerError {
        failure(action, format_args!("`{}`", self.shown), cause)
    }

    fn io_failure(&self, cause: std::io::Error) -> BrokerError {
        crate::failure::path_failure("write", self.shown.as_ref(), cause)
    }
}
