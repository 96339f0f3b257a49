//! A closure that is `FnMut` in `Mill::new`.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn main() {
    let mut latest = 0;
    let _ = Mill::new(move |flight: &Flight| latest = flight.time);
}
