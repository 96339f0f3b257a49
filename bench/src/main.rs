//! Benchmarks of watermill, each beside the loop one would write by hand. See `README.md` beside this crate.
//!
//! Every candidate runs in a process of its own: this program starts itself again for each.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod inputs;
mod measure;
mod options;
mod records;
mod table;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fs};

use cases::{CASES, Case, Job};
use measure::{Measured, run_child};
use options::{Options, Wish};
use table::Row;

/// What makes a benchmark stop.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let result = match options::parse(env::args().skip(1)) {
        Ok(Wish::Help) => {
            println!("{}", options::HELP);
            Ok(())
        }
        Ok(Wish::Child { case, candidate, size }) => child(&case, &candidate, size),
        Ok(Wish::Run(options)) => run(&options),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where inputs and outputs are: `bench` in the target directory this program was built in.
fn directory() -> Result<PathBuf, Failure> {
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2).ok_or("the program stands in no target directory")?;
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn job(case: &Case, candidate: &str, size: u64) -> Result<Job, Failure> {
    let directory = directory()?;
    let output = directory.join(format!("{}-{candidate}.ndjson", case.name));
    Ok(Job { size, input: directory.join(format!("{}-{size}.ndjson", case.input)), output })
}

/// Runs one candidate in this process and prints what it took.
fn child(case: &str, candidate: &str, size: u64) -> Result<(), Failure> {
    let case = CASES.iter().find(|known| known.name == case).ok_or("no such benchmark")?;
    let found = case.candidates.iter().find(|known| known.name == candidate).ok_or("no such candidate")?;
    let outcome = (found.run)(&job(case, candidate, size)?)?;
    println!("{}", Measured::of_this_process(outcome)?.to_line());
    Ok(())
}

fn run(options: &Options) -> Result<(), Failure> {
    println!("{} repeats, alternating; medians, with the least and the most", options.repeats);
    for case in CASES.iter().filter(|case| options.wants(case.name)) {
        let size = options.size.unwrap_or(if options.quick { case.quick } else { case.size });
        let rows = run_case(case, size, options.repeats)?;
        table::print(case, size, &rows);
    }
    if options.wants("allocations") {
        allocations(options)?;
    }
    Ok(())
}

fn run_case(case: &Case, size: u64, repeats: usize) -> Result<Vec<Row>, Failure> {
    let input = job(case, "", size)?.input;
    (case.prepare)(&input, size)?;
    let mut rows: Vec<Row> = case.candidates.iter().map(|candidate| Row::new(candidate.name)).collect();
    for _ in 0..repeats {
        for row in &mut rows {
            row.runs.push(run_child(case.name, row.name, size)?);
        }
        check_same(case, size, &rows)?;
        // Nobody shall find pages of the last output in memory.
        if case.writes_files {
            case.candidates.iter().try_for_each(|candidate| {
                fs::remove_file(job(case, candidate.name, size)?.output).map_err(Failure::from)
            })?;
        }
    }
    if case.input_is_large {
        fs::remove_file(input)?;
    }
    Ok(rows)
}

/// Makes sure that all candidates did the same work.
fn check_same(case: &Case, size: u64, rows: &[Row]) -> Result<(), Failure> {
    let mut results = rows.iter().flat_map(|row| &row.runs).map(|run| (run.masters, run.results));
    let first = results.next();
    if results.any(|other| Some(other) != first) {
        return Err(format!("`{}`: the candidates differ in what they counted", case.name).into());
    }
    if !case.writes_files {
        return Ok(());
    }
    let mut first: Option<Vec<u8>> = None;
    for row in rows {
        let text = fs::read(job(case, row.name, size)?.output)?;
        match &first {
            None => first = Some(text),
            Some(first) if *first == text => {}
            Some(_) => return Err(format!("`{}`: the outputs of the candidates differ", case.name).into()),
        }
    }
    Ok(())
}

/// The allocation counter replaces the allocator, so it is a program of its own.
fn allocations(options: &Options) -> Result<(), Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--quiet", "--package", "watermill-bench", "--bin", "allocations"]);
    if options.quick {
        command.args(["--", "--quick"]);
    }
    if command.status()?.success() { Ok(()) } else { Err("`allocations` failed".into()) }
}
