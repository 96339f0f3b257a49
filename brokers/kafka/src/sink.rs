//! A typed sink: results are encoded and placed, and wait in the lane's outbox.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::message::{Header, OwnedHeaders};
use watermill_core::broker::codec::Encode;
use watermill_core::broker::{BoxFuture, Refused, Sink};
use watermill_core::error::{BoxError, BrokerError};
use watermill_core::record::StreamRecord;

use crate::failure::{Told, failure};
use crate::outbox::{Message, Outbox};
use crate::partitioner::murmur2_partition;
use crate::producer::LaneProducer;
use crate::result_topic::{PartitionOf, Placement};

/// What a message takes beside key, value and headers, at most.
const OVERHEAD: usize = 100;

/// What a sink needs to know beside how results are placed.
pub(crate) struct SinkSettings {
    /// The place of its topic among those of the lane.
    pub(crate) topic: usize,
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) lane: i32,
    pub(crate) most_bytes: usize,
    pub(crate) leave_out: bool,
    pub(crate) producer: Arc<Mutex<LaneProducer>>,
}

/// Writes results of type `R` to one topic.
pub(crate) struct KafkaSink<R, C> {
    settings: SinkSettings,
    placement: Placement<R>,
    codec: Arc<C>,
    /// The number of the next result.
    number: u64,
    refused: Vec<Refused>,
}

impl<R: StreamRecord, C: Encode<R>> KafkaSink<R, C> {
    pub(crate) fn new(settings: SinkSettings, placement: Placement<R>, codec: Arc<C>) -> Self {
        Self { settings, placement, codec, number: 0, refused: Vec::new() }
    }

    /// Puts one result into the outbox; what was put there of it stays when it fails.
    fn put(&self, result: &R, outbox: &mut Outbox) -> Result<(), BoxError> {
        let start = outbox.bytes.len();
        self.codec.encode(result, &mut outbox.bytes)?;
        let value = start..outbox.bytes.len();
        let key = match &self.placement.key {
            Some(key) if key(result, &mut outbox.bytes)? => Some(value.end..outbox.bytes.len()),
            _ => None,
        };
        let mut size = outbox.bytes.len() - start + OVERHEAD;
        let headers = self.headers(result, &mut size);
        if size > self.settings.most_bytes {
            let most = self.settings.most_bytes;
            return Err(Told(format!(
                "it takes {size} bytes, more than the {most} of `message.max.bytes`; raise that of the client by `option`, and `max.message.bytes` of the topic, or leave such results out by `on_refused`"
            ))
            .into());
        }
        let partition = self.partition(result, key.as_ref().map(|key| outbox.bytes_of(key)))?;
        let timestamp = self.placement.timestamp.as_ref().map(|timestamp| timestamp(result));
        outbox.messages.push(Message {
            topic: self.settings.topic,
            partition,
            key,
            value,
            timestamp,
            headers,
        });
        Ok(())
    }

    fn headers(&self, result: &R, size: &mut usize) -> Option<OwnedHeaders> {
        if self.placement.headers.is_empty() {
            return None;
        }
        let mut headers = OwnedHeaders::new_with_capacity(self.placement.headers.len());
        for (name, value) in &self.placement.headers {
            if let Some(value) = value(result) {
                *size += name.len() + value.len() + 10;
                headers = headers.insert(Header { key: name, value: Some(&value) });
            }
        }
        Some(headers)
    }

    fn partition(&self, result: &R, key: Option<&[u8]>) -> Result<i32, BoxError> {
        let SinkSettings { partitions, lane, .. } = self.settings;
        match (&self.placement.partition, key) {
            (PartitionOf::Key, Some(key)) => Ok(murmur2_partition(key, partitions)),
            (PartitionOf::Lane | PartitionOf::Key, _) => Ok(lane),
            (PartitionOf::Custom(choose), _) => {
                let partition = choose(result, partitions);
                if (0..partitions).contains(&partition) {
                    return Ok(partition);
                }
                let text = format!(
                    "it was placed in partition {partition}, and there are only {partitions}, from 0"
                );
                Err(Told(text).into())
            }
        }
    }
}

impl<R: StreamRecord, C: Encode<R>> Sink<R> for KafkaSink<R, C> {
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let producer = Arc::clone(&self.settings.producer);
        let mut producer = producer.lock().unwrap_or_else(PoisonError::into_inner);
        let outbox = &mut producer.outbox;
        let mut done = Ok(());
        for result in &results {
            let before = outbox.bytes.len();
            if let Err(error) = self.put(result, outbox) {
                outbox.bytes.truncate(before);
                if !self.settings.leave_out {
                    let location = format!("result {} to topic `{}`", self.number, self.settings.name);
                    done = Err(failure("write", location, error));
                    break;
                }
                self.refused.push(Refused { number: self.number, error });
            }
            self.number += 1;
        }
        if done.is_ok() {
            done = producer.send_early();
        }
        Box::pin(std::future::ready(done))
    }

    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>> {
        Box::pin(std::future::ready(Ok(std::mem::take(&mut self.refused))))
    }
}
