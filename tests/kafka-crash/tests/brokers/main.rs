//! Brokers that are killed, and stay away, while programs run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod gone;
mod killed;
mod lost_end;

use std::time::Duration;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kafka-mill");

/// No run takes longer when nobody disturbs it.
const LONG: Duration = Duration::from_secs(60);
