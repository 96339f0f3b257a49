//! Programs that are killed, paused, and join and leave, over one Kafka.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod killed;
mod patience;
mod rebalances;
mod zombie;

use std::time::Duration;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kafka-mill");

/// No run takes longer when nobody disturbs it.
const LONG: Duration = Duration::from_secs(60);
