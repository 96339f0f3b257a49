//! The tables.

use crate::cases::Case;
use crate::measure::Measured;

/// One candidate's runs.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) runs: Vec<Measured>,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, runs: Vec::new() }
    }

    fn of(&self, what: fn(&Measured) -> f64) -> Spread {
        let mut values: Vec<f64> = self.runs.iter().map(what).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (at(values.len().saturating_sub(1) / 2), at(values.len() / 2));
        Spread { least: at(0), median: f64::midpoint(low, high), most: at(values.len().saturating_sub(1)) }
    }
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

/// Prints what the candidates took; ratios are against the first one.
pub(crate) fn print(case: &Case, size: u64, rows: &[Row]) {
    println!("\n{}: {} (n = {size})", case.name, case.title);
    println!(
        "  {:12} {:>22} {:>6} {:>22} {:>6} {:>9} {:>11}",
        "", "wall s", "ratio", "cpu s", "ratio", "peak MiB", "M masters/s"
    );
    let Some(first) = rows.first() else { return };
    let (first_wall, first_cpu) = (first.of(|run| run.wall).median, first.of(|run| run.cpu).median);
    for row in rows {
        let (wall, cpu) = (row.of(|run| run.wall), row.of(|run| run.cpu));
        let memory = row.of(|run| run.memory).most;
        let masters = row.runs.first().map_or(0, |run| run.masters) as f64;
        println!(
            "  {:12} {:>22} {:>6.2} {:>22} {:>6.2} {:>9.0} {:>11.2}",
            row.name,
            seconds(&wall),
            wall.median / first_wall,
            seconds(&cpu),
            cpu.median / first_cpu,
            memory,
            masters / wall.median / 1e6,
        );
    }
    if let Some(run) = first.runs.first() {
        println!("  {} results", run.results);
    }
}

fn seconds(spread: &Spread) -> String {
    format!("{:.2} ({:.2} - {:.2})", spread.median, spread.least, spread.most)
}
