//! The master is taken by value.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn late(flight: Flight) {
    let _ = flight.time;
}

fn late_all(flights: Vec<Flight>) {
    let _ = flights[0].time;
}

fn main() {
    let _ = Mill::new(late);
    let _ = Mill::new(late_all);
}
