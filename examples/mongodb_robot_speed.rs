//! The speed of a robot once more, over MongoDB: the function of the example `robot_speed`, and another broker.
//!
//! ```sh
//! docker compose up -d mongodb      # or any MongoDB you have
//! cargo run --example mongodb_robot_speed --features mongodb -- mongodb://localhost:27017
//! ```
//!
//! What to look at:
//! - Loading a file into a collection is a mill, too: it reads with one broker and writes with another.
//! - A collection is read in the order of the key by which it is joined, for which it needs an index: `.create_indexes()` makes it; without that, the error says how.
//! - Run this twice: the second time it says that an earlier run has come to the end.

use watermill::prelude::*;

#[derive(Deserialize, Serialize, StreamRecord)]
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
    let uri = std::env::args().nth(1).unwrap_or_else(|| "mongodb://localhost:27017".to_owned());

    let file = JsonFileBroker::new().read::<RobotLocation>("examples/data/robot-locations.json");
    let collection = MongoBroker::new(&uri, "robots").write::<RobotLocation>("locations");
    let loaded = Mill::new(|here: &RobotLocation| RobotLocation { time: here.time, x: here.x, y: here.y })
        .run(file.and(collection))
        .await?;
    println!("{loaded}\n");

    let mongo = MongoBroker::new(&uri, "robots")
        .read::<RobotLocation>("locations")
        .read::<NextLocation>("locations")
        .write::<RobotSpeed>("speeds")
        .create_indexes()
        .write_eos();
    let report = Mill::new(robot_speed)
        .join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time))
        .run(mongo)
        .await?;
    println!("{report}");
    Ok(())
}
