//! The engine of watermill.

pub mod broker;
pub mod error;
pub mod function;
mod joined;
pub mod key;
pub mod record;
pub mod window;

pub use joined::{Group, GroupIter, Joined};

#[doc(hidden)]
pub mod __derive;
