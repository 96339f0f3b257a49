//! Stepping through windows: several masters to a call. What belongs to the call stands in the stage; what belongs to the walk stands
//! here, and begins anew as soon as a window has closed.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::bookmark::Bookmark;
use super::buffer::Held;
use super::custom::Custom;
use super::sliding::Sliding;
use super::walk::{Found, Step, Walk, WalkEnd};
use crate::error::{RecordPlace, RunError};
use crate::function::Stage;
use crate::window::{AnyWindow, CloseReason, Coming, Entry, OpenWindow, WindowInfo};

/// The windows of a walk.
pub(super) struct WindowState {
    pub(super) kind: Kind,
    /// How many masters are in the open window, where each master is in one.
    pub(super) count: usize,
    /// How many windows there were before.
    pub(super) index: u64,
    /// Where the first master of the window that was closed last stood.
    pub(super) call_place: Option<RecordPlace>,
    /// The first master of the open window.
    first: u64,
    /// The master that came in last.
    last: u64,
    arrivals: Option<Arrivals>,
    begun: bool,
}

pub(super) enum Kind {
    /// Each master is in one.
    Apart(Box<dyn AnyWindow>),
    Sliding(Sliding),
    Custom(Custom),
}

impl WindowState {
    pub(super) fn new(window: OpenWindow) -> Self {
        let (kind, by_arrival) = match window {
            OpenWindow::Apart(rule) => {
                let by_arrival = rule.by_arrival();
                (Kind::Apart(rule), by_arrival)
            }
            OpenWindow::Sliding(rule) => {
                let by_arrival = rule.by_arrival();
                (Kind::Sliding(Sliding::new(rule)), by_arrival)
            }
            OpenWindow::Custom(emitter) => (Kind::Custom(Custom::new(emitter)), true),
        };
        let arrivals = by_arrival.then(Arrivals::default);
        Self { kind, count: 0, index: 0, call_place: None, first: 0, last: 0, arrivals, begun: false }
    }

    /// It is `now`, and the masters before `end` have been read.
    pub(super) fn set_now(&mut self, now: SystemTime, end: u64) {
        if !self.begun {
            self.begun = true;
            if let Kind::Apart(rule) = &mut self.kind {
                rule.begin(now);
            }
        }
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.note(now, end);
        }
    }

    pub(super) fn deadline(&self, masters: &[Held]) -> Option<SystemTime> {
        match &self.kind {
            Kind::Apart(rule) => rule.deadline(self.count),
            Kind::Sliding(sliding) => sliding.deadline(masters),
            Kind::Custom(custom) => custom.deadline(),
        }
    }

    /// When the master that was found came in; `now` where nobody asks. What a join has held back comes in when it is known.
    pub(super) fn arrived(&mut self, found: &Found, now: SystemTime, joined: bool) -> SystemTime {
        match (found, &mut self.arrivals) {
            (Found::Master(position), Some(arrivals)) if !joined => arrivals.of(*position).unwrap_or(now),
            _ => now,
        }
    }
}

/// When masters came in: for each batch its end, and the time.
#[derive(Default)]
struct Arrivals {
    batches: VecDeque<(u64, SystemTime)>,
    end: u64,
}

impl Arrivals {
    fn note(&mut self, now: SystemTime, end: u64) {
        if end > self.end {
            self.end = end;
            self.batches.push_back((end, now));
        }
    }

    /// Positions are asked for in ascending order.
    fn of(&mut self, position: u64) -> Option<SystemTime> {
        while self.batches.pop_front_if(|(end, _)| *end <= position).is_some() {}
        self.batches.front().map(|(_, time)| *time)
    }

    /// The end of those that came in together with the master before `next`, which was asked about last.
    fn together(&self, next: u64) -> u64 {
        self.batches.front().map_or(next, |(end, _)| *end)
    }
}

impl Walk {
    /// Prepares the call of the next window in `stage`, which is either empty or the one of the last step.
    pub(super) fn step_window(&mut self, stage: &mut dyn Stage) -> Result<Step, RunError> {
        match self.window.as_ref().map(|window| &window.kind) {
            Some(Kind::Sliding(_)) => self.step_sliding(stage),
            Some(Kind::Custom(_)) => self.step_custom(stage),
            _ => self.step_apart(stage),
        }
    }

    /// How many masters are done with: not those that are in a window to come.
    pub(super) fn done_with(&self) -> u64 {
        if let Some(first) = self.buffer.first_wanted() {
            return first.position;
        }
        match &self.window {
            Some(window) if window.count > 0 => window.first,
            _ => self.next,
        }
    }

    fn step_apart(&mut self, stage: &mut dyn Stage) -> Result<Step, RunError> {
        loop {
            let found = self.find_master()?;
            let (now, joined) = (self.now, !self.edges.is_empty());
            let Some(window) = &mut self.window else { return Ok(Step::Done(WalkEnd::MasterEnded)) };
            let arrived = window.arrived(&found, now, joined);
            let Kind::Apart(rule) = &mut window.kind else { return Ok(Step::Done(WalkEnd::MasterEnded)) };
            match found {
                Found::Master(position) => {
                    let coming = Coming { tape: self.nodes[0].node.tape(), position, arrived };
                    match rule.before(coming, window.count) {
                        Entry::Closes(reason) => return Ok(self.close_window(stage, reason)),
                        Entry::Passes => {
                            self.next = position + 1;
                            continue;
                        }
                        Entry::Takes => {}
                    }
                    window.count += 1;
                    window.last = position;
                    if window.count == 1 {
                        window.first = position;
                    }
                    if window.count == 1 {
                        self.hold_back();
                    }
                    self.fill_window(stage, position);
                    self.next = position + 1;
                    if !joined {
                        self.fill_many(stage);
                    }
                    if let Some(reason) = self.full() {
                        return Ok(self.close_window(stage, reason));
                    }
                }
                Found::Need(node) => {
                    if let Some(reason) = rule.due(now, window.count) {
                        return Ok(self.close_window(stage, reason));
                    }
                    return self.need(node);
                }
                Found::Enough => return Ok(Step::Done(WalkEnd::Enough)),
                Found::Done(end) if window.count == 0 => {
                    self.done = Some(end);
                    return Ok(Step::Done(end));
                }
                Found::Done(_) => {
                    let reason = rule.due(now, window.count).unwrap_or(CloseReason::EndOfStream);
                    return Ok(self.close_window(stage, reason));
                }
            }
        }
    }

    /// Adds the masters to the window that came in together with its last one and need not be looked at one by one. Of a mill without
    /// joins, where nothing decides about a master but its window.
    fn fill_many(&mut self, stage: &mut dyn Stage) {
        if !self.meta.is_empty() || self.masters.is_some() {
            return;
        }
        let Some(window) = &mut self.window else { return };
        let Kind::Apart(rule) = &window.kind else { return };
        let end = match &window.arrivals {
            Some(arrivals) => arrivals.together(self.next),
            None => self.nodes[0].node.end(),
        };
        let wanted = rule.takes_more(window.count).min(end.saturating_sub(self.next) as usize);
        if wanted == 0 {
            return;
        }
        let root = &mut self.nodes[0];
        let count = root.node.move_many_into(stage.master(), self.next, wanted);
        let next = self.next + count as u64;
        root.marks.mark_run(self.next, next);
        window.count += count;
        (window.last, self.next) = (next - 1, next);
    }

    /// Why the window closes now, if it has all that it takes.
    fn full(&mut self) -> Option<CloseReason> {
        let window = self.window.as_mut()?;
        let Kind::Apart(rule) = &mut window.kind else { return None };
        rule.after(window.count)
    }

    /// Adds one master and its matches to the window.
    fn fill_window(&mut self, stage: &mut dyn Stage, position: u64) {
        let first = self.window.as_ref().is_some_and(|window| window.count == 1);
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

    /// Remembers where every stream stands as a window opens: an open window holds the positions of all of them back, though not
    /// their batches.
    fn hold_back(&mut self) {
        for node in 0..self.nodes.len() {
            let start = self.bookmark(node);
            let state = &mut self.nodes[node];
            state.window_start = Some(start);
            state.marked_before = state.marks.count();
        }
    }

    /// The stage is complete; the walk goes on with the next window.
    fn close_window(&mut self, stage: &mut dyn Stage, reason: CloseReason) -> Step {
        self.finish_below(stage);
        stage.place_masters();
        let place = self.nodes[0].window_start.as_ref().and_then(Bookmark::place);
        if let Some(window) = &mut self.window {
            let (masters, last) = (window.count as u64, window.last);
            if let Some(noted) = self.masters.as_mut().filter(|_| masters == 0) {
                // Those of the call before it.
                noted.clear();
            }
            window.count = 0;
            self.trace_window(masters, place.as_ref(), last);
        }
        for node in &mut self.nodes {
            node.call_start = node.window_start.take();
            node.node.take_back();
            node.members_seen.clear();
        }
        self.call_window(stage, reason, place, 0)
    }

    /// Tells the function about the window; `number` is that of one of those that overlap.
    pub(super) fn call_window(
        &mut self,
        stage: &mut dyn Stage,
        reason: CloseReason,
        place: Option<RecordPlace>,
        number: i128,
    ) -> Step {
        let Some(window) = &mut self.window else { return Step::Call };
        for &param in &self.info {
            if let Some(info) = stage.param(param).and_then(|slot| slot.as_any().downcast_mut::<WindowInfo>())
            {
                info.set(window.index, reason);
                match &window.kind {
                    Kind::Apart(rule) => rule.tell(info),
                    Kind::Sliding(sliding) => sliding.rule.tell(number, info),
                    Kind::Custom(_) => {}
                }
            }
        }
        window.index += 1;
        window.call_place = place;
        Step::Call
    }

    /// Empties a stage whose call was made, so that it can be filled again, but for what windows to come can want.
    pub(crate) fn clear(&mut self, stage: &mut dyn Stage) {
        match self.window.as_ref().map(|window| &window.kind) {
            None => return,
            Some(Kind::Sliding(_)) => return self.trim_buffer(stage, false),
            Some(Kind::Custom(_)) => return self.trim_buffer(stage, true),
            Some(Kind::Apart(_)) => {}
        }
        self.nodes[0].node.clear_window(stage.master());
        for edge in &self.edges {
            if let Some((param, part)) = edge.slot
                && let Some(joined) = stage.param(param)
            {
                edge.edge.clear(joined.as_any(), part);
            }
        }
        for &param in &self.meta {
            if let Some(meta) = stage.param(param) {
                self.nodes[0].node.clear_meta(meta.as_any());
            }
        }
    }

    /// What of the windows cannot be read again.
    pub(super) fn window_state(&self) -> Option<String> {
        match &self.window.as_ref()?.kind {
            Kind::Apart(rule) => rule.state(),
            Kind::Sliding(sliding) => sliding.state(),
            Kind::Custom(custom) => custom.state(&self.buffer, self.next),
        }
    }

    /// Goes on behind a commit in which the windows had this state.
    pub(crate) fn resume_window(&mut self, state: Option<&str>) {
        let (Some(window), Some(state)) = (&mut self.window, state) else { return };
        match &mut window.kind {
            Kind::Apart(rule) => rule.resume(state),
            Kind::Sliding(sliding) => sliding.resume(state),
            Kind::Custom(custom) => custom.resume(state),
        }
    }
}
