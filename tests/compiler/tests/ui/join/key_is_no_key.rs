//! A field that cannot be a key.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
    stops: Vec<String>,
}

#[derive(StreamRecord)]
struct Onward {
    time: i64,
    stops: Vec<String>,
}

fn main() {
    let _ = JoinWith::new(Flight::fields().stops, Onward::fields().stops);
}
