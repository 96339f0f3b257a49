//! The lane: feeds one walk, has the function called, hands results to the sinks, and commits.
//!
//! [`direct`] makes one call after the other, [`parallel`] has several under way; both wait in [`wait`] and write through
//! [`outputs`].

mod checkpoint;
mod crew;
mod direct;
mod durable;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(not(feature = "metrics"))]
#[path = "no_meter.rs"]
mod meter;
mod outputs;
mod parallel;
mod pool;
mod settings;
mod steering;
mod wait;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::task::LocalSet;

use super::held::Standing;
use super::keyed::{Unwound, catching};
use super::letters::LetterPort;
use super::node::Loaded;
use super::walk::Walk;
use crate::broker::{CallLog, Committer, EmittedWindow};
use crate::clock::Clock;
use crate::error::{BoxError, RunError};
use crate::function::{AnyFunction, AnyStage, Injections, ParamNeeds, RecordMeta};
use crate::last_call;
use crate::letter::DeadLetter;
use crate::plan::Plan;
use crate::report::{EndReason, InputReport, OutputReport, RunReport};
use crate::retry::Then;

use checkpoint::Kept;
pub(crate) use crew::Work;
use meter::Meter;
pub(crate) use outputs::Port;
use settings::elapsed;
pub(crate) use settings::{Settings, later};
pub(crate) use steering::Steering;
use wait::{Timer, Woken, within};

/// Results are handed to the sinks at the latest when this many wait, and whenever an input has to be waited for.
pub(super) const FLUSH_AT: usize = 4096;

/// How often a lane commits, where neither the mill nor the storage says anything else.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How often a lane that never has to wait tells how far it has come.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// What a lane has done.
#[derive(Debug, Default)]
struct Tally {
    /// Calls that were done with, given up or not.
    calls: u64,
    retries: u64,
    given_up: u64,
    commits: u64,
    /// In the units of the sources' sizes.
    progress: u64,
}

/// What was done since the last commit.
struct Since {
    last: SystemTime,
    /// How many calls there were then.
    calls: u64,
    /// And how many of them had been given up.
    given_up: u64,
    /// Something was read.
    read: bool,
}

/// Makes stages for the function of a lane. Owned, as all of a lane is: lanes are walked on threads of their own.
pub(crate) struct Stages {
    pub(crate) function: Arc<dyn AnyFunction>,
    pub(crate) injected: Arc<Injections>,
    pub(crate) plan: Arc<Plan>,
}

impl Stages {
    fn make(&self) -> Option<AnyStage> {
        self.function.stage(&ParamNeeds { values: &self.injected, names: &self.plan.names })
    }
}

/// What a lane is made from.
pub(crate) struct LaneParts {
    pub(crate) function: String,
    pub(crate) windowed: bool,
    pub(crate) walk: Walk,
    pub(crate) stages: Stages,
    pub(crate) ports: Vec<Port>,
    /// Where bad records are put aside, if they are.
    pub(crate) letters: Option<LetterPort>,
    /// The parameters that are `Ack`s.
    pub(crate) acks: Vec<usize>,
    pub(crate) committer: Box<dyn Committer>,
    pub(crate) settings: Arc<Settings>,
    /// How calls are made that do not wait for each other, and how many; `None` makes one after the other.
    pub(crate) work: Option<(Work, usize)>,
    pub(crate) steering: Steering,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Everything one lane runs with.
pub(crate) struct LaneRun {
    function: String,
    windowed: bool,
    walk: Walk,
    stages: Stages,
    ports: Vec<Port>,
    letters: Option<LetterPort>,
    acks: Vec<usize>,
    committer: Box<dyn Committer>,
    settings: Arc<Settings>,
    /// A commit is made when this much time has passed since the last one.
    commit_every: Duration,
    work: Option<(Work, usize)>,
    steering: Steering,
    clock: Arc<dyn Clock>,
    tally: Tally,
    since: Since,
    /// What commits came to before the last one, as long as that may not be durable.
    before_last: Option<durable::Count>,
    started: SystemTime,
    /// Since when the lane does nothing but wait for records.
    quiet_since: Option<SystemTime>,
    timer: Timer,
    /// When it last told how far it has come.
    published: SystemTime,
    /// `None` before the walk begins, and in a build without metrics.
    meter: Option<Meter>,
    /// What came of the last call, where checkpoints are kept.
    kept: Option<Kept>,
    /// Which windows the function is called for, where the broker wants to know.
    calls: Option<CallLog>,
}

/// How a lane has failed.
pub(crate) struct Failed {
    pub(crate) error: RunError,
    /// What its commits came to before that.
    pub(crate) committed: Box<RunReport>,
}

/// How a walk has ended.
struct Ended {
    reason: EndReason,
    at: Where,
}

/// What the last commit of a run records of the inputs.
enum Where {
    /// Where the walk stands.
    Here,
    /// Where it stood before the first call that is not finished.
    At(Standing),
    /// A call is not finished, and where the walk stood before it is not known: what was done since the last commit is dropped.
    Unknown,
}

impl Ended {
    fn here(reason: EndReason) -> Self {
        Self { reason, at: Where::Here }
    }

    fn at(reason: EndReason, standing: Standing) -> Self {
        Self { reason, at: Where::At(standing) }
    }

    fn unfinished(reason: EndReason) -> Self {
        Self { reason, at: Where::Unknown }
    }
}

impl LaneRun {
    pub(crate) fn new(parts: LaneParts) -> Self {
        let LaneParts {
            function,
            windowed,
            walk,
            stages,
            ports,
            letters,
            acks,
            committer,
            settings,
            work,
            steering,
            clock,
        } = parts;
        let now = clock.now();
        let commit_every = settings.commits.time.or(committer.interval()).unwrap_or(COMMIT_EVERY);
        let kept = (settings.checkpoint && last_call::allowed()).then(|| Kept::new(&ports, now));
        let since = Since { last: now, calls: 0, given_up: 0, read: false };
        let (tally, started) = (Tally::default(), steering.started(now));
        let mut walk = walk;
        let calls = committer.call_log().filter(|_| windowed);
        if settings.on_error.then() == Then::DeadLetter || calls.is_some() {
            walk.note_masters();
        }
        if kept.is_some() {
            walk.trace_calls();
        }
        Self {
            function,
            windowed,
            walk,
            stages,
            ports,
            letters,
            acks,
            committer,
            settings,
            commit_every,
            work,
            steering,
            clock,
            tally,
            since,
            started,
            before_last: None,
            quiet_since: None,
            timer: Timer::default(),
            published: now,
            meter: None,
            kept,
            calls,
        }
    }

    /// A call begins.
    fn log_call(&self) {
        let Some(calls) = &self.calls else { return };
        let mut window = EmittedWindow::new(self.clock.now());
        self.walk.masters().for_each(|master| window.push(master.offset()));
        calls.begin(window);
    }

    fn metered(&mut self, tell: impl FnOnce(&mut Meter)) {
        if let Some(meter) = &mut self.meter {
            tell(meter);
        }
    }

    /// Goes on behind a commit in which these outputs had ended, and the windows had this state.
    pub(crate) fn go_on(&mut self, ended_outputs: &[bool], window: Option<&str>) {
        self.walk.resume_window(window);
        for (port, ended) in self.ports.iter_mut().zip(ended_outputs) {
            port.ended = *ended;
        }
    }

    /// Walks to the end.
    pub(crate) async fn run(mut self) -> Result<RunReport, Failed> {
        tracing::info!(target: "watermill", inputs = self.walk.nodes.len(), outputs = self.ports.len(), "walk begins");
        self.walk.set_now(self.started);
        self.begin_metrics();
        let walked = unwinding(self.walk_all()).await;
        let walked = walked.unwrap_or_else(|unwound| Err(self.walk.panicked(unwound)));
        self.end_metrics(walked.as_ref().err());
        let result = match walked {
            Ok(ended) => self.finish(ended).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            tracing::error!(target: "watermill", error = error as &dyn std::error::Error, "walk failed");
            if let Err(error) = self.settle_commits().await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(target: "watermill", error, "the last commit did not become durable");
            }
            abort(&mut *self.committer).await;
        }
        result.map_err(|error| Failed { error, committed: Box::new(self.committed()) })
    }

    /// The last commit, and the report.
    async fn finish(&mut self, Ended { reason, at }: Ended) -> Result<RunReport, RunError> {
        if self.steering.is_given_up() {
            return Err(RunError::Aborted);
        }
        let finished = reason.is_final();
        let last = match at {
            Where::Here => Some(self.walk.standing()),
            Where::At(standing) => Some(standing),
            Where::Unknown => None,
        };
        self.walk.check_leaks(last.as_ref().map(|standing| standing.positions.as_slice()))?;
        if let Some(standing) = last {
            self.commit(standing, finished).await?;
        }
        if !finished {
            self.settle_commits().await?;
            // What counts is committed; this lets go of the outputs, so that the next run can have them at once.
            abort(&mut *self.committer).await;
        }
        // Whoever looks at the run after its end sees all of it.
        self.publish(None);
        let report = self.report(reason);
        tracing::info!(
            target: "watermill",
            calls = report.calls,
            results = report.results,
            seconds = report.elapsed.as_secs_f64(),
            end = %report.end,
            "walk ended"
        );
        Ok(report)
    }

    async fn walk_all(&mut self) -> Result<Ended, RunError> {
        match self.work {
            None => self.walk_direct().await,
            Some((Work::Tasks, room)) => {
                // Futures of async functions need not be `Send`: they stay on this thread.
                LocalSet::new().run_until(self.walk_parallel(Work::Tasks, room)).await
            }
            Some((work, room)) => self.walk_parallel(work, room).await,
        }
    }

    /// No calls are made any more.
    fn end_metrics(&mut self, error: Option<&RunError>) {
        let Some(meter) = &mut self.meter else { return };
        if self.work.is_none() {
            meter.calls_made(self.tally.calls, self.clock.now());
        }
        if matches!(error, Some(RunError::Function { .. })) {
            meter.call_failed_run();
        }
        meter.in_flight(0);
        meter.wait_for(None, &*self.clock);
        self.tell_metrics();
    }

    /// A batch of the stream at `node` was read.
    fn loaded(&mut self, node: usize, loaded: Loaded) -> Result<(), RunError> {
        self.tally.progress += loaded.progress;
        self.since.read = true;
        self.walk.loaded(node);
        if loaded.records > 0 {
            self.waits(false);
        }
        self.metered(|meter| meter.read(node, loaded.bytes));
        self.tell_metrics();
        let state = &self.walk.nodes[node];
        tracing::trace!(target: "watermill", stream = %state.stream, end = state.node.end(), "batch read");
        self.check_budget(node)
    }

    fn told_of_retry(&mut self, master: &str, failed: u32, cause: &BoxError) {
        self.tally.retries += 1;
        tracing::warn!(
            target: "watermill",
            master,
            failed,
            error = &**cause as &dyn std::error::Error,
            "a call has failed and will be made again"
        );
    }

    /// The run goes on without a call that has failed `attempts` times.
    fn call_given_up(
        &mut self,
        master: &str,
        masters: &[(RecordMeta, u64)],
        attempts: u32,
        cause: &BoxError,
    ) {
        self.tally.given_up += 1;
        tracing::warn!(
            target: "watermill",
            master,
            attempts,
            error = &**cause as &dyn std::error::Error,
            "a call has failed and is left out"
        );
        if let Some(letters) = &mut self.letters {
            let (stream, now) = (self.walk.nodes[0].stream.as_str(), self.clock.now());
            for (record, number) in masters {
                let letter =
                    DeadLetter::of_call(&self.function, stream, record, *number, &**cause, now, attempts);
                letters.put(letter);
            }
        }
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

    /// Tells how far the lane has come, where it has not for a while or everybody wants to know each step.
    fn publish_now_and_then(&mut self, now: SystemTime) {
        let due = elapsed(self.published, now) >= PUBLISH_EVERY;
        if due || self.kept.is_some() || self.steering.wants_details() {
            self.published = now;
            self.publish(None);
        }
    }

    fn publish(&mut self, waiting: Option<usize>) {
        self.keep_last_call();
        let inputs = if self.steering.wants_details() { Some(self.inputs()) } else { None };
        let standing = inputs.as_ref().map(|_| self.walk.standing());
        let results = self.ports.iter().map(|port| port.outlet.total()).sum();
        let records = self.walk.nodes.iter().map(|node| node.node.counts().read).sum();
        let waiting_for = waiting.map(|node| self.walk.nodes[node].stream.clone());
        let tally = &self.tally;
        self.steering.publish(|watch| {
            (watch.calls, watch.results, watch.progress) = (tally.calls, results, tally.progress);
            (watch.retries, watch.given_up) = (tally.retries, tally.given_up);
            watch.records = records;
            watch.parked = waiting_for.is_some();
            watch.waiting_for = waiting_for;
            if let (Some(inputs), Some(standing)) = (inputs, standing) {
                (watch.inputs, watch.positions, watch.window) = (inputs, standing.positions, standing.window);
            }
        });
    }

    fn inputs(&self) -> Vec<InputReport> {
        self.walk
            .nodes
            .iter()
            .enumerate()
            .map(|(node, state)| {
                let account = self.walk.account(node);
                InputReport {
                    stream: state.stream.clone(),
                    records: account.records(),
                    matched: account.matched,
                    unmatched: account.unmatched,
                    skipped: account.skipped,
                    dead_lettered: account.dead_lettered,
                    pending: account.pending,
                    late: account.late,
                }
            })
            .collect()
    }

    /// What the commits of this lane come to, without its inputs.
    fn committed(&self) -> RunReport {
        let (calls, given_up) = (self.since.calls, self.since.given_up);
        // The end that tells least: whoever goes on from there knows better.
        RunReport { inputs: Vec::new(), calls, given_up, ..self.report(EndReason::Revoked) }
    }

    fn report(&self, end: EndReason) -> RunReport {
        let outputs: Vec<OutputReport> = self
            .ports
            .iter()
            .map(|port| OutputReport {
                stream: port.stream.clone(),
                records: port.committed,
                refused: port.refused,
            })
            .collect();
        RunReport {
            function: self.function.clone(),
            inputs: self.inputs(),
            results: outputs.iter().map(|output| output.records).sum(),
            outputs,
            calls: self.tally.calls,
            retries: self.tally.retries,
            given_up: self.tally.given_up,
            commits: self.tally.commits,
            elapsed: self.clock.now().duration_since(self.started).unwrap_or(Duration::ZERO),
            end,
            last_call: self.steering.last_call().filter(|_| self.kept.is_some()).map(|call| call.report()),
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

/// Drives `walk`. Calls guard themselves, so a panic that comes through is that of a key or a window rule, or of a broker.
async fn unwinding<T>(walk: impl Future<Output = T>) -> Result<T, Unwound> {
    let mut walk = pin!(walk);
    poll_fn(|context| match catching(|| walk.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(unwound) => Poll::Ready(Err(unwound)),
    })
    .await
}
