//! Dates and times of chrono, time and jiff as keys.
//!
//! Adding is checked: what leaves the range of the type is a [`KeyFault::Overflow`](super::KeyFault::Overflow) in an
//! expression, and below or above all in a [`KeyOffset`](super::KeyOffset). Dates without a time of day move by whole
//! days: what the duration has beyond them is cut off.

#[cfg(feature = "chrono")]
mod chrono;
#[cfg(feature = "jiff")]
mod jiff;
#[cfg(feature = "time")]
mod time;
