//! Fixed windows: intervals of one length, one behind the other.

use std::time::SystemTime;

use super::rule::{AnyWindow, Coming, Entry, Times};
use super::{CloseReason, WindowInfo};
use crate::key::{KeyValue, WindowKey};

pub(super) struct Fixed<S: Times, D> {
    times: S,
    size: D,
    empty: bool,
    /// The number of the open window, or of the last one.
    number: i128,
    /// The number of the last window that has closed.
    closed: Option<i128>,
    /// A key of the stream.
    like: Option<S::Key>,
}

impl<S: Times, D> Fixed<S, D>
where
    S::Key: WindowKey<D>,
{
    pub(super) fn new(times: S, size: D, empty: bool) -> Self {
        Self { times, size, empty, number: 0, closed: None, like: None }
    }

    fn close(&mut self, number: i128) -> CloseReason {
        (self.number, self.closed) = (number, Some(number));
        CloseReason::TimeUp
    }

    /// The window that closes by itself next: the open one, or the empty one behind the last.
    fn next_to_close(&self, count: usize) -> Option<i128> {
        if count > 0 { Some(self.number) } else { self.closed.filter(|_| self.empty)?.checked_add(1) }
    }

    fn ends(&self, number: i128) -> Option<SystemTime> {
        let like = self.like.as_ref()?.view().ok().flatten()?;
        S::on_clock(&S::Key::end(number, &self.size, &self.size, &like)?)
    }
}

impl<S: Times, D: Send + 'static> AnyWindow for Fixed<S, D>
where
    S::Key: WindowKey<D>,
{
    fn before(&mut self, coming: Coming<'_>, count: usize) -> Entry {
        let Some(view) = self.times.time(&coming) else { return Entry::Passes };
        let (_, number) = S::Key::windows(&view, &self.size, &self.size);
        let like = (count == 0).then(|| S::Key::detach(&view));
        drop(view);
        let Some(like) = like else {
            let open = self.number;
            return if number == open { Entry::Takes } else { Entry::Closes(self.close(open)) };
        };
        self.like = Some(like);
        if let Some(closed) = self.closed.filter(|closed| self.empty && number.saturating_sub(*closed) > 1) {
            return Entry::Closes(self.close(closed + 1));
        }
        self.number = number;
        Entry::Takes
    }

    fn due(&mut self, now: SystemTime, count: usize) -> Option<CloseReason> {
        let number = self.next_to_close(count)?;
        (self.ends(number)? <= now).then(|| self.close(number))
    }

    fn deadline(&self, count: usize) -> Option<SystemTime> {
        self.ends(self.next_to_close(count)?)
    }

    fn by_arrival(&self) -> bool {
        S::ARRIVAL
    }

    fn tell(&self, info: &mut WindowInfo) {
        let Some(like) = self.like.as_ref().and_then(|like| like.view().ok().flatten()) else { return };
        let start = S::Key::start(self.number, &self.size, &like);
        info.set_bounds(start, S::Key::end(self.number, &self.size, &self.size, &like));
    }

    fn state(&self) -> Option<String> {
        // Which windows were empty shows only from where the last one was.
        self.closed.filter(|_| self.empty && !S::ARRIVAL).map(|closed| closed.to_string())
    }

    fn resume(&mut self, state: &str) {
        self.closed = state.parse().ok();
    }
}
