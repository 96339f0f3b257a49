//! What the derive makes of records of all kinds.

use std::marker::PhantomData;

use watermill_core::key::{KeyExpr, describe};
use watermill_core::record::{RecordType, StreamRecord};
use watermill_derive::StreamRecord;

use super::{Robot, key_of};

mod elsewhere {
    use watermill_derive::StreamRecord;

    /// Fields are as visible as in the struct, and private types stay private.
    #[derive(Default, StreamRecord)]
    pub(crate) struct Machine {
        pub(crate) time: i64,
        pub(super) near: i64,
        hidden: Hidden,
        pub(crate) shown: Hidden,
    }

    #[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, watermill_derive::StreamKey)]
    pub(crate) struct Hidden(u8);

    pub(crate) fn hidden() -> impl watermill_core::key::KeyExpr<Machine> {
        use watermill_core::record::StreamRecord;
        Machine::fields().hidden
    }
}

#[test]
fn visibility_is_that_of_the_fields() {
    let fields = elsewhere::Machine::fields();
    let machine = elsewhere::Machine::default();
    assert_eq!(key_of(&machine, fields.time + fields.near), Ok(Some(0)));
    assert_eq!(key_of(&machine, fields.shown), Ok(Some(elsewhere::Hidden::default())));
    assert_eq!(describe(&elsewhere::hidden()), "hidden");
}

trait Unit: Send + Sync + 'static {
    type Number: Copy + Send + Sync + 'static;
}

struct Celsius;

impl Unit for Celsius {
    type Number = f64;
}

/// Parameters with bounds, defaults and `where`, used in every way a field can.
#[derive(StreamRecord)]
struct Reading<T, U: Unit = Celsius, const N: usize = 2>
where
    T: Clone,
    Option<Self>: Sized,
{
    value: T,
    number: U::Number,
    history: [T; N],
    next: Option<Box<Self>>,
    unit: PhantomData<U>,
}

#[test]
fn generic_records() {
    let fields = Reading::<i64>::fields();
    let first = Reading { value: 1, number: 0.5, history: [7, 8], next: None, unit: PhantomData::<Celsius> };
    let reading =
        Reading { value: 41, number: 1.5, history: [7, 8], next: Some(Box::new(first)), unit: PhantomData };
    assert_eq!(key_of(&reading, fields.value + 1), Ok(Some(42)));
    assert_eq!(key_of(&reading, fields.number * 2.0), Ok(Some(3.0)));
    assert_eq!(key_of(&reading, fields.history.map(|history| history[1])), Ok(Some(8)));
    assert_eq!(
        key_of(&reading, fields.next.map(|next| next.as_ref().map(|next| next.value))),
        Ok(Some(Some(1)))
    );
    assert_eq!(<Reading<i64> as StreamRecord>::NAME, "Reading");
    assert_ne!(RecordType::of::<Reading<i64>>(), RecordType::of::<Reading<u8>>());
}

/// Works for any argument that makes it a record.
fn key_of_any<T: Clone + Send + Sync + 'static>(
    value: impl Fn(&T) -> i64 + Send + Sync + 'static,
) -> impl KeyExpr<Reading<T>> {
    Reading::<T>::fields().value.map(value)
}

#[test]
fn generic_code_over_generic_records() {
    assert_eq!(describe(&key_of_any(|text: &String| text.len() as i64)), "value.map(..)");
}

/// Names that could be taken for something else.
#[allow(non_snake_case)]
#[derive(StreamRecord)]
struct Odd<T> {
    r#type: T,
    T: i32,
    P: i32,
    record: i32,
    f: i32,
    map: i32,
    String: String,
    i64: i64,
}

#[test]
fn names_that_could_be_taken_for_something_else() {
    let odd = Odd { r#type: 1_u8, T: 2, P: 3, record: 4, f: 5, map: 6, String: "7".into(), i64: 8 };
    let o = Odd::<u8>::fields();
    assert_eq!(key_of(&odd, o.r#type), Ok(Some(1)));
    assert_eq!(key_of(&odd, (o.T, o.P, o.record, o.f, o.map, o.i64)), Ok(Some((2, 3, 4, 5, 6, 8))));
    assert_eq!(describe(&(o.r#type, o.String)), "(type, String)");
}

#[derive(StreamRecord)]
#[watermill(name = "robot speed", crate = watermill_core)]
struct Speed {
    speed: f64,
}

#[allow(non_camel_case_types)]
#[derive(StreamRecord)]
struct r#struct {
    speed: f64,
}

#[test]
fn names() {
    assert_eq!(Speed::NAME, "robot speed");
    assert_eq!(Speed::fields().speed.to_string(), "speed");
    assert_eq!(r#struct::NAME, "struct");
    assert_eq!(RecordType::of::<Robot>().name(), "Robot");
    let _ = (Speed { speed: 1.0 }.speed, r#struct { speed: 1.0 }.speed);
}

#[test]
fn a_record_within_a_function() {
    #[derive(StreamRecord)]
    struct Local {
        time: i64,
    }
    assert_eq!(key_of(&Local { time: 1 }, Local::fields().time), Ok(Some(1)));
}

#[test]
fn one_record_in_two_places() {
    #[derive(StreamRecord)]
    struct Trip {
        from: Stop,
        to: Stop,
    }
    #[derive(StreamRecord)]
    struct Stop {
        time: i64,
    }
    let trip = Trip { from: Stop { time: 3 }, to: Stop { time: 10 } };
    let t = Trip::fields();
    assert_eq!(key_of(&trip, t.to.time - t.from.time), Ok(Some(7)));
    assert_eq!((t.to.time - t.from.time).to_string(), "to.time - from.time");
}

#[test]
fn expressions_weigh_nothing_but_their_constants() {
    let f = Robot::fields();
    assert_eq!(size_of_val(&f.time), 0);
    assert_eq!(size_of_val(&(f.time + 10)), size_of::<i64>());
    assert_eq!(size_of_val(&((f.a - f.b) % 7)), size_of::<i64>());
}
