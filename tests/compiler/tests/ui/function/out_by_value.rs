//! `Out` is taken by value, and by a shared reference.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Late {
    time: i64,
}

fn by_value(flight: &Flight, mut out: Out<Late>) {
    out.push(Late { time: flight.time });
}

fn shared(_: &Flight, _: &Out<Late>) {}

fn main() {
    let _ = Mill::new(by_value);
    let _ = Mill::new(shared);
}
