//! Errors: what happened, where, and what to do.

use std::fmt;

use crate::key::KeyFault;
use crate::last_call::CallReport;
pub use crate::mistake::Mistake;
use crate::mistake::listed;
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

/// A record that cannot be used: it does not decode, or its keys break the rules.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::RunError;
///
/// # #[derive(StreamRecord)] struct Reading { time: i64 }
/// # #[derive(StreamRecord)] struct Door { time: i64 }
/// /// Joins readings of the times 20 and 10 to a door that opened at 20.
/// fn downwards() -> watermill::Result<()> {
///     # let broker = MemoryBroker::new().read([20, 10].map(|time| Reading { time }).into()).read(vec![Door { time: 20 }]);
///     let join = JoinWith::new(Reading::fields().time, Door::fields().time);
///     Mill::new(|_: &Reading, _: &Joined<Reading, Door>| ()).join(join).run_blocking(broker)?;
///     Ok(())
/// }
///
/// let Err(RunError::BadRecord(bad)) = downwards() else { panic!("its keys go down") };
/// assert_eq!((bad.stream.as_str(), bad.place.offset), ("Reading", 1));
/// assert!(bad.to_string().starts_with("bad record in stream `Reading` at record 1"));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("bad record in stream `{stream}` at {place}{}{}", key_part(.key.as_ref()), excerpt_part(.excerpt.as_ref()))]
pub struct BadRecord {
    /// The stream, by its record type and name.
    pub stream: String,
    /// Where the record stands.
    pub place: RecordPlace,
    /// Its key, when it has one: the expression and the value.
    pub key: Option<String>,
    /// The start of its text, where it has one that can be read.
    pub excerpt: Option<String>,
    /// What is wrong with it.
    #[source]
    pub cause: BadCause,
}

fn call_part(call: Option<&CallReport>) -> String {
    call.map_or_else(String::new, |call| format!("; it was given {call}"))
}

fn key_part(key: Option<&String>) -> String {
    key.map(|key| format!(", key {key}")).unwrap_or_default()
}

fn excerpt_part(excerpt: Option<&String>) -> String {
    excerpt.map(|text| format!(", text `{text}`")).unwrap_or_default()
}

fn waiting_part(stream: Option<&String>) -> String {
    stream.map(|stream| format!(" while waiting for `{stream}`")).unwrap_or_default()
}

/// How deep values of JSON may be nested: the most that serde_json reads.
pub(crate) const DEEPEST_JSON: usize = 127;

/// What is wrong with a bad record.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::{BadCause, RunError};
///
/// # #[derive(StreamRecord)] struct Reading { time: i64 }
/// # #[derive(StreamRecord)] struct Door { time: i64 }
/// /// Joins readings of the times 20 and 10 to a door that opened at 20.
/// fn downwards() -> watermill::Result<()> {
///     # let broker = MemoryBroker::new().read([20, 10].map(|time| Reading { time }).into()).read(vec![Door { time: 20 }]);
///     let join = JoinWith::new(Reading::fields().time, Door::fields().time);
///     Mill::new(|_: &Reading, _: &Joined<Reading, Door>| ()).join(join).run_blocking(broker)?;
///     Ok(())
/// }
///
/// let Err(RunError::BadRecord(bad)) = downwards() else { panic!("its keys go down") };
/// match bad.cause {
///     BadCause::KeyWentDown { previous, key, .. } => assert_eq!((&*previous, &*key), ("20", "10")),
///     BadCause::Syntax(_) | BadCause::Shape(_) => panic!("records in memory need no decoding"),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadCause {
    /// The text is not JSON.
    #[error("the text is not valid JSON; mend the record, or choose another policy for bad records")]
    Syntax(#[source] BoxError),
    /// The text is JSON, but not of the record's shape: a field is missing or has another type.
    #[error(
        "the text does not have the shape of the record: a field is missing or has another type; mend the record or the struct, or choose another policy for bad records"
    )]
    Shape(#[source] BoxError),
    /// The input ends in the middle of a record.
    #[error(
        "the input ends in the middle of this record: it was cut, or is still being written; truncated input is never taken for the end of the stream; get the whole input, and run again"
    )]
    Truncated,
    /// The text is not UTF-8.
    #[error(
        "the text is not valid UTF-8; write the input anew in UTF-8, or choose another policy for bad records"
    )]
    NotUtf8(#[source] std::str::Utf8Error),
    /// Values are nested too deep, be it in a field that the record does not have.
    #[error(
        "values are nested deeper than {limit} levels; mend the record, or choose another policy for bad records"
    )]
    TooDeep {
        /// The most levels that are read.
        limit: usize,
    },
    /// The record is longer than the limit.
    #[error(
        "the record is longer than the limit of {limit} bytes; raise the broker's record limit if such records are expected"
    )]
    TooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// The structure around the records is broken: no comma, no bracket.
    #[error("{0}")]
    Structure(String),
    /// The key cannot be computed or has no place in the order.
    #[error(
        "the key `{expression}` cannot be used; mend the record or the key, or leave such records out with `on_bad`"
    )]
    Key {
        /// The key expression.
        expression: String,
        /// Why not.
        #[source]
        fault: KeyFault,
    },
    /// The key is lower than the one before it.
    #[error(
        "the key `{expression}` goes down, from {previous} to {key}; joins and windows of time need keys that never go down: sort the stream, or let `reorder_within` do it where records are a little late, or leave such records out with `on_bad`"
    )]
    KeyWentDown {
        /// The key expression.
        expression: String,
        /// The key of the record before.
        previous: String,
        /// The key of this record.
        key: String,
    },
    /// The join went on without it: its stream was silent for as long as `.on_idle(..)` waits, and a left record that it matches was decided.
    #[error(
        "the record with the key `{expression}` = {key} comes late: its stream was silent for so long that the join went on without it; give `.on_idle(..)` more time, or leave such records out with `on_bad`"
    )]
    Late {
        /// The key expression.
        expression: String,
        /// The key.
        key: String,
    },
    /// A join promised `.unique()`, but the key was there before.
    #[error(
        "the key `{expression}` = {key} comes a second time, but the join promises `.unique()`: take out `.unique()`, or leave such records out with `on_bad`"
    )]
    KeyNotUnique {
        /// The key expression.
        expression: String,
        /// The key.
        key: String,
    },
    /// A dead letter that is read back does not hold a record.
    #[error("the dead letter of `{stream}`, {place}, does not hold a record of it; mend its `raw`")]
    Letter {
        /// The stream that the letter is from.
        stream: String,
        /// Where the record stood, of which it is a letter.
        place: RecordPlace,
        /// What is wrong with it now.
        #[source]
        cause: Box<BadCause>,
    },
    /// Another cause, from a codec of the user's own.
    #[error(
        "the codec could not decode the record; mend the record, or choose another policy for bad records"
    )]
    Other(#[source] BoxError),
}

impl BadCause {
    /// What kind of cause it is, in a word for programs: it stays the same when messages change.
    ///
    /// ```
    /// assert_eq!(watermill_core::BadCause::Truncated.kind(), "truncated");
    /// ```
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "syntax",
            Self::Shape(_) => "shape",
            Self::Truncated => "truncated",
            Self::NotUtf8(_) => "not_utf8",
            Self::TooDeep { .. } => "too_deep",
            Self::TooLong { .. } => "too_long",
            Self::Structure(_) => "structure",
            Self::Key { .. } => "key",
            Self::KeyWentDown { .. } => "key_went_down",
            Self::Late { .. } => "late",
            Self::KeyNotUnique { .. } => "key_not_unique",
            Self::Letter { cause, .. } => cause.kind(),
            Self::Other(_) => "other",
        }
    }

    /// Sorts an error of serde_json into [`Syntax`](Self::Syntax), [`Shape`](Self::Shape),
    /// [`Truncated`](Self::Truncated) and [`TooDeep`](Self::TooDeep).
    ///
    /// ```
    /// use watermill_core::BadCause;
    ///
    /// let cause = |text| serde_json::from_str::<u32>(text).map_err(BadCause::json);
    /// assert!(matches!(cause("}"), Err(BadCause::Syntax(_))));
    /// assert!(matches!(cause("\"text\""), Err(BadCause::Shape(_))));
    /// assert!(matches!(cause(""), Err(BadCause::Truncated)));
    /// ```
    #[must_use]
    pub fn json(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        match error.classify() {
            Category::Data => Self::Shape(Box::new(error)),
            Category::Eof => Self::Truncated,
            Category::Syntax if error.to_string().starts_with("recursion limit exceeded") => {
                Self::TooDeep { limit: DEEPEST_JSON }
            }
            Category::Syntax | Category::Io => Self::Syntax(Box::new(error)),
        }
    }
}

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

/// A mill that cannot be built: found before any data is read.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Order { id: u32 }
/// # #[derive(StreamRecord)] struct Line { order: u32 }
/// fn total(order: &Order, lines: &Joined<Order, Line>) {}
///
/// let error = Mill::new(total).explain().unwrap_err();
/// assert_eq!(error.function, "total");
/// assert_eq!(
///     error.to_string(),
///     "the mill of `total` cannot be built: argument 2, `&Joined<Order, Line>`, has no join from `Order` to `Line`; \
///      add `.join(JoinWith::new(Order::fields().., Line::fields()..))`"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mill of `{function}` cannot be built: {}", what_and_fix(.problem, .fix))]
pub struct BuildError {
    /// The name of the function.
    pub function: String,
    /// What is wrong.
    pub problem: Box<BuildProblem>,
    /// What to do.
    pub fix: String,
}

fn what_and_fix(problem: &BuildProblem, fix: &str) -> String {
    match problem {
        // Each says what to do about it.
        BuildProblem::Setting(mistakes) if mistakes.len() > 1 => problem.to_string(),
        _ => format!("{problem}; {fix}"),
    }
}

/// What is wrong with a mill.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::BuildProblem;
///
/// # #[derive(StreamRecord)] struct Order { id: u32 }
/// # #[derive(StreamRecord)] struct Line { order: u32 }
/// let no_value = Mill::new(|_: &Order, _: Inject<f64>| ()).explain().unwrap_err();
/// assert!(matches!(*no_value.problem, BuildProblem::NotInjected { number: 2, .. }));
///
/// let no_window = Mill::new(|_: &[Order]| ()).explain().unwrap_err();
/// assert!(matches!(*no_window.problem, BuildProblem::Window { .. }));
///
/// let join = JoinWith::new(Order::fields().id, Line::fields().order);
/// let unused = Mill::new(|_: &Order| ()).join(join).explain().unwrap_err();
/// assert!(matches!(*unused.problem, BuildProblem::UnusedJoin { keep: "inner", .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildProblem {
    /// An argument asks for records that no join provides.
    #[error("argument {number}, `{argument}`, has no join from `{left}` to `{right}`")]
    NoJoin {
        /// The number of the argument, the master being 1.
        number: usize,
        /// Its type.
        argument: String,
        /// The left record.
        left: String,
        /// The right record.
        right: String,
    },
    /// An inner or left join that no argument looks at.
    #[error("no argument looks at the {keep} join from `{left}` to `{right}`")]
    UnusedJoin {
        /// `inner` or `left`.
        keep: &'static str,
        /// The left record.
        left: String,
        /// The right record.
        right: String,
    },
    /// Two joins that cannot be told apart.
    #[error("two joins read `{right}` joined to `{left}`, and nothing tells them apart")]
    AmbiguousJoin {
        /// The left record.
        left: String,
        /// The right record.
        right: String,
    },
    /// A join whose left side is neither the master nor joined above.
    #[error(
        "the join from `{left}` to `{right}` hangs in the air: `{left}` is neither the master nor joined above it"
    )]
    LooseJoin {
        /// The left record.
        left: String,
        /// The right record.
        right: String,
    },
    /// A record type that would be in the tree twice.
    #[error("`{record}` would be in the join tree twice")]
    Loop {
        /// The record.
        record: String,
    },
    /// A stream that no broker reads.
    #[error("no broker reads the stream `{stream}`")]
    NoInput {
        /// The stream.
        stream: String,
    },
    /// A stream that a test feeds, and that the mill does not have.
    #[error("it has no stream `{stream}` that could be fed")]
    NoStream {
        /// The stream.
        stream: String,
    },
    /// A result stream that no broker writes.
    #[error("no broker writes the results `{record}`")]
    NoOutput {
        /// The record.
        record: String,
    },
    /// A stream that is to be sorted back by `reorder_within`, and has no order or several.
    #[error("the records of `{stream}` cannot be sorted back: {why}")]
    Order {
        /// The stream.
        stream: String,
        /// Why not.
        why: String,
    },
    /// Bad records are to be put aside, and there is no place for them.
    #[error("records of `{stream}` are to be put aside as dead letters, and no broker writes `DeadLetter`")]
    NoLetters {
        /// The stream.
        stream: String,
    },
    /// Bad records are to be put aside, and the function writes dead letters of its own.
    #[error(
        "records of `{stream}` are to be put aside as dead letters, and the function writes `DeadLetter` itself"
    )]
    OwnLetters {
        /// The stream.
        stream: String,
    },
    /// A stream that is declared several times.
    #[error("the stream `{stream}` is declared twice")]
    DeclaredTwice {
        /// The stream.
        stream: String,
    },
    /// Two arguments (or an argument and the return type) that ask for the same thing.
    #[error("argument {number}, `{argument}`, asks for what the function has already")]
    ArgumentTwice {
        /// The number of the argument, the master being 1.
        number: usize,
        /// Its type.
        argument: String,
    },
    /// A value that was not injected.
    #[error("argument {number}, `{argument}`, was given no value")]
    NotInjected {
        /// The number of the argument, the master being 1.
        number: usize,
        /// Its type.
        argument: String,
    },
    /// `Meta<M>` of a record that is not the master.
    #[error(
        "argument {number}, `{argument}`, asks about a stream that is not the master, which is `{master}`"
    )]
    MetaOfOther {
        /// The number of the argument, the master being 1.
        number: usize,
        /// Its type.
        argument: String,
        /// The master.
        master: String,
    },
    /// A function over a window without a window, or the other way round.
    #[error("the function takes {takes}, but {has}")]
    Window {
        /// What the function takes.
        takes: String,
        /// What the mill has.
        has: &'static str,
    },
    /// Settings that cannot be: all of them, those of the mill before those of its joins.
    #[error("{}", listed(.0))]
    Setting(Vec<Mistake>),
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
        "the key `{expression}` panicked at a record in stream `{stream}` at {place}; mend the key, or let it be `None` for such records, which matches nothing"
    )]
    KeyPanicked {
        /// The stream, by its record type and name.
        stream: String,
        /// Where the record stands.
        place: RecordPlace,
        /// The key expression.
        expression: String,
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
