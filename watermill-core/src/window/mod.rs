//! Windows: several masters in one call.
//!
//! | file | holds |
//! |---|---|
//! | `by_key.rs`, `count.rs`, `relaxed.rs` | windows that are no windows of time, and how they are declared |
//! | `time.rs` | [`TimeWindow`]: windows of time, by event time and by arrival |
//! | `fixed.rs`, `session.rs`, `sliding.rs` | their rules |
//! | `emitter.rs` | [`WindowEmitter`]: windows of the user's own |
//! | `rule.rs` | what the walk asks of a window |
//! | `info.rs` | [`WindowInfo`] |

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::error::Mistake;
use crate::record::StreamRecord;

mod by_key;
mod count;
mod emitter;
mod fixed;
mod info;
mod relaxed;
mod rule;
mod session;
mod sliding;
mod time;

pub(crate) use emitter::AnyEmitter;
pub(crate) use emitter::WakeUp;
pub use emitter::{Buffer, Emit, Wake, WindowEmitter};
pub use info::{CloseReason, WindowInfo};
pub(crate) use rule::{AnySliding, AnyWindow, Coming, Entry, OpenWindow};
pub use time::TimeWindow;

use rule::WindowRule;

/// How masters are put together for a function that takes `&[M]`.
///
/// Only masters that the joins keep are in a window. An open window is emitted at the end of the stream.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { time: i64 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Minute { minute: i64, readings: usize }
///
/// fn minute(readings: &[Reading]) -> Minute {
///     Minute { minute: readings[0].time / 60, readings: readings.len() }
/// }
///
/// let minutes = Collected::<Minute>::new();
/// let readings = [0, 59, 60].map(|time| Reading { time });
/// Mill::new(minute)
///     .window(Window::by(Reading::fields().time / 60))
///     .run_blocking(MemoryBroker::new().read(Vec::from(readings)).write(&minutes))?;
/// assert_eq!(minutes.take(), [Minute { minute: 0, readings: 2 }, Minute { minute: 1, readings: 1 }]);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Window<M> {
    rule: Arc<dyn WindowRule<M>>,
    /// The rule with empty windows too, where there are such.
    empty: Option<Arc<dyn WindowRule<M>>>,
    /// For a window of a number of masters, how many.
    count: Option<usize>,
    pub(crate) text: String,
    pub(crate) mistakes: Vec<Mistake>,
    /// It does not work over joins.
    pub(crate) alone: bool,
    /// Its windows share their masters, so that calls are made one after the other.
    pub(crate) shared: bool,
    /// Nothing but their number closes its windows.
    fills: bool,
    /// Some of its windows may be empty.
    empties: bool,
}

impl<M: StreamRecord> Window<M> {
    fn of(rule: Arc<dyn WindowRule<M>>, text: String) -> Self {
        let mistakes = Vec::new();
        Self {
            rule,
            empty: None,
            count: None,
            text,
            mistakes,
            alone: false,
            shared: false,
            fills: false,
            empties: false,
        }
    }

    fn refuse(&mut self, problem: impl Into<String>, fix: impl Into<String>) {
        self.mistakes.push(Mistake::new(problem, fix));
    }

    /// As [`TimeWindow::with_empty`], for [`relaxed`](Window::relaxed) windows and for those that have their key already.
    ///
    /// Only windows of time can be empty: anything else is a [`BuildError`](crate::BuildError).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { time: i64 }
    /// let broker = || MemoryBroker::new().read(vec![Reading { time: 0 }, Reading { time: 150 }]);
    /// let mill = || Mill::new(|_: &[Reading]| ());
    /// let minutes = || Window::fixed(60).by(Reading::fields().time);
    /// assert_eq!(mill().window(minutes()).run_blocking(broker())?.calls, 2);
    /// assert_eq!(mill().window(minutes().with_empty()).run_blocking(broker())?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn with_empty(mut self) -> Self {
        match self.empty.take() {
            Some(rule) => {
                self.rule = rule;
                self.empties = true;
                self.text.push_str(", also empty");
            }
            None => self.refuse(
                format!(
                    "`.with_empty()` was called on a {}, but only windows of time can be empty",
                    self.text
                ),
                "leave out `.with_empty()`",
            ),
        }
        self
    }

    /// Of how many masters lots are with which several runs can share a stream, each making windows of its own; `None` where the windows need all of it: they go by a key, share masters, or some
    /// of them are empty.
    pub(crate) fn lot(&self) -> Option<usize> {
        let alone = !self.shared && !self.empties && self.rule.check().is_none();
        alone.then(|| self.count.filter(|_| self.fills).unwrap_or(1))
    }

    /// What of the mill does not go with the window: its joins, several calls at a time, calls that are given up while they hold their arguments.
    pub(crate) fn misfits(&self, joined: bool, several: bool, cut_short: bool) -> Vec<Mistake> {
        let mut misfits = Vec::new();
        let text = &self.text;
        if self.alone && joined {
            misfits.push(Mistake::new(
                format!("the {text} goes by when masters arrive, which says nothing of when their joins are complete"),
                "over joins, let windows of time go by a key, `.by(..)`, or be of a number of masters, `Window::count(..)`",
            ));
        }
        if self.shared && several {
            misfits.push(Mistake::new(
                format!("each {text} shares masters with others, so calls are made one after the other"),
                "leave out `.workers(..)` and `.in_flight(..)`",
            ));
        }
        if self.shared && cut_short {
            misfits.push(Mistake::new(
                format!("each {text} shares masters with others, and a call that is not async cannot give them back"),
                "leave out `.timeout(..)`, or make the function async",
            ));
        }
        misfits
    }

    pub(crate) fn open(&self) -> OpenWindow {
        self.rule.open()
    }

    /// The check of the window's key, a `Box<dyn RoleCheck<M>>`.
    pub(crate) fn check(&self) -> Option<Box<dyn Any + Send>> {
        self.rule.check().map(|check| Box::new(check) as Box<dyn Any + Send>)
    }
}

impl<M> fmt::Debug for Window<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What [`Mill::window`](crate::Mill::window) takes: a [`Window`], or a [`TimeWindow`] of a `Duration`, which goes by arrival.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::time::Duration;
/// use watermill::prelude::*;
/// use watermill::window::IntoWindow;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Reading { time: i64 }
///
/// fn explained(window: impl IntoWindow<Reading>) -> Result<String, watermill::BuildError> {
///     Mill::new(|_: &[Reading]| ()).window(window).explain()
/// }
///
/// assert!(explained(Window::count(10))?.contains("window of 10"));
/// assert!(explained(Window::fixed(Duration::from_secs(60)))?.contains("fixed window of 60s by arrival"));
/// # Ok::<(), watermill::BuildError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no window of `{M}` yet",
    label = "not a window over `{M}`",
    note = "a window whose size is in units of a key needs to know the key: `Window::fixed(60).by(Reading::fields().time)`",
    note = "a window by arrival has a size of std's `Duration`: `Window::fixed(Duration::from_secs(60))`",
    note = "the window has to be of the master, the first parameter of the function"
)]
pub trait IntoWindow<M> {
    /// The window.
    fn into_window(self) -> Window<M>;
}

impl<M> IntoWindow<M> for Window<M> {
    fn into_window(self) -> Window<M> {
        self
    }
}
