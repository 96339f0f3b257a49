//! Relaxed windows: every so often, what has arrived since the last time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::rule::{AnyWindow, Coming, Entry, OpenWindow, WindowRule};
use super::{CloseReason, Window, WindowInfo};
use crate::engine::RoleCheck;
use crate::key::WindowKey;
use crate::record::StreamRecord;

impl<M: StreamRecord> Window<M> {
    /// All masters that have arrived since the last window, every `time` from the beginning of the run. Where none has, no window is called, unless
    /// [`with_empty`](Window::with_empty) asks for it. Windows close by themselves; a run over the same input may put its masters together differently. Not
    /// over joins.
    ///
    /// Zero is a [`BuildError`](crate::BuildError).
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
    /// let mill = Mill::new(|readings: &[Reading]| Count { readings: readings.len() });
    /// let mut test = TestMill::new(mill.window(Window::relaxed(Duration::from_secs(10))))?;
    /// test.run()?;
    /// for _ in 0..3 {
    ///     test.feed(Reading { celsius: 20.0 });
    ///     test.run()?;
    ///     test.advance(Duration::from_secs(4));
    /// }
    /// test.run()?;
    /// assert_eq!(test.results::<Count>(), [Count { readings: 3 }]);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn relaxed(time: Duration) -> Self {
        let rule = |empty| Arc::new(Relaxed { every: time, empty });
        let mut window = Self::of(rule(false), format!("relaxed window of {time:?} by arrival"));
        window.alone = true;
        window.empty = Some(rule(true));
        if time.is_zero() {
            window.refuse("`Window::relaxed(0ns)` would never hold a master", "give it more time");
        }
        window
    }
}

struct Relaxed {
    every: Duration,
    empty: bool,
}

impl<M> WindowRule<M> for Relaxed {
    fn open(&self) -> OpenWindow {
        let (every, empty) = (self.every, self.empty);
        let (start, last) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
        OpenWindow::Apart(Box::new(OpenRelaxed { every, empty, start, last, until: None, any: false }))
    }

    fn check(&self) -> Option<Box<dyn RoleCheck<M>>> {
        None
    }
}

struct OpenRelaxed {
    every: Duration,
    empty: bool,
    /// Where the window at hand began, and where the last one that closed had begun.
    start: SystemTime,
    last: SystemTime,
    /// When the window at hand closes; `None` when that lies beyond all time.
    until: Option<SystemTime>,
    any: bool,
}

impl OpenRelaxed {
    fn close(&mut self) -> CloseReason {
        self.last = self.start;
        if let Some(until) = self.until {
            self.start = until;
            self.until = until.checked_add(self.every);
        }
        CloseReason::TimeUp
    }

    /// Nothing has come in the windows until `now`: they are left out.
    fn skip_to(&mut self, now: SystemTime) {
        let passed = now.duration_since(self.start).unwrap_or_default();
        let windows = passed.as_nanos() / self.every.as_nanos().max(1);
        let offset = <Duration as WindowKey<Duration>>::start(
            i128::try_from(windows).unwrap_or(i128::MAX),
            &self.every,
            &passed,
        );
        if let Some(start) = offset.and_then(|offset| self.start.checked_add(offset)) {
            self.start = start;
            self.until = start.checked_add(self.every);
        }
    }

    fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    fn closes(&self, count: usize) -> bool {
        count > 0 || (self.empty && self.any)
    }
}

impl AnyWindow for OpenRelaxed {
    fn before(&mut self, coming: Coming<'_>, count: usize) -> Entry {
        if self.is_over(coming.arrived) {
            if self.closes(count) {
                return Entry::Closes(self.close());
            }
            self.skip_to(coming.arrived);
        }
        (self.last, self.any) = (self.start, true);
        Entry::Takes
    }

    /// They have come at the same time.
    fn takes_more(&self, _count: usize) -> usize {
        usize::MAX
    }

    fn due(&mut self, now: SystemTime, count: usize) -> Option<CloseReason> {
        (self.closes(count) && self.is_over(now)).then(|| self.close())
    }

    fn deadline(&self, count: usize) -> Option<SystemTime> {
        self.until.filter(|_| self.closes(count))
    }

    fn by_arrival(&self) -> bool {
        true
    }

    fn begin(&mut self, now: SystemTime) {
        (self.start, self.until) = (now, now.checked_add(self.every));
    }

    fn tell(&self, info: &mut WindowInfo) {
        info.set_bounds(Some(self.last), self.last.checked_add(self.every));
    }
}
