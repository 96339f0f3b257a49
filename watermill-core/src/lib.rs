//! The engine of watermill.

pub mod key;
pub mod record;
