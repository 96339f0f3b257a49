//! `Joined` is taken by value.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Onward {
    time: i64,
}

fn connections(flight: &Flight, onward: Joined<Flight, Onward>) {
    let _ = onward[flight][0].time;
}

fn main() {
    let _ = Mill::new(connections);
}
