//! The struct of a window's masters has no derive.

use watermill::prelude::*;

struct Flight {
    time: i64,
}

fn late(flights: &[Flight]) {
    let _ = flights[0].time;
}

fn main() {
    let _ = Mill::new(late);
}
