//! Filling the slots of a call: the part of the walk that hands records over to the function.

use super::walk::Walk;
use crate::function::Stage;

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
        self.trace_single(position);
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
    pub(super) fn note_master(&mut self, position: u64, first: bool) {
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

    /// Marks all that takes part in the call of this master, and fills the joins below the root's; only the root's where what is below was
    /// marked and filled before.
    pub(super) fn follow(&mut self, stage: &mut dyn Stage, position: u64, below: bool) {
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

    pub(super) fn finish_below(&self, stage: &mut dyn Stage) {
        for edge in &self.edges {
            if let (Some((param, part)), true) = (edge.slot, edge.left != 0)
                && let Some(joined) = stage.param(param)
            {
                edge.edge.finish(joined.as_any(), part);
            }
        }
    }
}

/// Adds `at` to positions that ascend, unless it is there. Positions nearly always come in order: then nothing is searched.
pub(super) fn is_new(seen: &mut Vec<u64>, at: u64) -> bool {
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
