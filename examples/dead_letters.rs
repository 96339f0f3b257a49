//! Dead letters: bad records put aside, mended, and fed back in.
//!
//! What to look at:
//! - `OnBad::DeadLetter` puts bad readings aside instead of stopping at the first. A `DeadLetter` is written like any result, and
//!   says which record of which file it is, what is wrong with it, and what it looks like.
//! - The letters are mended here by a program. An editor does as well: `raw` is the text of the record.
//! - `.replay::<Reading>(..)` reads them back as readings. The mill is the same, and knows nothing of it.

use std::fs;

use watermill::prelude::*;

#[derive(Serialize, Deserialize, StreamRecord)]
struct Reading {
    time: i64,
    sensor: String,
    celsius: f64,
}

#[derive(Deserialize, StreamRecord)]
struct Sensor {
    name: String,
}

#[derive(Serialize, StreamRecord)]
struct Warm {
    time: i64,
    celsius: f64,
}

/// The readings above 20 degrees.
fn warm(reading: &Reading) -> Option<Warm> {
    (reading.celsius > 20.0).then_some(Warm { time: reading.time, celsius: reading.celsius })
}

fn mill() -> Mill<Reading> {
    Mill::new(warm)
        .join(JoinWith::lookup(Reading::fields().sensor, Sensor::fields().name).exists())
        .on_bad::<Reading>(OnBad::DeadLetter)
}

/// What the logbook says about the reading that is no number.
fn mend(letter: &DeadLetter) -> Option<String> {
    println!("{letter}");
    Some(letter.text()?.replace(r#""n/a""#, "22.5"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = JsonFileBroker::new()
        .read::<Reading>("examples/data/readings.ndjson")
        .read::<Sensor>("examples/data/sensors.ndjson")
        .write::<Warm>("out/warm.ndjson")
        .write::<DeadLetter>("out/dead-letters.ndjson");
    println!("{}\n", mill().run(files).await?);

    let mut mended = String::new();
    for line in fs::read_to_string("out/dead-letters.ndjson")?.lines() {
        let mut letter: DeadLetter = serde_json::from_str(line)?;
        if let Some(text) = mend(&letter) {
            letter.raw = text.into_bytes();
        }
        mended += &serde_json::to_string(&letter)?;
        mended += "\n";
    }
    fs::write("out/mended.ndjson", mended)?;

    let files = JsonFileBroker::new()
        .replay::<Reading>("out/mended.ndjson")
        .read::<Sensor>("examples/data/sensors.ndjson")
        .write::<Warm>("out/warm-replayed.ndjson")
        .write::<DeadLetter>("out/dead-letters-again.ndjson");
    println!("\n{}", mill().run(files).await?);
    Ok(())
}
