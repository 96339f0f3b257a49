use watermill::key::KeyOffset;
use watermill::record::StreamRecord;
use watermill_derive::StreamRecord;

struct Pose {
    x: f64,
}

#[derive(StreamRecord)]
struct Robot {
    pose: Pose,
}

fn is_record<R: StreamRecord>() {}

fn takes_offsets<K: KeyOffset<D>, D>() {}

fn main() {
    is_record::<Pose>();
    let _ = Robot::fields().pose.x;
    takes_offsets::<std::time::SystemTime, i64>();
}
