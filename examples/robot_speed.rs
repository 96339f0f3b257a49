//! The speed of a robot: its location joined to its location ten seconds later, a self-join.
//!
//! What to look at:
//! - The same file is read as two record types; the type of an argument says which place in the join it has.
//! - `RobotLocation::fields().time + 10` is the key on the left: an expression over the record's fields.
//! - The function is called once for each location that has a next one. The last one has none, and is not in the result.

use watermill::prelude::*;

#[derive(Deserialize, StreamRecord)]
struct RobotLocation {
    time: i64,
    x: f64,
    y: f64,
}

/// The same data seen a second time: a self-join needs its own type.
#[derive(Deserialize, StreamRecord)]
struct NextLocation {
    time: i64,
    x: f64,
    y: f64,
}

#[derive(Serialize, StreamRecord)]
struct RobotSpeed {
    time_from: i64,
    time_to: i64,
    /// In metres per second.
    speed: f64,
}

fn robot_speed(here: &RobotLocation, next: &Joined<RobotLocation, NextLocation>) -> RobotSpeed {
    let there = &next[here][0];
    let metres = (there.x - here.x).hypot(there.y - here.y);
    let seconds = (there.time - here.time) as f64;
    RobotSpeed { time_from: here.time, time_to: there.time, speed: metres / seconds }
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<RobotLocation>("examples/data/robot-locations.json")
        .read::<NextLocation>("examples/data/robot-locations.json")
        .write::<RobotSpeed>("out/robot-speed.json");

    let report = Mill::new(robot_speed)
        .join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time))
        .run(files)
        .await?;
    println!("{report}");
    Ok(())
}
