//! Keys as users write them: what they yield, how they fail, how they print.

#![allow(clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

mod closures;
mod dates;
mod faults;
mod offsets;
mod operators;
mod print;
mod records;
mod values;
mod windows;

use watermill_core::key::{KeyExpr, KeyFault, KeyValue};
use watermill_core::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Robot {
    time: i64,
    a: i64,
    b: i64,
    zero: i64,
    small: u8,
    x: f64,
    name: String,
    maybe: Option<i64>,
    nothing: Option<i64>,
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

/// The fields of [`Robot`], for short.
fn f() -> &'static <Robot as StreamRecord>::Fields<watermill_core::record::Whole<Robot>> {
    Robot::fields()
}

fn robot() -> Robot {
    Robot {
        time: 100,
        a: 20,
        b: 3,
        zero: 0,
        small: 200,
        x: 1.5,
        name: "R2".into(),
        maybe: Some(7),
        nothing: None,
        pose: Pose { x: 0.5, at: Point { row: -5 } },
        r#type: 3,
    }
}

/// The key of [`robot()`].
fn key<E: KeyExpr<Robot>>(expr: E) -> Result<Option<E::Value>, KeyFault> {
    key_of(&robot(), expr)
}

fn key_of<R, E: KeyExpr<R>>(record: &R, expr: E) -> Result<Option<E::Value>, KeyFault> {
    Ok(expr.key(record)?.map(|view| E::Value::detach(&view)))
}
