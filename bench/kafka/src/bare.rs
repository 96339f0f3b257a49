//! The loop that one would write by hand: consume, decode, merge, encode, produce; a thread for half of the partitions each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::records::{LATER, Location, Speed, speed};
use crate::{Failure, Job};

/// So many messages are taken from one queue before the other's turn.
const BATCH: usize = 1000;

pub(crate) fn run(job: &Job, transactions: bool, threads: u32) -> Result<u64, Failure> {
    let workers: Vec<_> = (0..threads)
        .map(|worker| {
            let job = job.clone();
            std::thread::spawn(move || {
                let own = (0..job.partitions).filter(|partition| partition % threads == worker).collect();
                work(&job, worker, own, transactions).map_err(|error| error.to_string())
            })
        })
        .collect();
    let mut results = 0;
    for worker in workers {
        results += worker.join().map_err(|_| "a worker has panicked")??;
    }
    Ok(results)
}

fn consumer(job: &Job, worker: u32) -> Result<BaseConsumer, Failure> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", &job.servers)
        .set("group.id", format!("{}-{worker}", job.application))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "50")
        .set("socket.nagle.disable", "true")
        .set("fetch.message.max.bytes", "262144")
        .set("queued.min.messages", "10000")
        .create()?)
}

/// One partition, read at one of the two places.
struct Side {
    queue: PartitionQueue<DefaultConsumerContext>,
    records: VecDeque<(i64, f64, f64)>,
    next: i64,
    /// Where the partition ended when the run began.
    stop: i64,
    ended: bool,
}

impl Side {
    fn pull(&mut self) -> Result<usize, Failure> {
        let mut pulled = 0;
        while pulled < BATCH && !self.ended {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let location: Location = serde_json::from_slice(message.payload().unwrap_or_default())?;
                    self.records.push_back((location.time, location.x, location.y));
                    self.next = message.offset() + 1;
                    self.ended = self.next >= self.stop;
                    pulled += 1;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.ended = true,
                Some(Err(error)) => return Err(error.into()),
            }
        }
        Ok(pulled)
    }
}

struct Worker {
    topic: String,
    to: String,
    producer: BaseProducer,
    group: Arc<BaseConsumer>,
    transactions: bool,
    begun: bool,
    last_commit: Instant,
    buffer: Vec<u8>,
    results: u64,
}

fn work(job: &Job, worker: u32, partitions: Vec<u32>, transactions: bool) -> Result<u64, Failure> {
    let mut consumers = Vec::new();
    let mut lanes: Vec<(i32, Side, Side)> = Vec::new();
    let mut sides = Vec::new();
    for _ in 0..2 {
        let consumer = Arc::new(consumer(job, worker)?);
        let mut list = TopicPartitionList::new();
        let mut own = Vec::new();
        for partition in &partitions {
            let partition = partition.cast_signed();
            let queue = consumer.split_partition_queue(&job.from, partition).ok_or("no such partition")?;
            list.add_partition_offset(&job.from, partition, Offset::Offset(0))?;
            let (_, stop) = consumer.fetch_watermarks(&job.from, partition, Duration::from_secs(10))?;
            own.push(Side { queue, records: VecDeque::new(), next: 0, stop, ended: false });
        }
        consumer.assign(&list)?;
        consumers.push(consumer);
        sides.push(own);
    }
    let rights = sides.pop().unwrap_or_default();
    let lefts = sides.pop().unwrap_or_default();
    for ((partition, left), right) in partitions.iter().zip(lefts).zip(rights) {
        lanes.push((partition.cast_signed(), left, right));
    }
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &job.servers)
        .set("enable.idempotence", "true")
        .set("delivery.report.only.error", "true")
        .set("socket.nagle.disable", "true")
        .set("linger.ms", "5");
    if transactions {
        config.set("transactional.id", format!("{}-{worker}", job.application));
    }
    let producer: BaseProducer = config.create()?;
    if transactions {
        // Until it is connected: else it looks for its coordinator too early, and again only half a second later.
        producer.client().fetch_metadata(Some(&job.to), Duration::from_secs(10))?;
        producer.init_transactions(Duration::from_secs(10))?;
    }
    let mut worker = Worker {
        topic: job.from.clone(),
        to: job.to.clone(),
        producer,
        group: Arc::clone(&consumers[0]),
        transactions,
        begun: false,
        last_commit: Instant::now(),
        buffer: Vec::new(),
        results: 0,
    };
    loop {
        let mut done = true;
        let mut idle = true;
        for (partition, left, right) in &mut lanes {
            if left.records.len() < BATCH {
                idle &= left.pull()? == 0;
            }
            // From the side that lags.
            if right.records.len() < BATCH {
                idle &= right.pull()? == 0;
            }
            worker.merge(*partition, left, right)?;
            done &= (left.ended && left.records.is_empty()) || (right.ended && right.records.is_empty());
        }
        if worker.last_commit.elapsed() >= job.commit_every {
            worker.commit(&lanes)?;
        }
        if done {
            break;
        }
        if idle {
            std::thread::sleep(Duration::from_micros(500));
        }
        for consumer in &consumers {
            consumer.poll(Duration::ZERO);
        }
    }
    worker.commit(&lanes)?;
    // Dropping them closes them, too, but looks only every tenth of a second whether that is done.
    for consumer in &consumers {
        consumer.close_queue()?;
    }
    while !consumers.iter().all(|consumer| consumer.closed()) {
        for consumer in &consumers {
            consumer.poll(Duration::from_millis(1));
        }
    }
    Ok(worker.results)
}

impl Worker {
    fn merge(&mut self, partition: i32, left: &mut Side, right: &mut Side) -> Result<(), Failure> {
        while let (Some(here), Some(there)) = (left.records.front(), right.records.front()) {
            match (here.0 + LATER).cmp(&there.0) {
                std::cmp::Ordering::Less => drop(left.records.pop_front()),
                std::cmp::Ordering::Greater => drop(right.records.pop_front()),
                std::cmp::Ordering::Equal => {
                    let result = speed(*here, *there);
                    self.send(partition, &result)?;
                    left.records.pop_front();
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, partition: i32, result: &Speed) -> Result<(), Failure> {
        if self.transactions && !self.begun {
            self.producer.begin_transaction()?;
            self.begun = true;
        }
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, result)?;
        let mut record: BaseRecord<'_, (), [u8]> =
            BaseRecord::to(&self.to).partition(partition).payload(self.buffer.as_slice());
        while let Err((error, again)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            self.rest();
            record = again;
        }
        self.results += 1;
        Ok(())
    }

    /// A poll with a time would be busy for its last millisecond.
    fn rest(&self) {
        self.producer.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_micros(500));
    }

    fn commit(&mut self, lanes: &[(i32, Side, Side)]) -> Result<(), Failure> {
        while self.producer.in_flight_count() > 0 {
            self.rest();
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, left, right) in lanes {
            let next = left.next - left.records.len() as i64;
            let next = next.min(right.next - right.records.len() as i64).max(0);
            offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(next))?;
        }
        if !self.transactions {
            self.group.commit(&offsets, rdkafka::consumer::CommitMode::Sync)?;
        } else if self.begun {
            let group = self.group.group_metadata().ok_or("no group")?;
            self.producer.send_offsets_to_transaction(&offsets, &group, Duration::from_secs(10))?;
            self.producer.commit_transaction(Duration::from_secs(10))?;
            self.begun = false;
        }
        self.last_commit = Instant::now();
        Ok(())
    }
}
