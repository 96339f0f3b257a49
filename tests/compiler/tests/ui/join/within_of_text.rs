//! An interval around a key that nothing can be added to, and one in the wrong unit.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    gate: String,
    time: i64,
}

#[derive(StreamRecord)]
struct Onward {
    gate: String,
    time: i64,
}

fn main() {
    let _ = JoinWith::new(Flight::fields().gate, Onward::fields().gate).within(1..=5);
    let _ = JoinWith::new(Flight::fields().time, Onward::fields().time).within(0.5..=1.5);
}
