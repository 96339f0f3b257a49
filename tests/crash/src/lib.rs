//! A crash harness: real programs are killed at any moment and started again, and what comes out in the end must be what an
//! undisturbed run writes, byte for byte.
//!
//! - [`harness`]: starts, kills and restarts a program; knows neither brokers nor files, so every broker can use it.
//! - [`seed`]: random numbers that a seed repeats.
//! - [`data`]: records, and the files of a trial.
//! - [`mills`]: the mills that the program `crash-mill` runs over files.
//! - [`oracle`]: what they must write, by nested loops over everything.
//! - [`process`]: one program at a time as a process, with what it tells: for tests that pause some, or run several.
//! - [`told`]: what an error says, with all its causes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod data;
pub mod harness;
pub mod mills;
pub mod oracle;
pub mod process;
pub mod seed;
pub mod told;
mod window_mills;
