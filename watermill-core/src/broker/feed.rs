//! Streams by hand: sources that are fed and sinks that keep everything, behind the test driver.

use std::any::Any;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::{AnySink, AnySource, Batch, BoxFuture, InputEnd, Lag, Places, Sink, Source};
use crate::error::BrokerError;
use crate::record::StreamRecord;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records that were fed and not read yet.
pub(crate) struct Feed<R> {
    pub(crate) records: VecDeque<R>,
    pub(crate) ended: bool,
    waker: Option<Waker>,
    read: u64,
}

impl<R> Feed<R> {
    /// Lets the source look again.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Makes a source that is fed by hand, and what feeds it: an `Arc<Mutex<Feed<R>>>`.
pub(crate) type MakeFeed = fn() -> (AnySource, Box<dyn Any + Send>);

pub(crate) fn make_feed<R: StreamRecord>() -> (AnySource, Box<dyn Any + Send>) {
    let feed =
        Arc::new(Mutex::new(Feed::<R> { records: VecDeque::new(), ended: false, waker: None, read: 0 }));
    (AnySource::new::<R>(FedSource(Arc::clone(&feed))), Box::new(feed))
}

struct FedSource<R>(Arc<Mutex<Feed<R>>>);

impl<R: StreamRecord> Source<R> for FedSource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(poll_fn(|context| {
            let mut feed = lock(&self.0);
            if feed.records.is_empty() && !feed.ended {
                feed.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            let records: Vec<R> = feed.records.drain(..).collect();
            let count = records.len();
            let mut batch = Batch::new(records, Places::memory(feed.read, count));
            feed.read += count as u64;
            batch.end = feed.ended.then_some(InputEnd::Mark);
            Poll::Ready(Ok(batch))
        }))
    }

    fn lag(&self) -> Option<Lag> {
        Some(Lag::Records(lock(&self.0).records.len() as u64))
    }
}

/// Makes a sink that keeps everything, and what it keeps: an `Arc<Mutex<Vec<R>>>`.
pub(crate) type MakeCollect = fn() -> (AnySink, Box<dyn Any + Send>);

pub(crate) fn make_collect<R: StreamRecord>() -> (AnySink, Box<dyn Any + Send>) {
    let kept = Arc::new(Mutex::new(Vec::<R>::new()));
    (AnySink::new::<R>(KeepingSink(Arc::clone(&kept))), Box::new(kept))
}

struct KeepingSink<R>(Arc<Mutex<Vec<R>>>);

impl<R: StreamRecord> Sink<R> for KeepingSink<R> {
    fn write(&mut self, mut results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        lock(&self.0).append(&mut results);
        Box::pin(std::future::ready(Ok(())))
    }
}
