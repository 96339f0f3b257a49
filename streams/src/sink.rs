//! Typed sinks: results wait, encoded, for the commit that appends them; or as they are, for a function.

use std::any::Any;
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

/// What waits, an entry for each stream and each set of functions that results go to.
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
    pub(crate) leave_out: bool,
}

/// A function that takes results.
pub(crate) type Function<R> = Arc<dyn Fn(&[R]) -> Result<(), BoxError> + Send + Sync>;

/// A stream that takes results: its number and its name.
pub(crate) type Target = (u64, Arc<str>);

/// Writes a result as the next text.
type Encode<R> = fn(&R, &str, &mut Texts) -> Result<(), StreamsError>;

/// Where results of one type go: to each of these streams and functions.
pub(crate) struct Places<R> {
    encode: Option<Encode<R>>,
    streams: Vec<Target>,
    functions: Vec<Function<R>>,
}

/// The same for any type.
pub(crate) trait AnyPlaces: Any + Send + Sync {
    /// What waits for the commit stands in the outbox: an entry for each of the streams, then one for the functions, if there are any.
    fn open(&self, settings: SinkSettings) -> AnySink;
    fn streams(&self) -> &[Target];
    fn has_functions(&self) -> bool;
    fn boxed_clone(&self) -> Box<dyn AnyPlaces>;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl Clone for Box<dyn AnyPlaces> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}

impl<R: StreamRecord> Places<R> {
    pub(crate) fn new() -> Self {
        Self { encode: None, streams: Vec::new(), functions: Vec::new() }
    }

    pub(crate) fn push_stream(&mut self, target: Target)
    where
        R: Serialize,
    {
        self.encode = Some(encode::<R>);
        self.streams.push(target);
    }

    pub(crate) fn push_function(&mut self, function: Function<R>) {
        self.functions.push(function);
    }
}

impl<R: StreamRecord> AnyPlaces for Places<R> {
    fn open(&self, settings: SinkSettings) -> AnySink {
        let mut outbox = settings.outbox.lock();
        let first = outbox.len();
        outbox.extend(self.streams.iter().map(|_| Waiting::Texts(Texts::default())));
        let functions = (!self.functions.is_empty()).then(|| {
            let waiting = Arc::new(Mutex::new(Vec::new()));
            let output = FunctionOutput { waiting: Arc::clone(&waiting), functions: self.functions.clone() };
            outbox.push(Waiting::Function(Box::new(output)));
            waiting
        });
        drop(outbox);
        let streams = self.streams.iter().map(|(_, name)| Arc::clone(name)).collect();
        let (encode, refused) = (self.encode, Vec::new());
        AnySink::new::<R>(StreamSink { settings, first, streams, encode, functions, number: 0, refused })
    }

    fn streams(&self) -> &[Target] {
        &self.streams
    }

    fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    fn boxed_clone(&self) -> Box<dyn AnyPlaces> {
        let (encode, streams) = (self.encode, self.streams.clone());
        Box::new(Self { encode, streams, functions: self.functions.clone() })
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

struct StreamSink<R> {
    settings: SinkSettings,
    /// Where its entries in the outbox begin.
    first: usize,
    streams: Vec<Arc<str>>,
    encode: Option<Encode<R>>,
    /// What waits for the functions.
    functions: Option<Arc<Mutex<Vec<R>>>>,
    number: u64,
    refused: Vec<Refused>,
}

impl<R: StreamRecord> StreamSink<R> {
    /// Encodes results for the first stream, and copies them for the others. What cannot be encoded is taken out.
    fn encode(&mut self, results: &mut Vec<R>) -> Result<(), BrokerError> {
        let (Some(encode), Some(stream)) = (self.encode, self.streams.first()) else { return Ok(()) };
        let mut done = Ok(());
        let mut outbox = self.settings.outbox.lock();
        let Some((Waiting::Texts(texts), others)) =
            outbox.get_mut(self.first..).and_then(<[Waiting]>::split_first_mut)
        else {
            return Ok(());
        };
        let before = texts.len();
        results.retain(|result| {
            if done.is_err() {
                return false;
            }
            let encoded = encode(result, stream, texts);
            let number = self.number;
            self.number += 1;
            match encoded {
                Ok(()) => return true,
                Err(error) if self.settings.leave_out => {
                    self.refused.push(Refused { number, error: Box::new(error) });
                }
                Err(error) => {
                    let location = format!("result {number} to stream `{stream}`");
                    done = Err(error.of_broker("write", &location));
                }
            }
            false
        });
        for other in others.iter_mut().take(self.streams.len() - 1) {
            if let Waiting::Texts(copy) = other {
                copy.copy_from(texts, before);
            }
        }
        done
    }
}

impl<R: StreamRecord> Sink<R> for StreamSink<R> {
    fn write(&mut self, mut results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let done = self.encode(&mut results);
        if let Some(waiting) = &self.functions {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).append(&mut results);
        }
        Box::pin(std::future::ready(done))
    }

    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>> {
        Box::pin(std::future::ready(Ok(std::mem::take(&mut self.refused))))
    }
}

struct FunctionOutput<R> {
    waiting: Arc<Mutex<Vec<R>>>,
    functions: Vec<Function<R>>,
}

impl<R: StreamRecord> Deliver for FunctionOutput<R> {
    fn deliver(&mut self) -> Result<(), BoxError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_empty() {
            self.functions.iter().try_for_each(|function| caught(&**function, &waiting))?;
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
