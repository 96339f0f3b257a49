//! The lanes of a run: a sole one on the run's own thread, several each on a thread of its own.
//!
//! A thread a lane, and not a few threads for all of them: a lane whose function takes its time then holds up no other one, and an idle lane
//! costs a sleeping thread, which is little beside the connections that it has to its storage.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{Instrument, Span};

use super::launch::start_thread;
use crate::assemble::Assembly;
use crate::broker::{Lane, Ownership, Position, Session};
use crate::engine::lane::{Failed, LaneRun, Steering, abort, later};
use crate::error::RunError;
use crate::handle::Control;
use crate::mill::Mill;
use crate::plan::Plan;
use crate::record::StreamRecord;
use crate::report::{EndReason, RunReport};

/// The lanes of one attempt to run a mill.
struct Lanes<'a> {
    steering: &'a Arc<Control>,
    report: &'a mut Option<RunReport>,
    /// Those that are walked on threads of their own.
    open: Vec<(u32, Ownership)>,
    send: UnboundedSender<Over>,
    receive: UnboundedReceiver<Over>,
    /// The first one that has failed; the others are to end.
    failed: Option<RunError>,
}

/// A lane has ended.
struct Over {
    lane: u32,
    /// The same lane may have begun anew already.
    ownership: Ownership,
    result: Box<Result<RunReport, Failed>>,
}

/// What the run waits for, beside its lanes.
enum Event {
    Next(Option<Lane>),
    Over(Over),
    /// It was asked to stop, or has waited for a lane for too long.
    Stopped(EndReason),
}

impl<M: StreamRecord> Mill<M> {
    /// Walks the lanes that `session` hands out. What was done is added to `report`, as far as it is committed.
    pub(super) async fn run_lanes(
        &self,
        plan: &Arc<Plan>,
        session: &mut dyn Session,
        steering: &Arc<Control>,
        report: &mut Option<RunReport>,
    ) -> Result<(), RunError> {
        let assembly = self.assembly(plan);
        let (send, receive) = unbounded_channel();
        let mut lanes = Lanes { steering, report, open: Vec::new(), send, receive, failed: None };
        let mut more = true;
        let mut quiet_since = None;
        while more || !lanes.open.is_empty() {
            quiet_since = lanes.open.is_empty().then(|| quiet_since.unwrap_or_else(|| self.clock.now()));
            match self.next_event(more, quiet_since, &mut lanes, session).await {
                Ok(Event::Next(Some(lane))) => {
                    quiet_since = None;
                    let result = self.begin_lane(&assembly, session, &lane, &mut lanes).await;
                    match result {
                        Ok(goes_on) => more &= goes_on,
                        Err(error) => lanes.fail(error),
                    }
                }
                Ok(Event::Next(None)) => more = false,
                Ok(Event::Over(over)) => {
                    lanes.open.retain(|(_, ownership)| !ownership.is_same(&over.ownership));
                    match lanes.over(over.lane, *over.result) {
                        Ok(None) => {}
                        Ok(Some(reason)) => {
                            // What ends one ends all.
                            more = false;
                            steering.stop(reason);
                        }
                        Err(error) => lanes.fail(error),
                    }
                }
                Ok(Event::Stopped(reason)) => {
                    more = false;
                    // One that had lanes, all of which have come to their end, has done so, too.
                    let ended = lanes.report.as_ref().is_some_and(|report| report.end.is_final());
                    if lanes.open.is_empty() && !ended {
                        add(lanes.report, RunReport::of_nothing(&plan.function, reason));
                    }
                }
                Err(error) => lanes.fail(error),
            }
            more &= lanes.failed.is_none();
        }
        match lanes.failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn next_event(
        &self,
        more: bool,
        quiet_since: Option<SystemTime>,
        lanes: &mut Lanes<'_>,
        session: &mut dyn Session,
    ) -> Result<Event, RunError> {
        let steering = lanes.steering;
        let ending = &self.settings.ending;
        let idle = quiet_since.zip(ending.idle).map(|(since, limit)| (later(since, limit), EndReason::Idle));
        let began = steering.started(self.clock.now());
        let lifetime = ending.lifetime.filter(|_| quiet_since.is_some());
        let lifetime = lifetime.map(|limit| (later(began, limit), EndReason::Lifetime));
        let mut over = match (idle, lifetime) {
            (Some(idle), Some(life)) => Some(if idle.0 < life.0 { idle } else { life }),
            (idle, life) => idle.or(life),
        }
        .map(|(at, reason)| (self.clock.sleep_until(at), reason));
        let receive = &mut lanes.receive;
        let mut next = more.then(|| session.next_lane());
        let mut stopped = pin!(steering.stopped());
        poll_fn(|context| {
            if let Poll::Ready(Some(over)) = receive.poll_recv(context) {
                return Poll::Ready(Ok(Event::Over(over)));
            }
            // Before the request to stop: a lane that can be had tells in its report where it stands.
            if let Some(next) = &mut next
                && let Poll::Ready(lane) = next.as_mut().poll(context)
            {
                return Poll::Ready(lane.map(Event::Next).map_err(RunError::from));
            }
            if more && stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Event::Stopped(steering.why_stopped())));
            }
            match &mut over {
                Some((timer, reason)) => {
                    timer.as_mut().poll(context).map(|()| Ok(Event::Stopped(reason.clone())))
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Opens `lane` and has it walked: here, where it is the only one, else on a thread. Says whether more lanes are to be walked.
    async fn begin_lane(
        &self,
        assembly: &Assembly,
        session: &mut dyn Session,
        lane: &Lane,
        lanes: &mut Lanes<'_>,
    ) -> Result<bool, RunError> {
        let plan = &assembly.plan;
        let ownership = session.ownership(lane).unwrap_or_default();
        let opened = self.open_lane(assembly, session, lane, &ownership, lanes.steering).await;
        let Some(run) = (match opened {
            // Whose lane was taken while it was opened has nothing to tell.
            Err(_) if ownership.is_lost() => return Ok(true),
            opened => opened?,
        }) else {
            tracing::info!(target: "watermill", function = %plan.function, lane = lane.index, "an earlier run has ended this lane");
            add(lanes.report, RunReport::of_nothing(&plan.function, EndReason::EndedBefore));
            return Ok(true);
        };
        if lane.count > 1 {
            lanes.start(run, lane.index, ownership, lane_span(&plan.function, lane.index))?;
            return Ok(true);
        }
        let span = lane_span(&plan.function, lane.index);
        let result = run.run().instrument(span).await;
        let result = lost_is_no_failure(result, &ownership);
        Ok(lanes.over(lane.index, result)?.is_none())
    }

    /// The lane, ready to be walked from its last commit on; `None` when it has ended.
    async fn open_lane(
        &self,
        assembly: &Assembly,
        session: &mut dyn Session,
        lane: &Lane,
        ownership: &Ownership,
        steering: &Arc<Control>,
    ) -> Result<Option<LaneRun>, RunError> {
        let mut outputs = session.outputs(lane).await?;
        let mut ended_outputs = Vec::new();
        let mut window = None;
        let from: Vec<Option<Position>> = match outputs.resume {
            Some(checkpoint) if checkpoint.finished => return Ok(None),
            Some(checkpoint) => {
                ended_outputs = checkpoint.ended_outputs;
                window = checkpoint.window;
                checkpoint.positions.into_iter().map(Some).collect()
            }
            None => vec![None; assembly.plan.nodes.len()],
        };
        let sources = match session.sources(lane, &from).await {
            Ok(sources) => sources,
            Err(error) => {
                abort(&mut *outputs.committer).await;
                return Err(error.into());
            }
        };
        let steering = Steering::new(Arc::clone(steering), lane.index, lane.count <= 1, ownership.clone());
        let run =
            assembly.lane(sources, &from, outputs.sinks, outputs.committer, self.open_window(), steering);
        let mut run = run.ok_or_else(|| RunError::Runtime {
            what: "a source or sink is of another type than the one it was asked for".to_owned(),
            cause: "the broker breaks its contract".into(),
        })?;
        run.go_on(&ended_outputs, window.as_deref());
        Ok(Some(run))
    }
}

impl Lanes<'_> {
    /// Has `run` walked on a thread of its own.
    fn start(&mut self, run: LaneRun, lane: u32, ownership: Ownership, span: Span) -> Result<(), RunError> {
        let runtime = Handle::current();
        let mut teller = Teller { lane, ownership: ownership.clone(), send: Some(self.send.clone()) };
        let owned = ownership.clone();
        start_thread(&format!("watermill-{lane}"), move || {
            let result = lost_is_no_failure(runtime.block_on(run.run().instrument(span)), &owned);
            teller.tell(result);
        })?;
        self.open.push((lane, ownership));
        Ok(())
    }

    /// Counts what a lane came to. Says why the run ends with it, if it does.
    fn over(&mut self, lane: u32, result: Result<RunReport, Failed>) -> Result<Option<EndReason>, RunError> {
        self.steering.lane_over(lane, result.is_ok());
        match result {
            Ok(done) => {
                let alone = matches!(done.end, EndReason::Revoked | EndReason::CurrentEnd { .. });
                let ends = !done.end.is_final() && !alone;
                let reason = ends.then(|| done.end.clone());
                add(self.report, done);
                Ok(reason)
            }
            Err(Failed { error, committed }) => {
                add(self.report, *committed);
                Err(error)
            }
        }
    }

    /// A lane cannot go on: the others are to come to an end.
    fn fail(&mut self, error: RunError) {
        for (_, ownership) in &self.open {
            ownership.revoke();
        }
        if let Some(first) = &self.failed {
            tracing::warn!(
                target: "watermill",
                error = &error as &dyn std::error::Error,
                first = %first,
                "another lane has failed, too"
            );
        } else {
            self.failed = Some(error);
        }
    }
}

/// Tells that a lane is over, whatever happens to its thread.
struct Teller {
    lane: u32,
    ownership: Ownership,
    send: Option<UnboundedSender<Over>>,
}

impl Teller {
    fn tell(&mut self, result: Result<RunReport, Failed>) {
        if let Some(send) = self.send.take() {
            // Nobody listens when the run was dropped.
            let over = Over { lane: self.lane, ownership: self.ownership.clone(), result: Box::new(result) };
            let _ = send.send(over);
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let committed = Box::new(RunReport::of_nothing("", EndReason::Stopped));
        let (what, cause) = ("the thread of a lane is gone".to_owned(), "it has panicked".into());
        self.tell(Err(Failed { error: RunError::Runtime { what, cause }, committed }));
    }
}

/// A lane that another process has taken can do nothing any more, and need not: its last commit is where that one goes on.
fn lost_is_no_failure(result: Result<RunReport, Failed>, ownership: &Ownership) -> Result<RunReport, Failed> {
    match result {
        Err(Failed { error: RunError::Aborted | RunError::Broker(_), committed }) if ownership.is_lost() => {
            Ok(RunReport { end: EndReason::Revoked, ..*committed })
        }
        result => result,
    }
}

fn lane_span(function: &str, lane: u32) -> Span {
    tracing::info_span!(target: "watermill", "lane", function = %function, lane)
}

/// Adds the report of a lane to those of others, or of the same one before it went back to its last commit.
fn add(sum: &mut Option<RunReport>, report: RunReport) {
    match sum {
        None => *sum = Some(report),
        Some(sum) => sum.add(report),
    }
}
