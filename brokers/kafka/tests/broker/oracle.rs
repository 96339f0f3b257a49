//! The engine over real topics gives what a nested loop over each partition gives.
//!
//! Keys are random and Java's client places them, so some partitions have many records and others none. `WATERMILL_SEED=n` runs one case of each kind again.

use std::collections::HashSet;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use watermill_core::OnBad;
use watermill_kafka::KafkaBroker;
use watermill_oracle::case::{Case, Sizes, cases};
use watermill_oracle::oracle;
use watermill_oracle::row::{Call, Rec, Row};
use watermill_oracle::shape::{self, Shape, bad_streams, told};
use watermill_servers::kafka::{Isolation, Kafka, KafkaOptions, NewRecord, unique};

use crate::common::{MARK, end, is_mark, logged, until};

/// What stands between the records.
#[derive(Clone, Copy, PartialEq)]
enum Between {
    Nothing,
    /// Tombstones, in topics that are to be compacted.
    Tombstones,
    /// What compaction leaves of these: of each key the last record, and gaps in the offsets.
    Gaps,
    /// Records of transactions that were aborted, and the control records of those that were not.
    Transactions,
}

/// A case with rows for every partition.
fn drawn(shape: &Shape, rows: usize, seed: u64) -> Case {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    // Many rows, so that there are some for each partition.
    for _ in 0..200 {
        let case =
            cases(shape.edges, Sizes { rows, disorder: false }).new_tree(&mut runner).unwrap().current();
        if case.rows.iter().all(|stream| stream.len() > rows / 4) {
            return case;
        }
    }
    panic!("no case has enough rows");
}

/// Writes a stream, and tells which rows stand in which partition.
fn write(
    kafka: &Kafka,
    topic: &str,
    rows: &[Row],
    partitions: u32,
    between: Between,
    seed: u64,
) -> Vec<Vec<Row>> {
    let mut placed: Vec<Vec<Row>> = vec![Vec::new(); partitions as usize];
    let client = kafka.client();
    let transactions = client.transactional(&unique("writer"), &[]).unwrap();
    // So few that some come again.
    let keys = if between == Between::Gaps { 11 } else { 23 };
    let key = |at: usize| format!("key {}", (at as u64).wrapping_mul(seed | 1) % keys);
    for (number, chunk) in rows.chunks(1 + rows.len() / 4).enumerate() {
        let mut records = Vec::new();
        let mut counted = Vec::new();
        for row in chunk {
            let at = row.id as usize;
            if matches!(between, Between::Tombstones | Between::Gaps) && at.is_multiple_of(3) {
                records.push(NewRecord::new(topic).key(key(at + 1)));
                counted.push(None);
            }
            let value = serde_json::to_vec(&Rec::<0>::of(row)).unwrap();
            records.push(NewRecord::new(topic).key(key(at)).value(value));
            counted.push(Some(row.clone()));
        }
        let places = if between == Between::Transactions {
            transactions.begin().unwrap();
            // It would break the order if it were seen.
            let nonsense = Rec::<0>::of(&Row { at: 9_000, ..chunk[0].clone() });
            let nonsense = serde_json::to_vec(&nonsense).unwrap();
            let all: Vec<NewRecord> = (0..partitions)
                .map(|partition| NewRecord::new(topic).partition(partition).value(nonsense.clone()))
                .collect();
            transactions.send(&all).unwrap();
            transactions.abort().unwrap();
            if number % 2 == 0 {
                transactions.begin().unwrap();
                let places = transactions.send(&records).unwrap();
                transactions.commit().unwrap();
                places
            } else {
                client.produce(&records).unwrap()
            }
        } else {
            client.produce(&records).unwrap()
        };
        for (place, row) in places.iter().zip(counted) {
            placed[place.partition as usize].extend(row);
        }
    }
    placed
}

/// Waits until the server has compacted `topic`, but for the segment that is written to, in which the marks are. Returns which of `rows` are left in which
/// partition, as Java's client reads them.
fn compacted(kafka: &Kafka, topic: &str, rows: &[Row], partitions: u32) -> Vec<Vec<Row>> {
    let mut left = Vec::new();
    until("the topic is compacted", || {
        left = kafka.client().read(topic, Isolation::Committed).unwrap();
        let mut keys = HashSet::new();
        left.iter().all(|record| keys.insert((record.partition, record.key.clone())))
    });
    let mut placed: Vec<Vec<Row>> = vec![Vec::new(); partitions as usize];
    for record in left.iter().filter(|record| !is_mark(record)) {
        let Some(value) = &record.value else { continue };
        let id = serde_json::from_slice::<Rec<0>>(value).unwrap().id;
        placed[record.partition as usize].extend(rows.iter().find(|row| row.id == id).cloned());
    }
    let count: usize = placed.iter().map(Vec::len).sum();
    assert!(0 < count && count < rows.len(), "{count} of {} are left", rows.len());
    placed
}

/// Runs one case on topics. With `shared`, all streams of the tree are one topic, read at several places.
fn agrees(shape: &Shape, partitions: u32, between: Between, shared: bool, seed: u64) {
    agrees_on(Kafka::shared().unwrap(), shape, partitions, between, shared, seed);
}

fn agrees_on(kafka: &Kafka, shape: &Shape, partitions: u32, between: Between, shared: bool, seed: u64) {
    let mut case = drawn(shape, 30 + 8 * partitions as usize, seed);
    if shared {
        let first = case.rows[0].clone();
        case.rows.iter_mut().for_each(|rows| rows.clone_from(&first));
        case.edges.iter_mut().for_each(|edge| edge.unique = false);
    }
    let config: &[(&str, &str)] = match between {
        Between::Tombstones => &[("cleanup.policy", "compact")],
        // A segment is compacted when another one has begun.
        Between::Gaps => {
            &[("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")]
        }
        Between::Nothing | Between::Transactions => &[],
    };
    let mut topics: Vec<String> = Vec::new();
    let mut placed: Vec<Vec<Vec<Row>>> = Vec::new();
    for rows in &case.rows {
        if shared && !topics.is_empty() {
            topics.push(topics[0].clone());
            placed.push(placed[0].clone());
            continue;
        }
        let topic = unique("rows");
        kafka.create_topic(&topic, partitions, 0, config).unwrap();
        placed.push(write(kafka, &topic, rows, partitions, between, seed));
        if matches!(between, Between::Tombstones | Between::Gaps) {
            if between == Between::Gaps {
                std::thread::sleep(Duration::from_millis(200));
            }
            let mark = |partition| NewRecord::new(&topic).partition(partition).key("end").value(MARK);
            kafka.client().produce(&(0..partitions).map(mark).collect::<Vec<_>>()).unwrap();
        } else {
            end(kafka, &topic, partitions);
        }
        if between == Between::Gaps
            && let Some(placed) = placed.last_mut()
        {
            *placed = compacted(kafka, &topic, rows, partitions);
        }
        topics.push(topic);
    }
    let output = kafka.fresh_topic("calls", partitions).unwrap();
    let topic = |stream: usize| topics.get(stream).unwrap_or(&topics[0]).as_str();
    let broker = KafkaBroker::new(kafka.bootstrap(), unique("oracle"))
        .read::<Rec<0>>(topic(0))
        .read::<Rec<1>>(topic(1))
        .read::<Rec<2>>(topic(2))
        .read::<Rec<3>>(topic(3))
        .read::<Rec<4>>(topic(4))
        .read::<Rec<5>>(topic(5))
        .write::<Call>(output.as_str());
    let report = bad_streams((shape.mill)(&case), OnBad::Skip)
        .run_blocking(broker)
        .unwrap_or_else(|error| panic!("seed {seed}: {}", told(&error)));
    let written = kafka.client().read(&output, Isolation::Committed).unwrap();
    let mut matched = vec![0; case.rows.len()];
    for partition in 0..partitions {
        let rows = placed.iter().map(|stream| stream[partition as usize].clone()).collect();
        let expected = oracle::expect(&Case { rows, ..case.clone() });
        let mine = || written.iter().filter(|record| record.partition == partition);
        let calls: Vec<Call> = mine()
            .filter(|record| !is_mark(record))
            .map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap())
            .collect();
        let marks = mine().filter(|record| is_mark(record)).count();
        assert_eq!(
            (calls, marks),
            (expected.calls, 1),
            "seed {seed}, partition {partition} of {partitions}, {report}, {case:?}"
        );
        for (all, own) in matched.iter_mut().zip(&expected.matched) {
            *all += own.len() as u64;
        }
    }
    for (input, matched) in report.inputs.iter().zip(matched) {
        assert_eq!(input.matched, matched, "seed {seed}: {report}");
        let sum = input.matched + input.unmatched + input.skipped + input.dead_lettered + input.pending;
        assert_eq!(input.records, sum, "seed {seed}: {report}");
    }
}

fn seeds(all: &[u64]) -> Vec<u64> {
    match std::env::var("WATERMILL_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => vec![seed],
        None => all.to_vec(),
    }
}

#[test]
fn one_partition_of_every_shape_of_tree() {
    logged();
    for seed in seeds(&[1]) {
        for shape in [shape::chain_3(), shape::mixed(), shape::deep_fork()] {
            agrees(&shape, 1, Between::Nothing, false, seed);
        }
    }
}

#[test]
fn three_partitions_with_tombstones_and_with_aborted_transactions() {
    logged();
    for seed in seeds(&[2, 3]) {
        for between in [Between::Tombstones, Between::Transactions] {
            agrees(&shape::one(), 3, between, false, seed);
            agrees(&shape::star_2(), 3, between, false, seed);
        }
    }
}

#[test]
fn compacted_topics() {
    logged();
    // Of its own, since how often it compacts is not set by topic.
    let options = KafkaOptions::new().property("log.cleaner.backoff.ms", "100");
    let kafka = Kafka::start(options).unwrap();
    for seed in seeds(&[8, 9]) {
        agrees_on(&kafka, &shape::one(), 3, Between::Gaps, false, seed);
        agrees_on(&kafka, &shape::star_2(), 3, Between::Gaps, false, seed);
    }
    agrees_on(&kafka, &shape::fork_below(), 1, Between::Gaps, true, 10);
}

#[test]
fn twelve_partitions() {
    logged();
    for seed in seeds(&[4, 5]) {
        agrees(&shape::chain_2(), 12, Between::Nothing, false, seed);
        agrees(&shape::one(), 12, Between::Transactions, false, seed);
    }
}

#[test]
fn several_nodes_on_one_topic() {
    logged();
    for seed in seeds(&[6, 7]) {
        agrees(&shape::one(), 3, Between::Transactions, true, seed);
        agrees(&shape::fork_below(), 3, Between::Tombstones, true, seed);
    }
}
