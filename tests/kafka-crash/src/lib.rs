//! Mills over a real Kafka, in programs that are killed, paused and started again: what a reader of committed records sees in the end must be
//! what nested loops over the input say, in the order of each partition, and each partition's end must be marked once.
//!
//! - [`mills`]: what the program `kafka-mill` runs.
//! - [`records`]: the records of input and output, and the oracle.
//! - [`trial`]: the topics of one mill: filled while it runs, and compared in the end.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod mills;
pub mod records;
pub mod trial;
