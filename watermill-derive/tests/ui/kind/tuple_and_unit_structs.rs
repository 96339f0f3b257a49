use watermill::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Pair(i64, f64);

#[derive(StreamRecord)]
struct Unit;

#[derive(StreamRecord)]
struct Empty {}

fn is_record<R: StreamRecord>() {}

fn main() {
    is_record::<Pair>();
    is_record::<Unit>();
    is_record::<Empty>();
}
