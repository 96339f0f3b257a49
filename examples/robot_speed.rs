//! The speed of a robot: its location joined to its location ten seconds later, a self-join.

use watermill::prelude::*;

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
struct RobotLocation {
    time: i64,
    x: f64,
    y: f64,
}

/// The same data seen a second time: a self-join needs its own type.
#[derive(Debug, Serialize, Deserialize, StreamRecord)]
struct NextLocation {
    time: i64,
    x: f64,
    y: f64,
}

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
struct RobotSpeed {
    time_from: i64,
    time_to: i64,
    speed: f64,
}

fn robot_speed(here: &RobotLocation, next: &Joined<RobotLocation, NextLocation>) -> RobotSpeed {
    let there = &next[here][0];
    RobotSpeed {
        time_from: here.time,
        time_to: there.time,
        speed: (there.x - here.x).hypot(there.y - here.y),
    }
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
