//! How expressions look in `explain()`.

use std::time::Duration;

use watermill_core::key::{KeyExpr, describe};
use watermill_core::record::{Json, StreamRecord};
use watermill_derive::StreamRecord;

use super::{Robot, f};

#[derive(StreamRecord)]
struct Reading<T> {
    wait: Duration,
    value: T,
}

#[test]
fn paths() {
    assert_eq!(f().time.to_string(), "time");
    assert_eq!(f().pose.to_string(), "pose");
    assert_eq!(f().pose.at.row.to_string(), "pose.at.row");
    assert_eq!(f().r#type.to_string(), "type");
    assert_eq!(format!("{:?}", f().pose.x), "pose.x");
}

#[test]
fn only_the_parentheses_that_are_needed() {
    assert_eq!((f().time / 30 * 30 + 5).to_string(), "time / 30 * 30 + 5");
    assert_eq!(((f().a - f().b) % 7).to_string(), "(a - b) % 7");
    assert_eq!((f().a - f().b - 1).to_string(), "a - b - 1");
    assert_eq!((f().a - (f().b - 1)).to_string(), "a - (b - 1)");
    assert_eq!((f().a + f().b * 2).to_string(), "a + b * 2");
    assert_eq!((f().a / (f().b * 2)).to_string(), "a / (b * 2)");
    assert_eq!((f().a / (f().b + 2)).to_string(), "a / (b + 2)");
    assert_eq!((1 - f().a).to_string(), "1 - a");
    assert_eq!((1 - (f().a - 2)).to_string(), "1 - (a - 2)");
}

#[test]
fn signs() {
    assert_eq!((-f().a).to_string(), "-a");
    assert_eq!((-f().a * 2).to_string(), "-a * 2");
    assert_eq!((-(f().a * 2)).to_string(), "-(a * 2)");
    assert_eq!((-(f().a + f().b)).to_string(), "-(a + b)");
    assert_eq!((f().a - -f().b).to_string(), "a - -b");
    assert_eq!((f().a + -10).to_string(), "a + -10");
    assert_eq!((-10 + f().a).to_string(), "-10 + a");
    assert_eq!((f().x * 2.0).to_string(), "x * 2.0");
}

#[test]
fn methods() {
    assert_eq!(f().a.div_euclid(10).to_string(), "a.div_euclid(10)");
    assert_eq!(f().a.div_euclid(f().b + 1).to_string(), "a.div_euclid(b + 1)");
    assert_eq!((f().a + f().b).rem_euclid(-10).to_string(), "(a + b).rem_euclid(-10)");
    assert_eq!((-f().a).rem_euclid(10).to_string(), "(-a).rem_euclid(10)");
    assert_eq!((f().a.div_euclid(10) * 10).to_string(), "a.div_euclid(10) * 10");
    assert_eq!(f().time.map(|time| *time).to_string(), "time.map(..)");
    assert_eq!((f().a + f().b).map(|sum| *sum).to_string(), "(a + b).map(..)");
}

#[test]
fn tuples_and_closures() {
    assert_eq!(describe(&(f().time,)), "(time,)");
    assert_eq!(describe(&(f().time, f().name)), "(time, name)");
    assert_eq!(describe(&(f().time + 1, (f().a, f().b))), "(time + 1, (a, b))");
    assert_eq!(describe(&(|robot: &Robot| robot.time)), "|Robot| ..");
    assert_eq!(describe(&(f().time, |robot: &Robot| robot.a)), "(time, |Robot| ..)");
    assert_eq!(describe(&(|json: &Json| json["time"].as_i64())), "|Json| ..");
    assert_eq!(describe(&(|r: &Reading<Vec<Json>>| r.wait)), "|Reading<Vec<Json>>| ..");
}

#[test]
fn durations_and_maybes() {
    let fields = Reading::<Option<f32>>::fields();
    assert_eq!((fields.wait + Duration::from_secs(45)).to_string(), "wait + 45s");
    assert_eq!((fields.value - 0.5).to_string(), "value - 0.5");
}

#[test]
fn what_is_displayed_is_what_is_described() {
    fn same<R>(expr: impl KeyExpr<R> + std::fmt::Display) {
        assert_eq!(describe(&expr), expr.to_string());
    }
    same(f().time);
    same((f().a - f().b) % 7);
}
