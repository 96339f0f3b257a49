//! A closure that cannot be shared by threads.

use std::cell::Cell;
use std::rc::Rc;

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn main() {
    let latest = Rc::new(Cell::new(0));
    let _ = Mill::new(move |flight: &Flight| latest.set(flight.time));
}
