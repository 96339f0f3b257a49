//! Throughput: a self-join of a million records, the results back to Kafka, by all candidates in turn.

use std::process::Command;
use std::time::Instant;

use watermill_servers::kafka::{Kafka, KafkaOptions, unique};

use crate::load::Loader;
use crate::peers::{self, Streams};
use crate::records::LATER;
use crate::{Failure, PARTITIONS, check, number};

const CANDIDATES: &[&str] = &[
    "bare-alo",
    "ours-alo",
    "bare-eos",
    "ours-eos",
    "streams-alo",
    "streams-eos",
    "streams-alo-memory",
    "streams-eos-memory",
    "python",
];

/// Python's watermill joins about 200 records a second: so many are enough to see how fast it is, in one partition, since it reads no more.
const PYTHON_RECORDS: i64 = 1000;

/// What one run took.
struct Taken {
    wall: f64,
    cpu: f64,
    peak_mib: u64,
    rate: f64,
}

/// What the candidates read.
struct Inputs {
    kafka: Kafka,
    locations: String,
    /// With keys, for Kafka Streams.
    keyed: Option<[String; 2]>,
    /// For Python's watermill.
    few: Option<String>,
    streams: Option<Streams>,
    /// Records in each partition.
    each: i64,
}

/// Starts the broker, loads it, and runs the candidates in turn.
pub(crate) fn all(arguments: &[String]) -> Result<(), Failure> {
    let count: i64 = number(arguments, 0, 1_000_000)?;
    let repeats: u32 = number(arguments, 1, 3)?;
    let candidates = chosen(arguments.get(2).map_or("bare,ours", String::as_str))?;
    let inputs = Inputs::make(count / i64::from(PARTITIONS), &candidates)?;
    println!(
        "{} records in {PARTITIONS} partitions, read twice and joined; python: {PYTHON_RECORDS} in one partition",
        inputs.each * i64::from(PARTITIONS)
    );
    println!(
        "{:20}{:>10}{:>10}{:>10}{:>14}{:>16}",
        "", "wall s", "cpu s", "peak MiB", "records/s", "whole process s"
    );
    let mut taken: Vec<Vec<Taken>> = candidates.iter().map(|_| Vec::new()).collect();
    for _ in 0..repeats {
        for (candidate, taken) in candidates.iter().zip(&mut taken) {
            taken.push(inputs.run(candidate)?);
        }
    }
    println!("\nmedians of {repeats}");
    let medians: Vec<(&str, Taken)> =
        candidates.iter().zip(taken).map(|(candidate, taken)| (*candidate, median(taken))).collect();
    for (candidate, taken) in &medians {
        print!("{candidate:20}{}", line(taken));
        // Beside the loop over the bare client with the same guarantee.
        let bare = if candidate.contains("eos") { "bare-eos" } else { "bare-alo" };
        match medians.iter().find(|(other, _)| *other == bare) {
            Some((_, loop_)) => println!("   {:7.3} of the records/s of {bare}", taken.rate / loop_.rate),
            None => println!(),
        }
    }
    Ok(())
}

fn chosen(wanted: &str) -> Result<Vec<&'static str>, Failure> {
    let parts: Vec<&str> = wanted.split(',').filter(|part| !part.is_empty()).collect();
    let is_exact = |part: &str| CANDIDATES.contains(&part);
    let is_wanted = |candidate: &str| {
        parts
            .iter()
            .any(|part| *part == "all" || candidate == *part || (!is_exact(part) && candidate.contains(part)))
    };
    let chosen: Vec<&str> = CANDIDATES.iter().copied().filter(|candidate| is_wanted(candidate)).collect();
    if chosen.is_empty() {
        return Err(format!("no candidate is called `{wanted}`; there are {}", CANDIDATES.join(", ")).into());
    }
    Ok(chosen)
}

impl Inputs {
    fn make(each: i64, candidates: &[&str]) -> Result<Self, Failure> {
        // All that is fetched and compiled, before anything is measured.
        let with = |name: &str| candidates.iter().any(|candidate| candidate.starts_with(name));
        let streams = with("streams").then(Streams::prepare).transpose()?;
        if with("python") {
            watermill_servers::python_watermill()?;
        }
        // The results of Kafka Streams have the times of the locations, which begin in 1970: by default they are old enough to be deleted.
        let options = KafkaOptions::new().benchmarked().heap("1g").property("log.retention.ms", "-1");
        let kafka = Kafka::start(options)?;
        let loader = Loader::new(kafka.bootstrap())?;
        let locations = kafka.fresh_topic("locations", PARTITIONS)?;
        loader.locations(&locations, PARTITIONS, each)?;
        let mut keyed = None;
        if streams.is_some() {
            let left = kafka.fresh_topic("locations-by-later", PARTITIONS)?;
            loader.keyed_locations(&left, PARTITIONS, each, LATER)?;
            let right = kafka.fresh_topic("locations-by-time", PARTITIONS)?;
            loader.keyed_locations(&right, PARTITIONS, each, 0)?;
            keyed = Some([left, right]);
        }
        let mut few = None;
        if with("python") {
            let topic = kafka.fresh_topic("few-locations", 1)?;
            loader.locations(&topic, 1, PYTHON_RECORDS)?;
            loader.end(&topic, 1)?;
            few = Some(topic);
        }
        Ok(Self { kafka, locations, keyed, few, streams, each })
    }

    fn run(&self, candidate: &str) -> Result<Taken, Failure> {
        let servers = self.kafka.bootstrap();
        let python = candidate == "python";
        let (partitions, each) = if python { (1, PYTHON_RECORDS) } else { (PARTITIONS, self.each) };
        let to = self.kafka.fresh_topic("speeds", partitions)?;
        let mut command = match (candidate, &self.streams, &self.keyed, &self.few) {
            ("python", _, _, Some(few)) => peers::python(servers, few, &to)?,
            (_, Some(streams), Some(keyed), _) if candidate.starts_with("streams") => {
                streams.command(candidate, servers, keyed, &to, each - LATER - 1)
            }
            _ => child(candidate, servers, &self.locations, &to, partitions)?,
        };
        let begin = Instant::now();
        let output = command.output()?;
        let whole = begin.elapsed().as_secs_f64();
        if !output.status.success() {
            return Err(format!("{candidate}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let taken = Taken::read(&String::from_utf8_lossy(&output.stdout), each * i64::from(partitions))
            .map_err(|error| format!("{candidate}: {error}"))?;
        print!("{candidate:20}{}{whole:>16.2}", line(&taken));
        match check::results(servers, &to, partitions, each) {
            Ok(0) => println!(),
            Ok(twice) if candidate.contains("alo") => println!("   {twice} results came twice"),
            Ok(twice) => return Err(format!("{candidate}: {twice} results came twice").into()),
            // What a peer does wrong is told, and no reason to measure no further.
            Err(error) if candidate.starts_with("streams") => println!("   WRONG: {error}"),
            Err(error) => return Err(format!("{candidate}: {error}").into()),
        }
        Ok(taken)
    }
}

/// A candidate that is this program.
pub(crate) fn child(
    candidate: &str,
    servers: &str,
    from: &str,
    to: &str,
    partitions: u32,
) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["child", candidate, servers, &unique("bench"), from, to, &partitions.to_string()]);
    Ok(command)
}

impl Taken {
    /// From what a candidate tells: wall seconds, processor seconds, MiB, results.
    fn read(told: &str, records: i64) -> Result<Self, Failure> {
        let mut fields = told.split_whitespace();
        let mut field = || fields.next().ok_or_else(|| format!("it says {told:?}"));
        let (wall, cpu, peak_mib) = (field()?.parse()?, field()?.parse()?, field()?.parse()?);
        Ok(Self { wall, cpu, peak_mib, rate: records as f64 / wall })
    }
}

/// The run whose wall time is in the middle.
fn median(mut taken: Vec<Taken>) -> Taken {
    taken.sort_by(|one, other| one.wall.total_cmp(&other.wall));
    taken.swap_remove(taken.len() / 2)
}

fn line(taken: &Taken) -> String {
    format!("{:>10.3}{:>10.2}{:>10}{:>14.0}", taken.wall, taken.cpu, taken.peak_mib, taken.rate)
}
