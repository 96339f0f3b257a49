//! A nested join whose left side is not the record it hangs below.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Order {
    id: u32,
}

#[derive(StreamRecord)]
struct Line {
    order: u32,
}

#[derive(StreamRecord)]
struct Payment {
    order: u32,
}

fn main() {
    let payments = JoinWith::new(Order::fields().id, Payment::fields().order);
    let _ = JoinWith::new(Order::fields().id, Line::fields().order).join(payments);
}
