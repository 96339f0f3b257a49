//! One call after the other, on the lane's own thread.

use super::settings::Looks;
use super::{Ended, FLUSH_AT, LaneRun, Woken, within};
use crate::engine::walk::{Step, WalkEnd};
use crate::error::{BoxError, RunError};
use crate::function::{CallResult, Control, Stage};
use crate::report::EndReason;
use crate::retry::Then;

impl LaneRun {
    /// Walks to the end, making each call before the next one is looked for.
    pub(super) async fn walk_direct(&mut self) -> Result<Ended, RunError> {
        let mut own = self.new_stage()?;
        let stage = own.get();
        let begin = self.clock.now();
        let mut looks = Looks::new(begin);
        self.metered(|meter| meter.calls_begin(begin));
        let has_outs = self.ports.iter().any(|port| port.param.is_some());
        loop {
            match self.walk.step(stage, self.most_calls(looks.left()))? {
                step @ (Step::Call | Step::Called(..)) => {
                    self.waits(false);
                    let (made, mut result) = match step {
                        Step::Called(made, result) => (made, result),
                        _ => {
                            self.log_call();
                            (1, within(stage.call(), self.settings.timeout, &*self.clock).await)
                        }
                    };
                    if result.is_err() {
                        match self.again(stage, result).await? {
                            Some(settled) => result = settled,
                            None => {
                                // What the calls before it came to is committed.
                                self.collect(stage);
                                let reason = self.steering.why_stopped();
                                return Ok(match self.walk.standing_before_call() {
                                    Some(before) => Ended::at(reason, before),
                                    None => Ended::unfinished(reason),
                                });
                            }
                        }
                    }
                    self.tally.calls += u64::from(made);
                    if has_outs {
                        match self.look_at_outs(stage) {
                            Ok(true) => result = Ok(Control::End),
                            Ok(false) => {}
                            Err(late) => return Err(self.failed(stage, late)),
                        }
                    }
                    self.walk.clear(stage);
                    if let Ok(Control::End) = result {
                        self.collect(stage);
                        return Ok(Ended::here(EndReason::Function));
                    }
                    let stop = self.steering.should_stop();
                    let count = self.tally.calls - self.since.calls;
                    let enough = self.settings.commits.calls.is_some_and(|enough| count >= enough);
                    if looks.count(made) || enough || stop || self.many_results(stage) {
                        let (now, calls) = (self.clock.now(), self.tally.calls);
                        looks.looked(now);
                        self.walk.set_now(now);
                        self.metered(|meter| meter.calls_made(calls, now));
                        self.collect(stage);
                        self.keep_call_at(now);
                        self.flush(FLUSH_AT).await?;
                        self.flush_letters(FLUSH_AT).await?;
                        if let Some(end) = self.commit_or_end(stop).await? {
                            return Ok(Ended::here(end));
                        }
                    }
                }
                Step::Need(node) => {
                    if let Some(meter) = &mut self.meter {
                        meter.calls_made(self.tally.calls, self.clock.now());
                    }
                    self.collect(stage);
                    self.flush(1).await?;
                    self.flush_letters(1).await?;
                    if let Some(end) = self.commit_or_end(self.steering.should_stop()).await? {
                        return Ok(Ended::here(end));
                    }
                    let now = self.clock.now();
                    let woken = match self.load_what_is_there(node).await? {
                        Some(loaded) => {
                            self.publish_now_and_then(now);
                            Woken::Loaded(loaded)
                        }
                        None => {
                            self.publish(Some(node));
                            self.tell_waiting(Some(node));
                            let woken = self.wait(node).await?;
                            self.steering.publish(|watch| (watch.waiting_for, watch.parked) = (None, false));
                            self.tell_waiting(None);
                            woken
                        }
                    };
                    let now = self.clock.now();
                    self.walk.set_now(now);
                    self.metered(|meter| meter.calls_begin(now));
                    match woken {
                        Woken::Loaded(loaded) => self.loaded(node, loaded)?,
                        Woken::Deadline if self.is_idle() => return Ok(Ended::here(EndReason::Idle)),
                        Woken::Deadline => {}
                        Woken::Stopped => return Ok(Ended::here(self.steering.why_stopped())),
                    }
                }
                Step::Done(end) => {
                    self.collect(stage);
                    return Ok(Ended::here(self.input_ended(end)));
                }
            }
        }
    }

    /// Commits when that is due, and says whether the run is to end here.
    async fn commit_or_end(&mut self, stop: bool) -> Result<Option<EndReason>, RunError> {
        let now = self.clock.now();
        let mut begin = now;
        if self.commit_is_due(now) {
            let standing = self.walk.standing();
            self.commit(standing, false).await?;
            begin = self.clock.now();
        }
        self.metered(|meter| meter.calls_begin(begin));
        Ok(if stop { Some(self.steering.why_stopped()) } else { self.over(now) })
    }

    /// The call has failed: makes it again, as the policy says. `None` when the run is to stop meanwhile.
    #[cold]
    async fn again(
        &mut self,
        stage: &mut dyn Stage,
        mut result: CallResult,
    ) -> Result<Option<CallResult>, RunError> {
        let mut failed = 0;
        loop {
            let Err(cause) = result else { return Ok(Some(result)) };
            failed += 1;
            self.roll_back(stage);
            let now = self.clock.now();
            let Some(pause) = self.settings.on_error.pause(failed, now) else {
                return self.give_up(stage, failed, cause).map(Some);
            };
            let (_, master) = self.walk.call_place();
            self.told_of_retry(&master, failed, &cause);
            self.metered(|meter| meter.calls_pause(now));
            if self.steering.stopped_within(&*self.clock, pause).await {
                return Ok(None);
            }
            let now = self.clock.now();
            self.metered(|meter| meter.calls_begin(now));
            result = within(stage.call(), self.settings.timeout, &*self.clock).await;
        }
    }

    /// The call has failed for good.
    fn give_up(
        &mut self,
        stage: &mut dyn Stage,
        attempts: u32,
        cause: BoxError,
    ) -> Result<CallResult, RunError> {
        if self.settings.on_error.then() == Then::Stop {
            return Err(self.failed(stage, cause));
        }
        let (_, master) = self.walk.call_place();
        let masters = self.walk.take_masters();
        self.call_given_up(&master, &masters, attempts, &cause);
        Ok(Ok(Control::Go))
    }

    #[cold]
    fn failed(&mut self, stage: &mut dyn Stage, cause: BoxError) -> RunError {
        let (position, master) = self.walk.call_place();
        let key = if self.windowed { None } else { self.walk.key_text(position) };
        let seen = self.seen();
        let call = self.keep_failed(seen);
        self.roll_back(stage);
        RunError::Function { function: self.function.clone(), master, key, call, cause }
    }

    /// Why the walk has ended.
    pub(super) fn input_ended(&self, end: WalkEnd) -> EndReason {
        let node = match end {
            WalkEnd::MasterEnded => 0,
            WalkEnd::RightEnded(node) => node,
            WalkEnd::Enough => return EndReason::Records,
            WalkEnd::Paused(node) => {
                return EndReason::CurrentEnd { stream: self.walk.nodes[node].stream.clone() };
            }
        };
        let node = &self.walk.nodes[node];
        EndReason::InputEnded { stream: node.stream.clone(), marked: node.node.marked() }
    }

    /// How many calls the walk may make by itself.
    fn most_calls(&self, left: u32) -> u32 {
        let few = |most: u64| u32::try_from(most).unwrap_or(u32::MAX);
        let count = self.tally.calls - self.since.calls;
        let until_commit =
            self.settings.commits.calls.map_or(u32::MAX, |calls| few(calls.saturating_sub(count)));
        let records = self.settings.ending.records;
        let until_end = records.map_or(u32::MAX, |end| few(end.saturating_sub(self.walk.next_master())));
        left.min(until_commit).min(until_end)
    }
}
