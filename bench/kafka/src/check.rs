//! Whether a candidate's results are right: all of them, in their order, for every partition.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::Failure;
use crate::records::{LATER, Speed, location, speed};

/// So long a read may bring nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Reads all that committed readers see, and compares it with what the join of the records of `each` times has to give. Returns how many
/// results came again, which at-least-once allows.
pub(crate) fn results(servers: &str, topic: &str, partitions: u32, each: i64) -> Result<u64, Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "watermill-bench-check")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions.cast_signed() {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut seen: Vec<Vec<i64>> = vec![Vec::new(); partitions as usize];
    let mut ended = 0;
    let mut last = Instant::now();
    while ended < partitions {
        match consumer.poll(Duration::from_millis(100)) {
            None if last.elapsed() > SILENCE => {
                return Err(format!("topic {topic} could not be read within {SILENCE:?}").into());
            }
            None => continue,
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                // A mark, which Python's watermill writes.
                if !value.starts_with(b"{\"eos__\"") {
                    let partition = message.partition();
                    let result: Speed = serde_json::from_slice(value)?;
                    compare(&result).map_err(|error| format!("partition {partition} of {topic}: {error}"))?;
                    seen.get_mut(partition.unsigned_abs() as usize)
                        .ok_or("partition")?
                        .push(result.time_from);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => return Err(error.into()),
        }
        last = Instant::now();
    }
    let mut twice = 0;
    for (partition, seen) in seen.iter().enumerate() {
        twice += again(seen, each - LATER)
            .map_err(|error| format!("partition {partition} of {topic}: {error}"))?;
    }
    Ok(twice)
}

/// How many results came again, where all came, and in their order when they came first.
fn again(seen: &[i64], wanted: i64) -> Result<u64, String> {
    let mut next = 0;
    let mut twice = 0;
    for (index, time) in seen.iter().enumerate() {
        match time.cmp(&next) {
            Ordering::Equal => next += 1,
            Ordering::Less => twice += 1,
            Ordering::Greater => {
                let later = seen[index..].contains(&next);
                let how = if later { "comes later" } else { "is missing" };
                return Err(format!(
                    "{} results of {wanted}; after {index} comes that of time {time}, and that of {next} {how}",
                    seen.len()
                ));
            }
        }
    }
    if next == wanted { Ok(twice) } else { Err(format!("{next} results of {wanted}")) }
}

fn compare(result: &Speed) -> Result<(), String> {
    let time = result.time_from;
    let (here, there) = (location(time), location(time + LATER));
    let wanted = speed((here.time, here.x, here.y), (there.time, there.x, there.y));
    let same = (result.time_from, result.time_to) == (wanted.time_from, wanted.time_to)
        // Libraries may differ in the last digit of a root.
        && (result.speed - wanted.speed).abs() <= wanted.speed.abs() * 1e-12;
    if same { Ok(()) } else { Err(format!("{result:?} where {wanted:?} should be")) }
}
