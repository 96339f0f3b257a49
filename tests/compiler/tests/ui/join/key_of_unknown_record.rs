//! A closure as a key whose parameter has no type.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Onward {
    time: i64,
}

fn main() {
    let _ = JoinWith::new(|flight| flight.time, |onward: &Onward| onward.time);
}
