use watermill::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
#[watermill(name = "a", name = "b")]
struct Twice {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(name = "a")]
#[watermill(name = "b", crate = ::watermill, crate = ::watermill)]
struct TwiceApart {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(rename = "a", partition::key)]
struct Unknown {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(name = "", crate = "watermill")]
struct BadValues {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(name, crate(watermill))]
struct NoValues {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill]
struct NoParentheses {
    time: i64,
}

#[derive(StreamRecord)]
#[watermill(name "robot")]
struct NoEquals {
    time: i64,
}

#[derive(StreamRecord)]
struct OnAField {
    #[watermill(name = "t")]
    time: i64,
}

// The fields are there all the same: a mistake is one error.
fn main() {
    let _ = Twice::fields().time + 1;
    let _ = Unknown::fields().time + 1;
    let _ = BadValues::fields().time + 1;
    let _ = OnAField::fields().time + 1;
}
