//! Arithmetic that has no result.

use watermill_core::key::KeyFault;

use super::{Robot, f, key, key_of, robot};

fn overflow(expression: &str, type_name: &'static str) -> KeyFault {
    KeyFault::Overflow { expression: expression.to_owned(), type_name }
}

fn division(expression: &str) -> KeyFault {
    KeyFault::DivisionByZero { expression: expression.to_owned() }
}

#[test]
fn overflow_shows_the_values() {
    let top = Robot { time: i64::MAX, a: i64::MIN, b: -1, ..robot() };
    assert_eq!(key_of(&top, f().time + 10), Err(overflow("9223372036854775807 + 10", "i64")));
    assert_eq!(key_of(&top, f().time - f().b), Err(overflow("9223372036854775807 - -1", "i64")));
    assert_eq!(key_of(&top, f().time * 2 + 1), Err(overflow("9223372036854775807 * 2", "i64")));
    assert_eq!(key_of(&top, 1 + f().time), Err(overflow("1 + 9223372036854775807", "i64")));
    assert_eq!(key_of(&top, f().small + 56), Err(overflow("200 + 56", "u8")));
    assert_eq!(key_of(&top, f().small - 201), Err(overflow("200 - 201", "u8")));
    assert_eq!(
        key_of(&top, f().time + 10).unwrap_err().to_string(),
        "`9223372036854775807 + 10` leaves the range of `i64`"
    );
}

#[test]
fn the_least_integer_has_no_negative() {
    let least = Robot { a: i64::MIN, b: -1, ..robot() };
    assert_eq!(key_of(&least, -f().a), Err(overflow("-(-9223372036854775808)", "i64")));
    assert_eq!(key_of(&least, f().a / f().b), Err(overflow("-9223372036854775808 / -1", "i64")));
    assert_eq!(key_of(&least, f().a % f().b), Err(overflow("-9223372036854775808 % -1", "i64")));
    assert_eq!(
        key_of(&least, f().a.div_euclid(-1)),
        Err(overflow("(-9223372036854775808).div_euclid(-1)", "i64"))
    );
    assert_eq!(
        key_of(&least, f().a.rem_euclid(f().b)),
        Err(overflow("(-9223372036854775808).rem_euclid(-1)", "i64"))
    );
}

#[test]
fn division_by_zero() {
    assert_eq!(key(f().a / f().zero), Err(division("20 / 0")));
    assert_eq!(key(f().a % 0), Err(division("20 % 0")));
    assert_eq!(key(f().a.div_euclid(f().zero)), Err(division("20.div_euclid(0)")));
    assert_eq!(key(f().a.rem_euclid(0)), Err(division("20.rem_euclid(0)")));
    assert_eq!(key(1 / f().zero), Err(division("1 / 0")));
    assert_eq!(key(f().maybe / 0), Err(division("7 / 0")));
    assert_eq!(division("20 / 0").to_string(), "`20 / 0` divides by zero");
}

#[test]
fn an_inner_fault_is_the_fault_of_the_whole() {
    assert_eq!(key((f().time, f().a / f().zero)), Err(division("20 / 0")));
    assert_eq!(key((f().a / f().zero + 1) * 2), Err(division("20 / 0")));
    assert_eq!(key(f().time - f().a / f().zero), Err(division("20 / 0")));
    assert_eq!(key((f().a / f().zero).map(|a| *a)), Err(division("20 / 0")));
    assert_eq!(key((f().nothing, f().a / f().zero)), Err(division("20 / 0")));
}

#[test]
fn floats_reach_infinity_but_not_nan() {
    assert_eq!(key(f().x / 0.0), Ok(Some(f64::INFINITY)));
    assert_eq!(key(-f().x / 0.0), Ok(Some(f64::NEG_INFINITY)));
    assert_eq!(key(f().x * f64::MAX), Ok(Some(f64::INFINITY)));
    assert_eq!(key(f().x / 0.0 - f().x / 0.0), Err(KeyFault::NotANumber));
    assert_eq!(key(f().x % 0.0), Err(KeyFault::NotANumber));
    assert_eq!(key(f().x.map(|_| f64::NAN)), Err(KeyFault::NotANumber));
    assert_eq!(key(|_: &Robot| f64::NAN), Err(KeyFault::NotANumber));
    assert_eq!(key_of(&Robot { x: f64::NAN, ..robot() }, f().x), Err(KeyFault::NotANumber));
    assert_eq!(key_of(&Robot { x: f64::NAN, ..robot() }, (f().nothing, f().x)), Err(KeyFault::NotANumber));
}
