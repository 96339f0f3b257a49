//! Stepping through windows that overlap. Their masters stand in one buffer, and each call sees a part of it.

use std::ops::Range;
use std::time::SystemTime;

use super::buffer::Held;
use super::walk::{Found, Step, Walk, WalkEnd};
use super::windowed::Kind;
use crate::error::RunError;
use crate::function::Stage;
use crate::window::{AnySliding, CloseReason, Coming};

/// The windows that overlap, on one lane.
pub(super) struct Sliding {
    pub(super) rule: Box<dyn AnySliding>,
    /// The number of the next window. `None` before the first master.
    pub(super) next: Option<i128>,
}

impl Sliding {
    pub(super) fn new(rule: Box<dyn AnySliding>) -> Self {
        Self { rule, next: None }
    }

    /// The next window that holds masters, or may be empty, and which masters: those of a window stand side by side.
    fn upcoming(&self, masters: &[Held]) -> Option<(i128, Range<usize>)> {
        let next = self.next?;
        let from = masters.partition_point(|held| held.windows.1 < next);
        let number = match masters.get(from) {
            Some(held) if !self.rule.empty() => held.windows.0.max(next),
            None if !self.rule.empty() => return None,
            _ => next,
        };
        let to = masters.partition_point(|held| held.windows.0 <= number);
        Some((number, from..to.max(from)))
    }

    pub(super) fn deadline(&self, masters: &[Held]) -> Option<SystemTime> {
        let (number, _) = self.upcoming(masters)?;
        self.rule.ends(number)
    }

    /// Which windows were called already cannot be seen from positions.
    pub(super) fn state(&self) -> Option<String> {
        self.next.filter(|_| !self.rule.by_arrival()).map(|next| next.to_string())
    }

    pub(super) fn resume(&mut self, state: &str) {
        self.next = state.parse().ok();
    }
}

impl Walk {
    pub(super) fn step_sliding(&mut self, stage: &mut dyn Stage) -> Result<Step, RunError> {
        loop {
            let found = self.find_master()?;
            let (now, joined) = (self.now, !self.edges.is_empty());
            let Some(window) = &mut self.window else { return Ok(Step::Done(WalkEnd::MasterEnded)) };
            let arrived = window.arrived(&found, now, joined);
            let Kind::Sliding(sliding) = &mut window.kind else {
                return Ok(Step::Done(WalkEnd::MasterEnded));
            };
            match found {
                Found::Master(position) => {
                    let coming = Coming { tape: self.nodes[0].node.tape(), position, arrived };
                    // The next window after the last has a number too.
                    let number = |number: i128| number.min(i128::MAX - 1);
                    let windows =
                        sliding.rule.windows(coming).map(|(first, last)| (number(first), number(last)));
                    // Without a key it is in no window; and a restart may come to masters that all their windows have seen.
                    let Some(windows) =
                        windows.filter(|windows| sliding.next.is_none_or(|next| next <= windows.1))
                    else {
                        self.next = position + 1;
                        continue;
                    };
                    let upcoming = sliding.upcoming(&self.buffer.masters);
                    if let Some((number, shown)) = upcoming.filter(|(number, _)| *number < windows.0) {
                        return Ok(self.call_sliding(stage, number, shown, CloseReason::TimeUp));
                    }
                    sliding.next = sliding.next.or(Some(windows.0));
                    let last = self.buffer.masters.last();
                    // Only where a window begins does a restart ever begin.
                    if last.is_none_or(|last| last.windows.1 < windows.1) || self.buffer.begins_at().is_none()
                    {
                        self.remember_start(position);
                    }
                    self.fill_buffer(stage, Held { position, arrived, windows });
                    self.next = position + 1;
                }
                Found::Need(node) => {
                    if let Some((number, shown)) = sliding.upcoming(&self.buffer.masters)
                        && sliding.rule.ends(number).is_some_and(|end| end <= now)
                    {
                        return Ok(self.call_sliding(stage, number, shown, CloseReason::TimeUp));
                    }
                    return self.need(node);
                }
                Found::Enough => return Ok(Step::Done(WalkEnd::Enough)),
                Found::Done(end) => {
                    let upcoming = sliding.upcoming(&self.buffer.masters);
                    let last = self.buffer.masters.last().map(|last| last.windows.1);
                    if let Some((number, shown)) = upcoming.filter(|(number, _)| last >= Some(*number)) {
                        let over = sliding.rule.ends(number).is_some_and(|end| end <= now);
                        let reason = if over { CloseReason::TimeUp } else { CloseReason::EndOfStream };
                        return Ok(self.call_sliding(stage, number, shown, reason));
                    }
                    self.done = Some(end);
                    return Ok(Step::Done(end));
                }
            }
        }
    }

    fn call_sliding(
        &mut self,
        stage: &mut dyn Stage,
        number: i128,
        shown: Range<usize>,
        reason: CloseReason,
    ) -> Step {
        if let Some(window) = &mut self.window
            && let Kind::Sliding(sliding) = &mut window.kind
        {
            sliding.next = Some(number + 1);
            self.buffer.done_with(self.buffer.masters.partition_point(|held| held.windows.1 <= number));
        }
        self.show_buffer(stage, shown, reason, number)
    }
}
