//! Errors: what happened, where, and what to do.

mod bad;
mod build;
mod run;

pub(crate) use bad::DEEPEST_JSON;
pub use bad::{BadCause, BadRecord};
pub use build::{BuildError, BuildProblem};
pub use run::{BrokerError, RunError};

pub use crate::mistake::Mistake;
pub use crate::origin::RecordPlace;

/// Any error, as the cause of one of ours.
///
/// ```
/// use watermill_core::error::BoxError;
///
/// fn seats(text: &str) -> Result<u32, BoxError> {
///     let seats = text.parse()?;
///     if seats > 600 { Err(format!("no plane has {seats} seats").into()) } else { Ok(seats) }
/// }
///
/// assert_eq!(seats("700").unwrap_err().to_string(), "no plane has 700 seats");
/// ```
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn key_part(key: Option<&String>) -> String {
    key.map(|key| format!(", key {key}")).unwrap_or_default()
}
