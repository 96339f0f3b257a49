//! What lanes cost: how throughput grows with their number, and what many take that have nothing to do.

use std::time::{Duration, Instant};

use watermill_servers::kafka::{Kafka, KafkaOptions};

use crate::load::Loader;
use crate::records::LATER;
use crate::{Failure, Job, check, cost, join, number, ours};

const LANES: [u32; 5] = [1, 2, 4, 8, 16];

/// Lanes that wait: the difference, by their number, is what one takes.
const WAITING: [u32; 2] = [10, 100];

/// Records in each partition, before its lane waits.
const FEW: i64 = 100;

/// How long lanes that wait are looked at.
const LOOK: Duration = Duration::from_secs(10);

pub(crate) fn all(arguments: &[String]) -> Result<(), Failure> {
    let count: i64 = number(arguments, 0, 400_000)?;
    let kafka = Kafka::start(KafkaOptions::new().benchmarked().heap("1g"))?;
    let loader = Loader::new(kafka.bootstrap())?;
    println!("{count} records, read twice and joined, by the number of lanes");
    println!(
        "{:12}{:>8}{:>10}{:>10}{:>14}{:>10}{:>10}",
        "", "lanes", "wall s", "cpu s", "records/s", "peak MiB", "threads"
    );
    // Without records, only what waiting lanes take.
    for lanes in LANES.into_iter().filter(|_| count > 0) {
        let from = kafka.fresh_topic("locations", lanes)?;
        let each = count / i64::from(lanes);
        loader.locations(&from, lanes, each)?;
        for candidate in ["ours-alo", "ours-eos"] {
            let to = kafka.fresh_topic("speeds", lanes)?;
            let told = run(candidate, &kafka, &from, &to, lanes, &[])?;
            let [wall, cpu, peak, _, threads] = told[..] else { return Err("five numbers".into()) };
            println!(
                "{candidate:12}{lanes:>8}{wall:>10.3}{cpu:>10.2}{:>14.0}{peak:>10.0}{threads:>10.0}",
                (each * i64::from(lanes)) as f64 / wall
            );
            if check::results(kafka.bootstrap(), &to, lanes, each)? > 0 {
                return Err(format!("{candidate}: results came twice").into());
            }
        }
    }

    println!("\nlanes that wait, in one process, after {FEW} records each");
    println!(
        "{:12}{:>8}{:>14}{:>10}{:>10}{:>10}{:>14}{:>16}",
        "", "lanes", "until there s", "MiB", "threads", "files", "cpu, percent", "commits"
    );
    for lanes in WAITING {
        let from = kafka.fresh_topic("locations", lanes)?;
        loader.locations(&from, lanes, FEW)?;
        for candidate in ["wait-alo", "wait-eos"] {
            let to = kafka.fresh_topic("speeds", lanes)?;
            // The last match waits for a later record: there could be another one of its time.
            let results = (FEW - LATER - 1) * i64::from(lanes);
            let told = run(candidate, &kafka, &from, &to, lanes, &[results.to_string()])?;
            let [there, memory, threads, files, cpu, commits] = told[..] else {
                return Err("six numbers".into());
            };
            println!(
                "{:12}{lanes:>8}{there:>14.2}{memory:>10.1}{threads:>10.0}{files:>10.0}{:>14.1}{commits:>16.0}",
                candidate.replace("wait", "ours"),
                cpu * 100.0
            );
        }
    }
    Ok(())
}

/// Runs a candidate, and returns the numbers that it tells.
fn run(
    candidate: &str,
    kafka: &Kafka,
    from: &str,
    to: &str,
    lanes: u32,
    more: &[String],
) -> Result<Vec<f64>, Failure> {
    let output = join::child(candidate, kafka.bootstrap(), from, to, lanes)?.args(more).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{candidate} with {lanes} lanes: {said}").into());
    }
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(told.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// A mill that follows its topics: once all is joined that is there, what it takes to wait.
pub(crate) fn wait(job: &Job, exactly_once: bool, arguments: &[String]) -> Result<(), Failure> {
    let results: u64 = arguments.first().ok_or("how many results")?.parse()?;
    let begin = Instant::now();
    let handle = ours::mill(job).start(ours::broker(job, exactly_once))?;
    while handle.watch().results < results {
        if begin.elapsed() > Duration::from_secs(300) {
            handle.abort();
            return Err(format!("{} of {results} results after 300 s", handle.watch().results).into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let there = begin.elapsed().as_secs_f64();
    // The last commits, and what was only needed to begin.
    std::thread::sleep(Duration::from_secs(3));
    let (cpu, commits) = (cost::cpu_seconds()?, handle.watch().commits);
    std::thread::sleep(LOOK);
    let cpu = (cost::cpu_seconds()? - cpu) / LOOK.as_secs_f64();
    let (memory, threads, files) = (cost::resident_mib()?, cost::threads()?, cost::files()?);
    println!("{there} {memory} {threads} {files} {cpu} {commits}");
    handle.stop();
    handle.wait_blocking()?;
    Ok(())
}
