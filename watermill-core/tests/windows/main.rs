//! Windows against an oracle of nested loops: every kind, by event time and by arrival, over joins, in any batches.
//!
//! Each test goes through seeds, and names the one that failed. `ORACLE_FACTOR=10` goes through ten times as many.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

extern crate watermill_core as watermill;

mod arrival;
mod emitter;
mod event;
mod mistakes;
mod oracle;
mod random;
mod silence;
