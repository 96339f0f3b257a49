//! Runs one of the mills over the files in a directory: `crash-mill self-join /tmp/trial calls=20 every=2000`.
#![allow(clippy::expect_used)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use watermill_crash::mills::{Settings, run};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mill = arguments.next().expect("the first argument names a mill");
    let directory = PathBuf::from(arguments.next().expect("the second argument names a directory"));
    match run(&mill, &directory, &Settings::parse(arguments)) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
