//! Programs that share the streams of one file or database, are killed and started again. What they append and make of it is here; what must come out is in `tests/`.

use serde::{Deserialize, Serialize};
use watermill::prelude::*;

/// A message: which producer, for the how manieth time it was started, and a number that goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, StreamRecord)]
pub struct Item {
    /// Which producer.
    pub producer: u32,
    /// Its start.
    pub start: u32,
    /// From 0.
    pub number: u32,
}

/// A window of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StreamRecord)]
pub struct Batch {
    /// In the order of the window.
    pub items: Vec<Item>,
}
