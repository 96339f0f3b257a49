//! Metrics for Prometheus: the self-join of `robot_speed`, while the program serves what it does on an address, and at the end fetches that
//! itself, as Prometheus would.
//!
//! What to look at:
//! - `prometheus::serve` comes before the run, and needs neither a runtime nor anything to be set about the mill.
//! - The figures of a stream add up: records read are those matched, unmatched, skipped, dead-lettered and pending.
//! - The README has a table of all metrics.
//!
//! Run it with `cargo run --example metrics --features prometheus`.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use watermill::prelude::*;
use watermill::prometheus;

#[derive(Deserialize, StreamRecord)]
struct RobotLocation {
    time: i64,
    x: f64,
    y: f64,
}

/// The same data seen a second time.
#[derive(Deserialize, StreamRecord)]
struct NextLocation {
    time: i64,
    x: f64,
    y: f64,
}

#[derive(Serialize, StreamRecord)]
struct RobotSpeed {
    time: i64,
    speed: f64,
}

fn robot_speed(here: &RobotLocation, next: &Joined<RobotLocation, NextLocation>) -> RobotSpeed {
    let there = &next[here][0];
    RobotSpeed { time: here.time, speed: (there.x - here.x).hypot(there.y - here.y) / 10.0 }
}

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = prometheus::serve("127.0.0.1:0")?;
    println!("serving http://{}/metrics", endpoint.address());

    let files = JsonFileBroker::new()
        .read::<RobotLocation>("examples/data/robot-locations.json")
        .read::<NextLocation>("examples/data/robot-locations.json")
        .write::<RobotSpeed>("out/robot-speed.ndjson");
    let report = Mill::new(robot_speed)
        .join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time))
        .run_blocking(files)?;

    let answer = fetch(endpoint.address())?;
    for line in answer.lines() {
        if line.starts_with("watermill_records_") || line.starts_with("watermill_calls_total") {
            println!("{line}");
        }
    }
    println!("{report}");
    Ok(())
}

/// What Prometheus would get.
fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}
