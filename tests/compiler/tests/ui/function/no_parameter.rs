//! Something is taken that a mill cannot give.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

struct Settings {
    limit: i64,
}

fn late(flight: &Flight, settings: &Settings) {
    let _ = flight.time > settings.limit;
}

fn count(flight: &Flight, limit: usize) {
    let _ = flight.time > limit as i64;
}

fn main() {
    let _ = Mill::new(late);
    let _ = Mill::new(count);
}
