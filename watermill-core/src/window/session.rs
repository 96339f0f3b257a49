//! Sessions: masters that follow each other closely.

use std::time::SystemTime;

use super::rule::{AnyWindow, Coming, Entry, Times};
use super::{CloseReason, WindowInfo};
use crate::key::{KeyValue, WindowKey};

pub(super) struct Session<S: Times, D> {
    times: S,
    gap: D,
    /// The times of the first and the last master of the open session.
    first: Option<S::Key>,
    last: Option<S::Key>,
}

impl<S: Times, D> Session<S, D>
where
    S::Key: WindowKey<D>,
{
    pub(super) fn new(times: S, gap: D) -> Self {
        Self { times, gap, first: None, last: None }
    }

    fn end(&self) -> Option<<S::Key as WindowKey<D>>::Bound> {
        S::Key::behind(&self.last.as_ref()?.view().ok().flatten()?, &self.gap)
    }
}

impl<S: Times, D: Send + 'static> AnyWindow for Session<S, D>
where
    S::Key: WindowKey<D>,
{
    fn before(&mut self, coming: Coming<'_>, count: usize) -> Entry {
        let Some(view) = self.times.time(&coming) else { return Entry::Passes };
        let before = self.last.as_ref().filter(|_| count > 0).and_then(|last| last.view().ok().flatten());
        if before.is_some_and(|before| S::Key::is_behind(&view, &before, &self.gap)) {
            return Entry::Closes(CloseReason::Idle);
        }
        let (first, last) = ((count == 0).then(|| S::Key::detach(&view)), S::Key::detach(&view));
        drop(view);
        if first.is_some() {
            self.first = first;
        }
        self.last = Some(last);
        Entry::Takes
    }

    fn due(&mut self, now: SystemTime, count: usize) -> Option<CloseReason> {
        (self.deadline(count)? <= now).then_some(CloseReason::Idle)
    }

    fn deadline(&self, count: usize) -> Option<SystemTime> {
        if count > 0 && S::ARRIVAL { S::on_clock(&self.end()?) } else { None }
    }

    fn by_arrival(&self) -> bool {
        S::ARRIVAL
    }

    fn tell(&self, info: &mut WindowInfo) {
        let first = self.first.as_ref().and_then(|first| first.view().ok().flatten());
        info.set_bounds(first.map(|first| S::Key::bound(&first)), self.end());
    }
}
