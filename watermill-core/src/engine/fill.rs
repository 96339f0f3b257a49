//! Filling the slots of a call: the part of the walk that hands records over to the function.

use super::walk::{Step, Walk};
use crate::function::Stage;
use crate::window::{CloseReason, WindowInfo};

impl Walk {
    /// Points the stage at one master and its matches.
    pub(super) fn fill_single(&mut self, stage: &mut dyn Stage, position: u64) {
        if !stage.aim(position) {
            self.nodes[0].node.put_single(stage.master(), position);
        }
        // What hangs below the same matches as those of the last master stands in the slots already.
        let refill = self.deep && !self.same_below(position);
        for edge in &self.edges {
            let Some((param, part)) = edge.slot else { continue };
            if edge.left != 0 && !refill {
                continue;
            }
            let Some(joined) = stage.param(param) else { continue };
            if edge.left == 0 {
                let Some(span) = edge.spans.get(position) else { continue };
                if !span.listed && joined.aim(part, position, span.low, span.high) {
                    continue;
                }
                let (left, right) = (self.nodes[0].node.tape(), self.nodes[edge.right].node.tape());
                edge.edge.fill_sole(joined.as_any(), part, left, right, position, span);
            } else {
                edge.edge.clear(joined.as_any(), part);
            }
        }
        for &param in &self.meta {
            if let Some(meta) = stage.param(param) {
                self.nodes[0].node.push_meta(meta.as_any(), position, true);
            }
        }
        self.note_master(position, true);
        if refill {
            for node in &mut self.nodes {
                node.members_seen.clear();
            }
        }
        self.follow(stage, position, refill);
        if refill {
            self.finish_below(stage);
        }
    }

    /// Remembers where a master of the call came from, where calls that fail leave dead letters.
    fn note_master(&mut self, position: u64, first: bool) {
        if let Some(masters) = &mut self.masters {
            if first {
                masters.clear();
            }
            masters.extend(self.nodes[0].node.record_meta(position));
        }
    }

    /// Whether this master has the same matches as the one filled before, on all joins that have others below them. That is how
    /// many-to-many matches look: without this, a tree would be filled anew for each of them.
    fn same_below(&mut self, position: u64) -> bool {
        let mut same = true;
        for edge in &mut self.edges {
            if edge.left == 0 && !self.nodes[edge.right].children.is_empty() {
                let span = edge.spans.get(position).filter(|span| !span.listed);
                let run = span.map(|span| (span.low, span.high));
                same &= run.is_some() && run == edge.filled;
                edge.filled = run;
            }
        }
        same
    }

    /// Adds one master and its matches to the window.
    pub(super) fn fill_window(&mut self, stage: &mut dyn Stage, position: u64) {
        let Some(window) = &mut self.window else { return };
        window.count += 1;
        window.rule.came_in(self.nodes[0].node.tape(), position, window.count);
        let first = window.count == 1;
        for &param in &self.meta {
            if let Some(meta) = stage.param(param) {
                self.nodes[0].node.push_meta(meta.as_any(), position, first);
            }
        }
        self.note_master(position, first);
        for edge in &self.edges {
            let (Some((param, part)), true) = (edge.slot, edge.left == 0) else { continue };
            if let (Some(joined), Some(span)) = (stage.param(param), edge.spans.get(position)) {
                edge.edge.fill_window(joined.as_any(), part, self.nodes[edge.right].node.tape(), span);
            }
        }
        self.follow(stage, position, true);
        self.nodes[0].node.move_into(stage.master(), position);
    }

    /// Marks all that takes part in the call of this master, and fills the joins below the root's; only the root's where what is below was
    /// marked and filled before.
    fn follow(&mut self, stage: &mut dyn Stage, position: u64, below: bool) {
        self.nodes[0].marks.mark(position);
        for edge in &self.edges {
            if edge.left == 0 {
                let right = &mut self.nodes[edge.right];
                let Some(span) = edge.spans.get(position) else { continue };
                if edge.in_order && !span.listed {
                    right.marks.mark_run(span.low, span.high);
                } else {
                    for at in span.positions() {
                        right.marks.mark(at);
                    }
                }
                if below && !right.children.is_empty() {
                    right.members.clear();
                    right.members.extend(span.positions());
                    let seen = &mut right.members_seen;
                    right.members.retain(|at| is_new(seen, *at));
                }
                continue;
            }
            if !below {
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
                for at in span.positions() {
                    right.marks.mark(at);
                    if !right.children.is_empty() && is_new(&mut right.members_seen, at) {
                        right.members.push(at);
                    }
                }
            }
            self.nodes[edge.left].members = members;
        }
    }

    fn finish_below(&self, stage: &mut dyn Stage) {
        for edge in &self.edges {
            if let (Some((param, part)), true) = (edge.slot, edge.left != 0)
                && let Some(joined) = stage.param(param)
            {
                edge.edge.finish(joined.as_any(), part);
            }
        }
    }

    /// Remembers where every stream stands as a window opens: an open window holds the positions of all of them back, though not
    /// their batches.
    pub(super) fn hold_back(&mut self) {
        for node in 0..self.nodes.len() {
            let from = self.needed_from(node);
            let state = &mut self.nodes[node];
            let start = match &state.floor {
                Some((at, floor)) if *at == from => floor.clone(),
                _ => state.node.bookmark(from),
            };
            state.window_start = Some(start);
            state.marked_before = state.marks.count();
        }
    }

    pub(super) fn close_window(&mut self, stage: &mut dyn Stage, reason: CloseReason) -> Step {
        self.finish_below(stage);
        stage.place_masters();
        let Some(window) = &mut self.window else { return Step::Call };
        window.called = true;
        for &param in &self.info {
            if let Some(info) = stage.param(param).and_then(|slot| slot.as_any().downcast_mut::<WindowInfo>())
            {
                info.set(window.index, reason);
            }
        }
        window.index += 1;
        Step::Call
    }

    /// Empties a stage after the call of a window.
    pub(crate) fn clear(&mut self, stage: &mut dyn Stage) {
        if self.window.is_none() {
            return;
        }
        self.nodes[0].node.clear_window(stage.master());
        for edge in &self.edges {
            if let Some((param, part)) = edge.slot
                && let Some(joined) = stage.param(param)
            {
                edge.edge.clear(joined.as_any(), part);
            }
        }
    }

    /// Begins anew after the call of a window.
    pub(super) fn reset_window(&mut self) {
        for node in &mut self.nodes {
            node.window_start = None;
            node.node.take_back();
            node.members_seen.clear();
        }
        if let Some(window) = &mut self.window {
            (window.called, window.count) = (false, 0);
        }
    }
}

/// Adds `at` to positions that ascend, unless it is there. Positions nearly always come in order: then nothing is searched.
fn is_new(seen: &mut Vec<u64>, at: u64) -> bool {
    if seen.last().is_none_or(|last| *last < at) {
        seen.push(at);
        return true;
    }
    match seen.binary_search(&at) {
        Ok(_) => false,
        Err(place) => {
            seen.insert(place, at);
            true
        }
    }
}
