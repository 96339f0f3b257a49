//! Keys moved by an offset.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use watermill_core::key::Shifted::{AboveAll, At, BelowAll};
use watermill_core::key::{KeyOffset, KeyValue, Shifted};

fn shift<K, D>(key: K, offset: D) -> Shifted<K>
where
    K: KeyOffset<D> + KeyValue + Debug,
{
    match K::shift(&key.into_view().unwrap().unwrap(), &offset) {
        At(view) => At(K::detach(&view)),
        BelowAll => BelowAll,
        AboveAll => AboveAll,
    }
}

#[test]
fn integers() {
    assert_eq!(shift(5_i64, -7), At(-2));
    assert_eq!(shift(i64::MAX, 0), At(i64::MAX));
    assert_eq!(shift(i64::MAX, 1), AboveAll);
    assert_eq!(shift(i64::MIN, -1), BelowAll);
    assert_eq!(shift(250_u8, 5), At(255));
    assert_eq!(shift(250_u8, 6), AboveAll);
    assert_eq!(shift(Some(5_i32), 1), At(Some(6)));
}

#[test]
fn floats() {
    assert_eq!(shift(1.5, -0.5), At(1.0));
    assert_eq!(shift(f64::MAX, f64::MAX), At(f64::INFINITY));
    assert_eq!(shift(1.0, f64::NEG_INFINITY), At(f64::NEG_INFINITY));
    assert_eq!(shift(f64::INFINITY, f64::NEG_INFINITY), At(f64::NEG_INFINITY));
    assert_eq!(shift(f64::INFINITY, -1.0), At(f64::INFINITY));
    assert_eq!(shift(1.0, f64::NAN), AboveAll);
}

#[test]
fn times() {
    let second = Duration::from_secs(1);
    assert_eq!(shift(second, second), At(2 * second));
    assert_eq!(shift(Duration::MAX, second), AboveAll);
    assert_eq!(shift(SystemTime::UNIX_EPOCH, second), At(SystemTime::UNIX_EPOCH + second));
    assert_eq!(shift(SystemTime::UNIX_EPOCH, Duration::MAX), AboveAll);
}

#[test]
fn below_all_is_below_and_above_all_above() {
    assert!(BelowAll < At(i64::MIN));
    assert!(At(i64::MAX) < AboveAll);
}
