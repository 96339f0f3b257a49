//! Mills over a real MongoDB server, in programs that are killed, paused and started again: in the end there is one result for each record that has a partner,
//! and a unique index has seen to it all the time that there never were two.
//!
//! - [`data`]: what all of them read, and what must come of it.
//! - [`mills`]: what the program `mongodb-mill` runs.
//! - [`pairs`], [`pair_trial`]: the same for `pair-mill`, which reads from one kind of broker and writes to another.
//! - [`trial`]: the database of one mill: filled, and compared in the end.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod data;
pub mod mills;
pub mod pair_trial;
pub mod pairs;
pub mod trial;
