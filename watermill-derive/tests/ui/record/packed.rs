use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
#[repr(C, packed(2))]
struct Robot {
    time: u8,
}

fn main() {}
