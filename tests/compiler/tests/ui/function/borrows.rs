//! A closure that borrows from where the mill is built.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn main() {
    let limit = 10;
    let _ = Mill::new(|flight: &Flight| assert!(flight.time > limit));
}
