//! The speed of a robot once more, over Kafka: the function of the example `robot_speed`, and another broker.
//!
//! ```sh
//! docker compose up -d kafka        # or any Kafka you have
//! cargo run --example kafka_robot_speed --features kafka -- localhost:9092
//! ```
//!
//! What to look at:
//! - Loading a file into a topic is a mill, too: it reads with one broker and writes with another.
//! - `KafkaBroker::new(servers, application)`: the application is the name of the consumer group, and where a restart goes on. Run this twice: the second time it
//!   says that an earlier run has come to the end. The file ends, so its topic ends with the mark `{"eos__": true}`, and so do the results.
//! - Everything else is as it was. Started in several terminals before the topic is filled, the processes share its partitions.

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
    let servers = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());

    let file = JsonFileBroker::new().read::<Json>("examples/data/robot-locations.json");
    let topic = KafkaBroker::new(&servers, "load-robot-locations")
        .write::<Json>("robot-locations")
        .create_topics(1, 1);
    let loaded = Mill::new(|location: &Json| location.clone()).run(file.and(topic)).await?;
    println!("{loaded}\n");

    let kafka = KafkaBroker::new(&servers, "robot-speed")
        .read::<RobotLocation>("robot-locations")
        .read::<NextLocation>("robot-locations")
        .write::<RobotSpeed>("robot-speed")
        .create_topics(1, 1);
    let report = Mill::new(robot_speed)
        .join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time))
        .run(kafka)
        .await?;
    println!("{report}");
    Ok(())
}
