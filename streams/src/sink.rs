//! Typed sinks: results wait, encoded, for the commit that appends them; or as they are, for a function.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use watermill_core::broker::{AnySink, BoxFuture, Refused, Sink};
use watermill_core::error::{BoxError, BrokerError};
use watermill_core::record::StreamRecord;

use crate::error::StreamsError;
use crate::store::Texts;
use crate::streams::encode;

/// A commit should come soon when so many bytes wait.
const MANY_BYTES: usize = 8 << 20;

/// Or so many results.
const MANY: usize = 100_000;

/// What waits for the next commit.
pub(crate) enum Waiting {
    /// To be appended to a stream.
    Texts(Texts),
    /// To be given to a function.
    Function(Box<dyn Deliver>),
}

/// Gives what waits to a function.
pub(crate) trait Deliver: Send {
    fn deliver(&mut self) -> Result<(), BoxError>;
    fn clear(&mut self);
}

/// What waits, an entry an output.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<Waiting>>>);

impl Outbox {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lock().iter().any(|waiting| match waiting {
            Waiting::Texts(texts) => texts.bytes.len() >= MANY_BYTES || texts.len() >= MANY,
            Waiting::Function(_) => false,
        })
    }

    pub(crate) fn clear(&self) {
        for waiting in &mut *self.lock() {
            match waiting {
                Waiting::Texts(texts) => *texts = Texts::default(),
                Waiting::Function(function) => function.clear(),
            }
        }
    }
}

/// What an output is opened with.
pub(crate) struct SinkSettings {
    pub(crate) outbox: Outbox,
    pub(crate) stream: Arc<str>,
    pub(crate) leave_out: bool,
}

struct StreamSink {
    settings: SinkSettings,
    output: usize,
    number: u64,
    refused: Vec<Refused>,
}

/// A sink into a stream.
pub(crate) fn of_stream<R: StreamRecord + Serialize>(settings: SinkSettings) -> AnySink {
    let output = {
        let mut outbox = settings.outbox.lock();
        outbox.push(Waiting::Texts(Texts::default()));
        outbox.len() - 1
    };
    AnySink::new::<R>(StreamSink { settings, output, number: 0, refused: Vec::new() })
}

impl<R: StreamRecord + Serialize> Sink<R> for StreamSink {
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let mut done = Ok(());
        if let Some(Waiting::Texts(texts)) = self.settings.outbox.lock().get_mut(self.output) {
            for result in &results {
                match encode(result, &self.settings.stream, texts) {
                    Ok(()) => {}
                    Err(error) if self.settings.leave_out => {
                        self.refused.push(Refused { number: self.number, error: Box::new(error) });
                    }
                    Err(error) => {
                        let location = format!("result {} to stream `{}`", self.number, self.settings.stream);
                        done = Err(error.of_broker("write", &location));
                        break;
                    }
                }
                self.number += 1;
            }
        }
        Box::pin(std::future::ready(done))
    }

    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>> {
        Box::pin(std::future::ready(Ok(std::mem::take(&mut self.refused))))
    }
}

/// A function that takes results.
pub(crate) type Function<R> = Arc<dyn Fn(&[R]) -> Result<(), BoxError> + Send + Sync>;

struct FunctionSink<R> {
    waiting: Arc<Mutex<Vec<R>>>,
}

struct FunctionOutput<R> {
    waiting: Arc<Mutex<Vec<R>>>,
    function: Function<R>,
}

/// A sink into a function.
pub(crate) fn of_function<R: StreamRecord>(settings: &SinkSettings, function: Function<R>) -> AnySink {
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let output = FunctionOutput { waiting: Arc::clone(&waiting), function };
    settings.outbox.lock().push(Waiting::Function(Box::new(output)));
    AnySink::new::<R>(FunctionSink { waiting })
}

impl<R: StreamRecord> Sink<R> for FunctionSink<R> {
    fn write(&mut self, mut results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).append(&mut results);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl<R: StreamRecord> Deliver for FunctionOutput<R> {
    fn deliver(&mut self) -> Result<(), BoxError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_empty() {
            caught(&*self.function, &waiting)?;
            waiting.clear();
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A function of the user's, which may panic.
pub(crate) fn caught<R>(
    function: &dyn Fn(&[R]) -> Result<(), BoxError>,
    results: &[R],
) -> Result<(), BoxError> {
    let call = std::panic::AssertUnwindSafe(|| function(results));
    std::panic::catch_unwind(call).unwrap_or_else(|_| {
        Err(StreamsError::misuse("the function that takes results has panicked", "mend it").into())
    })
}
