//! The master's struct has no derive.

use watermill::prelude::*;

struct Flight {
    time: i64,
}

fn late(flight: &Flight) {
    let _ = flight.time;
}

fn main() {
    let _ = Mill::new(late);
}
