//! The struct on the right of a `Joined` has no derive.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

struct Onward {
    time: i64,
}

fn connections(flight: &Flight, onward: &Joined<Flight, Onward>) {
    let _ = (flight.time, onward[flight][0].time);
}

fn main() {
    let _ = Mill::new(connections);
}
