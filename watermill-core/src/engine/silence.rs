//! Streams that are silent while the walk waits for them: a join may go on without its right stream, and a stream may be taken to have
//! ended.

use std::time::{Duration, SystemTime};

use super::late::AnyDecided;
use super::walk::Walk;

/// What the walk knows of the silence of one stream.
#[derive(Default)]
pub(crate) struct Silence {
    /// After so much of it, the join above goes on with what is there.
    idle: Option<Idle>,
    /// After so much of it, the stream has ended.
    ends: Option<Duration>,
    /// Since when the walk has waited for it, with nothing come since.
    since: Option<SystemTime>,
    /// Where the stream ended then.
    end: u64,
    /// It was waited for after the last decision without it.
    asked: bool,
}

/// A join that goes on without its right stream.
struct Idle {
    after: Duration,
    decided: Box<dyn AnyDecided>,
    /// The left record that was decided last, and where the right stream ended then.
    last: Option<(u64, u64)>,
}

impl Silence {
    pub(crate) fn new(idle: Option<(Duration, Box<dyn AnyDecided>)>, ends: Option<Duration>) -> Self {
        let idle = idle.map(|(after, decided)| Idle { after, decided, last: None });
        Self { idle, ends, ..Self::default() }
    }

    /// The stream ends after some time of silence.
    pub(super) fn ends(&self) -> bool {
        self.ends.is_some()
    }

    /// The stream, whose records end at `end`, is waited for from `now` on.
    fn begin(&mut self, now: SystemTime, end: u64) {
        if self.since.is_none() || self.end != end {
            (self.since, self.end) = (Some(now), end);
        }
        self.asked = true;
    }

    fn over(&self, end: u64, after: Duration) -> Option<SystemTime> {
        self.since.filter(|_| self.end == end)?.checked_add(after)
    }
}

impl Walk {
    /// The walk is about to wait for this stream.
    pub(super) fn begin_wait(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        state.silence.begin(self.now, state.node.heard());
    }

    /// When the silence of this stream, which is waited for, has a consequence.
    pub(super) fn silence_ends(&self, node: usize) -> Option<SystemTime> {
        let (silence, end) = (&self.nodes[node].silence, self.nodes[node].node.heard());
        let idle = silence.idle.as_ref().and_then(|idle| silence.over(end, idle.after));
        let ends = silence.ends.and_then(|after| silence.over(end, after));
        match (idle, ends) {
            (Some(idle), Some(ends)) => Some(idle.min(ends)),
            (idle, ends) => idle.or(ends),
        }
    }

    /// Ends the streams that have been silent for long enough.
    pub(super) fn end_silent(&mut self) {
        let now = self.now;
        for state in self.nodes.iter_mut().filter(|state| state.silence.ends.is_some()) {
            let over = state.silence.ends.and_then(|after| state.silence.over(state.node.heard(), after));
            if over.is_some_and(|over| over <= now) && !state.node.ended() {
                tracing::info!(target: "watermill", stream = %state.stream, "silent for so long that it has ended");
                state.node.end_here();
            }
        }
    }

    /// Whether the left record at `position` of the join at `edge` is decided with what is there of the right stream. Each time the stream is asked
    /// once more before, as nothing else would read it while the walk goes on without it.
    pub(super) fn goes_on_without(&mut self, edge: usize, position: u64) -> bool {
        let (left, right) = (self.edges[edge].left, self.edges[edge].right);
        let end = self.nodes[right].node.heard();
        let silence = &self.nodes[right].silence;
        let Some(idle) = &silence.idle else { return false };
        let known = idle.last == Some((position, end));
        let over = silence.over(end, idle.after).is_some_and(|over| over <= self.now);
        if !(known || (over && silence.asked)) {
            return false;
        }
        // What waits to be sorted back belongs to what is there.
        if self.nodes[right].node.let_all_in() {
            return false;
        }
        self.nodes[right].silence.asked = false;
        if let Some(mut idle) = self.nodes[right].silence.idle.take() {
            idle.decided.decide(self.nodes[left].node.tape(), position);
            idle.last = Some((position, end));
            self.nodes[right].silence.idle = Some(idle);
        }
        true
    }
}
