//! Filtering: which records go on, which go elsewhere, and which are no records at all.
//!
//! What to look at:
//! - A function that returns `Option` filters.
//! - `&mut Out<Alarm>` is a second result stream, with a file of its own.
//! - `.exists()` keeps the readings of sensors that are in a table, and needs no argument in the function. With
//!   `.unmatched()` it would be the readings of unknown sensors instead.
//! - One line of the input is bad. `OnBad::Skip` leaves it out, and the report counts it; without that, the run would stop
//!   there and write nothing.

use watermill::prelude::*;

#[derive(Clone, Serialize, Deserialize, StreamRecord)]
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
struct Alarm {
    time: i64,
    sensor: String,
    celsius: f64,
}

/// Keeps the warm readings; the hot ones also raise an alarm.
fn filtering(reading: &Reading, alarms: &mut Out<Alarm>) -> Option<Reading> {
    if reading.celsius > 30.0 {
        let (sensor, celsius) = (reading.sensor.clone(), reading.celsius);
        alarms.push(Alarm { time: reading.time, sensor, celsius });
    }
    (reading.celsius > 20.0).then(|| reading.clone())
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<Reading>("examples/data/readings.ndjson")
        .read::<Sensor>("examples/data/sensors.ndjson")
        .write::<Reading>("out/warm-readings.ndjson")
        .write::<Alarm>("out/alarms.ndjson");

    let report = Mill::new(filtering)
        .join(JoinWith::lookup(Reading::fields().sensor, Sensor::fields().name).exists())
        .on_bad::<Reading>(OnBad::Skip)
        .run(files)
        .await?;
    println!("{report}");
    Ok(())
}
