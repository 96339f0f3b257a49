//! Fills topics with the records that are joined.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::{Failure, records};

pub(crate) struct Loader {
    producer: BaseProducer,
}

impl Loader {
    pub(crate) fn new(servers: &str) -> Result<Self, Failure> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "20")
            .create()?;
        Ok(Self { producer })
    }

    /// The records of `each` times, in every partition.
    pub(crate) fn locations(&self, topic: &str, partitions: u32, each: i64) -> Result<(), Failure> {
        for time in 0..each {
            self.everywhere(topic, partitions, None, time)?;
        }
        self.flush()
    }

    /// The same with keys, as Kafka Streams wants them: the time, and `later`. Behind them is one more, in each partition, that matches nothing.
    pub(crate) fn keyed_locations(
        &self,
        topic: &str,
        partitions: u32,
        each: i64,
        later: i64,
    ) -> Result<(), Failure> {
        for time in (0..each).chain([each + 2 * records::LATER]) {
            // As Java writes a `Long`.
            self.everywhere(topic, partitions, Some(&(time + later).to_be_bytes()), time)?;
        }
        self.flush()
    }

    fn everywhere(&self, topic: &str, partitions: u32, key: Option<&[u8]>, time: i64) -> Result<(), Failure> {
        let value = serde_json::to_vec(&records::location(time))?;
        for partition in 0..partitions.cast_signed() {
            self.send(topic, partition, key, &value)?;
        }
        Ok(())
    }

    /// The mark that ends a partition.
    pub(crate) fn end(&self, topic: &str, partitions: u32) -> Result<(), Failure> {
        for partition in 0..partitions.cast_signed() {
            self.send(topic, partition, None, b"{\"eos__\": true}")?;
        }
        self.flush()
    }

    fn send(&self, topic: &str, partition: i32, key: Option<&[u8]>, value: &[u8]) -> Result<(), Failure> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value);
        record.key = key;
        while let Err((error, again)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            self.producer.poll(Duration::from_millis(1));
            record = again;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Failure> {
        Ok(self.producer.flush(Duration::from_secs(60))?)
    }
}
