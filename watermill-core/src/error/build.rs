//! A mill that cannot be built.

use super::Mistake;
use crate::mistake::listed;

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
