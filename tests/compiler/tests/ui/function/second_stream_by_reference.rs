//! The second stream is taken as `&Onward`, as if it were another master.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Onward {
    time: i64,
}

fn connections(flight: &Flight, onward: &Onward) {
    let _ = (flight.time, onward.time);
}

fn main() {
    let _ = Mill::new(connections);
}
