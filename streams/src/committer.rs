//! A commit: results, what is done with, and positions, in one transaction.

use std::sync::Arc;
use std::time::Duration;

use watermill_core::broker::{BoxFuture, CallLog, Checkpoint, Committer, Job, Position};
use watermill_core::error::BrokerError;

use crate::error::StreamsError;
use crate::keeper::Keeper;
use crate::lane::{Held, Hold, Mode};
use crate::ledger;
use crate::ledger::claims::{self, Done};
use crate::ledger::whole::{self, Advance, State};
use crate::sink::{Outbox, Target, Waiting};
use crate::store::{CheckpointRow, Rows, Texts, WindowRow, writing};
use crate::streams::milliseconds;
use crate::worker::Worker;

/// How often a commit is made: it costs a few milliseconds.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a commit needs to know of the run.
pub(crate) struct Plan {
    pub(crate) job: Job,
    /// For each input of the job, its subscription and the number of its stream.
    pub(crate) inputs: Vec<(u64, u64)>,
    /// For each entry of the outbox, which output of the job it belongs to, and the stream that it goes to; `None` where that is a function.
    pub(crate) outputs: Vec<(usize, Option<Target>)>,
    /// The positions of the lane; `None` where they are in other hands, or not needed.
    pub(crate) checkpoint: Option<CheckpointRow>,
    /// How many lanes there are.
    pub(crate) lanes: u32,
    /// The stream of the masters and its subscription, where windows are remembered.
    pub(crate) history: Option<(u64, u64)>,
    /// Streams of results are not closed.
    pub(crate) leave_open: bool,
}

pub(crate) struct StreamCommitter {
    pub(crate) plan: Arc<Plan>,
    pub(crate) hold: Arc<Hold>,
    pub(crate) outbox: Outbox,
    pub(crate) worker: Worker,
    /// Renews the leases as long as the lane is walked.
    pub(crate) keeper: Option<Keeper>,
}

impl Committer for StreamCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        let (plan, hold, outbox) = (Arc::clone(&self.plan), Arc::clone(&self.hold), self.outbox.clone());
        let (worker, checkpoint) = (self.worker.clone(), checkpoint.clone());
        Box::pin(async move {
            let location = location(&plan.job);
            let done = worker.run(move || commit(&plan, &hold, &outbox, &checkpoint)).await;
            done.map_err(|error| error.of_broker("commit", &location))
        })
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    fn call_log(&self) -> Option<CallLog> {
        let reads_masters = self.plan.job.inputs.first().is_some_and(|input| input.node == 0);
        reads_masters.then(|| self.hold.calls.clone())
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.outbox.clear();
        self.keeper = None;
        let (hold, worker, location) =
            (Arc::clone(&self.hold), self.worker.clone(), location(&self.plan.job));
        Box::pin(async move {
            let released = worker.run(move || hold.release()).await;
            released.map_err(|error| error.of_broker("give back the messages of", &location))
        })
    }
}

fn location(job: &Job) -> String {
    format!("a lane of `{}`", job.function)
}

/// Takes the results out; functions are given theirs.
fn take(outbox: &Outbox) -> Result<Vec<Option<Texts>>, StreamsError> {
    let mut all = Vec::new();
    for waiting in &mut *outbox.lock() {
        all.push(match waiting {
            Waiting::Texts(texts) => Some(texts.take()),
            Waiting::Function(function) => {
                let told =
                    |cause| StreamsError::storage("the function that takes results", "take them", cause);
                function.deliver().map_err(told)?;
                None
            }
        });
    }
    Ok(all)
}

fn commit(plan: &Plan, hold: &Hold, outbox: &Outbox, checkpoint: &Checkpoint) -> Result<(), StreamsError> {
    let mut held = hold.held();
    if held.closed && !hold.who.is_empty() {
        return Err(StreamsError::Lost { stream: plan.job.streams.first().cloned().unwrap_or_default() });
    }
    let texts = take(outbox)?;
    let now = hold.inner.now();
    let windows = windows(plan, hold);
    let committed = writing(&*hold.inner.store, true, |rows| {
        let (claims, ended) = consumed(rows, plan, hold, &held, checkpoint, now)?;
        for window in &windows {
            rows.put_window(&mut window.clone())?;
        }
        for (texts, (output, target)) in texts.iter().zip(&plan.outputs) {
            let Some((number, name)) = target else { continue };
            let mut stream = rows.stream(*number)?.ok_or_else(|| hold.inner.missing(name))?;
            if let Some(texts) = texts.as_ref().filter(|texts| !texts.is_empty()) {
                ledger::append(rows, &mut stream, texts, now)?;
            }
            let told = checkpoint.ended_outputs.get(*output).copied().unwrap_or_default();
            if told && !plan.leave_open && (ended || !checkpoint.finished) {
                ledger::close(rows, &mut stream, now)?;
            }
        }
        Ok(claims)
    });
    match committed {
        Ok(claims) => {
            if let Mode::Dealt(_) = hold.mode {
                held.claims = claims;
            }
            let next = |subscription: u64| next_of(plan, checkpoint, subscription);
            held.finished |= checkpoint.finished;
            held.refused.retain(|(subscription, number)| *number >= next(*subscription));
            drop(held);
            hold.inner.hub.tell();
            Ok(())
        }
        Err(error) => {
            if matches!(error, StreamsError::Lost { .. }) {
                hold.ownership.lose();
            }
            Err(error)
        }
    }
}

/// The windows that belong to the commit, where they are remembered.
fn windows(plan: &Plan, hold: &Hold) -> Vec<WindowRow> {
    let emitted = hold.calls.take_finished();
    let Some((stream, subscription)) = plan.history else { return Vec::new() };
    let row = |window: watermill_core::broker::EmittedWindow| WindowRow {
        number: 0,
        stream,
        subscription,
        created: milliseconds(window.at),
        messages: window.masters,
    };
    emitted.into_iter().map(row).collect()
}

/// Where the inputs of a subscription stand.
fn positions<'a>(
    plan: &'a Plan,
    checkpoint: &'a Checkpoint,
    subscription: u64,
) -> impl Iterator<Item = &'a Position> {
    let inputs = plan.inputs.iter().zip(&plan.job.inputs);
    inputs
        .filter(move |((of, _), _)| *of == subscription)
        .filter_map(|(_, request)| checkpoint.positions.get(request.node))
}

fn next_of(plan: &Plan, checkpoint: &Checkpoint, subscription: u64) -> u64 {
    positions(plan, checkpoint, subscription).map(|position| position.next).min().unwrap_or(0)
}

/// What was consumed is done with. Returns what is left of the claims, and whether the end of the results belongs to this commit, where it is the lane's last.
fn consumed(
    rows: &mut dyn Rows,
    plan: &Plan,
    hold: &Hold,
    held: &Held,
    checkpoint: &Checkpoint,
    now: i64,
) -> Result<(Vec<crate::store::ClaimRow>, bool), StreamsError> {
    let mut ended = true;
    let mut left = Vec::new();
    for who in &hold.who {
        let until = next_of(plan, checkpoint, who.subscription);
        let refused = held.refused.iter().filter(|(of, number)| *of == who.subscription && *number < until);
        let refused: Vec<u64> = refused.map(|(_, number)| *number).collect();
        match hold.mode {
            Mode::Dealt(_) => {
                // A lane that has not come to the end of its stream, and ends for good, is ended by its function: for all.
                let by_function =
                    checkpoint.finished && !checkpoint.positions.iter().all(|position| position.ended);
                let done = Done { until, refused, ends: by_function };
                let finished = claims::finish(rows, who, &held.claims, &done, now)?;
                (left, ended) = (finished.claims, finished.ended);
            }
            Mode::Whole => {
                let lasts = positions(plan, checkpoint, who.subscription)
                    .flat_map(|position| position.last.iter().chain(&position.also_last))
                    .map(|last| last.offset);
                let to = Advance { until, hold: lasts.min(), refused, ended: checkpoint.finished };
                whole::advance(rows, who, &to, now)?;
            }
        }
    }
    if let Some(own) = &plan.checkpoint {
        let found = rows.checkpoint(&own.name, own.lane)?;
        if found.is_none_or(|found| found.epoch != own.epoch) {
            return Err(StreamsError::Lost { stream: plan.job.streams.first().cloned().unwrap_or_default() });
        }
        let mut state = State {
            mill: plan.job.mill.clone(),
            streams: plan.job.streams.clone(),
            numbers: vec![0; plan.job.streams.len()],
            checkpoint: checkpoint.clone(),
        };
        for ((_, number), request) in plan.inputs.iter().zip(&plan.job.inputs) {
            if let Some(of) = state.numbers.get_mut(request.node) {
                *of = *number;
            }
        }
        rows.put_checkpoint(&CheckpointRow { state: state.text()?, ..own.clone() })?;
        // Streams of results end with the last lane.
        for lane in (0..plan.lanes).filter(|lane| *lane != own.lane) {
            let other = rows.checkpoint(&own.name, lane)?;
            let other = other.map(|row| State::read(&row)).transpose()?.flatten();
            ended &= other.is_some_and(|other| other.checkpoint.finished);
        }
    }
    Ok((left, ended))
}
