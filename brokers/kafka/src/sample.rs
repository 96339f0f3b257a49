//! Whether topics that are joined were written with the same partitioner: a look at some of their keys, before the run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::message::Message as _;
use watermill_core::error::BrokerError;

use crate::failure::{Told, failure};
use crate::options::Options;
use crate::partitioner::murmur2_partition;
use crate::peek::Peeker;
use crate::topics::Looker;

/// So many records of each partition are looked at, at most.
const RECORDS: usize = 60;

/// So many partitions of each topic are looked at, at most.
const PARTITIONS: i32 = 16;

/// A look takes no longer than this.
const LOOK: Duration = Duration::from_secs(3);

/// That all keys stand where a partitioner puts them by chance alone must be this rare.
const BY_CHANCE: f64 = 1e-6;

/// How clients place keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Partitioner {
    Murmur2,
    Crc32,
}

impl Partitioner {
    const ALL: [Self; 2] = [Self::Murmur2, Self::Crc32];

    fn place(self, key: &[u8], partitions: i32) -> i32 {
        match self {
            Self::Murmur2 => murmur2_partition(key, partitions),
            Self::Crc32 => {
                let partitions = partitions.unsigned_abs().max(1);
                (crc32fast::hash(key) % partitions).cast_signed()
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2, as Java's clients do and `partitioner=murmur2_random` of librdkafka",
            Self::Crc32 => "CRC-32, as librdkafka does unless told otherwise (`consistent_random`)",
        }
    }
}

/// Fails when one of `topics` is placed by another partitioner than the others, as far as their keys tell.
pub(crate) fn check_partitioners(
    options: &Options,
    looker: &Looker,
    topics: &[&str],
    partitions: &BTreeMap<String, i32>,
) -> Result<(), BrokerError> {
    let topics: BTreeSet<&str> = topics.iter().copied().collect();
    let count = topics.first().and_then(|topic| partitions.get(*topic)).copied().unwrap_or(0);
    if topics.len() < 2 || count < 2 {
        return Ok(());
    }
    let peeker = Peeker::new(options)?;
    let mut known: Vec<(&str, Partitioner)> = Vec::new();
    for topic in topics {
        if let Some(partitioner) = partitioner_of(&keys_of(&peeker, looker, topic, count)?, count) {
            known.push((topic, partitioner));
        }
    }
    let Some((first, expected)) = known.first().copied() else { return Ok(()) };
    match known.iter().find(|(_, partitioner)| *partitioner != expected) {
        None => Ok(()),
        Some((other, partitioner)) => {
            let cause = format!(
                "the keys of `{first}` are placed by {}, those of `{other}` by {}; equal keys are in different partitions, and would not meet: set the same partitioner in the programs that write them, and write one of the topics anew",
                expected.name(),
                partitioner.name()
            );
            Err(failure("join", "topics with different partitioners", Told(cause)))
        }
    }
}

/// Keys, and the partition each of them is in.
fn keys_of(
    peeker: &Peeker,
    looker: &Looker,
    topic: &str,
    partitions: i32,
) -> Result<BTreeSet<(Vec<u8>, i32)>, BrokerError> {
    let mut from = Vec::new();
    for partition in 0..partitions.min(PARTITIONS) {
        let (low, high) = looker.ends(topic, partition)?;
        if low < high {
            from.push((partition, low));
        }
    }
    let mut keys = BTreeSet::new();
    let mut seen: BTreeMap<i32, usize> = BTreeMap::new();
    if from.is_empty() {
        return Ok(keys);
    }
    let _ = peeker.read(topic, &from, LOOK, |message| {
        if let Some(key) = message.key() {
            keys.insert((key.to_vec(), message.partition()));
        }
        let count = seen.entry(message.partition()).or_default();
        *count += 1;
        *count < RECORDS
    })?;
    Ok(keys)
}

/// The only partitioner that can have placed all of the keys; `None` where that is open.
fn partitioner_of(keys: &BTreeSet<(Vec<u8>, i32)>, partitions: i32) -> Option<Partitioner> {
    let distinct = keys.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len();
    let chance = f64::from(partitions).powi(-i32::try_from(distinct).unwrap_or(i32::MAX));
    if chance > BY_CHANCE {
        return None;
    }
    let fits = |partitioner: &Partitioner| {
        keys.iter().all(|(key, partition)| partitioner.place(key, partitions) == *partition)
    };
    let mut fitting = Partitioner::ALL.into_iter().filter(fits);
    fitting.next().filter(|_| fitting.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(partitioner: Partitioner, keys: usize, partitions: i32) -> BTreeSet<(Vec<u8>, i32)> {
        let key = |number: usize| format!("key {number}").into_bytes();
        (0..keys).map(key).map(|key| (key.clone(), partitioner.place(&key, partitions))).collect()
    }

    #[test]
    fn many_keys_tell_and_few_or_mixed_ones_do_not() {
        for partitioner in Partitioner::ALL {
            assert_eq!(partitioner_of(&placed(partitioner, 40, 3), 3), Some(partitioner));
            assert_eq!(partitioner_of(&placed(partitioner, 5, 3), 3), None);
        }
        let mut mixed = placed(Partitioner::Murmur2, 40, 3);
        mixed.extend(placed(Partitioner::Crc32, 40, 3));
        assert_eq!(partitioner_of(&mixed, 3), None);
        assert_eq!(partitioner_of(&BTreeSet::new(), 3), None);
    }
}
