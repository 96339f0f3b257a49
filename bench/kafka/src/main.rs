//! Watermill on Kafka beside loops over the bare client: a self-join of a million records, the results back to Kafka. See `../README.md`.
//!
//! Every candidate runs in a process of its own: this program starts itself again for each. The broker is the same for all.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bare;
mod ours;
mod records;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use watermill_servers::kafka::{Kafka, KafkaOptions, unique};

/// What makes a benchmark stop.
type Failure = Box<dyn std::error::Error>;

const PARTITIONS: u32 = 4;

const CANDIDATES: &[&str] = &["bare-alo", "ours-alo", "bare-eos", "ours-eos"];

/// What a candidate is to do.
#[derive(Clone)]
pub(crate) struct Job {
    servers: String,
    application: String,
    from: String,
    to: String,
    partitions: u32,
    commit_every: Duration,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("child") => child(&arguments[1..]),
        _ => all(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the broker, loads it, and runs all candidates in turn.
fn all(arguments: &[String]) -> Result<(), Failure> {
    let count: i64 = arguments.first().map_or(Ok(1_000_000), |count| count.parse())?;
    let repeats: u32 = arguments.get(1).map_or(Ok(3), |repeats| repeats.parse())?;
    let wanted = arguments.get(2).map_or("", String::as_str);
    let kafka = Kafka::start(KafkaOptions::new().benchmarked().heap("1g"))?;
    let from = kafka.fresh_topic("locations", PARTITIONS)?;
    load(&kafka, &from, count)?;
    println!(
        "{count} records in {PARTITIONS} partitions, read twice and joined; wall s, cpu s, peak MiB, results"
    );
    for _ in 0..repeats {
        for candidate in CANDIDATES.iter().filter(|candidate| candidate.contains(wanted)) {
            let to = kafka.fresh_topic("speeds", PARTITIONS)?;
            let begin = Instant::now();
            let output = Command::new(std::env::current_exe()?)
                .args(["child", candidate, kafka.bootstrap(), &from, &to])
                .output()?;
            if !output.status.success() {
                return Err(format!("{candidate}: {}", String::from_utf8_lossy(&output.stderr)).into());
            }
            let whole = begin.elapsed().as_secs_f64();
            println!(
                "{candidate:10} {} ({whole:.2} s with start and end)",
                String::from_utf8_lossy(&output.stdout).trim()
            );
        }
    }
    Ok(())
}

/// Writes the records that are joined.
fn load(kafka: &Kafka, topic: &str, count: i64) -> Result<(), Failure> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .create()?;
    for time in 0..count / i64::from(PARTITIONS) {
        let value = serde_json::to_vec(&records::location(time))?;
        for partition in 0..PARTITIONS.cast_signed() {
            let mut record: BaseRecord<'_, (), [u8]> =
                BaseRecord::to(topic).partition(partition).payload(value.as_slice());
            while let Err((_, again)) = producer.send(record) {
                producer.poll(Duration::from_millis(1));
                record = again;
            }
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(())
}

fn child(arguments: &[String]) -> Result<(), Failure> {
    let [candidate, servers, from, to] = arguments else { return Err("candidate, servers, from, to".into()) };
    let job = Job {
        servers: servers.clone(),
        application: unique("bench"),
        from: from.clone(),
        to: to.clone(),
        partitions: PARTITIONS,
        commit_every: Duration::from_millis(100),
    };
    let begin = Instant::now();
    let results = match candidate.as_str() {
        "bare-alo" => bare::run(&job, false, 2)?,
        "bare-eos" => bare::run(&job, true, 2)?,
        "ours-alo" => ours::run(&job, false)?,
        "ours-eos" => ours::run(&job, true)?,
        other => return Err(format!("no candidate `{other}`").into()),
    };
    let wall = begin.elapsed().as_secs_f64();
    println!("{wall:6.3} s  {:6.3} cpu s  {:5} MiB  {results}", cpu_seconds()?, peak_mib()?);
    Ok(())
}

/// The processor time of this process and its threads.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 =
        fields.get(11).ok_or("utime")?.parse::<f64>()? + fields.get(12).ok_or("stime")?.parse::<f64>()?;
    Ok(ticks / 100.0)
}

fn peak_mib() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("VmHWM")?.parse::<u64>()? / 1024)
}
