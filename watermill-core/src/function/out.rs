//! Results: what a function writes, and how it reaches a sink.

use std::any::Any;
use std::fmt;

use crate::broker::feed::{MakeCollect, make_collect};
use crate::broker::{AnySink, BoxFuture, Refused, Sink};
use crate::error::BrokerError;
use crate::key::Place;
use crate::record::{RecordType, StreamRecord};

/// A result stream that a function writes to, taken as `&mut Out<R>`.
///
/// Any number of results a call, none included. Several result streams are several `Out`s of different types. The results of
/// a call that fails are dropped with it.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Line { text: String }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Word { text: String }
///
/// fn words(line: &Line, out: &mut Out<Word>) {
///     out.extend(line.text.split(' ').map(|word| Word { text: word.to_owned() }));
///     if line.text.ends_with("end") {
///         out.end();
///     }
/// }
///
/// let lines = ["to the end", "never read"].map(|text| Line { text: text.to_owned() });
/// let words_read = Collected::<Word>::new();
/// Mill::new(words).run_blocking(MemoryBroker::new().read(Vec::from(lines)).write(&words_read))?;
/// assert_eq!(words_read.take().len(), 3);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Out<R> {
    results: Vec<R>,
    /// How many results there were when the current call began.
    mark: usize,
    ended: bool,
    /// Whether the stream had ended when the current call began.
    ended_before: bool,
    /// Results written after the end: an error of the function.
    late: bool,
}

impl<R> Out<R> {
    pub(crate) const fn new() -> Self {
        Self { results: Vec::new(), mark: 0, ended: false, ended_before: false, late: false }
    }

    /// Writes a result.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Divisor { value: u64 }
    ///
    /// fn divisors(number: &Number, out: &mut Out<Divisor>) {
    ///     for value in (1..=number.value).filter(|value| number.value % value == 0) {
    ///         out.push(Divisor { value });
    ///     }
    /// }
    /// # let found = Collected::<Divisor>::new();
    /// # Mill::new(divisors).run_blocking(MemoryBroker::new().read(vec![Number { value: 4 }]).write(&found))?;
    /// assert_eq!(found.take(), [1, 2, 4].map(|value| Divisor { value }));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn push(&mut self, result: R) {
        if self.ended {
            self.late = true;
        } else {
            self.results.push(result);
        }
    }

    /// Ends this result stream: it gets its EndOfStream, and to write to it afterwards is an error of the function. When all
    /// result streams of a mill have ended, the mill ends.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Number { value: u64 }
    /// # #[derive(StreamRecord)] struct Kept { value: u64 }
    /// fn until_zero(number: &Number, out: &mut Out<Kept>) {
    ///     match number.value {
    ///         0 => out.end(),
    ///         value => out.push(Kept { value }),
    ///     }
    /// }
    /// # let kept = Collected::<Kept>::new();
    /// # let numbers = [1, 0, 2].map(|value| Number { value });
    /// # let broker = MemoryBroker::new().read(Vec::from(numbers)).write(&kept);
    /// // Of the numbers 1, 0 and 2.
    /// let report = Mill::new(until_zero).run_blocking(broker)?;
    /// assert_eq!((report.calls, report.results), (2, 1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Remembers where a call begins.
    pub(crate) fn begin(&mut self) {
        self.mark = self.results.len();
        self.ended_before = self.ended;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn wrote_late(&self) -> bool {
        self.late
    }
}

impl<R> Extend<R> for Out<R> {
    fn extend<T: IntoIterator<Item = R>>(&mut self, results: T) {
        for result in results {
            self.push(result);
        }
    }
}

/// What the engine does with an `Out` whose type it does not know.
pub(crate) trait AnyOut: Any + Send {
    /// The stream was ended by an earlier run.
    fn set_ended(&mut self);
    fn roll_back(&mut self);
    fn has_ended(&self) -> bool;
    fn wrote_late(&self) -> bool;
    /// How many results wait in it.
    fn len(&self) -> usize;
    /// How many of them the last call wrote.
    fn of_last_call(&self) -> usize;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<R: StreamRecord> AnyOut for Out<R> {
    fn set_ended(&mut self) {
        self.ended = true;
    }

    fn roll_back(&mut self) {
        self.results.truncate(self.mark);
        self.ended = self.ended_before;
        self.late = false;
    }

    fn has_ended(&self) -> bool {
        Out::has_ended(self)
    }

    fn wrote_late(&self) -> bool {
        Out::wrote_late(self)
    }

    fn len(&self) -> usize {
        self.results.len()
    }

    fn of_last_call(&self) -> usize {
        self.results.len().saturating_sub(self.mark)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// The engine's end of a result stream: collects what calls wrote and hands it to the sink.
pub(crate) trait AnyOutlet: Send {
    /// Takes the results that `out` holds.
    fn collect(&mut self, out: &mut dyn AnyOut);
    /// How many results wait for the sink.
    fn waiting(&self) -> usize;
    /// How many results were collected in all.
    fn total(&self) -> u64;
    /// Hands what waits to the sink.
    fn flush(&mut self) -> BoxFuture<'_, Result<(), BrokerError>>;
    /// What the sink has left out since this was asked last.
    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>>;
}

struct Outlet<R> {
    sink: Box<dyn Sink<R>>,
    waiting: Vec<R>,
    total: u64,
}

impl<R: StreamRecord> AnyOutlet for Outlet<R> {
    fn collect(&mut self, out: &mut dyn AnyOut) {
        let Some(out) = out.as_any().downcast_mut::<Out<R>>() else { return };
        self.total += out.results.len() as u64;
        if self.waiting.is_empty() {
            let capacity = out.results.len();
            self.waiting = std::mem::replace(&mut out.results, Vec::with_capacity(capacity));
        } else {
            self.waiting.append(&mut out.results);
        }
        out.mark = 0;
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.sink.write(std::mem::take(&mut self.waiting))
    }

    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>> {
        self.sink.refused()
    }
}

/// A result stream in a function's specification.
#[derive(Clone, Copy)]
pub(crate) struct PortSpec {
    pub(crate) record: RecordType,
    /// Makes the engine's end of it from a sink of the right type.
    pub(crate) outlet: fn(AnySink) -> Option<Box<dyn AnyOutlet>>,
    /// Makes a sink that keeps everything, for the test driver.
    pub(crate) collect: MakeCollect,
}

impl PortSpec {
    pub(crate) fn of<R: StreamRecord>() -> Self {
        Self {
            record: RecordType::of::<R>(),
            outlet: |sink| {
                let sink = sink.typed::<R>()?;
                Some(Box::new(Outlet { sink, waiting: Vec::new(), total: 0 }))
            },
            collect: make_collect::<R>,
        }
    }
}

/// The record type of a function that returns nothing. It has no values.
pub enum NoResult {}

impl StreamRecord for NoResult {
    const NAME: &'static str = "()";
    type Fields<P: Place<Value = Self>> = ();

    fn fields_below<P: Place<Value = Self>>() -> &'static () {
        &()
    }
}

impl fmt::Debug for NoResult {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
