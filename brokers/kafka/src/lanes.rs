//! The lanes that the group has given to this process, and who works at them.
//!
//! Invariants:
//! - **One at a time.** Somebody works at a lane as long as there is a [`Walked`] of it, and there is never a second one: a lane that is given anew while
//!   its former walk has not come to its end yet waits for that. Two would take each other's partitions and producer.
//! - **Nothing moves before its work is over.** Partitions are given back to the group when nobody works at their lanes any more, or when that takes too long.
//! - **What is lost stays lost**: an [`Ownership`] that was lost is never used again; the lane is given anew with another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use watermill_core::broker::{Owned, Ownership};
use watermill_core::error::BrokerError;

/// How long a lane is left alone from which another producer has fenced us, though the group says that it is ours: either it takes the lane
/// back in this time, since this process was away for too long, or it was only a transaction that has timed out.
const FENCED_FOR: Duration = Duration::from_secs(5);

/// What comes from the group.
pub(crate) enum News {
    /// A partition of the master is this process's.
    Given(u32),
    /// Something has changed: lanes were taken.
    Changed,
    /// The member cannot go on.
    Failed(BrokerError),
}

/// The lanes that this process was given.
#[derive(Clone)]
pub(crate) struct Lanes(Arc<Inner>);

struct Inner {
    table: Mutex<Table>,
    news: UnboundedSender<News>,
}

#[derive(Default)]
struct Table {
    /// Those that are ours, as far as the group is concerned.
    given: BTreeMap<u32, Entry>,
    /// Those that somebody works at, ours or not.
    busy: BTreeSet<u32>,
}

struct Entry {
    ownership: Ownership,
    /// It has come to its end.
    done: bool,
    /// When it is given anew, after another producer has fenced us.
    again: Option<Instant>,
}

impl Entry {
    fn new() -> Self {
        Self { ownership: Ownership::new(), done: false, again: None }
    }
}

impl Lanes {
    pub(crate) fn new() -> (Self, UnboundedReceiver<News>) {
        let (news, receive) = unbounded_channel();
        (Self(Arc::new(Inner { table: Mutex::default(), news })), receive)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, news: News) {
        // Nobody listens any more when the session is over.
        let _ = self.0.news.send(news);
    }

    /// The group gives `lane`.
    pub(crate) fn give(&self, lane: u32) {
        let mut table = self.table();
        table.given.insert(lane, Entry::new());
        let busy = table.busy.contains(&lane);
        drop(table);
        // Else it is told when that one is done.
        if !busy {
            self.tell(News::Given(lane));
        }
    }

    /// Somebody begins to work at `lane`; `None` when it was taken meanwhile, or another one is at it.
    pub(crate) fn begin(&self, lane: u32) -> Option<Walked> {
        let mut table = self.table();
        let ownership = table.given.get(&lane).map(|entry| entry.ownership.clone())?;
        if ownership.state() != Owned::Mine || !table.busy.insert(lane) {
            return None;
        }
        Some(Walked { lanes: self.clone(), lane, ownership })
    }

    /// Whether there are lanes, and all of them have come to their end.
    pub(crate) fn all_done(&self) -> bool {
        let table = self.table();
        !table.given.is_empty() && table.given.values().all(|entry| entry.done)
    }

    /// All that are ours.
    pub(crate) fn all(&self) -> Vec<u32> {
        self.table().given.keys().copied().collect()
    }

    /// Lanes are to be given back: their walks commit what is done, and end.
    pub(crate) fn revoke(&self, lanes: &[u32]) {
        let table = self.table();
        lanes.iter().filter_map(|lane| table.given.get(lane)).for_each(|entry| entry.ownership.revoke());
    }

    /// Whether somebody works at one of these.
    pub(crate) fn are_busy(&self, lanes: &[u32]) -> bool {
        let table = self.table();
        lanes.iter().any(|lane| table.busy.contains(lane))
    }

    /// Lanes are others' now. Says which of them are still worked at.
    pub(crate) fn remove(&self, lanes: &[u32]) -> Vec<u32> {
        let mut table = self.table();
        for lane in lanes {
            if let Some(entry) = table.given.remove(lane) {
                entry.ownership.lose();
            }
        }
        let late = lanes.iter().copied().filter(|lane| table.busy.contains(lane)).collect();
        drop(table);
        self.tell(News::Changed);
        late
    }

    /// Gives those anew from which another producer had fenced us, and which the group has not taken back since.
    pub(crate) fn give_again(&self) {
        let now = Instant::now();
        let due: Vec<u32> = {
            let table = self.table();
            let is_due = |entry: &Entry| entry.again.is_some_and(|at| at <= now);
            table.given.iter().filter(|(_, entry)| is_due(entry)).map(|(lane, _)| *lane).collect()
        };
        for lane in due {
            tracing::info!(target: "watermill", lane, "the lane is still this process's, and begins again at its last commit");
            self.give(lane);
        }
    }
}

/// Somebody works at a lane: makes it ready, or walks it. It can be given back when this goes.
pub(crate) struct Walked {
    lanes: Lanes,
    lane: u32,
    ownership: Ownership,
}

impl Walked {
    /// It has come to its end.
    pub(crate) fn done(&self) {
        self.change(|entry| entry.done = true);
        self.lanes.tell(News::Changed);
    }

    /// Another producer has this lane's transactional id now, so nothing can be committed here any more.
    pub(crate) fn fenced(&self) {
        self.ownership.lose();
        self.change(|entry| entry.again = Some(Instant::now() + FENCED_FOR));
    }

    pub(crate) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// Changes what is known of the lane, unless it was taken and given again since.
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut table = self.lanes.table();
        let own = |entry: &&mut Entry| entry.ownership.is_same(&self.ownership);
        if let Some(entry) = table.given.get_mut(&self.lane).filter(own) {
            change(entry);
        }
    }
}

impl Drop for Walked {
    fn drop(&mut self) {
        let mut table = self.lanes.table();
        table.busy.remove(&self.lane);
        let given_anew =
            table.given.get(&self.lane).is_some_and(|entry| !entry.ownership.is_same(&self.ownership));
        drop(table);
        self.lanes.tell(if given_anew { News::Given(self.lane) } else { News::Changed });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn given(news: &mut UnboundedReceiver<News>) -> Vec<u32> {
        let all = std::iter::from_fn(|| news.try_recv().ok());
        all.filter_map(|news| if let News::Given(lane) = news { Some(lane) } else { None }).collect()
    }

    #[test]
    fn a_lane_that_is_given_anew_waits_for_its_former_walk() {
        let (lanes, mut news) = Lanes::new();
        lanes.give(3);
        assert_eq!(given(&mut news), [3]);
        let first = lanes.begin(3).unwrap();
        assert!(lanes.begin(3).is_none());
        assert_eq!(lanes.remove(&[3]), [3]);
        assert_eq!(first.ownership().state(), Owned::Lost);
        lanes.give(3);
        assert!(given(&mut news).is_empty() && lanes.begin(3).is_none());
        // What the former walk says is not about the new one.
        first.done();
        assert!(!lanes.all_done());
        drop(first);
        assert_eq!(given(&mut news), [3]);
        lanes.begin(3).unwrap().done();
        assert!(lanes.all_done());
    }

    #[test]
    fn a_lane_that_was_fenced_is_given_anew_unless_the_group_takes_it_back() {
        let (lanes, mut news) = Lanes::new();
        lanes.give(0);
        lanes.give(1);
        let walks = [lanes.begin(0).unwrap(), lanes.begin(1).unwrap()];
        walks.iter().for_each(Walked::fenced);
        drop(walks);
        lanes.remove(&[1]);
        assert_eq!(given(&mut news), [0, 1]);
        lanes.give_again();
        assert!(given(&mut news).is_empty());
        lanes.table().given.get_mut(&0).unwrap().again = Some(Instant::now());
        lanes.give_again();
        assert_eq!(given(&mut news), [0]);
        assert!(lanes.begin(0).is_some());
    }
}
