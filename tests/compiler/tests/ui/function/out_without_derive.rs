//! What is written to an `Out` is a struct without the derive.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

struct Late {
    time: i64,
}

fn late(flight: &Flight, out: &mut Out<Late>) {
    out.push(Late { time: flight.time });
}

fn main() {
    let _ = Mill::new(late);
}
