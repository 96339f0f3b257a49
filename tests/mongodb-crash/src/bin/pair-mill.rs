//! Runs a mill from one kind of broker to another, as its arguments say: see `PairSettings`. What happens is told on standard error, as `RUST_LOG` says.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use watermill_crash::told::told;
use watermill_mongodb_crash::pairs::{PairSettings, run};

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("watermill=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    match run(&PairSettings::parse(std::env::args().skip(1))) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("failed: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}
