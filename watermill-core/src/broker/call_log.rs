//! Which windows a lane has called its function for: told to brokers that keep a history of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The windows of a lane, from when their calls begin. The engine writes it, and the broker that has handed it out
/// ([`Committer::call_log`](super::Committer::call_log)) reads it.
///
/// ```
/// use watermill_core::broker::CallLog;
///
/// let log = CallLog::new();
/// assert!(log.take_finished().is_empty() && log.furthest().is_none());
/// ```
#[derive(Debug, Clone, Default)]
pub struct CallLog(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    /// In the order in which their calls were begun.
    emitted: VecDeque<EmittedWindow>,
    /// How many calls were begun before the first of these.
    before: u64,
    /// The calls before this one are done with.
    finished: u64,
}

/// A window that the function was called for.
///
/// ```
/// use std::time::SystemTime;
/// use watermill_core::broker::EmittedWindow;
///
/// let mut window = EmittedWindow::new(SystemTime::UNIX_EPOCH);
/// for offset in [4, 5, 9] {
///     window.push(offset);
/// }
/// assert_eq!(window.masters, [4..6, 9..10]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmittedWindow {
    /// When its call was begun.
    pub at: SystemTime,
    /// The offsets of its masters, in the order of the window: ranges, where they stand side by side.
    pub masters: Vec<Range<u64>>,
}

impl EmittedWindow {
    /// One without masters.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use watermill_core::broker::EmittedWindow;
    /// assert!(EmittedWindow::new(SystemTime::now()).masters.is_empty());
    /// ```
    #[must_use]
    pub fn new(at: SystemTime) -> Self {
        Self { at, masters: Vec::new() }
    }

    /// The next master stands at this offset.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use watermill_core::broker::EmittedWindow;
    /// let mut window = EmittedWindow::new(SystemTime::now());
    /// window.push(7);
    /// assert_eq!(window.masters[0], 7..8);
    /// ```
    pub fn push(&mut self, offset: u64) {
        match self.masters.last_mut() {
            Some(last) if last.end == offset => last.end += 1,
            _ => self.masters.push(offset..offset.saturating_add(1)),
        }
    }
}

impl CallLog {
    /// An empty one.
    ///
    /// ```
    /// # use watermill_core::broker::CallLog;
    /// assert!(CallLog::new().furthest().is_none());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    pub(crate) fn begin(&self, window: EmittedWindow) {
        self.calls().emitted.push_back(window);
    }

    /// The commit that is made now covers the first `count` calls of the lane.
    pub(crate) fn finish(&self, count: u64) {
        self.calls().finished = count;
    }

    /// Takes the windows out that belong to the commit which is being made: those whose calls are done with since the one before.
    ///
    /// ```
    /// # use watermill_core::broker::CallLog;
    /// assert_eq!(CallLog::new().take_finished(), []);
    /// ```
    #[must_use]
    pub fn take_finished(&self) -> Vec<EmittedWindow> {
        let mut calls = self.calls();
        let count = calls.finished.saturating_sub(calls.before);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(calls.emitted.len());
        calls.before += count as u64;
        calls.emitted.drain(..count).collect()
    }

    /// The offset behind the furthest master that the function was given and that no commit has covered yet.
    ///
    /// ```
    /// # use watermill_core::broker::CallLog;
    /// assert_eq!(CallLog::new().furthest(), None);
    /// ```
    #[must_use]
    pub fn furthest(&self) -> Option<u64> {
        let calls = self.calls();
        calls.emitted.iter().flat_map(|window| &window.masters).map(|range| range.end).max()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{CallLog, EmittedWindow};

    #[test]
    fn only_windows_whose_calls_are_done_with_leave_the_log() {
        let log = CallLog::new();
        for offset in 0..4 {
            let mut window = EmittedWindow::new(SystemTime::UNIX_EPOCH);
            window.push(offset);
            log.begin(window);
        }
        log.finish(2);
        let taken: Vec<_> = log.take_finished().into_iter().flat_map(|window| window.masters).collect();
        assert_eq!(taken, [0..1, 1..2]);
        assert!(log.take_finished().is_empty());
        assert_eq!(log.furthest(), Some(4));
        log.finish(4);
        assert_eq!(log.take_finished().len(), 2);
        assert_eq!(log.furthest(), None);
    }
}
