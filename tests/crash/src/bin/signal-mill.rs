//! A mill that obeys signals: `signal-mill /tmp/trial 2 500` calls its function on two threads, for 500 microseconds each.
//! With `hangs` instead of the time it never returns from the call of the tenth record.
#![allow(clippy::expect_used)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use watermill::prelude::*;
use watermill_crash::data::{A, Saw};
use watermill_crash::told::told;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, workers, time] = &arguments[..] else { return ExitCode::from(2) };
    let directory = PathBuf::from(directory);
    let workers = workers.parse().expect("the second argument is a number");
    let time = (time != "hangs").then(|| Duration::from_micros(time.parse().expect("a number, or `hangs`")));
    let begun = directory.join("begun");
    let slow = move |a: &A| {
        if a.id == 10 {
            std::fs::write(&begun, "").expect("the directory can be written to");
        }
        match time {
            Some(time) => std::thread::sleep(time),
            None if a.id == 10 => std::thread::sleep(Duration::from_secs(3600)),
            None => {}
        }
        Saw::of(vec![a.id])
    };
    let broker = JsonFileBroker::new()
        .read::<A>(directory.join("a.ndjson"))
        .write::<Saw>(directory.join("saw.ndjson"));
    match Mill::new(slow).workers(workers).commit_after_calls(4).stop_on_signals().run_blocking(broker) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", told(&error));
            ExitCode::FAILURE
        }
    }
}
