use std::time::{Duration, SystemTime};

use watermill::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Robot {
    time: i64,
    count: u8,
    name: String,
    at: SystemTime,
}

#[derive(StreamRecord)]
struct Speed {
    time: i64,
}

fn main() {
    let f = Robot::fields();
    // Another type of number.
    let _ = f.time + 1.5;
    let _ = f.time + f.count;
    // No numbers.
    let _ = f.name + 1;
    let _ = f.name + f.name;
    // Dates take durations, and only by `+` and `-`.
    let _ = f.at + 45;
    let _ = f.at * Duration::from_secs(45);
    // No sign.
    let _ = -f.count;
    // Another record.
    let _ = f.time - Speed::fields().time;
}
