//! The masters of windows that share them: of windows that overlap, and of custom ones, which take what they choose. They stand in one
//! stage, with all that is joined to them, until no window to come can want them.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::SystemTime;

use super::bookmark::Bookmark;
use super::fill::is_new;
use super::held::Standing;
use super::span::Span;
use super::walk::{Step, Walk};
use crate::function::{RecordMeta, Stage};
use crate::lined::{Lined, arrange, drop_front};
use crate::window::CloseReason;

/// A master that windows hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Its position in the stream.
    pub(super) position: u64,
    pub(super) arrived: SystemTime,
    /// The first and the last window it is in, where windows overlap.
    pub(super) windows: (i128, i128),
}

/// Where a restart can begin: just before this master came in.
struct Start {
    position: u64,
    /// For each stream the first position needed, and where that stood.
    needed: Vec<(u64, Bookmark)>,
}

/// The masters that windows hold, and what was found for them.
#[derive(Default)]
pub(super) struct Buffer {
    /// As they stand in the stage.
    pub(super) masters: Vec<Held>,
    /// So many at the front are in no window to come.
    done_with: usize,
    /// So many at the front were in a call.
    called: usize,
    starts: VecDeque<Start>,
    /// Where each of them came from, and its number, where that is remembered.
    sources: Vec<(RecordMeta, u64)>,
    /// For each join of the master, the matches of each of them.
    matches: Vec<Vec<Span>>,
    /// For each join below, the left records in the order they came in, with their matches.
    below: Vec<Vec<(u64, Span)>>,
}

impl Buffer {
    pub(super) fn new(edges: usize) -> Self {
        let matches = (0..edges).map(|_| Vec::new()).collect();
        let below = (0..edges).map(|_| Vec::new()).collect();
        Self { matches, below, ..Self::default() }
    }

    /// The first master that a window to come can want.
    pub(super) fn first_wanted(&self) -> Option<&Held> {
        self.masters.get(self.done_with)
    }

    /// So many masters at the front are in no window to come.
    pub(super) fn done_with(&mut self, count: usize) {
        self.done_with = self.done_with.max(count.min(self.masters.len()));
        let Some(first) = self.first_wanted().map(|first| first.position) else {
            self.starts.clear();
            return;
        };
        while self.starts.get(1).is_some_and(|next| next.position <= first) {
            self.starts.pop_front();
        }
    }

    /// The masters that windows to come can want.
    pub(super) fn wanted(&self) -> &[Held] {
        self.masters.get(self.done_with..).unwrap_or(&[])
    }

    /// Windows have taken others than those at the front: no restart begins with a master that is not there any more.
    pub(super) fn forget_starts(&mut self) {
        let mut there: Vec<u64> = self.masters.iter().map(|held| held.position).collect();
        there.sort_unstable();
        self.starts.retain(|start| there.binary_search(&start.position).is_ok());
    }

    /// The position of the master before which a restart begins.
    pub(super) fn begins_at(&self) -> Option<u64> {
        self.first_wanted()?;
        self.starts.front().map(|start| start.position)
    }

    /// The first position of a stream that a restart needs.
    pub(super) fn needed_from(&self, node: usize) -> Option<u64> {
        self.first_wanted()?;
        Some(self.starts.front()?.needed.get(node)?.0)
    }
}

impl Walk {
    /// Remembers where every stream stands, so that a restart can begin with the master that comes in next.
    pub(super) fn remember_start(&mut self, position: u64) {
        let needed =
            (0..self.nodes.len()).map(|node| (self.needed_from(node), self.bookmark(node))).collect();
        self.buffer.starts.push_back(Start { position, needed });
    }

    /// Adds one master with its matches.
    pub(super) fn fill_buffer(&mut self, stage: &mut dyn Stage, held: Held) {
        let position = held.position;
        let master = &self.nodes[0].node;
        for &param in &self.meta {
            if let Some(meta) = stage.param(param) {
                master.push_meta(meta.as_any(), position, self.buffer.masters.is_empty());
            }
        }
        for (index, edge) in self.edges.iter().enumerate() {
            if edge.left == 0 {
                let span = edge.spans.get(position).cloned().unwrap_or_default();
                if let Some((param, part)) = edge.slot
                    && let Some(joined) = stage.param(param)
                {
                    edge.edge.fill_window(joined.as_any(), part, self.nodes[edge.right].node.tape(), &span);
                }
                let right = &mut self.nodes[edge.right];
                if !right.children.is_empty() {
                    right.members.clear();
                    for at in span.positions() {
                        if is_new(&mut right.members_seen, at) {
                            right.members.push(at);
                        }
                    }
                }
                self.buffer.matches[index].push(span);
                continue;
            }
            let members = std::mem::take(&mut self.nodes[edge.left].members);
            self.nodes[edge.right].members.clear();
            for &at in &members {
                let Some(span) = edge.spans.get(at) else { continue };
                if let Some((param, part)) = edge.slot
                    && let Some(joined) = stage.param(param)
                {
                    let (left, right) =
                        (self.nodes[edge.left].node.tape(), self.nodes[edge.right].node.tape());
                    edge.edge.fill_below(joined.as_any(), part, left, right, at, span);
                }
                let right = &mut self.nodes[edge.right];
                if !right.children.is_empty() {
                    for at in span.positions() {
                        if is_new(&mut right.members_seen, at) {
                            right.members.push(at);
                        }
                    }
                }
                self.buffer.below[index].push((at, span.clone()));
            }
            self.nodes[edge.left].members = members;
        }
        if self.masters.is_some() {
            self.buffer.sources.extend(self.nodes[0].node.record_meta(position));
        }
        self.nodes[0].node.move_into(stage.master(), position);
        self.buffer.masters.push(held);
    }

    /// The records that belong to these masters, for each stream, ascending.
    fn belonging(&self, masters: Range<usize>) -> Vec<Vec<u64>> {
        let mut all: Vec<Vec<u64>> = self.nodes.iter().map(|_| Vec::new()).collect();
        all[0].extend(self.buffer.masters[masters.clone()].iter().map(|held| held.position));
        // Joins come after the ones above them.
        for (index, edge) in self.edges.iter().enumerate() {
            let mut found = Vec::new();
            if edge.left == 0 {
                let spans = self.buffer.matches[index].get(masters.clone()).unwrap_or(&[]);
                found.extend(spans.iter().flat_map(Span::positions));
            } else {
                let lefts = &all[edge.left];
                let below = self.buffer.below[index].iter();
                let spans = below.filter(|(at, _)| lefts.binary_search(at).is_ok()).map(|(_, span)| span);
                found.extend(spans.flat_map(Span::positions));
            }
            found.sort_unstable();
            found.dedup();
            all[edge.right] = found;
        }
        all
    }

    /// Shows the function these masters, which a window holds. The call is not made yet.
    pub(super) fn show_buffer(
        &mut self,
        stage: &mut dyn Stage,
        shown: Range<usize>,
        reason: CloseReason,
        number: i128,
    ) -> Step {
        self.line_up(stage, |line| line.show(shown.clone()));
        self.finish_below(stage);
        stage.place_masters();
        let fresh = self.buffer.called.max(shown.start).min(shown.end)..shown.end;
        if !fresh.is_empty() {
            for (node, positions) in self.belonging(fresh).into_iter().enumerate() {
                for position in positions {
                    self.nodes[node].marks.mark(position);
                }
            }
        }
        self.buffer.called = self.buffer.called.max(shown.end);
        if let Some(masters) = &mut self.masters {
            *masters = self.buffer.sources.get(shown.clone()).unwrap_or(&[]).to_vec();
        }
        let place = self.buffer.masters.get(shown.start).filter(|_| !shown.is_empty());
        let place = place.map(|held| self.nodes[0].node.place(held.position));
        let last = shown.end.checked_sub(1).and_then(|last| self.buffer.masters.get(last));
        self.trace_window(shown.len() as u64, place.as_ref(), last.map_or(0, |held| held.position));
        self.call_window(stage, reason, place, number)
    }

    /// Puts the masters into this order, and drops those that are not in it.
    pub(super) fn arrange_buffer(&mut self, stage: &mut dyn Stage, order: &[usize]) {
        let before = self.buffer.masters.len();
        self.line_up(stage, |line| line.arrange(order));
        arrange(&mut self.buffer.masters, order);
        arrange(&mut self.buffer.sources, order);
        for spans in self.buffer.matches.iter_mut().filter(|spans| !spans.is_empty()) {
            arrange(spans, order);
        }
        self.sweep(stage, before);
    }

    /// Drops the masters that are in no window to come: when that is worth the while, or at once.
    pub(super) fn trim_buffer(&mut self, stage: &mut dyn Stage, at_once: bool) {
        let (count, before) = (self.buffer.done_with, self.buffer.masters.len());
        if count == 0 || (!at_once && count < before && (count < 32 || count * 2 < before)) {
            return;
        }
        self.line_up(stage, |line| line.drop_front(count));
        drop_front(&mut self.buffer.masters, count);
        drop_front(&mut self.buffer.sources, count);
        for spans in &mut self.buffer.matches {
            drop_front(spans, count);
        }
        self.buffer.done_with = 0;
        self.buffer.called = self.buffer.called.saturating_sub(count);
        self.sweep(stage, before);
    }

    /// Does something to all that stands in a line with the masters.
    fn line_up(&self, stage: &mut dyn Stage, mut change: impl FnMut(&mut dyn Lined)) {
        let master = &self.nodes[0].node;
        if let Some(line) = master.lined(stage.master()) {
            change(line);
        }
        for &param in &self.meta {
            if let Some(line) = stage.param(param).and_then(|slot| master.lined(slot.as_any())) {
                change(line);
            }
        }
        for edge in self.edges.iter().filter(|edge| edge.left == 0) {
            if let Some((param, part)) = edge.slot
                && let Some(slot) = stage.param(param)
                && let Some(line) = edge.edge.lined(slot.as_any(), part)
            {
                change(line);
            }
        }
    }

    /// Of `before` masters some were dropped: so is what belonged only to them.
    fn sweep(&mut self, stage: &mut dyn Stage, before: usize) {
        let kept = self.buffer.masters.len();
        for node in &mut self.nodes {
            node.node.take_back_part(kept, before);
        }
        if !self.deep {
            return;
        }
        let alive = self.belonging(0..kept);
        let lives = |node: usize, at: &u64| alive[node].binary_search(at).is_ok();
        for (index, edge) in self.edges.iter().enumerate().filter(|(_, edge)| edge.left != 0) {
            let below = &mut self.buffer.below[index];
            let keep: Vec<bool> = below.iter().map(|(at, _)| lives(edge.left, at)).collect();
            if let Some((param, part)) = edge.slot
                && let Some(slot) = stage.param(param)
            {
                edge.edge.retain(slot.as_any(), part, &keep);
            }
            below.retain(|(at, _)| lives(edge.left, at));
        }
        for (node, state) in self.nodes.iter_mut().enumerate() {
            state.members_seen.retain(|at| lives(node, at));
        }
    }

    /// Where a restart goes on that has to see the masters again which windows to come can want.
    pub(super) fn buffer_standing(&self) -> Option<Standing> {
        self.buffer.first_wanted()?;
        let start = self.buffer.starts.front()?;
        let positions = start.needed.iter().map(|(_, bookmark)| bookmark.position()).collect();
        Some(Standing { positions, window: self.window_state() })
    }

    /// How many records of `node`, before `from`, belong to masters that no call has seen yet, and to none that one has.
    pub(super) fn pending_in_buffer(&self, node: usize, from: u64) -> u64 {
        let waiting = self.buffer.called.min(self.buffer.masters.len())..self.buffer.masters.len();
        if waiting.is_empty() {
            return 0;
        }
        let marks = &self.nodes[node].marks;
        let waits = |at: &&u64| **at < from && !marks.has(**at);
        self.belonging(waiting)[node].iter().filter(waits).count() as u64
    }
}
