//! [`Appender`]: messages gathered into batches.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::Notify;
use watermill_core::clock::Clock;

use crate::error::StreamsError;
use crate::store::Texts;
use crate::stream::Stream;
use crate::streams::encode;

/// Gathers messages, and appends them in one step: as soon as they are as many as the batch is large, when the first of them has waited as long as it may, when it is
/// told to, and when it is dropped. From [`Stream::batched`].
///
/// Until then messages are in memory only: a process that is killed loses them. Threads may share one.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use watermill_core::clock::ManualClock;
/// use watermill_core::record::Json;
/// use watermill_streams::Streams;
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// let batched = numbers.batched(2, Duration::from_secs(3600))?;
/// batched.push(&Json(1.into()))?;
/// assert_eq!(numbers.len()?, 0);
/// batched.push(&Json(2.into()))?;
/// assert_eq!(numbers.len()?, 2);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
pub struct Appender<T> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<T> {
    stream: Stream<T>,
    clock: Arc<dyn Clock>,
    size: usize,
    time: Duration,
    state: Mutex<State>,
    /// The batch has begun, or the appender is dropped.
    changed: Notify,
}

#[derive(Default)]
struct State {
    texts: Texts,
    /// Until when the first message may wait.
    until: Option<SystemTime>,
    /// What has failed while nobody was there to be told.
    failed: Option<StreamsError>,
    closed: bool,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what was gathered. What fails is kept for another attempt.
    fn flush(&self, state: &mut State) -> Result<(), StreamsError> {
        state.until = None;
        if state.texts.is_empty() {
            return Ok(());
        }
        let texts = Arc::new(state.texts.take());
        let appended = self.stream.append_texts(Arc::clone(&texts));
        if appended.is_err() {
            state.texts = Arc::unwrap_or_clone(texts);
        }
        appended
    }

    /// Appends what has waited long enough, whenever that is.
    async fn watch(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let until = {
                let mut state = self.state();
                if state.closed {
                    return;
                }
                if state.until.is_some_and(|until| until <= self.clock.now())
                    && let Err(error) = self.flush(&mut state)
                {
                    tracing::warn!(target: "watermill", stream = self.stream.name(), error = &error as &dyn std::error::Error, "a batch could not be appended, and is kept");
                    state.failed = Some(error);
                }
                state.until
            };
            let mut timer = until.map(|until| self.clock.sleep_until(until));
            poll_fn(|context| {
                if changed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                match &mut timer {
                    Some(timer) => timer.as_mut().poll(context),
                    None => Poll::Pending,
                }
            })
            .await;
        }
    }
}

impl<T> Appender<T> {
    /// Appends what was gathered, and waits until it is durable.
    ///
    /// # Errors
    /// When the stream is closed or was dropped, or the store fails. The messages are kept for the next attempt.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let batched = numbers.batched(100, Duration::from_secs(60))?;
    /// batched.push(&Json(1.into()))?;
    /// batched.flush()?;
    /// assert_eq!(numbers.len()?, 1);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn flush(&self) -> Result<(), StreamsError> {
        let mut state = self.shared.state();
        state.failed = None;
        self.shared.flush(&mut state)
    }
}

impl<T: Serialize + 'static> Appender<T> {
    pub(crate) fn start(
        stream: Stream<T>,
        size: usize,
        time: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StreamsError> {
        if size == 0 || time.is_zero() {
            let what = "a batch of no messages, or that waits for no time, can hold nothing";
            return Err(StreamsError::misuse(
                what,
                "give it a size of at least 1 and some time, or call `append`",
            ));
        }
        let shared =
            Arc::new(Shared { stream, clock, size, time, state: Mutex::default(), changed: Notify::new() });
        let told = |what: &'static str| move |cause| StreamsError::storage(what, "start", cause);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(told("the timer of a batched appender"))?;
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("watermill-batch".to_owned())
            .spawn(move || runtime.block_on(watched.watch()))
            .map_err(told("the thread of a batched appender"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Puts a message into the batch, which is appended when that makes it as large as it is to be.
    ///
    /// # Errors
    /// When the message cannot be written as JSON, or the batch could not be appended, just now or since the last call: the stream is closed or was dropped, or the store fails. A message whose
    /// batch could not be appended stays in it; when it was an earlier attempt that failed, the message is not taken.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::record::Json;
    /// # use watermill_streams::Streams;
    /// let numbers = Streams::open("memory:")?.get("numbers")?;
    /// let batched = numbers.batched(1, Duration::from_secs(60))?;
    /// batched.push(&Json(1.into()))?;
    /// assert_eq!(numbers.len()?, 1);
    /// # Ok::<(), watermill_streams::StreamsError>(())
    /// ```
    pub fn push(&self, message: &T) -> Result<(), StreamsError> {
        let mut state = self.shared.state();
        if let Some(failed) = state.failed.take() {
            return Err(failed);
        }
        encode(message, self.shared.stream.name(), &mut state.texts)?;
        if state.texts.len() >= self.shared.size {
            return self.shared.flush(&mut state);
        }
        if state.until.is_none() {
            state.until = self.shared.clock.now().checked_add(self.shared.time);
            drop(state);
            self.shared.changed.notify_one();
        }
        Ok(())
    }
}

impl<T> Drop for Appender<T> {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
        if let Err(error) = self.flush() {
            let lost = self.shared.state().texts.len();
            tracing::error!(target: "watermill", stream = self.shared.stream.name(), lost, error = &error as &dyn std::error::Error, "the last batch could not be appended");
        }
    }
}
