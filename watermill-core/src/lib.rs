//! The engine of watermill.

pub mod broker;
pub mod error;
pub mod key;
pub mod record;

#[doc(hidden)]
#[path = "derive_support.rs"]
pub mod __derive;
