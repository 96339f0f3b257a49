//! The engine of watermill.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod assemble;
pub mod broker;
pub mod clock;
mod engine;
pub mod error;
mod explain;
pub mod function;
mod group;
mod handle;
mod join_keys;
mod join_with;
mod joined;
pub mod key;
mod last_call;
mod letter;
mod lined;
#[cfg(feature = "metrics")]
mod metric_table;
mod mill;
mod mistake;
mod misuse;
mod origin;
mod plan;
mod policy;
pub mod prelude;
#[cfg(feature = "progress")]
mod progress;
#[cfg(feature = "prometheus")]
pub mod prometheus;
pub mod record;
mod report;
mod retry;
#[cfg(feature = "signals")]
mod signals;
pub mod testing;
pub mod window;

pub use error::{BadCause, BadRecord, BuildError, BuildProblem, RunError};
pub use group::{Group, GroupIter};
pub use handle::{MillControl, MillHandle, Watch};
pub use join_with::JoinWith;
pub use joined::Joined;
pub use last_call::{CallInput, CallReport, CallResults, LastCall};
pub use letter::DeadLetter;
pub use mill::{DEFAULT_MAX_GROUP, DEFAULT_MEMORY_BUDGET, Mill};
pub use policy::OnBad;
pub use report::{EndReason, InputReport, OutputReport, RunReport};
pub use retry::{Backoff, OnError};

/// A result whose error is a [`RunError`].
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
///
/// fn count(events: Vec<Json>) -> watermill::Result<u64> {
///     Ok(Mill::new(|_: &Json| ()).run_blocking(MemoryBroker::new().read(events))?.calls)
/// }
///
/// assert_eq!(count(vec![Json(serde_json::json!({"time": 1}))])?, 1);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub type Result<T, E = RunError> = std::result::Result<T, E>;

#[doc(hidden)]
pub mod __derive;
