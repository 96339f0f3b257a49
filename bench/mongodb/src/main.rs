//! Watermill on MongoDB beside a loop over the bare driver: a join of two collections, written back. See `../README.md`.
//!
//! Every candidate runs in a process of its own: this program starts itself again. The server is the same for all.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bare;
mod cost;
mod ours;
mod records;

use std::process::{Command, ExitCode};

use bson::doc;
use mongodb::Client;
use tokio::runtime::Runtime;
use watermill_servers::{Mongo, MongoOptions};

use records::{Here, Next, Speed};

/// What makes a benchmark stop.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const HELP: &str = "\
[COUNT] [REPEATS]   a join of two collections of COUNT documents (500000), REPEATS times (3), by

bare        a loop over the bare driver: two streaming cursors, a merge, insert_many of 5,000 at a time
ours        the same by a mill, without transactions
ours-exact  the same, exactly once: positions and results in one transaction";

const CANDIDATES: [&str; 3] = ["bare", "ours-exact", "ours"];

/// What a candidate works on.
pub(crate) struct Job {
    pub(crate) uri: String,
    pub(crate) database: String,
    pub(crate) to: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("child") => child(&arguments[1..]),
        Some(first) if first.parse::<i64>().is_err() => {
            println!("{HELP}");
            Ok(())
        }
        _ => all(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With its causes.
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn all(arguments: &[String]) -> Result<(), Failure> {
    let number = |at: usize, otherwise: i64| arguments.get(at).map_or(Ok(otherwise), |given| given.parse());
    let (count, repeats) = (number(0, 500_000)?, number(1, 3)?);
    // One that is given is measured as it is.
    let given = std::env::var_os(watermill_servers::mongodb::ADDRESS).is_some();
    let own = if given { None } else { Some(Mongo::start(MongoOptions::new())?) };
    let mongo = match &own {
        Some(own) => own,
        None => Mongo::shared()?,
    };
    // Only of one that is ours we know the process.
    let server = own.as_ref().map(|own| own.process_id().map(|process| process.to_string())).transpose()?;
    let served = || server.as_deref().map_or(Ok(0.0), cost::cpu_seconds);
    let database = mongo.fresh_database("bench");
    let runtime = Runtime::new()?;
    runtime.block_on(load(mongo.uri(), &database, count))?;
    println!("two collections of {count} documents, joined and written back");
    println!(
        "{:12}{:>10}{:>10}{:>14}{:>10}{:>14}",
        "", "wall s", "cpu s", "server's cpu s", "peak MiB", "documents/s"
    );
    let mut medians = Vec::new();
    let mut taken: Vec<Vec<Taken>> = vec![Vec::new(); CANDIDATES.len()];
    for repeat in 0..repeats {
        for (candidate, taken) in CANDIDATES.iter().zip(&mut taken) {
            let to = format!("{candidate}-{repeat}");
            let before = served()?;
            let output = Command::new(std::env::current_exe()?)
                .args(["child", candidate, mongo.uri(), &database, &to])
                .output()?;
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() {
                return Err(format!("{candidate}: {told}{}", String::from_utf8_lossy(&output.stderr)).into());
            }
            let fields: Vec<&str> = told.split_whitespace().collect();
            let [wall, cpu, peak] = fields[..] else { return Err(format!("{candidate} says {told}").into()) };
            let one = Taken {
                wall: wall.parse()?,
                cpu: cpu.parse()?,
                server: served()? - before,
                peak: peak.parse()?,
            };
            println!("{candidate:12}{}", one.line(count));
            taken.push(one);
            runtime.block_on(check(mongo.uri(), &database, &to, count))?;
        }
    }
    println!("\nmedians of {repeats}");
    for (candidate, mut taken) in CANDIDATES.iter().zip(taken) {
        taken.sort_by(|one, other| one.wall.total_cmp(&other.wall));
        let Some(median) = taken.get(taken.len() / 2).copied() else { continue };
        medians.push(median.wall);
        println!(
            "{candidate:12}{}   {:7.3} of the documents/s of bare",
            median.line(count),
            medians[0] / median.wall
        );
    }
    runtime.block_on(async { Client::with_uri_str(mongo.uri()).await?.database(&database).drop().await })?;
    Ok(())
}

/// What a candidate took.
#[derive(Clone, Copy)]
struct Taken {
    wall: f64,
    cpu: f64,
    server: f64,
    peak: u64,
}

impl Taken {
    fn line(&self, count: i64) -> String {
        let Self { wall, cpu, server, peak } = self;
        format!("{wall:>10.3}{cpu:>10.2}{server:>14.2}{peak:>10}{:>14.0}", 2.0 * count as f64 / wall)
    }
}

async fn load(uri: &str, database: &str, count: i64) -> Result<(), Failure> {
    let database = Client::with_uri_str(uri).await?.database(database);
    for name in ["here", "next"] {
        let index = doc! { "key": { "time": 1, "_id": 1 }, "name": "time" };
        database.run_command(doc! { "createIndexes": name, "indexes": [index] }).await?;
    }
    for first in (0..count).step_by(10_000) {
        let times = first..count.min(first + 10_000);
        database.collection("here").insert_many(times.clone().map(Here::at)).await?;
        database.collection("next").insert_many(times.map(Next::at)).await?;
    }
    Ok(())
}

async fn check(uri: &str, database: &str, to: &str, count: i64) -> Result<(), Failure> {
    let collection = Client::with_uri_str(uri).await?.database(database).collection::<Speed>(to);
    let found = collection.count_documents(doc! {}).await?;
    let wanted = u64::try_from(count - records::LATER)?;
    if found != wanted {
        return Err(format!("{to} has {found} results, not {wanted}").into());
    }
    collection.drop().await?;
    Ok(())
}

/// One candidate, in its own process.
fn child(arguments: &[String]) -> Result<(), Failure> {
    let [candidate, uri, database, to] = arguments else {
        return Err("child CANDIDATE URI DATABASE TO".into());
    };
    let job = Job { uri: uri.clone(), database: database.clone(), to: to.clone() };
    let begin = std::time::Instant::now();
    match candidate.as_str() {
        "bare" => bare::run(&job)?,
        "ours" => ours::run(&job, false)?,
        "ours-exact" => ours::run(&job, true)?,
        other => return Err(format!("no candidate `{other}`").into()),
    }
    println!("{} {} {}", begin.elapsed().as_secs_f64(), cost::cpu_seconds("self")?, cost::peak_mib()?);
    Ok(())
}
