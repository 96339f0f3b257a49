//! A window over a join: what a robot did in each minute, from each location and the one ten seconds later.
//!
//! What to look at:
//! - The function takes `&[RobotLocation]`, so it is called once per window; `Window::by(time / 60)` puts neighbours
//!   with the same minute together.
//! - Only locations that the join keeps are in a window. The very last one has no next location, and is in none.
//! - `steps[here]` works for each record of the window.
//! - `Inject<SpeedLimit>` brings in what is not in any stream.

use watermill::prelude::*;

const LOCATIONS: &str = "examples/data/robot-locations.json";

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
struct PathStatistics {
    minute: i64,
    steps: usize,
    metres: f64,
    /// How many steps were faster than allowed.
    too_fast: usize,
}

/// In metres per second.
struct SpeedLimit(f64);

fn path_statistics(
    minute: &[RobotLocation],
    steps: &Joined<RobotLocation, NextLocation>,
    limit: Inject<SpeedLimit>,
) -> PathStatistics {
    let mut statistics = PathStatistics { minute: minute[0].time / 60, steps: 0, metres: 0.0, too_fast: 0 };
    for here in minute {
        for there in &steps[here] {
            let metres = (there.x - here.x).hypot(there.y - here.y);
            let seconds = (there.time - here.time) as f64;
            statistics.steps += 1;
            statistics.metres += metres;
            statistics.too_fast += usize::from(metres / seconds > limit.0);
        }
    }
    statistics
}

#[tokio::main]
async fn main() -> watermill::Result<()> {
    let files = JsonFileBroker::new()
        .read::<RobotLocation>(LOCATIONS)
        .read::<NextLocation>(LOCATIONS)
        .write::<PathStatistics>("out/path-statistics.ndjson");

    let report = Mill::new(path_statistics)
        .join(JoinWith::new(RobotLocation::fields().time + 10, NextLocation::fields().time))
        .window(Window::by(RobotLocation::fields().time / 60))
        .inject(SpeedLimit(0.0714))
        .run(files)
        .await?;
    println!("{report}");
    Ok(())
}
