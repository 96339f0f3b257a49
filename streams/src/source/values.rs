//! Asynchronous streams of values as sources.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_core::Stream as Values;
use serde::Serialize;
use serde::de::DeserializeOwned;
use watermill_core::error::BoxError;

use super::{Intake, Source};
use crate::error::StreamsError;

/// Values that are there at once are appended together, but no more than so many.
const MANY: usize = 1000;

/// A source that appends what an asynchronous stream yields, such as the receiver of a channel. It knows no places: after a restart of the process it appends what comes then.
///
/// Attached within a tokio runtime it is polled in that one, else in one of its own that knows time, but no network. When the stream has ended so has the source, and a failure to append
/// loses what was just taken out of it.
///
/// ```
/// use std::pin::Pin;
/// use std::task::{Context, Poll};
///
/// use futures_core::Stream as Values;
/// use watermill_core::record::Json;
/// use watermill_streams::Streams;
/// use watermill_streams::source::from_values;
///
/// /// Three, two, one.
/// struct Countdown(u8);
///
/// impl Values for Countdown {
///     type Item = Json;
///
///     fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Json>> {
///         let left = self.0;
///         self.0 = left.saturating_sub(1);
///         Poll::Ready((left > 0).then(|| Json(left.into())))
///     }
/// }
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// numbers.attach("countdown", from_values(Countdown(3)))?.wait()?;
/// assert_eq!(numbers.len()?, 3);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
pub fn from_values<S>(values: S) -> FromValues<S> {
    FromValues { values: Box::pin(values) }
}

/// An asynchronous stream as a source, from [`from_values`].
///
/// ```
/// use watermill_streams::source::{FromValues, from_values};
///
/// fn source<S>(values: S) -> FromValues<S> {
///     from_values(values)
/// }
/// ```
#[derive(Debug)]
pub struct FromValues<S> {
    values: Pin<Box<S>>,
}

impl<T, S> Source<T> for FromValues<S>
where
    T: Serialize,
    S: Values<Item = T> + Send + 'static,
{
    fn stream(&mut self, intake: &mut Intake<T>) -> Result<(), BoxError> {
        loop {
            let come = next(&mut self.values, intake)?;
            intake.append_all(&come.values)?;
            if come.over {
                return Ok(());
            }
        }
    }
}

/// A source that appends what an asynchronous stream yields, which is made anew at the place where the source stood: `make` is given the place behind the last value that was appended, and
/// each value comes with the place behind it.
///
/// ```
/// use std::pin::Pin;
/// use std::task::{Context, Poll};
///
/// use futures_core::Stream as Values;
/// use watermill_core::record::Json;
/// use watermill_streams::Streams;
/// use watermill_streams::source::from_positions;
///
/// /// The numbers up to ten, with their places.
/// struct Numbers(u64);
///
/// impl Values for Numbers {
///     type Item = Result<(Json, u64), std::io::Error>;
///
///     fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
///         self.0 += 1;
///         let number = self.0;
///         Poll::Ready((number <= 10).then(|| Ok((Json(number.into()), number))))
///     }
/// }
///
/// let numbers = Streams::open("memory:")?.get("numbers")?;
/// for _ in 0..2 {
///     let source = from_positions(|after: Option<u64>| Numbers(after.unwrap_or(0)));
///     numbers.attach("numbers", source)?.wait()?;
/// }
/// assert_eq!(numbers.len()?, 10);
/// # Ok::<(), watermill_streams::StreamsError>(())
/// ```
pub fn from_positions<P, S, F>(make: F) -> FromPositions<P, S, F>
where
    F: FnMut(Option<P>) -> S,
{
    FromPositions { make, made: PhantomData }
}

/// Asynchronous streams that go on at a place as a source, from [`from_positions`].
///
/// ```
/// use watermill_streams::source::{FromPositions, from_positions};
///
/// fn source<S, F: FnMut(Option<u64>) -> S>(make: F) -> FromPositions<u64, S, F> {
///     from_positions(make)
/// }
/// ```
#[derive(Debug)]
pub struct FromPositions<P, S, F> {
    make: F,
    made: PhantomData<fn(P) -> S>,
}

impl<T, P, S, E, F> Source<T> for FromPositions<P, S, F>
where
    T: Serialize,
    P: Serialize + DeserializeOwned + 'static,
    E: Into<BoxError>,
    S: Values<Item = Result<(T, P), E>> + Send + 'static,
    F: FnMut(Option<P>) -> S + Send + 'static,
{
    fn stream(&mut self, intake: &mut Intake<T>) -> Result<(), BoxError> {
        let mut values = Box::pin((self.make)(intake.position()?));
        loop {
            let come = next(&mut values, intake)?;
            let (mut messages, mut place, mut failed) = (Vec::new(), None, None);
            for value in come.values {
                match value {
                    Ok((message, behind)) => {
                        messages.push(message);
                        place = Some(behind);
                    }
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            if let Some(place) = place {
                intake.append_at(&messages, &place)?;
            }
            if let Some(error) = failed {
                return Err(error.into());
            }
            if come.over {
                return Ok(());
            }
        }
    }
}

/// What a stream has yielded.
struct Come<V> {
    values: Vec<V>,
    /// No more come, or none are wanted.
    over: bool,
}

/// Waits for values, and takes those that are there.
fn next<T, S: Values>(values: &mut Pin<Box<S>>, intake: &Intake<T>) -> Result<Come<S::Item>, StreamsError> {
    let stop = &intake.told().stop;
    let all = async {
        let mut asked = pin!(stop.asked());
        let mut come = Come { values: Vec::new(), over: false };
        poll_fn(|context| {
            if asked.as_mut().poll(context).is_ready() {
                come.over = true;
                return Poll::Ready(());
            }
            loop {
                match values.as_mut().poll_next(context) {
                    Poll::Ready(Some(value)) => {
                        come.values.push(value);
                        if come.values.len() == MANY {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(None) => {
                        come.over = true;
                        return Poll::Ready(());
                    }
                    Poll::Pending if come.values.is_empty() => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
        come
    };
    if let Some(runtime) = intake.runtime() {
        return Ok(runtime.block_on(all));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|cause| StreamsError::storage("a source", "make its runtime", cause))?;
    Ok(runtime.block_on(all))
}
