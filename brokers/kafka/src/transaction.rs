//! The steps of a transaction, each for a bounded time, and what their errors mean.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use watermill_core::error::BrokerError;

use crate::context::{Context, Health};
#[cfg(feature = "fault-points")]
use crate::fault::fault_point;
use crate::outbox::Outbox;

/// How often it is looked whether messages have arrived: nothing tells.
const REST: Duration = Duration::from_micros(500);

/// How long a call may take before it is made again.
pub(crate) const CALL: Duration = Duration::from_secs(10);

/// When messages take so long, it is asked who leads their partitions now. The client asks when a leader is gone, but the others do not know yet then
/// who comes after it, and then it would not ask again for a minute.
const ASK_AFTER: Duration = Duration::from_millis(500);

/// The pause before something is tried again.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// How an attempt has failed.
pub(crate) enum Failed {
    /// The transaction was aborted, or never began: it can be made again.
    Aborted(KafkaError),
    /// The producer is of no use any more; whether the transaction was made, the offsets tell.
    Fatal { error: KafkaError, fenced: bool },
    /// A message will never be taken.
    Refused(BrokerError),
}

/// Makes a call again as long as its error says that this may help.
pub(crate) fn again(
    until: Instant,
    mut call: impl FnMut() -> Result<(), KafkaError>,
) -> Result<(), KafkaError> {
    loop {
        match call() {
            Err(error) if is_retriable(&error) && Instant::now() < until => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
}

pub(crate) fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable() && !error.is_fatal() && !error.txn_requires_abort())
}

/// How long a call may take that is to be done by `until`.
pub(crate) fn call(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).clamp(Duration::from_secs(1), CALL)
}

/// Another producer with this lane's id has begun.
pub(crate) fn is_fenced(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_fence)
}

pub(crate) fn is_fence(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

/// The producer is of no use any more. Why, its first error tells, and not always the one that came out of the call.
pub(crate) fn fatal(producer: &BaseProducer<Context>, error: KafkaError) -> Failed {
    let first = producer.client().fatal_error();
    let fenced = is_fenced(&error) || first.is_some_and(|(code, _)| is_fence(code));
    Failed::Fatal { error, fenced }
}

/// What an error means for the transaction, which is aborted where it can be. `in_doubt` where it came out of the commit itself.
pub(crate) fn classed(
    producer: &BaseProducer<Context>,
    error: KafkaError,
    until: Instant,
    in_doubt: bool,
) -> Failed {
    let class = match &error {
        KafkaError::Transaction(told) if told.is_fatal() => return fatal(producer, error),
        KafkaError::Transaction(told) => told.txn_requires_abort(),
        _ => true,
    };
    if producer.client().fatal_error().is_some() {
        return fatal(producer, error);
    }
    // An error that is neither: a commit may go on behind it, so only a new producer knows.
    if in_doubt && !class {
        return fatal(producer, error);
    }
    match abort(producer, until) {
        Ok(()) => Failed::Aborted(error),
        Err(Failed::Fatal { fenced, .. }) => Failed::Fatal { error, fenced },
        Err(other) => other,
    }
}

pub(crate) fn abort(producer: &BaseProducer<Context>, until: Instant) -> Result<(), Failed> {
    producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
    while producer.in_flight_count() > 0 && Instant::now() < until {
        rest(producer);
    }
    again(until, || producer.abort_transaction(call(until))).map_err(|error| fatal(producer, error))
}

/// Hands what was not sent yet to the client.
pub(crate) fn send(
    producer: &BaseProducer<Context>,
    health: &Health,
    topics: &[String],
    outbox: &mut Outbox,
    until: Instant,
) -> Result<(), KafkaError> {
    let Outbox { bytes, messages, sent } = outbox;
    let part = |range: &std::ops::Range<usize>| bytes.get(range.clone()).unwrap_or_default();
    while let Some(message) = messages.get(*sent) {
        let topic = topics.get(message.topic).map_or("", String::as_str);
        let mut record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).partition(message.partition).payload(part(&message.value));
        if let Some(key) = &message.key {
            record = record.key(part(key));
        }
        record.timestamp = message.timestamp;
        record.headers.clone_from(&message.headers);
        match producer.send(record) {
            Ok(()) => {
                *sent += 1;
                #[cfg(feature = "fault-points")]
                if *sent == messages.len().div_ceil(2) {
                    fault_point!("half-sent");
                }
            }
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                // It is slower than this lane, which waits here.
                rest(producer);
                if Instant::now() >= until || health.fatal().is_some() {
                    return Err(error);
                }
            }
            Err((error, _)) => return Err(error),
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

/// Lets the client work for a moment. A poll with a time would be busy for its last millisecond.
pub(crate) fn rest(producer: &BaseProducer<Context>) {
    producer.poll(Duration::ZERO);
    std::thread::sleep(REST);
}

/// Why not all has arrived.
pub(crate) enum Undelivered {
    Message(RDKafkaErrorCode, String),
    Late,
}

/// Waits until nothing is under way any more.
pub(crate) fn drain(
    producer: &BaseProducer<Context>,
    health: &Health,
    topics: &[String],
    until: Instant,
) -> Result<(), Undelivered> {
    let mut ask_at = Instant::now() + ASK_AFTER;
    while producer.in_flight_count() > 0 {
        rest(producer);
        let now = Instant::now();
        if now >= until {
            return Err(Undelivered::Late);
        }
        if now >= ask_at {
            for topic in topics {
                // What matters is what the client learns by the answer.
                let _ = producer.client().fetch_metadata(Some(topic), ASK_AFTER);
            }
            ask_at = Instant::now() + ASK_AFTER;
        }
    }
    match health.take_undelivered() {
        Some((code, place)) => Err(Undelivered::Message(code, place)),
        None => Ok(()),
    }
}
