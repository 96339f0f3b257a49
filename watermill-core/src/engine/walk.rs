//! The walk: one master after the other through the join tree. Plain synchronous code; when a stream has to be read first, it
//! says which one and is called again.

use std::time::SystemTime;

use super::ahead::{Ahead, Run};
use super::any_edge::{AnyEdge, Seek};
use super::bookmark::Bookmark;
use super::buffer::Buffer;
use super::keep::Keep;
use super::lane::FLUSH_AT;
use super::marks::Marks;
use super::node::AnyNode;
use super::silence::Silence;
use super::span::{Span, SpanTable};
use super::trace::Trace;
use super::windowed::WindowState;
use crate::error::{BadCause, BadRecord, RecordPlace, RunError};
use crate::function::{CallResult, ParamKind, RecordMeta, Stage};
use crate::window::OpenWindow;

/// One stream of the tree.
pub(crate) struct WalkNode {
    pub(crate) node: Box<dyn AnyNode>,
    pub(crate) stream: String,
    /// The joins below, as indexes of edges.
    pub(crate) children: Vec<usize>,
    /// The join above.
    pub(crate) parent: Option<usize>,
    pub(super) marks: Marks,
    /// The positions that the master at hand brings into the call; used only where there are joins below.
    pub(super) members: Vec<u64>,
    /// The positions that are in the call already, ascending.
    pub(super) members_seen: Vec<u64>,
    /// Where the stream stood when the open window began: a restart begins there.
    pub(super) window_start: Option<Bookmark>,
    /// The same, of the window that was closed last.
    pub(super) call_start: Option<Bookmark>,
    /// The first position that a restart needs, when its batch is not held for it.
    pub(super) floor: Option<(u64, Bookmark)>,
    /// How many records were marked for the open window, whose call is not made yet.
    pub(super) marked_before: u64,
    pub(super) silence: Silence,
}

impl WalkNode {
    pub(crate) fn new(
        node: Box<dyn AnyNode>,
        stream: String,
        parent: Option<usize>,
        silence: Silence,
    ) -> Self {
        Self {
            node,
            stream,
            children: Vec::new(),
            parent,
            marks: Marks::default(),
            members: Vec::new(),
            members_seen: Vec::new(),
            window_start: None,
            call_start: None,
            floor: None,
            marked_before: 0,
            silence,
        }
    }
}

/// One join of the tree.
pub(crate) struct WalkEdge {
    pub(crate) edge: Box<dyn AnyEdge>,
    pub(crate) left: usize,
    pub(crate) right: usize,
    pub(crate) keep: Keep,
    /// The parameter that looks at it, and which part of that.
    pub(crate) slot: Option<(usize, usize)>,
    /// The matches of the left records still needed.
    pub(super) spans: SpanTable,
    /// The run of matches that the slots were filled with last.
    pub(super) filled: Option<Run>,
    /// The matches of left records that the walk has not come to yet.
    ahead: Ahead,
    /// As [`AnyEdge::in_order`] says.
    pub(super) in_order: bool,
}

impl WalkEdge {
    pub(crate) fn new(
        edge: Box<dyn AnyEdge>,
        left: usize,
        right: usize,
        keep: Keep,
        slot: Option<(usize, usize)>,
    ) -> Self {
        let in_order = edge.in_order();
        Self {
            edge,
            left,
            right,
            keep,
            slot,
            spans: SpanTable::default(),
            filled: None,
            ahead: Ahead::default(),
            in_order,
        }
    }

    /// The span of the left record at `position`, empty or as it was set before.
    fn span(&mut self, position: u64) -> &mut Span {
        // The root is needed one record at a time.
        if self.left == 0 { self.spans.only(position) } else { self.spans.slot(position) }
    }

    /// The first right position that is still needed.
    pub(super) fn low(&self) -> u64 {
        self.ahead.low().unwrap_or_else(|| self.edge.low())
    }

    /// The first right position that is needed apart from [`AnyEdge::pinned`].
    pub(super) fn live(&self) -> u64 {
        self.ahead.low().unwrap_or_else(|| self.edge.live())
    }

    /// Nothing that was read of the right stream can match a later left record.
    fn holds_nothing(&self, right_end: u64) -> bool {
        match self.ahead.low() {
            Some(low) => low >= right_end,
            None => self.edge.holds_nothing(right_end),
        }
    }

    fn is_strict(&self) -> bool {
        matches!(self.keep, Keep::Inner | Keep::Exists)
    }
}

/// What the walk comes to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The stage holds the arguments of the next call.
    Call,
    /// So many calls were made; the last one came to this.
    Called(u32, CallResult),
    /// This stream must be read before the walk can go on.
    Need(usize),
    /// There are no more calls.
    Done(WalkEnd),
}

/// Why a walk has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WalkEnd {
    /// The master has ended.
    MasterEnded,
    /// This stream has ended, and nothing more can match.
    RightEnded(usize),
    /// This stream has no more for this run, and would be needed.
    Paused(usize),
    /// As many masters are done with as were asked for; there may be more.
    Enough,
}

/// Why the record under consideration cannot be decided yet.
enum Blocked {
    Need(usize),
    Error(Box<RunError>),
}

/// The walk of one lane.
pub(crate) struct Walk {
    /// Master first, parents before children. The join at index `i` is the one above the node at `i + 1`.
    pub(crate) nodes: Vec<WalkNode>,
    pub(crate) edges: Vec<WalkEdge>,
    pub(crate) limits: Limits,
    pub(super) window: Option<WindowState>,
    pub(super) buffer: Buffer,
    /// What calls leave behind, for checkpoints.
    pub(super) trace: Option<Trace>,
    /// The parameters that are `&Meta<M>`.
    pub(super) meta: Vec<usize>,
    /// The parameters that are `&WindowInfo`.
    pub(super) info: Vec<usize>,
    /// Where the masters of the call came from, and their numbers; kept only where calls that fail leave dead letters, or a broker logs calls.
    pub(super) masters: Option<Vec<(RecordMeta, u64)>>,
    /// The next master.
    pub(super) next: u64,
    pub(super) done: Option<WalkEnd>,
    /// There are joins below those of the master.
    pub(super) deep: bool,
    /// Some stream ends after a time of silence.
    ends_silent: bool,
    /// The function takes one master and one inner join, so that calls can be made many at a time.
    plain: bool,
    /// The time, as the lane saw it last: whenever it has waited, and now and then between calls.
    pub(super) now: SystemTime,
}

/// Bounds on what a walk may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// So many masters are walked at most.
    pub(crate) masters: u64,
    pub(crate) max_group: u64,
    pub(crate) budget: u64,
}

impl Walk {
    pub(crate) fn new(
        nodes: Vec<WalkNode>,
        edges: Vec<WalkEdge>,
        params: &[ParamKind],
        window: Option<OpenWindow>,
        limits: Limits,
    ) -> Self {
        let places = |wanted: fn(&ParamKind) -> bool| {
            params.iter().enumerate().filter(|(_, kind)| wanted(kind)).map(|(at, _)| at).collect::<Vec<_>>()
        };
        let deep = edges.iter().any(|edge| edge.left != 0);
        let inner = edges.len() == 1 && edges.iter().all(|edge| edge.keep == Keep::Inner);
        let plain = inner && window.is_none() && matches!(params, [ParamKind::Joined { .. }]);
        let window = window.map(WindowState::new);
        let buffer = Buffer::new(edges.len());
        let ends_silent = nodes.iter().any(|node| node.silence.ends());
        Self {
            nodes,
            edges,
            limits,
            window,
            buffer,
            trace: None,
            meta: places(|kind| matches!(kind, ParamKind::Meta { .. })),
            info: places(|kind| matches!(kind, ParamKind::WindowInfo)),
            masters: None,
            next: 0,
            done: None,
            deep,
            ends_silent,
            plain,
            now: SystemTime::UNIX_EPOCH,
        }
    }

    /// Remembers where the masters of each call came from.
    pub(crate) fn note_masters(&mut self) {
        self.masters = Some(Vec::new());
        // Calls are looked at one by one.
        self.plain = false;
    }

    /// Where the masters of the call being made came from, if that is remembered.
    pub(crate) fn masters(&self) -> impl Iterator<Item = &RecordMeta> {
        self.masters.iter().flatten().map(|(meta, _)| meta)
    }

    /// Where the masters of the call being made came from, if that is remembered, and their numbers.
    pub(crate) fn take_masters(&mut self) -> Vec<(RecordMeta, u64)> {
        self.masters.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The stage of the next step is another one than that of the last.
    pub(crate) fn other_stage(&mut self) {
        for edge in &mut self.edges {
            edge.filled = None;
        }
    }

    /// Masters are in a window that is not closed yet.
    pub(super) fn in_window(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.count > 0)
    }

    /// Tells the time: before the first step, after every wait, and now and then between calls.
    pub(crate) fn set_now(&mut self, now: SystemTime) {
        self.now = now;
        if let Some(window) = &mut self.window {
            window.set_now(now, self.nodes[0].node.end());
        }
    }

    /// When the walk wants to be called again at the latest, if no record of the stream at `node`, which it waits for, comes
    /// before.
    pub(crate) fn deadline(&self, node: usize) -> Option<SystemTime> {
        let window = self.window.as_ref().and_then(|window| window.deadline(&self.buffer.masters));
        match (window, self.silence_ends(node)) {
            (Some(window), Some(silence)) => Some(window.min(silence)),
            (window, silence) => window.or(silence),
        }
    }

    /// Prepares the next call in `stage`, or makes some itself, but not more than `most`.
    pub(crate) fn step(&mut self, stage: &mut dyn Stage, most: u32) -> Result<Step, RunError> {
        if self.ends_silent {
            self.end_silent();
        }
        if self.window.is_some() { self.step_window(stage) } else { self.step_single(stage, most) }
    }

    /// Makes the calls for masters whose matches were found ahead, if there are any.
    fn call_ahead(&mut self, stage: &mut dyn Stage, most: u32) -> Option<Step> {
        let edge = self.edges.first_mut()?;
        let (runs, slot) = (edge.ahead.from(self.next), edge.slot?);
        let sound = |(low, high): &Run| low < high && high - low <= self.limits.max_group;
        let runs = &runs[..runs.iter().take(most as usize).take_while(|run| sound(run)).count()];
        let (made, result) = stage.call_many(self.next, slot, runs, FLUSH_AT);
        for (low, high) in &runs[..made] {
            self.nodes[edge.right].marks.mark_run(*low, *high);
        }
        let next = self.next + made as u64;
        let last = runs[..made].last().copied();
        self.nodes[0].marks.mark_run(self.next, next);
        // Nothing before the last master that was called needs to be held.
        edge.ahead.go_to(next.checked_sub(1).filter(|_| made > 0)?);
        self.next = next;
        if let Some((low, high)) = last {
            self.trace_run(next - 1, low, high);
        }
        Some(Step::Called(made as u32, result))
    }

    fn step_single(&mut self, stage: &mut dyn Stage, most: u32) -> Result<Step, RunError> {
        if self.plain
            && self.done.is_none()
            && let Some(called) = self.call_ahead(stage, most)
        {
            return Ok(called);
        }
        match self.find_master()? {
            Found::Master(position) => {
                self.fill_single(stage, position);
                self.next = position + 1;
                Ok(Step::Call)
            }
            Found::Need(node) => self.need(node),
            Found::Done(end) => {
                self.done = Some(end);
                Ok(Step::Done(end))
            }
            Found::Enough => Ok(Step::Done(WalkEnd::Enough)),
        }
    }

    /// The next master that its joins keep.
    pub(super) fn find_master(&mut self) -> Result<Found, RunError> {
        if let Some(end) = self.done {
            return Ok(Found::Done(end));
        }
        loop {
            let position = self.next;
            if position >= self.limits.masters && self.done_with() >= self.limits.masters {
                return Ok(Found::Enough);
            }
            if position >= self.nodes[0].node.end() {
                if self.nodes[0].node.ended() {
                    return Ok(Found::Done(WalkEnd::MasterEnded));
                }
                return Ok(match self.exhausted(0) {
                    Some(node) => Found::Done(WalkEnd::RightEnded(node)),
                    None => Found::Need(0),
                });
            }
            match self.resolve(0, position) {
                Ok(true) => return Ok(Found::Master(position)),
                Ok(false) => {
                    self.next = position + 1;
                    if let Some(node) = self.exhausted(0) {
                        return Ok(Found::Done(WalkEnd::RightEnded(node)));
                    }
                }
                Err(Blocked::Need(node)) => return Ok(Found::Need(node)),
                Err(Blocked::Error(error)) => return Err(*error),
            }
        }
    }

    /// Finds the matches of the record at `position` of `node` on all its joins, and whether they keep it.
    fn resolve(&mut self, node: usize, position: u64) -> Result<bool, Blocked> {
        for index in 0..self.nodes[node].children.len() {
            let edge = self.nodes[node].children[index];
            let matched = self.resolve_edge(edge, position)?;
            let kept = match self.edges[edge].keep {
                Keep::Inner | Keep::Exists => matched,
                Keep::Unmatched => !matched,
                Keep::Left => true,
            };
            if !kept {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn resolve_edge(&mut self, index: usize, position: u64) -> Result<bool, Blocked> {
        let edge = &mut self.edges[index];
        if let Some((low, high)) = edge.ahead.go_to(position) {
            let span = edge.span(position);
            span.set_run(low, high);
            span.floor = low;
            return self.check_group(index, position, Some(high - low)).map(|()| low < high);
        }
        let (left, right) = (edge.left, edge.right);
        edge.ahead.begin(position);
        let seek = edge.edge.seek(self.nodes[left].node.tape(), self.nodes[right].node.tape(), position);
        let (high, mut sure) = match seek {
            Seek::Below(high) => (high, true),
            Seek::Perhaps(high) => (high, false),
            Seek::NoKey => {
                let floor = edge.edge.low();
                let span = edge.span(position);
                span.clear();
                span.floor = floor;
                return Ok(false);
            }
            Seek::Need(high) => {
                self.check_group(index, position, self.edges[index].edge.reached())?;
                if !self.goes_on_without(index, position) {
                    return Err(Blocked::Need(right));
                }
                (high, true)
            }
        };
        if self.edges[index].edge.takes_in() {
            let filtered = !self.nodes[right].children.is_empty();
            let mut at = self.edges[index].edge.intake_from();
            while at < high {
                let alive = !filtered || self.resolve(right, at)?;
                self.edges[index].edge.take_in(self.nodes[right].node.tape(), at, alive);
                at += 1;
            }
        }
        let edge = &mut self.edges[index];
        let (left_tape, right_tape) = (self.nodes[left].node.tape(), self.nodes[right].node.tape());
        let span = if left == 0 { edge.spans.only(position) } else { edge.spans.slot(position) };
        edge.edge.select(left_tape, right_tape, position, span);
        let len = span.len();
        if len == 0 && !sure {
            sure = self.goes_on_without(index, position);
            if !sure {
                return Err(Blocked::Need(right));
            }
        }
        let edge = &mut self.edges[index];
        let (left_tape, right_tape) = (self.nodes[left].node.tape(), self.nodes[right].node.tape());
        let span = if left == 0 { edge.spans.only(position) } else { edge.spans.slot(position) };
        edge.edge.look_ahead(left_tape, right_tape, position, edge.ahead.begin(position));
        if edge.edge.breaks_promise(span) {
            let second = span.positions().nth(1).unwrap_or_default();
            return Err(Blocked::Error(Box::new(self.broken_promise(index, second))));
        }
        if len > self.limits.max_group {
            self.check_group(index, position, Some(len))?;
        }
        Ok(len > 0)
    }

    fn check_group(&self, index: usize, position: u64, len: Option<u64>) -> Result<(), Blocked> {
        if len.is_none_or(|len| len <= self.limits.max_group) {
            return Ok(());
        }
        let edge = &self.edges[index];
        Err(Blocked::Error(Box::new(RunError::GroupTooLarge {
            stream: self.nodes[edge.right].stream.clone(),
            key: edge.edge.left_text(self.nodes[edge.left].node.tape(), position),
            limit: self.limits.max_group,
        })))
    }

    /// The record at `position` has the key of another one, though the join promises that none has.
    #[cold]
    fn broken_promise(&self, index: usize, position: u64) -> RunError {
        let right = &self.nodes[self.edges[index].right];
        let (expression, key) = self.edges[index].edge.right_text(right.node.tape(), position);
        RunError::from(Box::new(BadRecord {
            stream: right.stream.clone(),
            place: right.node.place(position),
            key: Some(format!("`{expression}` = {key}")),
            excerpt: None,
            cause: BadCause::KeyNotUnique { expression, key },
        }))
    }

    /// A stream below `node` that has ended, so that no later record of `node` can be kept.
    fn exhausted(&self, node: usize) -> Option<usize> {
        self.nodes[node].children.iter().find_map(|&index| {
            let edge = &self.edges[index];
            let right = &self.nodes[edge.right];
            if !edge.is_strict() {
                None
            } else if right.node.ended() && edge.holds_nothing(right.node.end()) {
                Some(edge.right)
            } else if edge.holds_nothing(0) {
                // What it has not taken in yet will be dropped, if a stream further below is the one that has ended.
                self.exhausted(edge.right)
            } else {
                None
            }
        })
    }

    /// Lets go of what is not needed any more, and says what is.
    pub(super) fn need(&mut self, node: usize) -> Result<Step, RunError> {
        self.release();
        self.begin_wait(node);
        if self.nodes[node].node.is_broken()
            && let Some(fault) = self.nodes[node].node.take_fault()
        {
            return Err(fault);
        }
        if self.nodes[node].node.paused() {
            return Ok(Step::Done(WalkEnd::Paused(node)));
        }
        Ok(Step::Need(node))
    }

    /// A batch of the stream at `node` was read. A table is whole with what there is, and so is all that is joined to it.
    pub(super) fn loaded(&mut self, node: usize) {
        if self.nodes[node].node.paused() && !self.nodes[node].node.ended() && self.is_of_table(node) {
            self.nodes[node].node.end_here();
        }
    }

    fn is_of_table(&self, node: usize) -> bool {
        self.nodes[node].parent.is_some_and(|edge| {
            let edge = &self.edges[edge];
            edge.edge.is_lookup() || self.is_of_table(edge.left)
        })
    }

    /// The key of the master that is being joined, for messages.
    pub(crate) fn key_text(&self, position: u64) -> Option<String> {
        let edge = self.edges.iter().find(|edge| edge.left == 0)?;
        Some(edge.edge.left_text(self.nodes[0].node.tape(), position))
    }

    /// The next master.
    pub(crate) fn next_master(&self) -> u64 {
        self.next
    }

    /// The record that the call being made is for: the first one of a window.
    pub(crate) fn call_record(&self) -> RecordPlace {
        let master = &self.nodes[0];
        match self.window.as_ref().and_then(|window| window.call_place.as_ref()) {
            Some(place) => place.clone(),
            None => master.node.place(self.next.saturating_sub(1)),
        }
    }

    /// Where the masters of the call being made stand: the first one of a window.
    pub(crate) fn call_place(&self) -> (u64, String) {
        let master = &self.nodes[0];
        if let Some(place) = self.window.as_ref().and_then(|window| window.call_place.as_ref()) {
            return (self.next, format!("`{}`, {place}", master.stream));
        }
        let position = self.next.saturating_sub(1);
        (position, master.node.place_text(position))
    }
}

pub(super) enum Found {
    Master(u64),
    Enough,
    Need(usize),
    Done(WalkEnd),
}
