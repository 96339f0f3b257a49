//! A window in units of a key that is not told its key.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn late(flights: &[Flight]) {
    let _ = flights[0].time;
}

fn main() {
    let _ = Mill::new(late).window(Window::fixed(60));
}
