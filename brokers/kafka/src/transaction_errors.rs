//! Each class of transaction errors, injected by librdkafka's mock cluster, is treated as `producer.rs` says.
//!
//! The mock cluster keeps what an aborted transaction has written, so how many records there are tells how often a transaction was made.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey as Api;
use rdkafka::types::RDKafkaRespErr::{self as Error, *};
use rdkafka::{Offset, TopicPartitionList};
use watermill_core::error::BrokerError;

use crate::context::Health;
use crate::group::{Group, Stands};
use crate::options::Options;
use crate::outbox::Message;
use crate::producer::{Commit, LaneProducer};
use crate::topics::Looker;

const TOPIC: &str = "results";

/// So many records are in each transaction.
const RECORDS: u64 = 3;

/// A lane on a mock cluster.
struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    group: Group,
    producer: LaneProducer,
    /// How often the committed offsets were looked at: once for each new producer.
    looks: Cell<u32>,
    /// What they say.
    stands: Stands,
}

impl Bench {
    fn new(retry_for: Duration) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let mut options = Options::new(cluster.bootstrap_servers(), "bench".to_owned());
        options.retry_for = retry_for;
        let health = Health::default();
        let group = Group { looker: Arc::new(Looker::new(&options).unwrap()), member: None };
        let config = options.producer(0, true, usize::MAX);
        let producer =
            LaneProducer::new(config, vec![TOPIC.to_owned()], vec![0], 0, true, retry_for, &health);
        Self { cluster, group, producer, looks: Cell::new(0), stands: Stands::Before }
    }

    /// A bench whose next requests of a kind fail, and which is asked to commit.
    fn failing(api: Api, errors: &[Error], stands: Stands) -> (Self, Result<(), BrokerError>) {
        let mut bench = Self::new(Duration::from_secs(20));
        bench.producer.start().unwrap();
        bench.stands = stands;
        bench.cluster.request_errors(api, errors);
        let result = bench.commit();
        (bench, result)
    }

    fn commit(&mut self) -> Result<(), BrokerError> {
        for number in 0..RECORDS {
            let start = self.producer.outbox.bytes.len();
            self.producer.outbox.bytes.extend_from_slice(&number.to_le_bytes());
            let value = start..self.producer.outbox.bytes.len();
            let (key, timestamp, headers) = (None, None, None);
            self.producer.outbox.messages.push(Message {
                topic: 0,
                partition: 0,
                key,
                value,
                timestamp,
                headers,
            });
        }
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(TOPIC, 0, Offset::Offset(7)).unwrap();
        let look = |_: &mut LaneProducer| {
            self.looks.set(self.looks.get() + 1);
            Ok(self.stands)
        };
        self.producer.commit(&Commit {
            offsets: &offsets,
            group: &self.group,
            stands: &look,
            is_lost: &|| false,
        })
    }

    /// How many records there are, of transactions that were aborted, too.
    fn written(&self) -> u64 {
        self.group.looker.ends(TOPIC, 0).unwrap().1
    }
}

/// What is expected of an error.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Treated {
    /// The call is made again, within the transaction.
    Again,
    /// The transaction is aborted, and made again by the same producer.
    Aborted,
    /// A new producer makes it again.
    Anew,
    /// It ends: another one has begun.
    Fenced,
}

const CASES: &[(Api, Error, Treated)] = &[
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Treated::Again),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, Treated::Again),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, Treated::Again),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Treated::Again),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Treated::Aborted),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, Treated::Aborted),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Treated::Anew),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Treated::Anew),
    (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, Treated::Fenced),
    (Api::Produce, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Treated::Again),
    (Api::Produce, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, Treated::Again),
    (Api::Produce, RD_KAFKA_RESP_ERR__TRANSPORT, Treated::Again),
    (Api::Produce, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Treated::Aborted),
    (Api::Produce, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, Treated::Anew),
    (Api::Produce, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, Treated::Aborted),
    (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, Treated::Again),
    (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Treated::Aborted),
    (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Treated::Anew),
    // Whether it is fenced, the next call to the coordinator of the transaction tells: see below.
    (Api::AddOffsetsToTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, Treated::Aborted),
    (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Treated::Again),
    (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR__TRANSPORT, Treated::Again),
    (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, Treated::Aborted),
    (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, Treated::Aborted),
    (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Treated::Aborted),
    (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, Treated::Aborted),
    (Api::EndTxn, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Treated::Again),
    (Api::EndTxn, RD_KAFKA_RESP_ERR__TRANSPORT, Treated::Again),
    (Api::EndTxn, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, Treated::Aborted),
    (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, Treated::Aborted),
    (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, Treated::Anew),
    (Api::EndTxn, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Treated::Anew),
    (Api::EndTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, Treated::Fenced),
];

#[test]
fn each_class_of_errors_is_treated_as_it_should_be() {
    let mut wrong = Vec::new();
    for (api, error, expected) in CASES {
        let (bench, result) = Bench::failing(*api, &[*error], Stands::Before);
        let (looks, written) = (bench.looks.get(), bench.written());
        let treated = match (&result, looks) {
            (Err(_), _) if bench.producer.is_fenced() => Some(Treated::Fenced),
            (Err(_), _) => None,
            (Ok(()), 0) if written > RECORDS => Some(Treated::Aborted),
            // Refused before anything was written.
            (Ok(()), 0) if *expected == Treated::Aborted => Some(Treated::Aborted),
            (Ok(()), 0) => Some(Treated::Again),
            (Ok(()), _) => Some(Treated::Anew),
        };
        if treated != Some(*expected) {
            wrong.push(format!("{api:?}, {error:?}: {treated:?}, not {expected:?}; {looks} looks, {written} records, {result:?}"));
        } else if result.is_ok() {
            assert!(written >= RECORDS && bench.producer.outbox.messages.is_empty(), "{api:?}, {error:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Retriable errors are borne as often as they come.
#[test]
fn many_retriable_errors_in_a_row() {
    for api in [Api::AddPartitionsToTxn, Api::AddOffsetsToTxn, Api::TxnOffsetCommit, Api::EndTxn] {
        let errors = [RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 8];
        let (bench, result) = Bench::failing(api, &errors, Stands::Before);
        result.unwrap();
        assert_eq!((bench.looks.get(), bench.written()), (0, RECORDS), "{api:?}");
    }
}

/// A producer that is fenced cannot abort either.
#[test]
fn a_fence_that_the_group_tells_first_is_a_fence() {
    for api in [Api::AddOffsetsToTxn, Api::TxnOffsetCommit] {
        let mut bench = Bench::new(Duration::from_secs(20));
        bench.producer.start().unwrap();
        bench.cluster.request_errors(api, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
        bench.cluster.request_errors(Api::EndTxn, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
        assert!(bench.commit().is_err() && bench.producer.is_fenced(), "{api:?}");
        // Messages and offsets are under way at the same time: it is told before all messages are there, or behind them.
        assert!(bench.looks.get() == 0 && bench.written() <= RECORDS, "{api:?}");
    }
}

/// Nobody knows whether a commit was made that ends the producer: the offsets tell.
#[test]
fn a_commit_in_doubt_is_not_made_twice() {
    let fatal = [RD_KAFKA_RESP_ERR_INVALID_TXN_STATE];
    let (mut bench, result) = Bench::failing(Api::EndTxn, &fatal, Stands::Behind);
    result.unwrap();
    assert_eq!((bench.looks.get(), bench.written()), (1, RECORDS));
    // And the next one by the new producer.
    bench.commit().unwrap();
    assert_eq!((bench.looks.get(), bench.written()), (1, 2 * RECORDS));

    let (bench, result) = Bench::failing(Api::EndTxn, &fatal, Stands::Elsewhere);
    assert!(result.unwrap_err().to_string().contains("lane 0"));
    assert!(bench.producer.is_fenced() && bench.written() == RECORDS);
}

#[test]
fn a_record_that_the_server_finds_too_large_ends_the_run_with_what_to_do() {
    let (bench, result) =
        Bench::failing(Api::Produce, &[RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE], Stands::Before);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("topic `results`, partition 0") && error.contains("max.message.bytes"), "{error}");
    assert_eq!(bench.written(), 0);
}

#[test]
fn a_start_is_tried_again_until_it_is_hopeless_or_time_is_up() {
    let mut bench = Bench::new(Duration::from_secs(20));
    bench.cluster.request_errors(
        Api::InitProducerId,
        &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS],
    );
    bench.producer.start().unwrap();
    bench.commit().unwrap();

    let mut bench = Bench::new(Duration::from_secs(20));
    bench
        .cluster
        .request_errors(Api::InitProducerId, &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED]);
    let error = bench.producer.start().unwrap_err().to_string();
    assert!(error.contains("ask for the right to do so"), "{error}");

    let mut bench = Bench::new(Duration::from_secs(2));
    bench.producer.start().unwrap();
    bench.cluster.broker_down(1).unwrap();
    let begin = Instant::now();
    assert!(bench.commit().is_err());
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}
