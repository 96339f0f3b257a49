//! What every mill reads, and what must come of it.

use crate::mills::{Here, LATER, Moved};

/// So many robots there are.
pub const ROBOTS: i64 = 8;

/// Where a robot was at a time.
fn x(robot: i64, time: i64) -> i64 {
    (time * time + robot * 31) % 1009
}

/// Where all robots were at these times, in their order.
pub fn records(times: std::ops::Range<i64>) -> impl Iterator<Item = Here> {
    times.flat_map(|time| (0..ROBOTS).map(move |robot| Here { robot, time, x: x(robot, time) }))
}

/// How many results there are of so many times.
#[must_use]
pub fn count(times: i64) -> u64 {
    u64::try_from((times - LATER).max(0) * ROBOTS).unwrap()
}

/// What must come of so many times is what was found, in whatever order.
///
/// # Panics
/// When it is not.
pub fn assert_results(mut found: Vec<Moved>, times: i64, what: &str) {
    let mut wanted: Vec<Moved> = records(0..times - LATER)
        .map(|Here { robot, time, x: from }| Moved { robot, time, by: x(robot, time + LATER) - from })
        .collect();
    found.sort();
    wanted.sort();
    let mut lost = wanted.clone();
    lost.retain(|moved| found.binary_search(moved).is_err());
    assert!(lost.is_empty(), "{what}: {} are lost, the first is {:?}", lost.len(), lost[0]);
    assert_eq!(found.len(), wanted.len(), "{what}: some come twice");
    assert_eq!(found, wanted, "{what}");
}
