//! An `async fn` in `Mill::new`.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(StreamRecord)]
struct Late {
    time: i64,
}

async fn late(flight: &Flight) -> Late {
    Late { time: flight.time }
}

fn main() {
    let _ = Mill::new(late);
}
