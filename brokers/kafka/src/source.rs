//! A typed source: the records of one partition, for one node of the mill.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use watermill_core::broker::codec::Decoded;
use watermill_core::broker::{
    Batch, BoxFuture, Fault, Headers, InputEnd, Lag, Offsets, Origin, Places, RawRecords, Source,
};
use watermill_core::error::{BadCause, BadRecord, BrokerError, RecordPlace};
use watermill_core::record::StreamRecord;

use crate::failure::{Told, client_failure, failure};
use crate::fetch::Fetched;
use crate::marks::{self, Passed};
use crate::message::{DecodeMessage, message_of};
use crate::native::Native;
use crate::topic_ends::TopicEnd;

/// So many messages are a batch, at most.
const BATCH: usize = 2000;

/// So many of them are taken at once.
const CHUNK: usize = 500;

/// A batch ends when its messages are so many bytes.
const BATCH_BYTES: u64 = 1 << 20;

/// The beginning of a message is shown in errors up to this length.
const SHOWN: usize = 200;

/// What a source needs to know.
pub(crate) struct SourceSettings {
    pub(crate) stream: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) keep_raw: bool,
    /// Where reading begins.
    pub(crate) next: u64,
    /// What stands before it was read by an earlier run, and is read again to be compared with.
    pub(crate) seen_before: u64,
    /// Where the stream ends, if it does not go on for ever.
    pub(crate) stop: Option<u64>,
    pub(crate) passed: Passed,
    /// How long the servers may be gone.
    pub(crate) retry_for: Duration,
    /// It ended before, by its mark, and is to end again.
    pub(crate) ended: Option<InputEnd>,
    /// The offset behind the last record there is, when the run began.
    pub(crate) end_at_start: u64,
    /// Where a mark in another partition ends this one.
    pub(crate) topic_end: Option<Arc<TopicEnd>>,
}

/// Reads records of type `R` from one partition.
pub(crate) struct KafkaSource<R> {
    settings: SourceSettings,
    decoder: Arc<dyn DecodeMessage<R>>,
    /// `None` when there is nothing to be read.
    fetched: Option<Fetched>,
    origin: Arc<Origin>,
    next: u64,
    over: bool,
    /// All that there is has been delivered.
    at_end: bool,
}

/// A batch that is being filled.
struct Filling<R> {
    records: Vec<R>,
    offsets: Vec<u64>,
    timestamps: Vec<i64>,
    headers: Option<Vec<Headers>>,
    faults: Vec<Fault>,
    raw: Option<(Vec<u8>, Vec<std::ops::Range<usize>>)>,
    bytes: u64,
    end: Option<InputEnd>,
    read: usize,
}

impl<R: StreamRecord> KafkaSource<R> {
    pub(crate) fn new(
        settings: SourceSettings,
        decoder: Arc<dyn DecodeMessage<R>>,
        fetched: Option<Fetched>,
    ) -> Self {
        let origin = Arc::new(Origin::Topic { topic: settings.topic.clone(), partition: settings.partition });
        let next = settings.next;
        Self { settings, decoder, fetched, origin, next, over: false, at_end: false }
    }

    fn place(&self) -> String {
        format!(
            "topic `{}`, partition {}, offset {}",
            self.settings.topic, self.settings.partition, self.next
        )
    }

    /// Takes what is there, without waiting.
    fn take(&mut self) -> Result<Filling<R>, BrokerError> {
        let mut filling = Filling {
            records: Vec::new(),
            offsets: Vec::new(),
            timestamps: Vec::new(),
            headers: None,
            faults: Vec::new(),
            raw: self.settings.keep_raw.then(Default::default),
            bytes: 0,
            end: None,
            read: 0,
        };
        let Some(fetched) = self.fetched.take() else {
            filling.end = Some(self.settings.ended.unwrap_or(InputEnd::Paused));
            return Ok(filling);
        };
        let mut result = Ok(());
        if self.topic_has_ended(self.next) {
            filling.end = Some(InputEnd::Mark);
        } else {
            result = self.take_from(&fetched, &mut filling);
        }
        self.fetched = Some(fetched);
        result.map(|()| filling)
    }

    fn take_from(&mut self, fetched: &Fetched, filling: &mut Filling<R>) -> Result<(), BrokerError> {
        while filling.read < BATCH && filling.bytes < BATCH_BYTES && filling.end.is_none() {
            let batch = fetched.queue.take(CHUNK);
            if batch.is_empty() {
                break;
            }
            for message in batch.iter() {
                match message {
                    Ok(message) => {
                        self.message(&message, filling);
                        // Without waiting to be told that there is no more.
                        if filling.end.is_none() && self.settings.stop.is_some_and(|stop| self.next >= stop) {
                            filling.end = Some(InputEnd::Paused);
                        }
                    }
                    Err(RDKafkaErrorCode::PartitionEOF) => {
                        self.at_end = true;
                        // All that there was when the run began has been delivered; what came since does not matter.
                        if self.settings.stop.is_some() {
                            filling.end = Some(InputEnd::Paused);
                        } else if let Some(topic) = &self.settings.topic_end {
                            topic.wait(&fetched.more);
                        }
                    }
                    Err(code) => self.error(fetched, KafkaError::MessageConsumption(code))?,
                }
                // Nothing behind the end is read.
                if filling.end.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether a mark in another partition has ended this one before `offset`.
    #[inline]
    fn topic_has_ended(&self, offset: u64) -> bool {
        let topic = self.settings.topic_end.as_ref();
        topic.is_some_and(|topic| topic.end().is_some_and(|end| offset >= end))
    }

    #[inline]
    fn message(&mut self, message: &Native<'_>, filling: &mut Filling<R>) {
        let offset = message.offset();
        if self.settings.stop.is_some_and(|stop| offset >= stop) {
            filling.end = Some(InputEnd::Paused);
            return;
        }
        if self.topic_has_ended(offset) {
            filling.end = Some(InputEnd::Mark);
            return;
        }
        filling.read += 1;
        self.at_end = false;
        self.next = offset + 1;
        // Without a value it says that its key was deleted: no record.
        let Some(value) = message.value() else { return };
        if let Some((lane, lanes)) = marks::of_lane(value) {
            if offset >= self.settings.seen_before && self.settings.passed.pass(lane, lanes, offset) {
                filling.end = Some(InputEnd::Mark);
            }
            return;
        }
        let headers = message.headers();
        match self.decoder.decode(&message_of(message, value, &headers)) {
            Ok(Decoded::Record(record)) => {
                filling.bytes += value.len() as u64;
                filling.records.push(record);
                filling.offsets.push(offset);
                filling.timestamps.push(message.timestamp().unwrap_or(-1));
                if !headers.is_empty() || filling.headers.is_some() {
                    let before = filling.records.len() - 1;
                    let all = filling.headers.get_or_insert_default();
                    all.resize_with(before, Headers::new);
                    all.push(headers);
                }
                if let Some((bytes, ranges)) = &mut filling.raw {
                    ranges.push(bytes.len()..bytes.len() + value.len());
                    bytes.extend_from_slice(value);
                }
            }
            Ok(Decoded::Nothing) => {}
            // A mark before it is one that was gone on behind.
            Ok(Decoded::EndOfStream) if offset < self.settings.seen_before => {}
            Ok(Decoded::EndOfStream) => filling.end = Some(InputEnd::Mark),
            Err(cause) => filling.faults.push(self.fault(offset, value, filling.records.len(), cause)),
        }
    }

    #[cold]
    fn fault(&self, offset: u64, value: &[u8], before: usize, cause: BadCause) -> Fault {
        // The message is whole: its end is that of the message.
        let cause = match cause {
            BadCause::Truncated => BadCause::Syntax("the message ends in the middle of the record".into()),
            cause => cause,
        };
        let place = RecordPlace { origin: Arc::clone(&self.origin), offset, number: offset };
        let stream = self.settings.stream.clone();
        let error = Box::new(BadRecord { stream, place, key: None, excerpt: excerpt(value), cause });
        Fault { before, error, raw: value.to_vec(), cut: false, recoverable: true }
    }

    /// What the client says instead of a message. Most of it mends itself.
    #[cold]
    fn error(&self, fetched: &Fetched, error: KafkaError) -> Result<(), BrokerError> {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        match code {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                let text = format!(
                    "this offset is gone: the topic has been cut before it, or made anew; to go on with what there is, reset the offsets of the group by `kafka-consumer-groups.sh --reset-offsets --to-earliest`, or take another application name ({error})"
                );
                Err(failure("read", self.place(), Told(text)))
            }
            Some(
                Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::Fatal,
            ) => Err(client_failure("read", self.place(), error)),
            _ => {
                fetched.health().told(&error, &error.to_string());
                Ok(())
            }
        }
    }

    async fn next_batch(&mut self) -> Result<Batch<R>, BrokerError> {
        loop {
            let filling = self.take()?;
            if filling.read > 0 || filling.end.is_some() {
                return Ok(self.batch(filling));
            }
            self.look_at_health()?;
            let Some(fetched) = &self.fetched else { continue };
            // A message that comes between the look and this leaves a permit.
            fetched.more.notified().await;
        }
    }

    fn look_at_health(&self) -> Result<(), BrokerError> {
        let Some(fetched) = &self.fetched else { return Ok(()) };
        let health = fetched.health();
        let Some(reason) = health.hopeless(self.settings.retry_for) else { return Ok(()) };
        Err(failure("read", self.place(), Told(reason)))
    }

    fn batch(&mut self, filling: Filling<R>) -> Batch<R> {
        self.over = filling.end.is_some();
        if self.over {
            // A partition of which nobody takes anything would hold up others that the same client fetches.
            self.fetched = None;
            self.settings.ended = filling.end;
        }
        let first = filling.offsets.first().copied().unwrap_or(self.next);
        let places = Places {
            origin: Arc::clone(&self.origin),
            offsets: Offsets::Each(filling.offsets),
            next: self.next,
            first_number: first,
            timestamps: Some(filling.timestamps),
            headers: filling.headers.map(|mut headers| {
                headers.resize_with(filling.records.len(), Headers::new);
                headers
            }),
            raw: filling.raw.map(|(bytes, ranges)| RawRecords::new(Arc::new(bytes), ranges)),
        };
        Batch {
            records: filling.records,
            places,
            faults: filling.faults,
            end: filling.end,
            bytes: filling.bytes,
            progress: filling.read as u64,
        }
    }
}

impl<R: StreamRecord> Source<R> for KafkaSource<R> {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch<R>, BrokerError>> {
        Box::pin(self.next_batch())
    }

    fn size(&self) -> Option<u64> {
        // Offsets have gaps, so this is the most it can be.
        Some(self.settings.stop?.saturating_sub(self.settings.next))
    }

    fn lag(&self) -> Option<Lag> {
        // Behind the last record there may be control records, which nobody delivers.
        if self.at_end || self.over {
            return Some(Lag::Records(0));
        }
        let told = self.fetched.as_ref().map_or(0, |fetched| fetched.end.load(Ordering::Relaxed));
        let end = self.settings.stop.unwrap_or_else(|| self.settings.end_at_start.max(told));
        Some(Lag::Records(end.saturating_sub(self.next)))
    }
}

/// The start of a message, on one line.
fn excerpt(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&value[..value.len().min(SHOWN)]);
    let line: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let line = line.trim();
    let more = if value.len() > SHOWN { ".." } else { "" };
    (!line.is_empty()).then(|| format!("{line}{more}"))
}
