//! The command line.

use crate::Failure;
use crate::cases::CASES;

pub(crate) const HELP: &str = "\
Benchmarks of watermill, each beside the loop one would write by hand.

    cargo run --release -p watermill-bench -- [OPTIONS] [BENCHMARK]..

BENCHMARK: self_join, walk, walk_results, three_level, three_level_files, many_to_many, flights, memory, commits, workers,
slow_sink, allocations; all of them unless some are named. `slow_sink` takes its ten minutes, each time.

    --quick        smaller inputs, for a first look
    --size N       how many masters, for all benchmarks that run
    --repeats N    how often each candidate runs (5; with --quick 3)";

/// What was asked for.
pub(crate) enum Wish {
    Help,
    Run(Options),
    /// Asked for by this program itself.
    Child {
        case: String,
        candidate: String,
        size: u64,
    },
}

pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) size: Option<u64>,
    pub(crate) repeats: usize,
    names: Vec<String>,
}

impl Options {
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wish, Failure> {
    let (mut quick, mut size, mut repeats, mut names) = (false, None, None, Vec::new());
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Wish::Help),
            "--quick" => quick = true,
            "--size" => size = Some(value()?.parse()?),
            "--repeats" => repeats = Some(value()?.parse::<usize>()?.max(1)),
            "--child" => {
                return Ok(Wish::Child { case: value()?, candidate: value()?, size: value()?.parse()? });
            }
            name if name == "allocations" || CASES.iter().any(|case| case.name == name) => {
                names.push(name.to_owned());
            }
            other => return Err(format!("`{other}` is neither an option nor a benchmark; try --help").into()),
        }
    }
    let repeats = repeats.unwrap_or(if quick { 3 } else { 5 });
    Ok(Wish::Run(Options { quick, size, repeats, names }))
}
