//! What a process took: wall time, processor time, memory. Read from `/proc`, so Linux only.

use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use crate::Failure;

/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux there is.
const TICKS_A_SECOND: f64 = 100.0;

/// What a candidate did.
pub(crate) struct Outcome {
    pub(crate) masters: u64,
    pub(crate) results: u64,
    /// Wall and processor seconds, where not all of the process counts.
    timed: Option<(f64, f64)>,
}

impl Outcome {
    pub(crate) fn new(masters: u64, results: u64) -> Self {
        Self { masters, results, timed: None }
    }

    /// Only `work` counts, which returns how many masters and results there were.
    pub(crate) fn timed(work: impl FnOnce() -> Result<(u64, u64), Failure>) -> Result<Self, Failure> {
        let (start, cpu) = (Instant::now(), cpu_seconds()?);
        let (masters, results) = work()?;
        let timed = Some((start.elapsed().as_secs_f64(), cpu_seconds()? - cpu));
        Ok(Self { masters, results, timed })
    }
}

/// What one run of a candidate took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    /// The most memory that was resident, in MiB.
    pub(crate) memory: f64,
    pub(crate) masters: u64,
    pub(crate) results: u64,
}

impl Measured {
    pub(crate) fn of_this_process(outcome: Outcome) -> Result<Self, Failure> {
        // The wall time of the whole process is the parent's to measure.
        let (wall, cpu) = match outcome.timed {
            Some(timed) => timed,
            None => (f64::NAN, cpu_seconds()?),
        };
        let (masters, results) = (outcome.masters, outcome.results);
        Ok(Self { wall, cpu, memory: peak_memory()?, masters, results })
    }

    pub(crate) fn to_line(self) -> String {
        format!("{} {} {} {} {}", self.wall, self.cpu, self.memory, self.masters, self.results)
    }

    fn from_line(line: &str) -> Result<Self, Failure> {
        let mut parts = line.split_whitespace();
        let mut next = || parts.next().ok_or("a benchmark's process said too little");
        Ok(Self {
            wall: next()?.parse()?,
            cpu: next()?.parse()?,
            memory: next()?.parse()?,
            masters: next()?.parse()?,
            results: next()?.parse()?,
        })
    }
}

/// Runs one candidate in a process of its own.
pub(crate) fn run_child(case: &str, candidate: &str, size: u64) -> Result<Measured, Failure> {
    let start = Instant::now();
    let output = Command::new(env::current_exe()?)
        .args(["--child", case, candidate, &size.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let wall = start.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(format!("`{case}`, {candidate}: its process failed").into());
    }
    let mut measured = Measured::from_line(&String::from_utf8(output.stdout)?)?;
    if measured.wall.is_nan() {
        measured.wall = wall;
    }
    Ok(measured)
}

/// User and system time of this process, of its threads that are gone too.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name, in parentheses, may have blanks in it. User and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_A_SECOND)
}

/// The most memory that was resident, in MiB.
fn peak_memory() -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in the status")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
