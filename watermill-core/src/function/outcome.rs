//! What a function may return.

use super::out::{NoResult, Out};
use crate::error::BoxError;
use crate::record::StreamRecord;

/// A result that may also end the stream.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Number { value: i64 }
///
/// fn until_zero(number: &Number) -> Flow<Number> {
///     if number.value == 0 { Flow::End } else { Flow::Go(Number { value: number.value }) }
/// }
///
/// let kept = Collected::<Number>::new();
/// let numbers = [1, 2, 0, 3].map(|value| Number { value });
/// Mill::new(until_zero).run_blocking(MemoryBroker::new().read(Vec::from(numbers)).write(&kept))?;
/// assert_eq!(kept.take(), [Number { value: 1 }, Number { value: 2 }]);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow<O> {
    /// Write this and go on.
    Go(O),
    /// Write this, then end the stream.
    Last(O),
    /// End the stream.
    End,
}

/// Whether the mill goes on after a call.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It does.
    Go,
    /// The function has ended the stream.
    End,
}

/// A return type: `R`, `()`, `Option<R>`, `Vec<R>`, and `Result<_, E>` or `Flow<_>` of any of these.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Line { text: String }
/// #[derive(StreamRecord)]
/// struct Number { value: i64 }
///
/// /// Nothing for an empty line; an error stops the run.
/// fn parse(line: &Line) -> Result<Option<Number>, std::num::ParseIntError> {
///     if line.text.is_empty() {
///         return Ok(None);
///     }
///     Ok(Some(Number { value: line.text.parse()? }))
/// }
///
/// let lines = |texts: [&str; 3]| texts.map(|text| Line { text: text.to_owned() }).into();
/// let numbers = Collected::<Number>::new();
/// let broker = |texts| MemoryBroker::new().read::<Line>(lines(texts)).write(&numbers);
/// assert_eq!(Mill::new(parse).run_blocking(broker(["1", "", "2"]))?.results, 2);
/// assert!(Mill::new(parse).run_blocking(broker(["1", "two", "3"])).is_err());
/// # Ok::<(), watermill::RunError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a mill's function cannot return `{Self}`",
    label = "cannot be returned",
    note = "return a record, `()`, `Option<R>`, `Vec<R>`, or a `Result<_, E>` or `Flow<_>` of these; add `#[derive(StreamRecord)]` if it is a record",
    note = "to write any number of results, or several result streams, take `&mut Out<R>`",
    note = "an `async fn` goes into `Mill::new_async`"
)]
pub trait Outcome: 'static {
    /// The record type of the result stream; none for `()`.
    type Record: StreamRecord;
    /// Whether there is a result stream.
    #[doc(hidden)]
    const WRITES: bool = true;

    #[doc(hidden)]
    fn deliver(self, out: &mut Out<Self::Record>) -> Result<Control, BoxError>;
}

impl<R: StreamRecord> Outcome for R {
    type Record = R;

    fn deliver(self, out: &mut Out<R>) -> Result<Control, BoxError> {
        out.push(self);
        Ok(Control::Go)
    }
}

impl Outcome for () {
    type Record = NoResult;
    const WRITES: bool = false;

    fn deliver(self, _: &mut Out<NoResult>) -> Result<Control, BoxError> {
        Ok(Control::Go)
    }
}

impl<R: StreamRecord> Outcome for Option<R> {
    type Record = R;

    fn deliver(self, out: &mut Out<R>) -> Result<Control, BoxError> {
        out.extend(self);
        Ok(Control::Go)
    }
}

impl<R: StreamRecord> Outcome for Vec<R> {
    type Record = R;

    fn deliver(self, out: &mut Out<R>) -> Result<Control, BoxError> {
        out.extend(self);
        Ok(Control::Go)
    }
}

impl<O: Outcome, E: Into<BoxError> + 'static> Outcome for Result<O, E> {
    type Record = O::Record;
    const WRITES: bool = O::WRITES;

    fn deliver(self, out: &mut Out<O::Record>) -> Result<Control, BoxError> {
        self.map_err(Into::into)?.deliver(out)
    }
}

impl<O: Outcome> Outcome for Flow<O> {
    type Record = O::Record;
    const WRITES: bool = O::WRITES;

    fn deliver(self, out: &mut Out<O::Record>) -> Result<Control, BoxError> {
        match self {
            Self::Go(outcome) => outcome.deliver(out),
            Self::Last(outcome) => {
                outcome.deliver(out)?;
                Ok(Control::End)
            }
            Self::End => Ok(Control::End),
        }
    }
}
