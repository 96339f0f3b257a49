//! What a function can learn of its window.

use std::any::Any;
use std::fmt;

/// Why a window closed.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::window::CloseReason;
///
/// #[derive(StreamRecord)]
/// struct Sample { minute: i64 }
///
/// /// Writes nothing for a minute that may not be complete.
/// fn complete(samples: &[Sample], info: &WindowInfo) -> Option<Json> {
///     match info.reason() {
///         CloseReason::KeyChanged => Some(Json(samples.len().into())),
///         CloseReason::EndOfStream => None,
///         other => unreachable!("{other:?}: this window is not one of a number of masters"),
///     }
/// }
///
/// let counts = Collected::<Json>::new();
/// let samples = [1, 1, 2].map(|minute| Sample { minute });
/// let broker = MemoryBroker::new().read(Vec::from(samples)).write(&counts);
/// Mill::new(complete).window(Window::by(Sample::fields().minute)).run_blocking(broker)?;
/// assert_eq!(counts.take(), [Json(2.into())]);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The next master has another window key.
    KeyChanged,
    /// It holds as many masters as it can.
    Full,
    /// Its time is over.
    TimeUp,
    /// Nothing has come for as long as its gap.
    Idle,
    /// Its [emitter](crate::window::WindowEmitter) has chosen its masters.
    Chosen,
    /// There are no more masters.
    EndOfStream,
}

/// The window of a call: how many windows there were before, its bounds, and why it closed. Taken as `&WindowInfo`.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::window::CloseReason;
///
/// #[derive(StreamRecord)]
/// struct Reading { time: i64 }
///
/// fn pair(readings: &[Reading], info: &WindowInfo) {
///     let full = info.reason() == CloseReason::Full;
///     assert_eq!((readings.len(), full), if info.index() == 0 { (2, true) } else { (1, false) });
/// }
///
/// let readings = [0, 1, 2].map(|time| Reading { time });
/// let broker = MemoryBroker::new().read(Vec::from(readings));
/// assert_eq!(Mill::new(pair).window(Window::count(2)).run_blocking(broker)?.calls, 2);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct WindowInfo {
    index: u64,
    reason: CloseReason,
    bounds: Option<Box<dyn AnyBounds>>,
}

impl WindowInfo {
    pub(crate) fn new() -> Self {
        Self { index: 0, reason: CloseReason::EndOfStream, bounds: None }
    }

    pub(crate) fn set(&mut self, index: u64, reason: CloseReason) {
        (self.index, self.reason) = (index, reason);
    }

    /// Sets the bounds; memory is taken only the first time.
    pub(crate) fn set_bounds<T: Clone + fmt::Debug + Send + Sync + 'static>(
        &mut self,
        start: Option<T>,
        end: Option<T>,
    ) {
        let known = self.bounds.as_mut().and_then(|bounds| bounds.as_any_mut().downcast_mut::<Bounds<T>>());
        match known {
            Some(bounds) => *bounds = Bounds { start, end },
            None => self.bounds = Some(Box::new(Bounds { start, end })),
        }
    }

    /// The number of this window on its lane in this run, from 0.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sample { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..6).map(|value| Sample { value }).collect());
    /// let mill = Mill::new(|samples: &[Sample], info: &WindowInfo| assert_eq!(samples[0].value, info.index() * 2));
    /// assert_eq!(mill.window(Window::count(2)).run_blocking(broker)?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Why it closed.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # use watermill::window::CloseReason;
    /// # #[derive(StreamRecord)] struct Sample { value: u64 }
    /// # let broker = MemoryBroker::new().read((0..3).map(|value| Sample { value }).collect());
    /// let mill = Mill::new(|samples: &[Sample], info: &WindowInfo| {
    ///     assert_eq!(info.reason() == CloseReason::Full, samples.len() == 2);
    /// });
    /// assert_eq!(mill.window(Window::count(2)).run_blocking(broker)?.calls, 2);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn reason(&self) -> CloseReason {
        self.reason
    }

    /// Where the window begins, for windows of time: of the key's type by event time, a
    /// [`SystemTime`](std::time::SystemTime) by arrival. A session begins with its first master.
    ///
    /// `None` for other windows, for another type than that of the key, and where the start lies outside of the range of the type.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Reading { time: i64 }
    ///
    /// fn minute(_: &[Reading], info: &WindowInfo) {
    ///     assert_eq!((info.start::<i64>(), info.end::<i64>()), (Some(60), Some(120)));
    /// }
    ///
    /// let broker = MemoryBroker::new().read(vec![Reading { time: 65 }, Reading { time: 119 }]);
    /// Mill::new(minute).window(Window::fixed(60).by(Reading::fields().time)).run_blocking(broker)?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn start<T: Clone + 'static>(&self) -> Option<T> {
        self.bounds.as_ref()?.start()?.downcast_ref().cloned()
    }

    /// The first moment behind the window, as [`start`](WindowInfo::start). A session ends one gap behind its last master.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use std::time::{Duration, SystemTime};
    /// use watermill::prelude::*;
    /// use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Reading { celsius: f64 }
    ///
    /// fn minute(_: &[Reading], info: &WindowInfo) {
    ///     assert_eq!(info.end(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)));
    /// }
    ///
    /// let minutes = Window::fixed(Duration::from_secs(60));
    /// let mut test = TestMill::new(Mill::new(minute).window(minutes))?;
    /// test.feed(Reading { celsius: 20.0 });
    /// test.run()?;
    /// test.advance(Duration::from_secs(60));
    /// test.run()?;
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn end<T: Clone + 'static>(&self) -> Option<T> {
        self.bounds.as_ref()?.end()?.downcast_ref().cloned()
    }
}

impl Clone for WindowInfo {
    fn clone(&self) -> Self {
        let bounds = self.bounds.as_ref().map(|bounds| bounds.copy());
        Self { index: self.index, reason: self.reason, bounds }
    }
}

impl fmt::Debug for WindowInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut info = f.debug_struct("WindowInfo");
        info.field("index", &self.index).field("reason", &self.reason);
        if let Some(bounds) = &self.bounds {
            info.field("bounds", bounds);
        }
        info.finish()
    }
}

/// The bounds of a window, whatever their type.
trait AnyBounds: fmt::Debug + Send + Sync {
    fn start(&self) -> Option<&dyn Any>;
    fn end(&self) -> Option<&dyn Any>;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn copy(&self) -> Box<dyn AnyBounds>;
}

#[derive(Clone)]
struct Bounds<T> {
    start: Option<T>,
    end: Option<T>,
}

impl<T: fmt::Debug> fmt::Debug for Bounds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |bound: &Option<T>, f: &mut fmt::Formatter<'_>| match bound {
            Some(bound) => bound.fmt(f),
            None => Ok(()),
        };
        shown(&self.start, f)?;
        f.write_str("..")?;
        shown(&self.end, f)
    }
}

impl<T: Clone + fmt::Debug + Send + Sync + 'static> AnyBounds for Bounds<T> {
    fn start(&self) -> Option<&dyn Any> {
        self.start.as_ref().map(|start| start as &dyn Any)
    }

    fn end(&self) -> Option<&dyn Any> {
        self.end.as_ref().map(|end| end as &dyn Any)
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn copy(&self) -> Box<dyn AnyBounds> {
        Box::new(self.clone())
    }
}
