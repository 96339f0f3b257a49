//! Windows of a number of masters.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::rule::{AnyWindow, Coming, Entry, OpenWindow, WindowRule};
use super::{CloseReason, Window};
use crate::engine::RoleCheck;
use crate::record::StreamRecord;

impl<M: StreamRecord> Window<M> {
    /// A number of masters; only the last window may be smaller. Zero is a [`BuildError`](crate::BuildError).
    ///
    /// With [`or_after`](Window::or_after), a time after its first master at the latest.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Sample { sensor: u32 }
    /// # let samples = [7, 7, 3, 7, 3].map(|sensor| Sample { sensor });
    /// # let broker = MemoryBroker::new().read(Vec::from(samples));
    /// let mill = Mill::new(|samples: &[Sample]| assert!(samples.len() <= 2)).window(Window::count(2));
    /// // Of five masters.
    /// assert_eq!(mill.run_blocking(broker)?.calls, 3);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn count(masters: usize) -> Self {
        let mut window = Self::of(Arc::new(ByCount { masters, after: None }), format!("window of {masters}"));
        window.count = Some(masters);
        window.fills = true;
        if masters == 0 {
            window.refuse(
                "`Window::count(0)` is a window of 0 masters, which would never close",
                "call `Window::count(1)`, or with more",
            );
        }
        window
    }

    /// For [`count`](Window::count): the window also closes this long after its first master came in, by itself. It then goes by
    /// when masters arrive, and a run over the same input may put them together differently.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use std::time::Duration;
    /// use watermill::prelude::*;
    /// use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Reading { celsius: f64 }
    /// #[derive(StreamRecord, Debug, PartialEq)]
    /// struct Count { readings: usize }
    ///
    /// fn count(readings: &[Reading]) -> Count {
    ///     Count { readings: readings.len() }
    /// }
    ///
    /// let window = Window::count(3).or_after(Duration::from_secs(10));
    /// let mut test = TestMill::new(Mill::new(count).window(window))?;
    /// test.feed_all([20.0, 21.0, 22.0, 23.0].map(|celsius| Reading { celsius }));
    /// test.run()?;
    /// assert_eq!(test.results::<Count>(), [Count { readings: 3 }]);
    /// test.advance(Duration::from_secs(10));
    /// test.run()?;
    /// assert_eq!(test.results::<Count>(), [Count { readings: 1 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn or_after(mut self, time: Duration) -> Self {
        let Some(masters) = self.count else {
            self.refuse(
                format!("`.or_after({time:?})` was called on a {}", self.text),
                "call it on a `Window::count(..)`, or leave it out",
            );
            return self;
        };
        if time.is_zero() {
            self.refuse(
                "`.or_after(0ns)` would make every window one of a single master",
                "give it more time, or call `Window::count(1)`",
            );
        }
        self.rule = Arc::new(ByCount { masters, after: Some(time) });
        self.fills = false;
        self.text = format!("window of {masters} or after {time:?}");
        self
    }
}

struct ByCount {
    masters: usize,
    after: Option<Duration>,
}

impl<M> WindowRule<M> for ByCount {
    fn open(&self) -> OpenWindow {
        OpenWindow::Apart(Box::new(OpenByCount { masters: self.masters, after: self.after, until: None }))
    }

    fn check(&self) -> Option<Box<dyn RoleCheck<M>>> {
        None
    }
}

struct OpenByCount {
    masters: usize,
    after: Option<Duration>,
    /// When the open window closes by itself.
    until: Option<SystemTime>,
}

impl AnyWindow for OpenByCount {
    fn before(&mut self, coming: Coming<'_>, count: usize) -> Entry {
        if count == 0 {
            self.until = self.after.and_then(|after| coming.arrived.checked_add(after));
        } else if self.until.is_some_and(|until| coming.arrived >= until) {
            return Entry::Closes(CloseReason::TimeUp);
        }
        Entry::Takes
    }

    fn takes_more(&self, count: usize) -> usize {
        self.masters.saturating_sub(count)
    }

    fn after(&mut self, count: usize) -> Option<CloseReason> {
        (count >= self.masters).then_some(CloseReason::Full)
    }

    fn due(&mut self, now: SystemTime, count: usize) -> Option<CloseReason> {
        (count > 0 && self.until.is_some_and(|until| now >= until)).then_some(CloseReason::TimeUp)
    }

    fn deadline(&self, count: usize) -> Option<SystemTime> {
        self.until.filter(|_| count > 0)
    }

    fn by_arrival(&self) -> bool {
        self.after.is_some()
    }
}
