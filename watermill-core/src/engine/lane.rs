//! The lane: feeds one walk, calls the function, hands results to the sinks, and commits.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::node::Loaded;
use super::walk::{Step, Walk, WalkEnd};
use crate::broker::{Checkpoint, Committer};
use crate::clock::Clock;
use crate::error::{BoxError, RunError};
use crate::function::{AnyOutlet, Called, Control, OutRef, Slot, Stage, panicked};
use crate::handle::Control as Steering;
use crate::report::{EndReason, InputReport, OutputReport, RunReport};

/// Results are handed to the sinks at the latest when this many wait, and whenever an input has to be waited for.
pub(super) const FLUSH_AT: usize = 4096;

/// How often, in calls, results are collected and the clock is looked at, at most.
const CALLS_BETWEEN_LOOKS: u32 = 512;

/// The clock is looked at more often where it takes longer than this from one look to the next.
const TIME_BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// When a run commits before its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitEvery {
    /// When this much time has passed since the last commit.
    pub(crate) time: Duration,
    /// When the function was called this often since the last commit.
    pub(crate) calls: Option<u64>,
}

impl Default for CommitEvery {
    fn default() -> Self {
        Self { time: Duration::from_secs(1), calls: None }
    }
}

/// When to look at the clock again: reading it costs as much as a small call.
struct Looks {
    last: SystemTime,
    between: u32,
    left: u32,
}

impl Looks {
    fn new(now: SystemTime) -> Self {
        Self { last: now, between: 1, left: 1 }
    }

    /// Counts calls; says whether it is time to look.
    fn count(&mut self, calls: u32) -> bool {
        self.left = self.left.saturating_sub(calls);
        self.left == 0
    }

    fn looked(&mut self, now: SystemTime) {
        let slow = elapsed(self.last, now) > TIME_BETWEEN_LOOKS;
        self.between =
            if slow { (self.between / 2).max(1) } else { (self.between * 2).min(CALLS_BETWEEN_LOOKS) };
        (self.last, self.left) = (now, self.between);
    }
}

/// What ended a wait.
enum Woken {
    Loaded(Loaded),
    /// The time has come that the walk wanted to be woken at.
    Deadline,
    Stopped,
}

/// What was done since the last commit.
struct Since {
    last: SystemTime,
    calls: u64,
    /// Something was read.
    read: bool,
}

/// A result stream of the function.
pub(crate) struct Port {
    pub(crate) stream: String,
    /// Which parameter writes it; `None` is the return value.
    pub(crate) param: Option<usize>,
    pub(crate) outlet: Box<dyn AnyOutlet>,
    pub(crate) ended: bool,
}

/// Everything one lane runs with.
pub(crate) struct LaneRun {
    pub(crate) function: String,
    pub(crate) windowed: bool,
    pub(crate) walk: Walk,
    pub(crate) stage: Box<dyn Stage>,
    pub(crate) ports: Vec<Port>,
    pub(crate) committer: Box<dyn Committer>,
    pub(crate) commits: CommitEvery,
    pub(crate) steering: Arc<Steering>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl LaneRun {
    /// Goes on behind a commit in which these outputs had ended.
    pub(crate) fn go_on(&mut self, ended_outputs: &[bool]) {
        for (port, ended) in self.ports.iter_mut().zip(ended_outputs) {
            port.ended = *ended;
            if *ended
                && let Some(OutRef(out)) =
                    port.param.and_then(|param| self.stage.param(param)).and_then(Slot::as_out)
            {
                out.set_ended();
            }
        }
    }

    /// Walks to the end.
    pub(crate) async fn run(mut self) -> Result<RunReport, RunError> {
        let started = self.clock.now();
        tracing::info!(target: "watermill", inputs = self.walk.nodes.len(), outputs = self.ports.len(), "walk begins");
        match unwinding(self.walk_all()).await {
            Ok((calls, end)) => {
                let finished = end != EndReason::Stopped;
                if let Err(error) = self.commit(finished).await {
                    tracing::error!(target: "watermill", error = &error as &dyn std::error::Error, "the last commit failed");
                    abort(&mut *self.committer).await;
                    return Err(error);
                }
                if !finished {
                    // All is committed; this lets go of the outputs, so that the next run can have them at once.
                    abort(&mut *self.committer).await;
                }
                let report = self.report(calls, end, started);
                tracing::info!(
                    target: "watermill",
                    calls = report.calls,
                    results = report.results,
                    seconds = report.elapsed.as_secs_f64(),
                    end = %report.end,
                    "walk ended"
                );
                self.steering.publish(|watch| watch.report = Some(report.clone()));
                Ok(report)
            }
            Err(error) => {
                tracing::error!(target: "watermill", error = &error as &dyn std::error::Error, "walk failed");
                abort(&mut *self.committer).await;
                Err(error)
            }
        }
    }

    async fn walk_all(&mut self) -> Result<(u64, EndReason), RunError> {
        let mut calls = 0_u64;
        let now = self.clock.now();
        let mut looks = Looks::new(now);
        self.walk.set_now(now);
        let mut progress = 0;
        let mut since = Since { last: now, calls: 0, read: false };
        let out_params: Vec<usize> = self.ports.iter().filter_map(|port| port.param).collect();
        loop {
            let until_commit = self.commits.calls.map(|enough| enough.saturating_sub(calls - since.calls));
            let most =
                until_commit.and_then(|calls| u32::try_from(calls).ok()).unwrap_or(u32::MAX).min(looks.left);
            match self.walk.step(&mut *self.stage, most)? {
                step @ (Step::Call | Step::Called(..)) => {
                    let (made, result) = match step {
                        Step::Called(made, result) => (made, result),
                        _ => match self.stage.call() {
                            Called::Done(result) => (1, result),
                            Called::Pending(future) => (1, future.await),
                        },
                    };
                    calls += u64::from(made);
                    let control = match result {
                        Ok(control) => control,
                        Err(cause) => return Err(self.failed(cause)),
                    };
                    if !out_params.is_empty() && self.look_at_outs(&out_params)? {
                        return Ok((calls, EndReason::Function));
                    }
                    if control == Control::End {
                        return Ok((calls, EndReason::Function));
                    }
                    let enough = self.commits.calls.is_some_and(|enough| calls - since.calls >= enough);
                    let stop = self.steering.should_stop();
                    if looks.count(made) || enough || stop || self.many_results(&out_params) {
                        let now = self.clock.now();
                        looks.looked(now);
                        self.walk.set_now(now);
                        self.hand_over(FLUSH_AT).await?;
                        self.commit_when_due(calls, &mut since).await?;
                        if stop {
                            return Ok((calls, EndReason::Stopped));
                        }
                    }
                }
                Step::Need(node) => {
                    self.hand_over(1).await?;
                    self.commit_when_due(calls, &mut since).await?;
                    self.publish(calls, progress, Some(node));
                    let woken = self.wait(node).await?;
                    self.steering.publish(|watch| watch.waiting_for = None);
                    self.walk.set_now(self.clock.now());
                    let loaded = match woken {
                        Woken::Loaded(loaded) => loaded,
                        Woken::Deadline => continue,
                        Woken::Stopped => return Ok((calls, EndReason::Stopped)),
                    };
                    progress += loaded.progress;
                    since.read = true;
                    tracing::trace!(
                        target: "watermill",
                        stream = %self.walk.nodes[node].stream,
                        end = self.walk.nodes[node].node.end(),
                        "batch read"
                    );
                    self.check_budget(node)?;
                }
                Step::Done(WalkEnd::MasterEnded) => {
                    let marked = self.walk.nodes[0].node.marked();
                    let stream = self.walk.nodes[0].stream.clone();
                    return Ok((calls, EndReason::InputEnded { stream, marked }));
                }
                Step::Done(WalkEnd::RightEnded(node)) => {
                    let marked = self.walk.nodes[node].node.marked();
                    let stream = self.walk.nodes[node].stream.clone();
                    return Ok((calls, EndReason::InputEnded { stream, marked }));
                }
            }
        }
    }

    /// Waits for records of this stream, for the time at which the walk wants to be woken, or for a request to stop.
    async fn wait(&mut self, node: usize) -> Result<Woken, RunError> {
        let deadline = self.walk.deadline(node);
        let mut load = self.walk.nodes[node].node.load();
        let mut stopped = pin!(self.steering.stopped());
        let mut timer = deadline.map(|at| self.clock.sleep_until(at));
        poll_fn(|context| {
            if let Poll::Ready(loaded) = load.as_mut().poll(context) {
                return Poll::Ready(loaded.map(Woken::Loaded));
            }
            if stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Woken::Stopped));
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(context).map(|()| Ok(Woken::Deadline)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Whether so many results wait in a result stream that they should go to the sink.
    fn many_results(&mut self, out_params: &[usize]) -> bool {
        let stage = &mut *self.stage;
        stage.returned().len() >= FLUSH_AT
            || out_params.iter().any(|param| {
                let out = stage.param(*param).and_then(Slot::as_out);
                out.is_some_and(|OutRef(out)| out.len() >= FLUSH_AT)
            })
    }

    /// Whether every result stream has ended; an error when one was written to after its end.
    fn look_at_outs(&mut self, out_params: &[usize]) -> Result<bool, RunError> {
        let mut all_ended = self.ports.len() == out_params.len();
        for param in out_params {
            let Some(OutRef(out)) = self.stage.param(*param).and_then(Slot::as_out) else { continue };
            if out.wrote_late() {
                let text = "it wrote to a result stream that it had ended with `end()`";
                return Err(self.failed(text.into()));
            }
            all_ended &= out.has_ended();
        }
        Ok(all_ended)
    }

    #[cold]
    fn failed(&mut self, cause: BoxError) -> RunError {
        let (position, master) = self.walk.call_place();
        let key = if self.windowed { None } else { self.walk.key_text(position) };
        self.stage.returned().roll_back();
        for port in &self.ports {
            if let Some(OutRef(out)) =
                port.param.and_then(|param| self.stage.param(param)).and_then(Slot::as_out)
            {
                out.roll_back();
            }
        }
        RunError::Function { function: self.function.clone(), master, key, cause }
    }

    /// Collects what calls wrote, and gives it to the sinks where at least `least` results wait.
    async fn hand_over(&mut self, least: usize) -> Result<(), RunError> {
        for port in &mut self.ports {
            match port.param {
                None => port.outlet.collect(self.stage.returned()),
                Some(param) => {
                    if let Some(OutRef(out)) = self.stage.param(param).and_then(Slot::as_out) {
                        port.ended |= out.has_ended();
                        port.outlet.collect(out);
                    }
                }
            }
            if port.outlet.waiting() >= least {
                port.outlet.flush().await?;
            }
        }
        Ok(())
    }

    /// Commits, if enough has happened since the last time. An open window does not hinder it: it holds the positions back.
    async fn commit_when_due(&mut self, calls: u64, since: &mut Since) -> Result<(), RunError> {
        let new = calls - since.calls;
        let due = self.commits.calls.is_some_and(|enough| new >= enough)
            || ((new > 0 || since.read) && elapsed(since.last, self.clock.now()) >= self.commits.time);
        if due {
            self.commit(false).await?;
            *since = Since { last: self.clock.now(), calls, read: false };
        }
        Ok(())
    }

    async fn commit(&mut self, finished: bool) -> Result<(), RunError> {
        self.hand_over(1).await?;
        let checkpoint = Checkpoint {
            positions: self.walk.positions(),
            finished,
            ended_outputs: self.ports.iter().map(|port| finished || port.ended).collect(),
        };
        self.committer.commit(&checkpoint).await?;
        Ok(())
    }

    fn check_budget(&self, node: usize) -> Result<(), RunError> {
        let (held, budget) = (self.walk.held(), self.walk.limits.budget);
        if held <= budget {
            return Ok(());
        }
        Err(RunError::OverBudget {
            stream: self.walk.nodes[node].stream.clone(),
            key: self.walk.key_text(self.walk.next_master()).unwrap_or_else(|| "none".to_owned()),
            held,
            budget,
        })
    }

    fn publish(&mut self, calls: u64, progress: u64, waiting: Option<usize>) {
        let inputs = if self.steering.wants_details() { Some(self.inputs()) } else { None };
        let positions = inputs.as_ref().map(|_| self.walk.positions());
        let results = self.ports.iter().map(|port| port.outlet.total()).sum();
        let records = self.walk.nodes.iter().map(|node| node.node.counts().0).sum();
        let waiting_for = waiting.map(|node| self.walk.nodes[node].stream.clone());
        self.steering.publish(|watch| {
            (watch.calls, watch.results, watch.progress) = (calls, results, progress);
            watch.records = records;
            watch.waiting_for = waiting_for;
            if let (Some(inputs), Some(positions)) = (inputs, positions) {
                (watch.inputs, watch.positions) = (inputs, positions);
            }
        });
    }

    fn inputs(&self) -> Vec<InputReport> {
        self.walk
            .nodes
            .iter()
            .enumerate()
            .map(|(node, state)| {
                let (read, skipped) = state.node.counts();
                let (matched, pending) = self.walk.matched_and_pending(node);
                InputReport {
                    stream: state.stream.clone(),
                    records: read + skipped,
                    matched,
                    unmatched: read - matched - pending,
                    skipped,
                    dead_lettered: 0,
                    pending,
                }
            })
            .collect()
    }

    fn report(&self, calls: u64, end: EndReason, started: SystemTime) -> RunReport {
        let outputs: Vec<OutputReport> = self
            .ports
            .iter()
            .map(|port| OutputReport { stream: port.stream.clone(), records: port.outlet.total() })
            .collect();
        RunReport {
            function: self.function.clone(),
            inputs: self.inputs(),
            results: outputs.iter().map(|output| output.records).sum(),
            outputs,
            calls,
            elapsed: elapsed(started, self.clock.now()),
            end,
        }
    }
}

/// Drops what was written since the last commit, and lets go of the outputs.
pub(crate) async fn abort(committer: &mut dyn Committer) {
    if let Err(error) = committer.abort().await {
        tracing::warn!(
            target: "watermill",
            error = &error as &dyn std::error::Error,
            "the outputs of a run could not be let go of"
        );
    }
}

/// Drives `walk`. Calls guard themselves, so a panic that comes through is that of a key or a window rule, or of a broker: the run
/// fails with its text.
async fn unwinding<T>(walk: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
    let mut walk = pin!(walk);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| walk.as_mut().poll(context))).unwrap_or_else(|payload| {
            Poll::Ready(Err(RunError::Runtime {
                what: "a key, a window rule, or a source or sink of the broker panicked".to_owned(),
                cause: panicked(payload),
            }))
        })
    })
    .await
}

/// How much time lies between the two.
fn elapsed(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}
