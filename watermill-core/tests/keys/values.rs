//! How key values are compared, and what of them is kept.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use watermill_core::key::{Float, KeyExpr, KeyFault, KeyValue, Ordered};
use watermill_derive::StreamKey;

use super::{f, robot};

/// Through a view and back, by reference and by value.
fn round_trip<K: KeyValue + Clone + PartialEq + std::fmt::Debug>(key: K) {
    let view = key.view().unwrap().unwrap();
    let owned = key.clone().into_view().unwrap().unwrap();
    assert!(view == owned);
    assert_eq!(K::detach(&view), key);
    assert_eq!(K::detach(&owned), key);
}

#[test]
fn round_trips() {
    round_trip(-1_i8);
    round_trip(i128::MIN);
    round_trip(u128::MAX);
    round_trip(7_usize);
    round_trip(1.5_f32);
    round_trip(f64::NEG_INFINITY);
    round_trip(true);
    round_trip('x');
    round_trip("static");
    round_trip(String::from("text"));
    round_trip(Box::<str>::from("text"));
    round_trip(Arc::<str>::from("text"));
    round_trip(vec![1_u8, 2]);
    round_trip(Duration::from_millis(5));
    round_trip(SystemTime::UNIX_EPOCH);
    round_trip(IpAddr::from([127, 0, 0, 1]));
    round_trip(Some(3));
    round_trip((1, String::from("a"), 2.5, 'c', true, Some(6)));
    round_trip(Ordered(NonZeroU8::MIN));
    round_trip(Axis::Y { at: 3 });
    round_trip(Tagged { tag: 'x', rest: [1, 2] });
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, StreamKey)]
enum Axis {
    X,
    Y { at: i32 },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, StreamKey)]
struct Tagged<T, const N: usize>
where
    T: Copy,
{
    tag: char,
    rest: [T; N],
}

#[test]
fn a_key_of_ones_own_is_borrowed_and_ordered() {
    let (x, y) = (Axis::X, Axis::Y { at: 1 });
    assert!(matches!(x.view(), Ok(Some(Cow::Borrowed(_)))));
    assert!(x.view().unwrap() < y.view().unwrap());
}

#[test]
fn nan_is_refused() {
    assert_eq!(f64::NAN.view(), Err(KeyFault::NotANumber));
    assert_eq!((-f32::NAN).into_view(), Err(KeyFault::NotANumber));
    assert_eq!(Some(f64::NAN).view(), Err(KeyFault::NotANumber));
    assert_eq!((1, f64::NAN).view(), Err(KeyFault::NotANumber));
    assert_eq!((None::<i32>, f64::NAN).view(), Err(KeyFault::NotANumber));
    assert_eq!(Float::<f64>::new(f64::NAN), None);
}

#[test]
fn there_is_one_zero() {
    let (minus, plus) = ((-0.0_f64).view().unwrap(), 0.0_f64.view().unwrap());
    assert_eq!(minus, plus);
    assert_eq!(minus.cmp(&plus), std::cmp::Ordering::Equal);
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(minus), hasher.hash_one(plus));
    assert!(f64::detach(&minus.unwrap()).is_sign_positive());
}

#[test]
fn floats_are_ordered_as_numbers() {
    let numbers =
        [f64::NEG_INFINITY, -1e300, -1.0, -f64::MIN_POSITIVE, 0.0, 5e-324, 1.0, 1e300, f64::INFINITY];
    let views: Vec<_> = numbers.iter().map(|number| number.view().unwrap().unwrap()).collect();
    for (i, a) in views.iter().enumerate() {
        for (j, b) in views.iter().enumerate() {
            assert_eq!(a.cmp(b), i.cmp(&j));
            assert_eq!((a < b, a <= b, a > b, a >= b, a == b), (i < j, i <= j, i > j, i >= j, i == j));
        }
    }
    assert_eq!(views.iter().collect::<HashSet<_>>().len(), numbers.len());
}

#[test]
fn none_matches_nothing() {
    assert_eq!(None::<i64>.view(), Ok(None));
    assert_eq!(Some(None::<i64>).view(), Ok(None));
    assert_eq!((1, None::<i64>).view(), Ok(None));
    assert_eq!((1, (Some(2), None::<i64>)).into_view(), Ok(None));
    assert_eq!((1, Some(2)).view(), Ok(Some((1, 2))));
}

#[test]
fn tuples_are_ordered_by_the_first_part_first() {
    let view = |a: i64, b: &'static str| (a, b.to_owned()).into_view().unwrap().unwrap();
    assert!(view(1, "z") < view(2, "a"));
    assert!(view(1, "a") < view(1, "b"));
    assert!(view(1, "a") == view(1, "a"));
}

#[test]
fn text_is_borrowed_from_the_record() {
    let robot = robot();
    match f().name.key(&robot) {
        Ok(Some(Cow::Borrowed(name))) => assert_eq!(name.as_ptr(), robot.name.as_ptr()),
        other => panic!("not borrowed: {other:?}"),
    }
    match (f().time, f().name).key(&robot) {
        Ok(Some((100, Cow::Borrowed(name)))) => assert_eq!(name.as_ptr(), robot.name.as_ptr()),
        other => panic!("not borrowed: {other:?}"),
    }
}
