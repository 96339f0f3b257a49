use watermill::record::StreamRecord;

mod elsewhere {
    use watermill_derive::StreamRecord;

    #[derive(StreamRecord)]
    pub struct Robot {
        pub time: i64,
        secret: i64,
    }
}

fn main() {
    let _ = elsewhere::Robot::fields().time;
    let _ = elsewhere::Robot::fields().secret;
}
