//! What a run came to.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::last_call::CallReport;

/// What a run came to: the accounting of every stream, its results, and why it ended.
///
/// For every input, `records = matched + unmatched + skipped + dead_lettered + pending`.
/// The counts are those of this run, also where it went on with an earlier one. Where it went back to its last commit
/// ([`Mill::restart`](crate::Mill::restart)), the inputs are counted from there on, and all else from the beginning.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::EndReason;
///
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
/// let report = Mill::new(|_: &Reading| ()).run_blocking(broker)?;
/// assert_eq!((report.calls, report.inputs[0].matched), (1, 1));
/// assert_eq!(report.end, EndReason::InputEnded { stream: "Reading".to_owned(), marked: false });
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The name of the function.
    pub function: String,
    /// The inputs, master first.
    pub inputs: Vec<InputReport>,
    /// The result streams: what the function returns first, then its `Out`s.
    pub outputs: Vec<OutputReport>,
    /// How many results were written, over all result streams.
    pub results: u64,
    /// How often the function was called, attempts that failed and were made again not counted.
    pub calls: u64,
    /// How many attempts were made again: see [`OnError::retry`](crate::OnError::retry).
    #[serde(default)]
    pub retries: u64,
    /// How many calls failed for good and were left out: see [`OnError::skip`](crate::OnError::skip).
    #[serde(default)]
    pub given_up: u64,
    /// How many commits were made.
    #[serde(default)]
    pub commits: u64,
    /// How long the run took.
    pub elapsed: Duration,
    /// Why it ended.
    pub end: EndReason,
    /// What the last call was given, with [`Mill::checkpoint`](crate::Mill::checkpoint).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_call: Option<CallReport>,
}

impl RunReport {
    /// The report of a lane that an earlier run has ended.
    /// Nothing was done, because of `end`.
    pub(crate) fn of_nothing(function: &str, end: EndReason) -> Self {
        Self {
            function: function.to_owned(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            results: 0,
            calls: 0,
            retries: 0,
            given_up: 0,
            commits: 0,
            elapsed: Duration::ZERO,
            end,
            last_call: None,
        }
    }

    /// Adds the report of another lane of the same mill, or of the same lane after it went back to its last commit.
    pub(crate) fn add(&mut self, other: Self) {
        if self.end.rank() <= other.end.rank() {
            self.end = other.end;
        }
        if self.inputs.is_empty() {
            self.inputs = other.inputs;
        } else {
            self.add_inputs(other.inputs);
        }
        if self.outputs.is_empty() {
            self.outputs = other.outputs;
        } else {
            for (output, more) in self.outputs.iter_mut().zip(other.outputs) {
                output.records += more.records;
                output.refused += more.refused;
            }
        }
        self.results += other.results;
        self.calls += other.calls;
        self.retries += other.retries;
        self.given_up += other.given_up;
        self.commits += other.commits;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.last_call = other.last_call.or(self.last_call.take());
    }

    fn add_inputs(&mut self, others: Vec<InputReport>) {
        for (input, more) in self.inputs.iter_mut().zip(others) {
            input.records += more.records;
            input.matched += more.matched;
            input.unmatched += more.unmatched;
            input.skipped += more.skipped;
            input.dead_lettered += more.dead_lettered;
            input.pending += more.pending;
            input.late += more.late;
        }
    }
}

/// The accounting of one input.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Order { id: u32 }
/// #[derive(StreamRecord)]
/// struct Line { order: u32 }
///
/// let broker = MemoryBroker::new()
///     .read([1, 2, 3].map(|id| Order { id }).into())
///     .read([1, 1, 3].map(|order| Line { order }).into());
/// let report = Mill::new(|_: &Order, _: &Joined<Order, Line>| ())
///     .join(JoinWith::new(Order::fields().id, Line::fields().order))
///     .run_blocking(broker)?;
/// let orders = &report.inputs[0];
/// assert_eq!((orders.stream.as_str(), orders.records), ("Order", 3));
/// assert_eq!((orders.matched, orders.unmatched, orders.skipped, orders.pending), (2, 1, 0, 0));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InputReport {
    /// The stream, by its record type and name.
    pub stream: String,
    /// Records read.
    pub records: u64,
    /// Records that took part in at least one call.
    pub matched: u64,
    /// Records that took part in none, and never will.
    pub unmatched: u64,
    /// Bad records that were left out.
    pub skipped: u64,
    /// Bad records that were put aside.
    pub dead_lettered: u64,
    /// Records held for a later call when the run stopped.
    pub pending: u64,
    /// Of the bad ones that were left out or put aside, those that came when a join with [`on_idle`](crate::JoinWith::on_idle) had gone on without them. They are
    /// counted as they come, before their letters are durable.
    #[serde(default)]
    pub late: u64,
}

/// One result stream.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Number { value: i64 }
/// #[derive(StreamRecord)]
/// struct Even { value: i64 }
///
/// let evens = Collected::<Even>::new();
/// let broker = MemoryBroker::new().read([1, 2, 3].map(|value| Number { value }).into()).write(&evens);
/// let even = |number: &Number| (number.value % 2 == 0).then_some(Even { value: number.value });
/// let report = Mill::new(even).run_blocking(broker)?;
/// assert_eq!((report.outputs[0].stream.as_str(), report.outputs[0].records), ("Even", 1));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputReport {
    /// The stream, by its record type.
    pub stream: String,
    /// Results written.
    pub records: u64,
    /// Results that could not be written and were left out: see [`Mill::on_refused`](crate::Mill::on_refused).
    #[serde(default)]
    pub refused: u64,
}

/// Why a run ended.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::EndReason;
///
/// #[derive(StreamRecord)]
/// struct Number { value: i64 }
///
/// let numbers = || MemoryBroker::new().read([1, 0, 2].map(|value| Number { value }).into());
/// let report = Mill::new(|_: &Number| ()).run_blocking(numbers())?;
/// assert!(matches!(report.end, EndReason::InputEnded { marked: false, .. }));
/// assert_eq!(report.end.to_string(), "end of Number");
///
/// let until_zero = |number: &Number| if number.value == 0 { Flow::End } else { Flow::Go(()) };
/// let report = Mill::new(until_zero).run_blocking(numbers())?;
/// assert_eq!((report.end, report.calls), (EndReason::Function, 2));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EndReason {
    /// An input ended, and nothing more could match.
    InputEnded {
        /// Which one.
        stream: String,
        /// By its EndOfStream mark, not by having no more records.
        marked: bool,
    },
    /// A stream has no more for this run, and the next run goes on from there: a broker was told to read only what is there.
    CurrentEnd {
        /// The one that was waited for.
        stream: String,
    },
    /// The function ended the stream.
    Function,
    /// The run was asked to stop.
    Stopped,
    /// A signal asked the program to end: [`Mill::stop_on_signals`](crate::Mill::stop_on_signals).
    Signal,
    /// No record came for as long as [`Mill::stop_when_idle`](crate::Mill::stop_when_idle) says.
    Idle,
    /// It ran for as long as [`Mill::stop_after`](crate::Mill::stop_after) says.
    Lifetime,
    /// It made as many commits as [`Mill::stop_after_commits`](crate::Mill::stop_after_commits) says.
    Commits,
    /// As many masters are done with as [`Mill::stop_after_records`](crate::Mill::stop_after_records) says.
    Records,
    /// An earlier run has come to the end; there was nothing to do.
    EndedBefore,
    /// All of its work went to other processes.
    Revoked,
}

impl EndReason {
    /// The lane has come to its end; otherwise a later run goes on with it.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::InputEnded { .. } | Self::Function | Self::EndedBefore)
    }

    /// Of the ends of several lanes, that of the highest rank tells best how the run ended.
    fn rank(&self) -> u8 {
        match self {
            Self::Revoked => 0,
            Self::EndedBefore => 1,
            Self::InputEnded { .. } => 2,
            Self::Function => 3,
            Self::CurrentEnd { .. } => 4,
            _ => 5,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputEnded { stream, marked: true } => write!(f, "EndOfStream of {stream}"),
            Self::InputEnded { stream, marked: false } => write!(f, "end of {stream}"),
            Self::CurrentEnd { stream } => write!(f, "the current end of {stream}"),
            Self::Function => f.write_str("ended by the function"),
            Self::Stopped => f.write_str("stopped"),
            Self::Signal => f.write_str("stopped by a signal"),
            Self::Idle => f.write_str("no record came for a while"),
            Self::Lifetime => f.write_str("its lifetime is over"),
            Self::Commits => f.write_str("as many commits as were asked for"),
            Self::Records => f.write_str("as many records as were asked for"),
            Self::EndedBefore => f.write_str("an earlier run has come to the end"),
            Self::Revoked => f.write_str("its work went to other processes"),
        }
    }
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let records: u64 = self.inputs.iter().map(|input| input.records).sum();
        let rate = if seconds > 0.0 { records as f64 / seconds } else { 0.0 };
        writeln!(
            f,
            "{}: {} calls, {} results in {seconds:.3} s ({rate:.0} records/s), {}",
            self.function, self.calls, self.results, self.end
        )?;
        if self.retries + self.given_up > 0 {
            writeln!(f, "  {} attempts repeated, {} calls given up", self.retries, self.given_up)?;
        }
        let width = self.inputs.iter().map(|input| input.stream.len()).max().unwrap_or(0).max(6);
        write!(
            f,
            "  {:width$}  {:>12} {:>12} {:>12} {:>9} {:>9} {:>9}",
            "stream", "records", "matched", "unmatched", "skipped", "dead", "pending"
        )?;
        for input in &self.inputs {
            write!(
                f,
                "\n  {:width$}  {:>12} {:>12} {:>12} {:>9} {:>9} {:>9}",
                input.stream,
                input.records,
                input.matched,
                input.unmatched,
                input.skipped,
                input.dead_lettered,
                input.pending
            )?;
            if input.late > 0 {
                write!(f, ", {} of the bad ones late", input.late)?;
            }
        }
        for output in &self.outputs {
            write!(f, "\n  -> {}: {} results", output.stream, output.records)?;
            if output.refused > 0 {
                write!(f, ", {} refused", output.refused)?;
            }
        }
        if let Some(call) = &self.last_call {
            write!(f, "\n  last call: {call}")?;
        }
        Ok(())
    }
}
