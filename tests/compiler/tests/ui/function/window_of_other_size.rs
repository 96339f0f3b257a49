//! A window whose size is of another type than its key.

use std::time::Duration;

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn late(flights: &[Flight]) {
    let _ = flights[0].time;
}

fn main() {
    let _ = Mill::new(late).window(Window::fixed(Duration::from_secs(60)).by(Flight::fields().time));
}
