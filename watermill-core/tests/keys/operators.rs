//! What the operators yield.

use super::{f, key};

#[test]
fn literals_take_the_type_of_the_field() {
    assert_eq!(key(f().time + 10), Ok(Some(110_i64)));
    assert_eq!(key(f().time / 30 * 30 + 5), Ok(Some(95)));
    assert_eq!(key((f().a - f().b) % 7), Ok(Some(3)));
    assert_eq!(key(f().small + 1), Ok(Some(201_u8)));
    assert_eq!(key(f().x * 2.0), Ok(Some(3.0_f64)));
    assert_eq!(key(f().pose.at.row - 1), Ok(Some(-6_i32)));
}

#[test]
fn every_operator_on_a_field() {
    assert_eq!(key(f().a + 3), Ok(Some(23)));
    assert_eq!(key(f().a - 3), Ok(Some(17)));
    assert_eq!(key(f().a * 3), Ok(Some(60)));
    assert_eq!(key(f().a / 3), Ok(Some(6)));
    assert_eq!(key(f().a % 3), Ok(Some(2)));
    assert_eq!(key(-f().a), Ok(Some(-20)));
    assert_eq!(key(f().a.div_euclid(3)), Ok(Some(6)));
    assert_eq!(key(f().a.rem_euclid(3)), Ok(Some(2)));
    assert_eq!(key(f().a.map(|a| a + 3)), Ok(Some(23)));
}

#[test]
fn every_operator_on_an_expression() {
    assert_eq!(key(f().a + 0 + f().b), Ok(Some(23)));
    assert_eq!(key(f().a + 0 - f().b), Ok(Some(17)));
    assert_eq!(key((f().a + 0) * f().b), Ok(Some(60)));
    assert_eq!(key((f().a + 0) / f().b), Ok(Some(6)));
    assert_eq!(key((f().a + 0) % f().b), Ok(Some(2)));
    assert_eq!(key(-(f().a + 0)), Ok(Some(-20)));
    assert_eq!(key((f().a + 0).div_euclid(f().b + 0)), Ok(Some(6)));
    assert_eq!(key((f().a + 0).rem_euclid(f().b)), Ok(Some(2)));
    assert_eq!(key((f().a + 0).map(|a| a + 3) * 2), Ok(Some(46)));
}

#[test]
fn every_operator_with_a_constant_on_the_left() {
    assert_eq!(key(70 + f().a), Ok(Some(90)));
    assert_eq!(key(70 - f().a), Ok(Some(50)));
    assert_eq!(key(70 * f().a), Ok(Some(1400)));
    assert_eq!(key(70 / f().a), Ok(Some(3)));
    assert_eq!(key(70 % f().a), Ok(Some(10)));
    assert_eq!(key(70_i64 - (f().a - f().b)), Ok(Some(53)));
    assert_eq!(key(3.0 - f().x), Ok(Some(1.5)));
}

#[test]
fn precedence_is_rusts() {
    assert_eq!(key(f().a - f().b - 1), Ok(Some(16)));
    assert_eq!(key(f().a - (f().b - 1)), Ok(Some(18)));
    assert_eq!(key(f().a + f().b * 2), Ok(Some(26)));
    assert_eq!(key(-f().a + f().b), Ok(Some(-17)));
    assert_eq!(key(f().a / (f().b * 2)), Ok(Some(3)));
}

#[test]
fn euclid_rounds_down() {
    assert_eq!(key(f().pose.at.row.div_euclid(2)), Ok(Some(-3)));
    assert_eq!(key(f().pose.at.row.rem_euclid(2)), Ok(Some(1)));
    assert_eq!(key(f().pose.at.row / 2), Ok(Some(-2)));
    assert_eq!(key(f().pose.at.row % 2), Ok(Some(-1)));
    assert_eq!(key((-f().x).div_euclid(1.0)), Ok(Some(-2.0)));
    assert_eq!(key((-f().x).rem_euclid(1.0)), Ok(Some(0.5)));
    assert_eq!(key(f().x % 1.0), Ok(Some(0.5)));
}

#[test]
fn none_stays_none() {
    assert_eq!(key(f().maybe + 1), Ok(Some(Some(8))));
    assert_eq!(key(f().maybe - f().b), Ok(Some(Some(4))));
    assert_eq!(key(f().maybe * f().maybe), Ok(Some(Some(49))));
    assert_eq!(key(-f().maybe), Ok(Some(Some(-7))));
    assert_eq!(key(f().nothing + 1), Ok(None));
    assert_eq!(key(f().maybe + f().nothing), Ok(None));
    assert_eq!(key(-f().nothing), Ok(None));
}

#[test]
fn map_sees_the_value_in_the_record() {
    assert_eq!(key(f().name.map(String::len)), Ok(Some(2)));
    assert_eq!(key(f().name.map(String::len) + 1), Ok(Some(3)));
    assert_eq!(key(f().name.map(|name| name.to_lowercase())), Ok(Some("r2".to_owned())));
    assert_eq!(key(f().pose.map(|pose| pose.x)), Ok(Some(0.5)));
    assert_eq!(key(f().a.map(|a| (*a > 10).then_some(*a))), Ok(Some(Some(20))));
    assert_eq!(key(f().a.map(|a| (*a > 50).then_some(*a))), Ok(None));
}

#[test]
fn an_expression_can_be_used_twice() {
    let minute = f().time / 60;
    assert_eq!(key((minute, minute + 1)), Ok(Some((1, 2))));
}
