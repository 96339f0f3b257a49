//! Watermill on Kafka beside loops over the bare client, Kafka Streams and Python's watermill: throughput, latency, and what lanes cost. See `../README.md`.
//!
//! Every candidate runs in a process of its own: this program starts itself again for those that are written in Rust. The broker is the same for all.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bare;
mod check;
mod cost;
mod join;
mod latency;
mod load;
mod ours;
mod peers;
mod records;
mod scale;

use std::process::ExitCode;
use std::time::Duration;

/// What makes a benchmark stop.
type Failure = Box<dyn std::error::Error>;

/// The partitions of the topics that are joined, unless a benchmark is about their number.
const PARTITIONS: u32 = 4;

/// The time between two commits, of every candidate.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

const HELP: &str = "\
join [COUNT] [REPEATS] [CANDIDATES]   a self-join of COUNT records (1000000), REPEATS times (3)
latency [SECONDS] [RATE]              from produce to being readable, RATE records a second (100)
scale [COUNT]                         1 to 16 lanes over COUNT records (400000), and 100 lanes that wait;
                                      with a COUNT of 0 only those

CANDIDATES are names or parts of names, with commas between: bare-alo, ours-alo, bare-eos, ours-eos, streams-alo,
streams-eos, streams-alo-memory, streams-eos-memory, python. `all` are all of them; without them, bare and ours.";

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
    let rest = arguments.get(1..).unwrap_or_default();
    let result = match arguments.first().map(String::as_str) {
        Some("child") => child(rest),
        Some("join") => join::all(rest),
        Some("latency") => latency::all(rest),
        Some("scale") => scale::all(rest),
        // The arguments of `join` alone.
        None => join::all(&[]),
        Some(count) if count.parse::<u64>().is_ok() => join::all(&arguments),
        Some(_) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An argument that is a number, or what it is without one.
fn number<N: std::str::FromStr>(arguments: &[String], at: usize, otherwise: N) -> Result<N, Failure>
where
    N::Err: std::error::Error + 'static,
{
    arguments.get(at).map_or(Ok(otherwise), |given| given.parse()).map_err(Into::into)
}

/// One candidate, in its own process.
fn child(arguments: &[String]) -> Result<(), Failure> {
    let [candidate, servers, application, from, to, partitions, rest @ ..] = arguments else {
        return Err("child CANDIDATE SERVERS APPLICATION FROM TO PARTITIONS".into());
    };
    let job = Job {
        servers: servers.clone(),
        application: application.clone(),
        from: from.clone(),
        to: to.clone(),
        partitions: partitions.parse()?,
        commit_every: COMMIT_EVERY,
    };
    let threads = cost::MostThreads::watch();
    let begin = std::time::Instant::now();
    let results = match candidate.as_str() {
        "bare-alo" => bare::run(&job, false, 2)?,
        "bare-eos" => bare::run(&job, true, 2)?,
        "ours-alo" => ours::run(&job, false)?,
        "ours-eos" => ours::run(&job, true)?,
        "follow-alo" => return latency::follow(&job, false),
        "follow-eos" => return latency::follow(&job, true),
        "wait-alo" => return scale::wait(&job, false, rest),
        "wait-eos" => return scale::wait(&job, true, rest),
        other => return Err(format!("no candidate `{other}`").into()),
    };
    let wall = begin.elapsed().as_secs_f64();
    println!("{wall} {} {} {results} {}", cost::cpu_seconds()?, cost::peak_mib()?, threads.most());
    Ok(())
}
