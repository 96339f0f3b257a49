//! The inputs: made once, the same every time.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Deserialize;

use crate::Failure;
use crate::records::minutes_of;

/// Numbers that look random and are the same every time (SplitMix64).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new() -> Self {
        Self(42)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 100.0 on to below 1000.0.
    pub(crate) fn coordinate(&mut self) -> f64 {
        (self.next() % 90_000_000) as f64 / 100_000.0 + 100.0
    }
}

/// Makes the file at `path` unless it is there.
fn make(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension("unfinished");
    let mut out = BufWriter::with_capacity(1 << 18, File::create(&unfinished)?);
    write(&mut out)?;
    out.flush()?;
    drop(out);
    fs::rename(unfinished, path)?;
    Ok(())
}

/// No input in a file.
pub(crate) fn none(_: &Path, _: u64) -> Result<(), Failure> {
    Ok(())
}

/// `count` records of 48 bytes: `{"time":1700000000,"x":123.45678,"y":876.54321}`.
pub(crate) fn locations(path: &Path, count: u64) -> Result<(), Failure> {
    make(path, |out| {
        let mut numbers = Numbers::new();
        for time in 1_700_000_000..1_700_000_000 + count {
            let (x, y) = (numbers.coordinate(), numbers.coordinate());
            writeln!(out, "{{\"time\":{time},\"x\":{x:.5},\"y\":{y:.5}}}")?;
        }
        Ok(())
    })
}

/// The real flights over and over, each time later by as many days as they span, until there are `count`.
pub(crate) fn flights(path: &Path, count: u64) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Row {
        date: String,
        delay: i32,
        distance: u32,
        origin: String,
        destination: String,
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/flights-20k.json");
    make(path, |out| {
        let rows: Vec<Row> = serde_json::from_slice(&fs::read(source)?)?;
        let times: Vec<i64> =
            rows.iter().map(|row| minutes_of(&row.date)).collect::<Option<_>>().ok_or("a date is odd")?;
        let span = times.last().zip(times.first()).map_or(1, |(last, first)| (last - first) / 1440 + 1);
        let shifts = (0..).map(|times| times * span * 1440);
        let shifted =
            shifts.flat_map(|shift| rows.iter().zip(&times).map(move |(row, time)| (row, time + shift)));
        for (row, time) in shifted.take(usize::try_from(count)?) {
            let Row { delay, distance, origin, destination, .. } = row;
            write!(out, "{{\"date\":\"{}\",\"delay\":{delay},\"distance\":{distance},", Date(time))?;
            writeln!(out, "\"origin\":\"{origin}\",\"destination\":\"{destination}\"}}")?;
        }
        Ok(())
    })
}

/// Minutes since 1970 as they stand in the file.
struct Date(i64);

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, minutes) = (self.0.div_euclid(1440), self.0.rem_euclid(1440));
        // Days are counted from 1 March of the year 0, in cycles of 400 years.
        let days = days + 719_468;
        let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
        let (year, month) = (cycle * 400 + year, if month < 10 { month + 3 } else { month - 9 });
        let year = if month <= 2 { year + 1 } else { year };
        write!(f, "{year:04}/{month:02}/{day_of_month:02} {:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// The lines of a file one by one, in one buffer, without a copy of the file.
pub(crate) struct Lines {
    reader: io::BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { reader: io::BufReader::with_capacity(1 << 17, File::open(path)?), line: Vec::new() })
    }

    /// The next record; `None` at the end.
    #[inline]
    pub(crate) fn next<'a, R: Deserialize<'a>>(&'a mut self) -> Result<Option<R>, Failure> {
        self.line.clear();
        if io::BufRead::read_until(&mut self.reader, b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&self.line)?))
    }
}
