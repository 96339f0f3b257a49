//! Any broker as a source.

use std::sync::Arc;

use serde::Serialize;
use watermill_core::broker::{Broker, BrokerExt};
use watermill_core::error::BoxError;
use watermill_core::record::StreamRecord;

use super::{Intake, Source, copying};
use crate::streams::Streams;

/// A source that appends what a broker reads: records of the type that the stream has.
///
/// What it has read and what it has appended are one commit, with the place in the store of the stream, so nothing is lost and nothing comes twice, as in every mill. It ends as the broker
/// says: a topic or a file that is followed never does.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use watermill_core::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # use watermill_streams::Streams;
/// # use watermill_streams::source::from_broker;
/// # #[derive(Clone, Serialize, Deserialize, StreamRecord)] #[watermill(crate = watermill_core)] struct Reading { celsius: f64 }
/// let readings = Streams::open("memory:")?.stream::<Reading>("readings")?;
/// // `KafkaBroker::new("localhost:9092", "readings").read::<Reading>("readings")`, or any other.
/// let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
/// readings.attach("thermometer", from_broker(broker))?.wait_blocking()?;
/// assert_eq!(readings.len()?, 1);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
pub fn from_broker<B: Broker>(broker: B) -> FromBroker<B> {
    FromBroker { broker: Arc::new(broker) }
}

/// A broker as a source, from [`from_broker`].
///
/// ```
/// use watermill_core::prelude::*;
/// use watermill_streams::source::{FromBroker, from_broker};
///
/// let source: FromBroker<MemoryBroker> = from_broker(MemoryBroker::new().read(vec![Json(1.into())]));
/// ```
#[derive(Debug)]
pub struct FromBroker<B> {
    broker: Arc<B>,
}

impl<T, B> Source<T> for FromBroker<B>
where
    T: StreamRecord + Clone + Serialize,
    B: Broker,
{
    fn stream(&mut self, intake: &mut Intake<T>) -> Result<(), BoxError> {
        let streams = Streams::of(Arc::clone(intake.stream().inner()));
        let to = streams.broker().positions(intake.key()).leave_open().write(intake.stream());
        let run = copying::<T>().start(Arc::clone(&self.broker).and(to))?;
        intake.told().stop.wait_for(run)?;
        Ok(())
    }
}
