//! The result streams of a lane, and its commits.

use std::sync::Arc;
use std::time::SystemTime;

use super::settings::{earlier_by, elapsed, later};
use super::{FLUSH_AT, LaneRun, Since};
use crate::broker::{Checkpoint, Origin, Refused};
use crate::engine::held::Standing;
use crate::error::{BoxError, RecordPlace, RunError};
use crate::function::{AnyOutlet, AnyStage, OutRef, Slot, Stage};
use crate::letter::DeadLetter;
use crate::policy::OnBad;

/// A result stream of the function.
pub(crate) struct Port {
    pub(crate) stream: String,
    /// Which parameter writes it; `None` is the return value.
    pub(crate) param: Option<usize>,
    pub(crate) outlet: Box<dyn AnyOutlet>,
    pub(crate) ended: bool,
    /// How many results were committed.
    pub(crate) committed: u64,
    /// What is done with results that the sink cannot write.
    pub(crate) on_refused: OnBad,
    /// How many such were left out, in commits that were made.
    pub(crate) refused: u64,
}

impl Port {
    /// The function ends it with `end()`; a return value ends with the mill.
    fn out<'s>(&self, stage: &'s mut dyn Stage) -> Option<OutRef<'s>> {
        self.param.and_then(|param| stage.param(param)).and_then(Slot::as_out)
    }

    /// How many results the last call wrote.
    pub(super) fn of_last_call(&self, stage: &mut dyn Stage) -> u64 {
        let results = match self.param {
            None => stage.returned().of_last_call(),
            Some(_) => self.out(stage).map_or(0, |OutRef(out)| out.of_last_call()),
        };
        results as u64
    }
}

/// The results of the calls that `stage` has made were taken.
pub(super) const LATE: &str = "it wrote to a result stream that it had ended with `end()`";

impl LaneRun {
    /// A stage that knows which result streams have ended.
    pub(super) fn new_stage(&self) -> Result<AnyStage, RunError> {
        let mut stage = self.stages.make().ok_or_else(|| RunError::Runtime {
            what: "a parameter of the function was given nothing".to_owned(),
            cause: "this is a mistake in watermill".into(),
        })?;
        self.tell_ended(stage.get());
        Ok(stage)
    }

    /// Tells the `Out`s of a stage which result streams have ended.
    pub(super) fn tell_ended(&self, stage: &mut dyn Stage) {
        for port in self.ports.iter().filter(|port| port.ended) {
            if let Some(OutRef(out)) = port.out(stage) {
                out.set_ended();
            }
        }
    }

    /// Whether so many results wait in a result stream that they should go to the sink.
    pub(super) fn many_results(&self, stage: &mut dyn Stage) -> bool {
        stage.returned().len() >= FLUSH_AT
            || self.ports.iter().any(|port| port.out(stage).is_some_and(|OutRef(out)| out.len() >= FLUSH_AT))
    }

    /// Whether every result stream has ended; an error when one was written to after its end.
    pub(super) fn look_at_outs(&self, stage: &mut dyn Stage) -> Result<bool, BoxError> {
        let mut all_ended = true;
        for port in &self.ports {
            match port.out(stage) {
                Some(OutRef(out)) if out.wrote_late() => return Err(LATE.into()),
                Some(OutRef(out)) => all_ended &= out.has_ended(),
                None => all_ended = false,
            }
        }
        Ok(all_ended && !self.ports.is_empty())
    }

    /// Whether it wrote to a result stream that an earlier call has ended: while both are under way, its `Out` cannot know.
    pub(super) fn wrote_past_end(&self, stage: &mut dyn Stage) -> bool {
        let mut ended = self.ports.iter().filter(|port| port.ended);
        ended.any(|port| port.out(stage).is_some_and(|OutRef(out)| out.len() > 0))
    }

    /// Drops what the last call wrote.
    pub(super) fn roll_back(&self, stage: &mut dyn Stage) {
        stage.returned().roll_back();
        for port in &self.ports {
            if let Some(OutRef(out)) = port.out(stage) {
                out.roll_back();
            }
        }
    }

    /// Takes what the calls of `stage` wrote.
    pub(super) fn collect(&mut self, stage: &mut dyn Stage) {
        self.count_results(stage);
        for port in &mut self.ports {
            match port.param {
                None => port.outlet.collect(stage.returned()),
                Some(_) => {
                    if let Some(OutRef(out)) = port.out(stage) {
                        port.ended |= out.has_ended();
                        port.outlet.collect(out);
                    }
                }
            }
        }
    }

    /// Gives what was collected to the sinks where at least `least` results wait.
    pub(super) async fn flush(&mut self, least: usize) -> Result<(), RunError> {
        for port in &mut self.ports {
            if port.outlet.waiting() >= least {
                port.outlet.flush().await?;
            }
        }
        Ok(())
    }

    /// Gives the sink the letters that the walk has passed, where that is where the next commit is not before: while calls are under way, it
    /// may be.
    pub(super) async fn flush_letters(&mut self, least: usize) -> Result<(), RunError> {
        if let Some(letters) = &mut self.letters
            && self.walk.many_letters(least)
        {
            let standing = self.walk.standing();
            letters.hand_over(&mut self.walk, &standing.positions).await?;
        }
        Ok(())
    }

    /// Whether it is time to commit: enough calls were made since the last time, or something was done and time has passed.
    pub(super) fn commit_is_due(&self, now: SystemTime) -> bool {
        let new = self.tally.calls - self.since.calls;
        self.settings.commits.calls.is_some_and(|enough| new >= enough)
            || (self.has_news() && elapsed(self.since.last, now) >= self.commit_every)
            || (new > 0 && self.committer.is_full())
    }

    /// When the next commit is due, as far as time says.
    pub(super) fn next_commit(&self) -> Option<SystemTime> {
        self.has_news().then(|| later(self.since.last, self.commit_every))
    }

    fn has_news(&self) -> bool {
        self.tally.calls > self.since.calls || self.since.read
    }

    /// How many results each sink has left out since the last commit. Their letters belong to the next one.
    async fn ask_for_refused(&mut self) -> Result<Vec<u64>, RunError> {
        let mut counts = Vec::with_capacity(self.ports.len());
        for port in &mut self.ports {
            if port.on_refused == OnBad::Fail {
                counts.push(0);
                continue;
            }
            let refused = port.outlet.refused().await?;
            counts.push(refused.len() as u64);
            for Refused { number, error } in refused {
                let error: &dyn std::error::Error = &*error;
                tracing::warn!(target: "watermill", stream = port.stream, number, error, "a result cannot be written");
                if let (OnBad::DeadLetter, Some(letters)) = (port.on_refused, &mut self.letters) {
                    let origin = Arc::new(Origin::Results);
                    let place = RecordPlace { origin, offset: number, number };
                    let now = self.clock.now();
                    let told = ("result", error);
                    letters.put(DeadLetter::new(&self.function, &port.stream, &place, &[], told, now));
                }
            }
        }
        Ok(counts)
    }

    /// Makes what was collected durable, together with where a restart goes on.
    pub(super) async fn commit(&mut self, standing: Standing, finished: bool) -> Result<(), RunError> {
        self.flush(1).await?;
        let refused = self.ask_for_refused().await?;
        if let Some(letters) = &mut self.letters {
            letters.hand_over(&mut self.walk, &standing.positions).await?;
        }
        let checkpoint = Checkpoint {
            positions: standing.positions,
            finished,
            ended_outputs: self
                .ports
                .iter()
                .map(|port| finished || port.ended)
                .chain(self.letters.as_ref().map(|_| finished))
                .collect(),
            window: standing.window,
        };
        if self.steering.is_given_up() {
            return Err(RunError::Aborted);
        }
        let begin = self.clock.now();
        self.settle_commits().await?;
        if let Some(calls) = &self.calls {
            calls.finish(self.tally.calls);
        }
        self.committer.commit(&checkpoint).await?;
        self.before_last = Some(self.count());
        for (port, refused) in self.ports.iter_mut().zip(refused) {
            port.refused += refused;
            port.committed = port.outlet.total() - port.refused;
        }
        self.walk.letters_committed();
        self.tally.commits += 1;
        let now = self.clock.now();
        // The interval is how long a result waits until it is committed: one that just missed this commit waits for the pause, and for the next
        // commit, which will take about as long. But storage that is slow does not come to commit next to nothing each time: at least half of the interval is left for work.
        let pause = self
            .commit_every
            .saturating_sub(elapsed(begin, now).saturating_mul(2))
            .max(self.commit_every / 2);
        let last = earlier_by(now, self.commit_every - pause);
        self.since = Since { last, calls: self.tally.calls, given_up: self.tally.given_up, read: false };
        self.steering.committed(now);
        self.metered(|meter| meter.committed(begin, now));
        self.tell_metrics();
        Ok(())
    }
}
