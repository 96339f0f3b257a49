//! A closure whose parameter has no type.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn main() {
    let _ = Mill::<Flight>::new(|flight| {
        let _ = flight.time;
    });
}
