//! A job that a scheduler starts every minute: it takes what came since the last time, if it is a whole dozen, and returns at once.
//!
//! `cargo run --features streams --example scheduled_job`, again and again: each run appends five readings, as other programs would, and does its job.
//!
//! What to look at:
//! - `run_once` takes one window if one is ready. What is not taken stays for the next time, or for others.
//! - There is no server and nothing that runs in between: the stream is a file.
//! - A job that fails gives back what it had taken, and the next one takes it again.

use watermill::prelude::*;

#[derive(Serialize, Deserialize, StreamRecord)]
struct Reading {
    number: u64,
    celsius: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "out/scheduled.db".to_owned());
    std::fs::create_dir_all("out")?;
    let readings = Streams::open(&format!("sqlite:{file}"))?.stream::<Reading>("readings")?;

    let before = readings.info()?.appended;
    let new: Vec<Reading> = (before..before + 5)
        .map(|number| Reading { number, celsius: 20.0 + (number % 7) as f64 / 2.0 })
        .collect();
    readings.append_all(&new)?;

    let report = |dozen: &[Reading]| {
        let highest = dozen.iter().map(|reading| reading.celsius).fold(f64::MIN, f64::max);
        println!("readings {} to {}: at most {highest} °C", dozen[0].number, dozen[dozen.len() - 1].number);
    };
    Mill::new(report).window(Window::count(12)).run_once_blocking(&readings)?;
    println!("{} readings wait for the next dozen", readings.len()?);
    Ok(())
}
