//! A streaming application in 15 lines: a file that grows fills a stream, a mill takes the mean of every five readings, and another file gets the means.
//!
//! `cargo run --features app --example streaming_app`, then, in another terminal,
//!
//! ```sh
//! for celsius in 20 21 22 20 19; do echo "{\"celsius\":$celsius}" >> out/celsius.ndjson; done
//! curl localhost:5000/status
//! ```
//!
//! What to look at:
//! - Each part is started again when it fails, and goes on where it was: kill the program in the middle, start it again, and nothing is lost or counted twice.
//! - Ctrl-C ends all three: what was begun is finished and committed.
//! - Any number of such programs may share `out/celsius.db`, with other mills and other sinks.

use watermill::prelude::*;
use watermill::streams::App;
use watermill::streams::source::from_broker;

#[derive(Clone, Serialize, Deserialize, StreamRecord)]
struct Celsius {
    celsius: f64,
}

fn mean(window: &[Celsius]) -> Celsius {
    Celsius { celsius: window.iter().map(|reading| reading.celsius).sum::<f64>() / window.len() as f64 }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "out".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    std::fs::create_dir_all(&folder)?;

    let readings = JsonFileBroker::new().read::<Celsius>(format!("{folder}/celsius.ndjson")).follow();
    let means = JsonFileBroker::new().write::<Celsius>(format!("{folder}/means.ndjson")).append();
    App::new(&format!("sqlite:{folder}/celsius.db"))?
        .source::<Celsius>("thermometer", "readings", from_broker(readings))
        .mill("mean", |streams| {
            let (readings, means) = (streams.stream::<Celsius>("readings")?, streams.stream("means")?);
            let mill = Mill::new(mean).window(Window::count(5)).progress(false);
            Ok(mill.start(readings.consumer().write::<Celsius>(&means))?)
        })
        .sink::<Celsius>("file", "means", means)
        .serve(&address)
        .run()?;
    Ok(())
}
