//! A run that stopped with an error.

use std::fmt;

use super::bad::excerpt_part;
use super::{BadRecord, BoxError, BuildError, RecordPlace, key_part};
use crate::last_call::CallReport;

/// A broker failed: its storage cannot be opened, read, written or committed.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::RunError;
///
/// // Results of one mill by two brokers could not be committed in one step.
/// let (events, others) = (Collected::<Json>::new(), Collected::<Count>::new());
/// # #[derive(StreamRecord)] struct Count { events: u64 }
/// let both = MemoryBroker::new().read(Vec::<Json>::new()).write(&events).and(MemoryBroker::new().write(&others));
/// let error = Mill::new(|_: &Json, _: &mut Out<Json>, _: &mut Out<Count>| ()).run_blocking(both);
/// let Err(RunError::Broker(error)) = error else { panic!("it is refused") };
/// assert_eq!((error.broker.as_str(), error.action.as_str()), ("MemoryBroker and MemoryBroker", "write"));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{broker}: cannot {action} {location}")]
pub struct BrokerError {
    /// The broker.
    pub broker: String,
    /// What was attempted: `open`, `read`, `write`, `commit`.
    pub action: String,
    /// Where: a path, a topic, with what to do where that is known.
    pub location: String,
    /// Why it failed.
    #[source]
    pub cause: BoxError,
}

/// A run that stopped with an error. Nothing was written to the final outputs since the last commit.
///
/// Its `Debug` form is for people: the message and its causes, a line each. That is what a `main` that returns
/// [`watermill::Result`](crate::Result) prints.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::RunError;
///
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// fn check(reading: &Reading) -> Result<(), String> {
///     if reading.celsius < 100.0 { Ok(()) } else { Err("it boils".to_owned()) }
/// }
///
/// let broker = MemoryBroker::new().read(vec![Reading { celsius: 120.0 }]);
/// let error = Mill::new(check).run_blocking(broker).unwrap_err();
/// assert!(matches!(&error, RunError::Function { function, .. } if function == "check"));
/// assert_eq!(
///     format!("{error:?}"),
///     "the function `check` failed at the master `Reading`, record 0\n  caused by: it boils"
/// );
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The mill cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A record cannot be used.
    #[error(transparent)]
    BadRecord(#[from] Box<BadRecord>),
    /// The function failed.
    #[error("the function `{function}` failed at the master {master}{}{}", key_part(.key.as_ref()), call_part(.call.as_deref()))]
    Function {
        /// The function.
        function: String,
        /// Where the master (the first one of a window) stood.
        master: String,
        /// The master's first join key.
        key: Option<String>,
        /// What it was given, with [`Mill::checkpoint`](crate::Mill::checkpoint).
        call: Option<Box<CallReport>>,
        /// Its error, or its panic.
        #[source]
        cause: BoxError,
    },
    /// A key that is computed by the user's own code panicked. That is a mistake in the code, not a bad record: policies for bad records do
    /// not apply.
    #[error(
        "the key `{expression}` panicked at a record in stream `{stream}` at {place}{}; mend the key, or let it be `None` for such records, which matches nothing",
        excerpt_part(.excerpt.as_ref())
    )]
    KeyPanicked {
        /// The stream, by its record type and name.
        stream: String,
        /// Where the record stands.
        place: RecordPlace,
        /// The key expression.
        expression: String,
        /// The start of its text, where its storage can be read again there.
        excerpt: Option<String>,
        /// The text of the panic.
        #[source]
        cause: BoxError,
    },
    /// A group grew beyond the limit.
    #[error(
        "more than {limit} records of `{stream}` match one record (key {key}); raise `max_group` if such groups are expected"
    )]
    GroupTooLarge {
        /// The right stream.
        stream: String,
        /// The key of the left record.
        key: String,
        /// The limit.
        limit: u64,
    },
    /// The records that the walk has to hold take more memory than allowed.
    #[error(
        "the join holds {held} bytes, more than the budget of {budget}, while reading `{stream}` for the key {key}; raise `memory_budget`, or narrow the join"
    )]
    OverBudget {
        /// The stream that was being read.
        stream: String,
        /// The key of the master being joined.
        key: String,
        /// What is held, in bytes, about.
        held: u64,
        /// The budget in bytes.
        budget: u64,
    },
    /// A broker failed.
    #[error(transparent)]
    Broker(Box<BrokerError>),
    /// Nothing was committed for as long as [`Mill::fail_without_commit`](crate::Mill::fail_without_commit) allows.
    #[error(
        "nothing was committed for {limit:?}{}: the run is stuck, or its input is quiet; a restart goes on from the last commit",
        waiting_part(.waiting_for.as_ref())
    )]
    NoCommit {
        /// How long it may take.
        limit: std::time::Duration,
        /// The stream that was waited for, if the run was not in a call.
        waiting_for: Option<String>,
    },
    /// A record that was read is not accounted for: it was lost, or counted twice. Looked for at the end of every run, before its last commit,
    /// and never expected: this is a mistake in watermill, or in a broker that does not keep to its contract.
    #[error(
        "the accounting of stream `{stream}` does not close at {place}: {what}; nothing was committed since, so a restart goes on from the last commit; please report this"
    )]
    Leak {
        /// The stream, by its record type and name.
        stream: String,
        /// Where the record stands, or the first of those that are in question.
        place: RecordPlace,
        /// What does not come out.
        what: String,
    },
    /// The run was given up, by [`MillHandle::abort`](crate::MillHandle::abort) or a second signal.
    #[error("the run was given up; a restart goes on from the last commit")]
    Aborted,
    /// The runtime of the run could not be started, its thread is gone, or code of a broker panicked.
    #[error("the run cannot go on: {what}")]
    Runtime {
        /// What happened.
        what: String,
        /// Why.
        #[source]
        cause: BoxError,
    },
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl From<BrokerError> for RunError {
    fn from(error: BrokerError) -> Self {
        Self::Broker(Box::new(error))
    }
}

fn call_part(call: Option<&CallReport>) -> String {
    call.map_or_else(String::new, |call| format!("; it was given {call}"))
}

fn waiting_part(stream: Option<&String>) -> String {
    stream.map(|stream| format!(" while waiting for `{stream}`")).unwrap_or_default()
}
