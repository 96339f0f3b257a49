//! What is returned cannot be a record.

use watermill::prelude::*;

#[derive(StreamRecord)]
struct Flight {
    time: i64,
}

fn late(flight: &Flight) -> bool {
    flight.time > 10
}

fn late_text(flight: &Flight) -> Result<Option<String>, std::num::ParseIntError> {
    Ok(Some(flight.time.to_string()))
}

fn main() {
    let _ = Mill::new(late);
    let _ = Mill::new(late_text);
}
