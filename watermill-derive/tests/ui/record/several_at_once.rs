use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
#[watermill(name = 5, nam = "robot")]
struct Robot<'a> {
    #[watermill(partition)]
    name: &'a str,
    #[watermill(key = "time")]
    time: i64,
}

fn main() {}
