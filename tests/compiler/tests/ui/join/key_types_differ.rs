//! The keys of the two sides are of different types.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
    gate: String,
}

#[derive(StreamRecord)]
struct Onward {
    time: i32,
    gate: u16,
}

fn main() {
    let _ = JoinWith::new(Flight::fields().time, Onward::fields().time);
    let _ = JoinWith::new(Flight::fields().time, Onward::fields().time.map(|time| i64::from(*time)))
        .and(Flight::fields().gate, Onward::fields().gate);
}
