//! A typed source: what a task of the driver's threads has read and decoded, handed over batch by batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use watermill_core::broker::{AnySource, Batch, BoxFuture, Lag, Source};
use watermill_core::error::{BrokerError, RecordPlace};
use watermill_core::record::StreamRecord;

use crate::driver::Driver;
use crate::failure::failure;

/// So many batches wait to be taken, at most: reading goes on while a commit is waited for, which can hold more results than one batch makes.
const AHEAD: usize = 6;

/// Of so many batches the beginnings of documents can be shown.
const SHOWABLE: usize = 4;

/// Shows the document of this number in the stream.
pub(crate) type Show = Arc<dyn Fn(u64) -> Option<String> + Send + Sync>;

/// A batch on its way.
pub(crate) struct Delivery<R> {
    pub(crate) batch: Batch<R>,
    pub(crate) show: Show,
}

/// Where a reader hands its batches over.
pub(crate) type Deliver<R> = Sender<Result<Delivery<R>, BrokerError>>;

/// What a reader tells besides.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// How many documents there were when it began, one more than that; 0 is not known.
    pub(crate) count: AtomicU64,
}

/// Reads documents and hands over batches, until the other side is gone.
pub(crate) trait Reader<R>: Send + 'static {
    fn read(self, to: Deliver<R>, gauge: Arc<Gauge>) -> impl Future<Output = ()> + Send;
}

struct MongoSource<R> {
    from: Receiver<Result<Delivery<R>, BrokerError>>,
    task: JoinHandle<()>,
    shown: VecDeque<Show>,
    gauge: Arc<Gauge>,
    delivered: u64,
    location: String,
    /// Keeps its threads.
    _driver: Driver,
}

impl<R> Drop for MongoSource<R> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a reader.
pub(crate) fn start<R: StreamRecord + DeserializeOwned>(
    driver: &Driver,
    location: String,
    reader: impl Reader<R>,
) -> Result<AnySource, BrokerError> {
    let handle =
        driver.handle().ok_or_else(|| failure("read", &location, "the driver's threads have ended"))?;
    let (to, from) = channel(AHEAD);
    let gauge = Arc::new(Gauge::default());
    let task = handle.spawn(reader.read(to, Arc::clone(&gauge)));
    let source = MongoSource {
        from,
        task,
        shown: VecDeque::new(),
        gauge,
        delivered: 0,
        location,
        _driver: driver.clone(),
    };
    Ok(AnySource::new::<R>(source))
}

impl<R: StreamRecord> Source<R> for MongoSource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(async move {
            let Some(delivery) = self.from.recv().await else {
                return Err(failure("read", &self.location, "its reader has ended before its stream"));
            };
            let Delivery { batch, show } = delivery?;
            self.shown.push_back(show);
            if self.shown.len() > SHOWABLE {
                self.shown.pop_front();
            }
            self.delivered += batch.progress;
            Ok(batch)
        })
    }

    fn size(&self) -> Option<u64> {
        self.gauge.count.load(Ordering::Relaxed).checked_sub(1)
    }

    fn excerpt(&self, place: &RecordPlace) -> Option<String> {
        self.shown.iter().rev().find_map(|show| show(place.offset))
    }

    fn lag(&self) -> Option<Lag> {
        Some(Lag::Records(self.size()?.saturating_sub(self.delivered)))
    }
}
