//! Latency: how long a record takes from being sent until its result can be read, where there is next to nothing to do.
//!
//! A record of one topic is joined to that of the same time of another one, which was sent just before and is unique: so the result waits for no later record, and
//! what is measured is the way through two topics, the mill, and its commit.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use watermill::prelude::*;
use watermill_servers::kafka::{Kafka, KafkaOptions};

use crate::records::{Answered, Asked, Known};
use crate::{Failure, Job, PARTITIONS, join, number};

/// What is sent before this time has passed does not count: connections are made, and lanes are given out.
const WARM: Duration = Duration::from_secs(3);

/// So long the last result may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn all(arguments: &[String]) -> Result<(), Failure> {
    let seconds: u64 = number(arguments, 0, 20)?;
    let rate: u64 = number(arguments, 1, 100)?;
    let kafka = Kafka::start(KafkaOptions::new().benchmarked().heap("1g"))?;
    println!(
        "{rate} records a second for {seconds} s over {PARTITIONS} partitions; milliseconds from sent to readable"
    );
    println!("{:14}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "median", "90 %", "99 %", "most", "records");
    // Without a mill between: what the clients and the broker take.
    for candidate in ["direct", "follow-alo", "follow-eos"] {
        let mut latencies = measure(&kafka, candidate, seconds, rate)?;
        latencies.sort_unstable();
        let at = |part: f64| {
            let index = ((latencies.len() as f64 * part) as usize).min(latencies.len().saturating_sub(1));
            latencies.get(index).map_or(f64::NAN, |micros| *micros as f64 / 1000.0)
        };
        println!(
            "{:14}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10}",
            candidate.replace("follow", "ours"),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
            latencies.len()
        );
    }
    Ok(())
}

/// Ends with this, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(kafka: &Kafka, candidate: &str, seconds: u64, rate: u64) -> Result<Vec<i64>, Failure> {
    let servers = kafka.bootstrap();
    let asked = kafka.fresh_topic("asked", PARTITIONS)?;
    let known = kafka.fresh_topic("known", PARTITIONS)?;
    let answered = kafka.fresh_topic("answered", PARTITIONS)?;
    let with_mill = candidate != "direct";
    let read_from = if with_mill { answered.clone() } else { asked.clone() };
    let _mill = with_mill
        .then(|| {
            let topics = format!("{asked},{known}");
            let mut child: Command = join::child(candidate, servers, &topics, &answered, PARTITIONS)?;
            Ok::<_, Failure>(Running(child.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
        })
        .transpose()?;

    let total = (seconds + WARM.as_secs()) * rate;
    let (ready, is_ready) = mpsc::channel();
    let reader = {
        let servers = servers.to_owned();
        thread::spawn(move || read(&servers, &read_from, total, &ready).map_err(|error| error.to_string()))
    };
    is_ready.recv_timeout(PATIENCE)?;
    send(servers, &asked, &known, total, rate)?;
    let all = reader.join().map_err(|_| "the reader has panicked")??;
    Ok(all
        .into_iter()
        .filter(|(time, _)| *time as u64 >= WARM.as_secs() * rate)
        .map(|(_, took)| took)
        .collect())
}

fn micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// Sends the records one by one, each at its time.
fn send(servers: &str, asked: &str, known: &str, total: u64, rate: u64) -> Result<(), Failure> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()?;
    let begin = Instant::now();
    for number in 0..total {
        let due = Duration::from_secs_f64(number as f64 / rate as f64);
        while let Some(left) = due.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
            producer.poll(left.min(Duration::from_millis(5)));
        }
        let time = number.cast_signed();
        let partition = i32::try_from(number % u64::from(PARTITIONS))?;
        let right = serde_json::to_vec(&Known { time })?;
        let left = serde_json::to_vec(&Asked { time, sent: micros() })?;
        for (topic, value) in [(known, &right), (asked, &left)] {
            let record: BaseRecord<'_, (), [u8]> =
                BaseRecord::to(topic).partition(partition).payload(value.as_slice());
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.poll(Duration::ZERO);
    }
    Ok(producer.flush(PATIENCE)?)
}

/// Reads so many records as a committed reader, and says for each how long it took.
fn read(
    servers: &str,
    topic: &str,
    total: u64,
    ready: &mpsc::Sender<()>,
) -> Result<Vec<(i64, i64)>, Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "watermill-bench-latency")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS.cast_signed() {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    ready.send(())?;
    let mut all = Vec::new();
    let mut last = Instant::now();
    while (all.len() as u64) < total {
        match consumer.poll(Duration::from_millis(100)) {
            Some(message) => {
                let now = micros();
                let message = message?;
                let answer: Answered = serde_json::from_slice(message.payload().unwrap_or_default())?;
                all.push((answer.time, now - answer.sent));
                last = Instant::now();
            }
            None if last.elapsed() > PATIENCE => {
                return Err(format!("{} of {total} records came, and then none", all.len()).into());
            }
            None => {}
        }
    }
    Ok(all)
}

/// The mill, which goes on until it is killed. `job.from` are two topics.
pub(crate) fn follow(job: &Job, exactly_once: bool) -> Result<(), Failure> {
    let (asked, known) = job.from.split_once(',').ok_or("two topics")?;
    let kafka = KafkaBroker::new(&job.servers, &job.application)
        .read::<Asked>(asked)
        .read::<Known>(known)
        .write::<Answered>(job.to.as_str());
    let kafka = if exactly_once { kafka } else { kafka.at_least_once() };
    Mill::new(|asked: &Asked, known: &Joined<Asked, Known>| Answered {
        time: known[asked][0].time,
        sent: asked.sent,
    })
    .join(JoinWith::new(Asked::fields().time, Known::fields().time).unique())
    .commit_every(job.commit_every)
    .run_blocking(kafka)?;
    Ok(())
}
