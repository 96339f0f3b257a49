//! Keys are computed without allocating.

extern crate watermill_core as watermill;

use std::hint::black_box;

use watermill_core::key::KeyExpr;
use watermill_core::record::StreamRecord;
use watermill_derive::StreamRecord;

#[derive(StreamRecord)]
struct Robot {
    time: i64,
    name: String,
    pose: Pose,
}

#[derive(StreamRecord)]
struct Pose {
    x: f64,
}

/// How often the key allocates, and comparing it with that of another record.
fn allocations(expr: impl KeyExpr<Robot>) -> u64 {
    let robot = |time| Robot { time, name: "a name on the heap".to_owned(), pose: Pose { x: 1.5 } };
    let (here, there) = (robot(1), robot(2));
    let counted = allocation_counter::measure(|| {
        let (here, there) = (expr.key(&here), expr.key(&there));
        if let (Ok(Some(here)), Ok(Some(there))) = (here, there) {
            black_box(here.cmp(&there));
            black_box(here.clone());
        } else {
            black_box(true);
        }
    });
    counted.count_total
}

#[test]
fn keys_do_not_allocate() {
    let f = Robot::fields();
    assert_eq!(allocations(f.time), 0);
    assert_eq!(allocations((f.time + 10) / 30 * 30), 0);
    assert_eq!(allocations(f.pose.x * 2.0), 0);
    assert_eq!(allocations(f.name), 0);
    assert_eq!(allocations((f.time, f.name, f.pose.x)), 0);
    assert_eq!(allocations(f.name.map(String::len) + 1), 0);
    assert_eq!(allocations(|r: &Robot| r.time), 0);
}

#[test]
fn the_counter_counts() {
    // The name is cloned by the closure for each record, and once by `clone`.
    assert_eq!(allocations(|r: &Robot| r.name.clone()), 3);
}
