//! The master is not the first parameter.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Onward {
    time: i64,
}

fn connections(onward: &Joined<Flight, Onward>, flight: &Flight) {
    let _ = onward[flight][0].time;
}

fn main() {
    let _ = Mill::new(connections);
}
