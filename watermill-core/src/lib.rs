//! The engine of watermill.

pub mod broker;
pub mod error;
pub mod key;
pub mod record;

#[doc(hidden)]
pub mod __derive;
