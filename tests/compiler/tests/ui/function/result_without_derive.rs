//! What is returned is a struct without the derive.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

struct Late {
    time: i64,
}

fn late(flight: &Flight) -> Late {
    Late { time: flight.time }
}

fn main() {
    let _ = Mill::new(late);
}
