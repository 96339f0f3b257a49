//! What the broker promises, on a real Kafka that all of these share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod conformance;
mod errors;
mod joins;
mod letters;
mod operations;
mod oracle;
mod placement;
mod start_stop;
mod tools;
mod topic_eos;
