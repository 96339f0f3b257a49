//! What a walk holds: which part of each stream is still needed to go on, and which a restart needs.

use super::bookmark::Bookmark;
use super::leak::Account;
use super::node::Counts;
use super::walk::{Walk, WalkNode};
use super::windowed::Kind;
use crate::broker::Position;

/// Where a restart goes on.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// A position for each stream.
    pub(crate) positions: Vec<Position>,
    /// What of the windows cannot be read again.
    pub(crate) window: Option<String>,
}

impl Walk {
    /// The first position of `node` that is still needed to go on, apart from what an open window has taken.
    pub(crate) fn needed_from(&self, node: usize) -> u64 {
        match self.nodes[node].parent {
            None => self.next,
            Some(edge) => {
                let edge = &self.edges[edge];
                let low = edge.low();
                // The root's only span belongs to a master that is done with, or will be sought again.
                if edge.left == 0 { low } else { edge.spans.floor().map_or(low, |floor| floor.min(low)) }
            }
        }
    }

    /// What is needed of `node` is in two parts: from [`Walk::needed_from`] to below the first of these positions, and from the second
    /// on. Between them nothing is needed: an as-of join keeps its last match however long none follows.
    fn gap(&self, node: usize, gaps: &[(u64, u64)]) -> (u64, u64) {
        let Some(edge) = self.nodes[node].parent.map(|edge| &self.edges[edge]) else {
            return (self.next, self.next);
        };
        let pinned = edge.edge.pinned().map_or(0, |pinned| pinned + 1);
        if edge.left == 0 {
            return (pinned, edge.live());
        }
        let (_, left_live) = gaps[edge.left];
        let floor = edge.spans.floor_from(left_live).unwrap_or(u64::MAX);
        (pinned.max(edge.spans.end_before(left_live)), edge.live().min(floor))
    }

    pub(super) fn release(&mut self) {
        self.look_up_call();
        let window_open = self.in_window() || !self.buffer.masters.is_empty();
        let mut gaps = Vec::with_capacity(self.nodes.len());
        for node in 0..self.nodes.len() {
            let from = self.needed_from(node);
            let (low, high) = self.gap(node, &gaps);
            gaps.push((low, high));
            let state = &mut self.nodes[node];
            state.node.release(from, window_open);
            state.marks.release(self.buffer.needed_from(node).map_or(from, |needed| needed.min(from)));
            if low < high {
                if from < high && state.floor.as_ref().is_none_or(|(at, _)| *at != from) {
                    state.floor = Some((from, state.node.bookmark(from)));
                }
                state.node.release_between(low, high);
            }
            for index in 0..state.children.len() {
                let edge = self.nodes[node].children[index];
                self.edges[edge].spans.release(from);
                if low < high {
                    self.edges[edge].spans.release_between(low, high);
                }
            }
        }
    }

    /// What all tapes hold, in bytes, about.
    pub(crate) fn held(&self) -> u64 {
        self.nodes.iter().map(|node| node.node.bytes()).sum()
    }

    /// Where a restart would go on.
    pub(crate) fn standing(&mut self) -> Standing {
        self.release();
        if let Some(standing) = self.buffer_standing() {
            return standing;
        }
        let open = self.window.as_ref().is_some_and(|window| window.count > 0);
        let position = |node: usize| {
            let state = &self.nodes[node];
            if let Some(start) = state.window_start.as_ref().filter(|_| open) {
                return start.position();
            }
            let from = self.needed_from(node);
            match &state.floor {
                Some((at, floor)) if *at == from => floor.position(),
                _ => state.node.storage_position(from),
            }
        };
        let positions = (0..self.nodes.len()).map(position).collect();
        Standing { positions, window: self.window_state() }
    }

    /// Where a restart would find the first record that is still needed of `node`.
    pub(super) fn bookmark(&self, node: usize) -> Bookmark {
        let (from, state) = (self.needed_from(node), &self.nodes[node]);
        match &state.floor {
            Some((at, floor)) if *at == from => floor.clone(),
            _ => state.node.bookmark(from),
        }
    }

    /// As [`Walk::standing`], were the call that was prepared last not made; not known of windows that positions alone do not tell.
    pub(crate) fn standing_before_call(&mut self) -> Option<Standing> {
        if let Some(window) = &self.window {
            if !matches!(window.kind, Kind::Apart(_)) || self.window_state().is_some() {
                return None;
            }
            let start = |node: &WalkNode| node.call_start.as_ref().map(Bookmark::position);
            let positions = self.nodes.iter().map(start).collect::<Option<_>>()?;
            return Some(Standing { positions, window: None });
        }
        self.next = self.next.saturating_sub(1);
        let standing = self.standing();
        self.next += 1;
        Some(standing)
    }

    /// The accounting of the stream at `node`.
    pub(crate) fn account(&self, node: usize) -> Account {
        let state = &self.nodes[node];
        let marks = &state.marks;
        let (marked, end) = (marks.count(), state.node.end());
        let Counts { read, skipped, late, dead_lettered, letters, held, .. } = state.node.counts();
        // Neither is done with: letters that are not durable, and records that wait to be sorted back.
        let letters = letters + held;
        let known = Account { read, skipped, late, dead_lettered, letters, ..Account::default() };
        if self.done.is_some() {
            // Of what is held the next run makes something; when there is none, nobody needs it.
            return Account { matched: marked, unmatched: marks.unmarked_below(end) + letters, ..known };
        }
        let in_window = match &self.window {
            Some(window) if window.count > 0 => marked - state.marked_before,
            _ => 0,
        };
        let from = self.needed_from(node);
        let in_buffer = self.pending_in_buffer(node, from);
        Account {
            matched: marked - in_window,
            unmatched: marks.unmarked_below(from).saturating_sub(in_buffer),
            pending: marks.unmarked_in(from, end) + in_window + in_buffer + letters,
            ..known
        }
    }
}
