//! Stepping through windows that the user's own code makes: it sees all masters that are buffered, and takes what it chooses.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::buffer::{Buffer, Held};
use super::walk::{Found, Step, Walk, WalkEnd};
use super::windowed::Kind;
use crate::error::RunError;
use crate::function::Stage;
use crate::window::{AnyEmitter, CloseReason, Emit, Wake, WakeUp};

/// The windows of an emitter, on one lane.
pub(super) struct Custom {
    emitter: Box<dyn AnyEmitter>,
    /// Why it is asked again before anything else happens.
    again: Option<Wake>,
    /// When it wants to be woken.
    wake: Option<SystemTime>,
    /// What an earlier run had seen, while not all of it has come again.
    before: Option<Seen>,
}

/// What an emitter has seen, in positions of the master from where a restart begins.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Seen {
    /// All before this one have come.
    until: u64,
    /// Of these the ones that are still there; the others were taken or dropped.
    kept: Vec<u64>,
}

impl Custom {
    pub(super) fn new(emitter: Box<dyn AnyEmitter>) -> Self {
        Self { emitter, again: None, wake: None, before: None }
    }

    pub(super) fn deadline(&self) -> Option<SystemTime> {
        self.wake
    }

    /// What a restart has to know that begins where [`Buffer::begins_at`] says, or with the `next` master.
    pub(super) fn state(&self, buffer: &Buffer, next: u64) -> Option<String> {
        let start = buffer.begins_at().unwrap_or(next);
        let mut seen = Seen { until: next, kept: buffer.wanted().iter().map(|held| held.position).collect() };
        if let Some(before) = self.before.as_ref().filter(|before| next < before.until) {
            seen.until = before.until;
            seen.kept.extend(before.kept.iter().filter(|position| **position >= next));
        }
        seen.until -= start;
        seen.kept.iter_mut().for_each(|position| *position -= start);
        if seen.until == 0 { None } else { serde_json::to_string(&seen).ok() }
    }

    pub(super) fn resume(&mut self, state: &str) {
        self.before = serde_json::from_str(state).ok();
    }

    /// What is to be done with a master that may have come before.
    fn replayed(&mut self, position: u64) -> Replay {
        match &self.before {
            Some(seen) if position < seen.until => match seen.kept.binary_search(&position) {
                Ok(_) => Replay::Kept,
                Err(_) => Replay::Gone,
            },
            _ => {
                self.before = None;
                Replay::New
            }
        }
    }
}

enum Replay {
    /// It has not come before.
    New,
    /// It came, and stayed.
    Kept,
    /// It came, and was taken or dropped.
    Gone,
}

impl Walk {
    pub(super) fn step_custom(&mut self, stage: &mut dyn Stage) -> Result<Step, RunError> {
        loop {
            if let Some(why) = self.custom().and_then(|custom| custom.again.take())
                && let Some(step) = self.ask(stage, why)?
            {
                return Ok(step);
            }
            let found = self.find_master()?;
            let (now, joined) = (self.now, !self.edges.is_empty());
            let Some(window) = &mut self.window else { return Ok(Step::Done(WalkEnd::MasterEnded)) };
            let arrived = window.arrived(&found, now, joined);
            let Kind::Custom(custom) = &mut window.kind else { return Ok(Step::Done(WalkEnd::MasterEnded)) };
            match found {
                Found::Master(position) => {
                    let replay = custom.replayed(position);
                    if !matches!(replay, Replay::Gone) {
                        self.remember_start(position);
                        self.fill_buffer(stage, Held { position, arrived, windows: (0, 0) });
                    }
                    self.next = position + 1;
                    if matches!(replay, Replay::New)
                        && let Some(custom) = self.custom()
                    {
                        custom.again = Some(Wake::Arrived);
                    }
                }
                Found::Need(node) => {
                    if custom.wake.is_some_and(|wake| wake <= now) {
                        (custom.wake, custom.again) = (None, Some(Wake::Time));
                        continue;
                    }
                    return self.need(node);
                }
                Found::Enough => return Ok(Step::Done(WalkEnd::Enough)),
                Found::Done(end) => {
                    if self.buffer.masters.is_empty() {
                        self.done = Some(end);
                        return Ok(Step::Done(end));
                    }
                    if let Some(step) = self.ask(stage, Wake::EndOfStream)? {
                        return Ok(step);
                    }
                }
            }
        }
    }

    fn custom(&mut self) -> Option<&mut Custom> {
        match &mut self.window.as_mut()?.kind {
            Kind::Custom(custom) => Some(custom),
            _ => None,
        }
    }

    /// Asks the emitter, and does what it says; a call, if there is one to make.
    fn ask(&mut self, stage: &mut dyn Stage, why: Wake) -> Result<Option<Step>, RunError> {
        if self.buffer.masters.is_empty() {
            return Ok(None);
        }
        let now = self.now;
        let Some(window) = &mut self.window else { return Ok(None) };
        let Kind::Custom(custom) = &mut window.kind else { return Ok(None) };
        let masters = &self.buffer.masters;
        let arrived = |index: usize| masters.get(index).map(|held: &Held| held.arrived);
        let emit = custom.emitter.emit(stage.master(), &arrived, now, why);
        custom.wake = match emit.wake {
            Some(WakeUp::At(time)) => Some(time),
            Some(WakeUp::After(silence)) => now.checked_add(silence),
            None => None,
        };
        // Asking at once again would never end.
        custom.wake = custom.wake.filter(|wake| *wake > now);
        let order = chosen(&emit, masters.len(), why)?;
        let count = order.taken;
        if count > 0 && !order.last {
            custom.again = Some(why);
        }
        if order.all.len() < masters.len() || count > 0 {
            self.arrange_buffer(stage, &order.all);
            self.buffer.forget_starts();
        }
        if count == 0 {
            return Ok(None);
        }
        let reason = if order.last { CloseReason::EndOfStream } else { CloseReason::Chosen };
        let step = self.show_buffer(stage, 0..count, reason, 0);
        self.buffer.done_with(count);
        Ok(Some(step))
    }
}

/// How the buffer is to be arranged.
struct Order {
    /// Those that are taken, then those that are kept.
    all: Vec<usize>,
    taken: usize,
    /// It is the rest at the end of the stream.
    last: bool,
}

/// Checks what an emitter said of `len` masters.
fn chosen(emit: &Emit, len: usize, why: Wake) -> Result<Order, RunError> {
    let mut named = vec![false; len];
    for index in emit.take.iter().chain(&emit.drop) {
        match named.get_mut(*index) {
            Some(named) if !*named => *named = true,
            other => {
                let what = if other.is_some() { "is named twice" } else { "is not there" };
                return Err(RunError::Runtime {
                    what: "the window emitter chose what it cannot have".to_owned(),
                    cause: format!("{len} masters are buffered, and the one at index {index} {what}").into(),
                });
            }
        }
    }
    let kept = || (0..len).filter(|index| !named[*index] && !emit.drop_rest);
    let last = why == Wake::EndOfStream && emit.take.is_empty();
    let mut all = emit.take.clone();
    all.extend(kept());
    let taken = if last { all.len() } else { emit.take.len() };
    Ok(Order { all, taken, last })
}
