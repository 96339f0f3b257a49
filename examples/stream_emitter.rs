//! A window of one's own over a named stream: the even values, sorted, three at a time. It is the `SortedWindow` of minibatch's documentation.
//!
//! `cargo run --features streams --example stream_emitter`
//!
//! What to look at:
//! - The emitter sees all messages that wait, and takes what it chooses; the others stay. It needs all of the stream, so its mill has the stream alone.
//! - `.keep()` leaves the messages where they were, and remembers the windows: `windows()` shows them.

use watermill::prelude::*;
use watermill::window::{Buffer, Emit, WindowEmitter};

#[derive(Serialize, Deserialize, StreamRecord)]
struct Sample {
    value: i64,
}

struct SortedWindow;

impl WindowEmitter<Sample> for SortedWindow {
    fn emit(&mut self, samples: Buffer<'_, Sample>) -> Emit {
        let mut even: Vec<usize> = (0..samples.len()).filter(|at| samples[*at].value % 2 == 0).collect();
        even.sort_by_key(|at| samples[*at].value);
        if even.len() < 3 { Emit::nothing() } else { Emit::take(even.into_iter().take(3)) }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let samples = Streams::open("memory:")?.stream::<Sample>("samples")?;
    samples.append_all(&[9, 4, 2, 7, 8, 6, 3, 0, 5].map(|value| Sample { value }))?;
    samples.close()?;

    let show = |window: &[Sample], info: &WindowInfo| {
        let values: Vec<i64> = window.iter().map(|sample| sample.value).collect();
        println!("window {}: {values:?}", info.index());
    };
    let mill = Mill::new(show).window(Window::emitter(|| SortedWindow)).progress(false);
    mill.run_blocking(samples.consumer().keep())?;

    for window in samples.windows(0, 100)? {
        let numbers: Vec<u64> = window.messages.iter().map(|message| message.number).collect();
        println!("was made of the messages {numbers:?}");
    }
    Ok(())
}
