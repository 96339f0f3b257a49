use watermill::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
enum Event {
    Start { time: i64 },
    Stop { time: i64 },
}

#[derive(StreamRecord)]
union Bits {
    whole: i64,
    float: f64,
}

// The rest of the code has no errors of its own.
fn is_record<R: StreamRecord>() {}

fn main() {
    is_record::<Event>();
    is_record::<Bits>();
    Event::fields();
}
