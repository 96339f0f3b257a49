//! Results returned as an iterator.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Minute {
    time: i64,
}

fn minutes(flight: &Flight) -> impl Iterator<Item = Minute> + use<> {
    (0..flight.time).map(|time| Minute { time })
}

fn main() {
    let _ = Mill::new(minutes);
}
