//! A topic of Kafka, consumed in windows through a named stream: in threads and processes as many as one likes, whatever the number of partitions.
//!
//! ```sh
//! docker compose up -d kafka        # or any Kafka you have
//! cargo run --example kafka_windows --features kafka,streams -- localhost:9092
//! ```
//!
//! What to look at:
//! - `attach` fills the stream in the background. What was appended and where the topic was read to are one transaction of the stream's own file, so killing this program loses nothing
//!   and doubles nothing.
//! - Two consumers share the stream here: each window goes to one of them.
//! - The topic ends with the mark `{"eos__": true}`, so the source comes to its end; `then_close` makes that the end of the stream, and its consumers end by themselves.

use watermill::prelude::*;
use watermill::streams::Message;
use watermill::streams::source::{from_broker, then_close};

#[derive(Clone, Serialize, Deserialize, StreamRecord)]
struct RobotLocation {
    time: i64,
    x: f64,
    y: f64,
}

#[derive(Serialize, Deserialize, StreamRecord)]
struct Stretch {
    from: i64,
    to: i64,
    metres: f64,
}

fn stretch(window: &[RobotLocation]) -> Stretch {
    let steps = window.windows(2).map(|pair| (pair[1].x - pair[0].x).hypot(pair[1].y - pair[0].y));
    Stretch { from: window[0].time, to: window[window.len() - 1].time, metres: steps.sum() }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let servers = arguments.next().unwrap_or_else(|| "localhost:9092".to_owned());
    let file = arguments.next().unwrap_or_else(|| "out/robot.db".to_owned());
    std::fs::create_dir_all("out")?;

    let locations = JsonFileBroker::new().read::<Json>("examples/data/robot-locations.json");
    let topic =
        KafkaBroker::new(&servers, "load-robot-windows").write::<Json>("robot-windows").create_topics(1, 1);
    println!("{}\n", Mill::new(|location: &Json| location.clone()).run_blocking(locations.and(topic))?);

    let streams = Streams::open(&format!("sqlite:{file}"))?;
    let (robot, stretches) = (streams.stream::<RobotLocation>("robot")?, streams.stream("stretches")?);
    let kafka = KafkaBroker::new(&servers, "robot-windows").read::<RobotLocation>("robot-windows");
    let source = robot.attach("kafka", then_close(from_broker(kafka)))?;

    let consume = || {
        let mill = Mill::new(stretch).window(Window::count(10)).progress(false);
        mill.start(robot.consumer().write::<Stretch>(&stretches))
    };
    for consumer in [consume()?, consume()?] {
        println!("{}\n", consumer.wait_blocking()?);
    }
    println!("the source has appended {} messages", source.wait_blocking()?.results);
    let metres: f64 =
        stretches.buffer()?.iter().flat_map(Message::get::<Stretch>).map(|one| one.metres).sum();
    println!("{} stretches, {metres:.1} m", stretches.len()?);
    Ok(())
}
