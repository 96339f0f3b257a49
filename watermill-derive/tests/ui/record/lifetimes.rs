use watermill::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Robot<'a> {
    name: &'a str,
}

fn is_record<R: StreamRecord>() {}

fn main() {
    is_record::<Robot<'static>>();
}
