//! A plain `fn` in `Mill::new_async`.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn late(flight: &Flight) {
    let _ = flight.time;
}

fn main() {
    let _ = Mill::new_async(late);
}
