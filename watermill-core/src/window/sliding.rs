//! Sliding windows: intervals of one length that begin more often than they end.

use std::time::SystemTime;

use super::WindowInfo;
use super::rule::{AnySliding, Coming, Times};
use crate::key::{KeyValue, WindowKey};

pub(super) struct SlidingRule<S: Times, D> {
    times: S,
    size: D,
    step: D,
    empty: bool,
    /// The last key.
    like: Option<S::Key>,
}

impl<S: Times, D> SlidingRule<S, D>
where
    S::Key: WindowKey<D>,
{
    pub(super) fn new(times: S, size: D, step: D, empty: bool) -> Self {
        Self { times, size, step, empty, like: None }
    }
}

impl<S: Times, D: Send + 'static> AnySliding for SlidingRule<S, D>
where
    S::Key: WindowKey<D>,
{
    fn windows(&mut self, coming: Coming<'_>) -> Option<(i128, i128)> {
        let view = self.times.time(&coming)?;
        let windows = S::Key::windows(&view, &self.size, &self.step);
        let like = S::Key::detach(&view);
        drop(view);
        self.like = Some(like);
        Some(windows)
    }

    fn ends(&self, number: i128) -> Option<SystemTime> {
        if !S::ARRIVAL {
            return None;
        }
        let like = self.like.as_ref()?.view().ok().flatten()?;
        S::on_clock(&S::Key::end(number, &self.size, &self.step, &like)?)
    }

    fn empty(&self) -> bool {
        self.empty
    }

    fn by_arrival(&self) -> bool {
        S::ARRIVAL
    }

    fn tell(&self, number: i128, info: &mut WindowInfo) {
        let Some(like) = self.like.as_ref().and_then(|like| like.view().ok().flatten()) else { return };
        let start = S::Key::start(number, &self.step, &like);
        info.set_bounds(start, S::Key::end(number, &self.size, &self.step, &like));
    }
}
