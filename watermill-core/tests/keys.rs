//! Keys as users write them: what they yield, how they fail, how they print.
extern crate watermill_core as watermill;

use watermill_core::key::{KeyExpr, KeyFault, KeyValue, describe};
use watermill_core::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Robot {
    time: i64,
    a: i64,
    b: i64,
    x: f64,
    name: String,
    maybe: Option<i64>,
    pose: Pose,
    r#type: u8,
}

#[derive(StreamRecord)]
struct Pose {
    x: f64,
    at: Point,
}

#[derive(StreamRecord)]
struct Point {
    row: i32,
}

fn robot() -> Robot {
    Robot {
        time: 100,
        a: 20,
        b: 3,
        x: 1.5,
        name: "R2".into(),
        maybe: Some(7),
        pose: Pose { x: 0.5, at: Point { row: -5 } },
        r#type: 3,
    }
}

fn value<E: KeyExpr<Robot>>(expr: E) -> Result<Option<E::Value>, KeyFault> {
    let robot = robot();
    Ok(expr.key(&robot)?.map(|view| E::Value::detach(&view)))
}

#[test]
fn literals_take_the_type_of_the_field() {
    let f = Robot::fields();
    assert_eq!(value(f.time + 10), Ok(Some(110)));
    assert_eq!(value(f.time / 30 * 30 + 5), Ok(Some(95)));
    assert_eq!(value((f.a - f.b) % 7), Ok(Some(3)));
    assert_eq!(value(10i64 - f.time), Ok(Some(-90)));
    assert_eq!(value(10 - f.time), Ok(Some(-90)));
    assert_eq!(value(10 - (f.time + 1)), Ok(Some(-91)));
    assert_eq!(value(2.0 * f.x), Ok(Some(3.0)));
    assert_eq!(value(f.maybe + 1), Ok(Some(Some(8))));
    assert_eq!(value(f.pose.at.row.div_euclid(10)), Ok(Some(-1)));
    assert_eq!(value(f.r#type), Ok(Some(3)));
    assert_eq!(describe(&f.pose.at.row), "pose.at.row");
    assert_eq!(value(|r: &Robot| r.name.clone()), Ok(Some("R2".to_owned())));
    assert_eq!(value((f.time, f.name)), Ok(Some((100, "R2".to_owned()))));
    assert_eq!(value(f.name.map(String::len) + 1), Ok(Some(3)));
}
