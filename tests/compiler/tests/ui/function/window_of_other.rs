//! A window over a record that is not the master.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Onward {
    time: i64,
}

fn late(flights: &[Flight]) {
    let _ = flights[0].time;
}

fn main() {
    let _ = Mill::new(late).window(Window::by(Onward::fields().time / 60));
}
