use watermill::key::KeyExpr;
use watermill::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(Clone)]
struct Color;

#[derive(StreamRecord)]
struct Robot {
    time: i64,
    color: Color,
    name: String,
}

#[derive(StreamRecord)]
struct Speed {
    time: i32,
}

fn join<L: StreamRecord, R: StreamRecord, A: KeyExpr<L>, B: KeyExpr<R, Value = A::Value>>(_: A, _: B) {}

fn is_key(_: impl KeyExpr<Robot>) {}

fn main() {
    // Not a key value.
    is_key(Robot::fields().color);
    is_key(|robot: &Robot| robot.color.clone());
    // Not a key.
    is_key(5);
    // Of another record.
    is_key(Speed::fields().time);
    is_key(|speed: &Speed| speed.time);
    // Of different types.
    join(Robot::fields().time, Speed::fields().time);
    join(Robot::fields().time, |speed: &Speed| speed.time);
    // No such field.
    is_key(Robot::fields().tme);
}
