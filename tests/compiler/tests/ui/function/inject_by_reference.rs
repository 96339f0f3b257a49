//! `Inject` is taken by reference.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

struct Settings {
    limit: i64,
}

fn late(flight: &Flight, settings: &Inject<Settings>) {
    let _ = flight.time > settings.limit;
}

fn main() {
    let _ = Mill::new(late).inject(Settings { limit: 10 });
}
