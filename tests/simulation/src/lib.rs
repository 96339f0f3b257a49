//! Deterministic simulation: the whole runtime over a broker in memory, on a clock that is moved by hand, with a fault at any await
//! and any step of a commit. One seed decides everything; the same seed does the same again.
//!
//! - [`random`]: numbers from a seed.
//! - [`clock`]: the clock, and how many looks at it mean that the run spins.
//! - [`faults`]: what goes wrong at an await: a delay, an error, a crash, a commit that only seems to have failed.
//! - [`store`]: what outlives a crash: the committed results with their checkpoint, judged at every commit.
//! - [`broker`]: a broker over the store, and its sources, sinks and committer.
//! - [`data`], [`shape`]: records, some of which do not decode; joins and windows, and what they must give, by nested loops.
//! - [`scenario`]: what a seed says: the mill's settings, what every call does, what goes wrong.
//! - [`model`]: what must be committed for which position, letters included; where time has a say in it, what may be.
//! - [`world`], [`mills`]: the functions, and all that happens outside of them: work handed elsewhere, time that passes.
//! - [`trial`]: runs, crashes and restarts one mill until it has come to its end.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

extern crate watermill_core as watermill;

pub mod broker;
pub mod clock;
pub mod data;
pub mod faults;
pub mod mills;
pub mod model;
pub mod random;
pub mod scenario;
pub mod shape;
pub mod store;
pub mod trial;
pub mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not somebody has panicked with it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
