//! Closures and expressions in one place: what the compiler has to find out by itself.

use watermill_core::key::{KeyExpr, describe};
use watermill_core::record::{Json, StreamRecord};

use super::{Point, Robot, f, key_of, robot};

/// As a join asks for its keys.
fn join<L, R, A, B>(left: A, right: B) -> String
where
    A: KeyExpr<L>,
    B: KeyExpr<R, Value = A::Value>,
{
    format!("{} = {}", describe(&left), describe(&right))
}

#[test]
fn the_record_is_inferred() {
    let point = Point::fields();
    assert_eq!(join(f().time + 10, f().a), "time + 10 = a");
    assert_eq!(join(|r: &Robot| r.time, |p: &Point| i64::from(p.row)), "|Robot| .. = |Point| ..");
    assert_eq!(join(|r: &Robot| r.time, f().a), "|Robot| .. = a");
    assert_eq!(join(f().pose.at.row + 1, |p: &Point| p.row), "pose.at.row + 1 = |Point| ..");
    assert_eq!(join((f().pose.at.row, f().name), (point.row, |_: &Point| String::new())), {
        "(pose.at.row, name) = (row, |Point| ..)"
    });
    assert_eq!(join(point.row.map(|row| i64::from(*row)), f().time), "row.map(..) = time");
}

#[test]
fn closures_yield_what_they_return() {
    let robot = robot();
    assert_eq!(key_of(&robot, |r: &Robot| r.time), Ok(Some(100)));
    assert_eq!(key_of(&robot, |r: &Robot| r.name.clone()), Ok(Some("R2".to_owned())));
    assert_eq!(key_of(&robot, |r: &Robot| (r.time, r.maybe)), Ok(Some((100, Some(7)))));
    assert_eq!(key_of(&robot, |r: &Robot| r.nothing), Ok(None));
    let offset = 5;
    assert_eq!(key_of(&robot, move |r: &Robot| r.time + offset), Ok(Some(105)));
    fn time(robot: &Robot) -> i64 {
        robot.time
    }
    assert_eq!(key_of(&robot, time), Ok(Some(100)));
}

#[test]
fn a_missing_field_of_an_untyped_record_matches_nothing() {
    let json = Json(serde_json::json!({ "time": 5 }));
    assert_eq!(key_of(&json, |json: &Json| json["time"].as_i64()), Ok(Some(Some(5))));
    assert_eq!(key_of(&json, |json: &Json| json["speed"].as_i64()), Ok(None));
}
