//! Starting a mill: its thread, its lanes, and going back to the last commit when the storage fails.

use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::Instrument;

use crate::assemble::{Assembly, LaneWindow};
use crate::broker::{Broker, Job, Position, Session};
use crate::engine::lane::abort;
use crate::engine::make_node;
use crate::error::RunError;
use crate::handle::{Control, MillHandle, OverOnDrop};
use crate::mill::Mill;
use crate::plan::Plan;
use crate::policy::OnBad;
use crate::record::{RecordType, StreamRecord};
use crate::report::RunReport;
use crate::retry::Then;

impl<M: StreamRecord> Mill<M> {
    pub(crate) fn launch(
        self,
        broker: Box<dyn Broker>,
        runtime: Option<Handle>,
        control: Control,
    ) -> Result<MillHandle, RunError> {
        let (plan, job) = self.plan_and_job(&*broker)?;
        let control = Arc::new(control);
        #[cfg(feature = "progress")]
        let bar = if self.progress { crate::progress::start(&control, &plan.function) } else { None };
        if let Some(limit) = self.settings.ending.stuck {
            let control = Arc::clone(&control);
            start_thread("watermill-watchdog", move || control.watch_commits(limit))?;
        }
        #[cfg(feature = "signals")]
        if self.settings.signals {
            let control = Arc::clone(&control);
            start_thread("watermill-signals", move || crate::signals::obey(&control))?;
        }
        let steering = Arc::clone(&control);
        start_thread("watermill", move || {
            let over = OverOnDrop(Arc::clone(&steering));
            let run = self.run_and_restart(&plan, &*broker, &job, &steering);
            let result = match runtime {
                Some(handle) => handle.block_on(run),
                None => match tokio::runtime::Builder::new_current_thread().enable_time().build() {
                    Ok(runtime) => {
                        let result = runtime.block_on(run);
                        // A reader may be blocked by a pipe that nobody writes to; nothing waits for it.
                        runtime.shutdown_background();
                        result
                    }
                    Err(cause) => Err(RunError::Runtime {
                        what: "its async runtime could not be started".to_owned(),
                        cause: Box::new(cause),
                    }),
                },
            };
            #[cfg(feature = "progress")]
            drop(bar);
            steering.finish(result);
            drop(over);
        })?;
        Ok(MillHandle { control })
    }

    /// The run as a future, without a thread of its own.
    pub(crate) fn run_within(
        self,
        broker: Box<dyn Broker>,
        control: Arc<Control>,
    ) -> Result<impl Future<Output = Result<RunReport, RunError>>, RunError> {
        let (plan, job) = self.plan_and_job(&*broker)?;
        Ok(async move { self.run_and_restart(&plan, &*broker, &job, &control).await })
    }

    fn plan_and_job(&self, broker: &dyn Broker) -> Result<(Plan, Job), RunError> {
        let plan = self.plan()?;
        let catalog = broker.catalog()?;
        let window = self.window.as_ref().map(|window| window.text.as_str());
        let job = plan.job(&catalog, broker.name(), window, &self.put_aside(&plan), &self.refusals(&plan))?;
        Ok((plan, job))
    }

    /// Runs the lanes, and again from the last commit when the storage fails, as often as the mill allows.
    async fn run_and_restart(
        &self,
        plan: &Plan,
        broker: &dyn Broker,
        job: &Job,
        steering: &Arc<Control>,
    ) -> Result<RunReport, RunError> {
        let mut failed = 0;
        let mut commits = 0;
        // What was done before the storage failed, as far as it is committed.
        let mut report = None;
        loop {
            let result = match broker.open(job).await {
                Ok(mut session) => self.run_lanes(plan, &mut *session, steering, &mut report).await,
                Err(error) => Err(error.into()),
            };
            let error = match result {
                Err(RunError::Broker(error)) => error,
                Err(error) => return Err(error),
                Ok(()) => {
                    return report.ok_or_else(|| RunError::Runtime {
                        what: "there was nothing to walk".to_owned(),
                        cause: "the broker handed out no lane".into(),
                    });
                }
            };
            let now = steering.watch().commits;
            failed = if now > commits { 1 } else { failed + 1 };
            commits = now;
            let Some(pause) = self.settings.restart.pause(failed, self.clock.now()) else {
                return Err(RunError::Broker(error));
            };
            tracing::warn!(
                target: "watermill",
                error = &*error as &dyn std::error::Error,
                failed,
                "the storage has failed; the run goes back to its last commit"
            );
            if steering.stopped_within(&*self.clock, pause).await {
                return Err(RunError::Broker(error));
            }
        }
    }

    async fn run_lanes(
        &self,
        plan: &Plan,
        session: &mut dyn Session,
        steering: &Arc<Control>,
        report: &mut Option<RunReport>,
    ) -> Result<(), RunError> {
        let assembly = self.assembly(plan);
        while let Some(lane) = session.next_lane().await? {
            let mut outputs = session.outputs(&lane).await?;
            let mut ended_outputs = Vec::new();
            let mut window = None;
            let from: Vec<Option<Position>> = match outputs.resume {
                Some(checkpoint) if checkpoint.finished => {
                    tracing::info!(target: "watermill", function = %plan.function, "an earlier run has ended this mill");
                    add(report, RunReport::ended_before(&plan.function));
                    continue;
                }
                Some(checkpoint) => {
                    ended_outputs = checkpoint.ended_outputs;
                    window = checkpoint.window;
                    checkpoint.positions.into_iter().map(Some).collect()
                }
                None => vec![None; plan.nodes.len()],
            };
            let sources = match session.sources(&lane, &from).await {
                Ok(sources) => sources,
                Err(error) => {
                    abort(&mut *outputs.committer).await;
                    return Err(error.into());
                }
            };
            let run =
                assembly.lane(sources, &from, outputs.sinks, outputs.committer, self.open_window(), steering);
            let mut run = run.ok_or_else(|| RunError::Runtime {
                what: "a source or sink is of another type than the one it was asked for".to_owned(),
                cause: "the broker breaks its contract".into(),
            })?;
            run.go_on(&ended_outputs, window.as_deref());
            let run = run.at_lane(lane.index);
            let span = tracing::info_span!(target: "watermill", "lane", function = %plan.function, lane = lane.index);
            let result = run.run().instrument(span).await;
            if let Some(committed) = steering.take_committed() {
                add(report, committed);
            }
            let result = result?;
            let ends_the_run = !result.end.is_final();
            add(report, result);
            if ends_the_run {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn assembly<'a>(&'a self, plan: &'a Plan) -> Assembly<'a> {
        Assembly {
            plan,
            function: &*self.function,
            injected: &self.injected,
            limits: self.limits,
            settings: &self.settings,
            work: self.work(plan),
            clock: Arc::clone(&self.clock),
            make_master: make_node::<M>,
            on_bad: self.policies(plan),
            on_refused: self.refusals(plan),
            has_letters: self.has_letters(plan),
            eos_after: plan.nodes.iter().map(|node| self.eos_after.get(&node.record.id()).copied()).collect(),
        }
    }

    /// For each stream of the plan what is done with its bad records.
    pub(crate) fn policies(&self, plan: &Plan) -> Vec<OnBad> {
        let policy = |record: RecordType| self.on_bad.get(&record.id()).copied().unwrap_or_default();
        plan.nodes.iter().map(|node| policy(node.record)).collect()
    }

    /// For each stream of the plan whether records of it may become dead letters.
    pub(crate) fn put_aside(&self, plan: &Plan) -> Vec<bool> {
        let mut streams: Vec<bool> =
            self.policies(plan).iter().map(|policy| *policy == OnBad::DeadLetter).collect();
        if let Some(master) = streams.first_mut() {
            *master |= self.settings.on_error.then() == Then::DeadLetter;
        }
        streams
    }

    /// For each result stream of the plan what is done with results that cannot be written.
    pub(crate) fn refusals(&self, plan: &Plan) -> Vec<OnBad> {
        let policy = |record: RecordType| self.on_refused.get(&record.id()).copied().unwrap_or_default();
        plan.ports.iter().map(|port| policy(port.spec.record)).collect()
    }

    /// There is a stream of dead letters.
    pub(crate) fn has_letters(&self, plan: &Plan) -> bool {
        self.put_aside(plan).contains(&true) || self.refusals(plan).contains(&OnBad::DeadLetter)
    }

    pub(crate) fn open_window(&self) -> Option<LaneWindow> {
        self.window.as_ref().map(|window| (window.open(), window.check()))
    }
}

/// Adds the report of a lane to those of others, or of the same one before it went back to its last commit.
fn add(sum: &mut Option<RunReport>, report: RunReport) {
    match sum {
        None => *sum = Some(report),
        Some(sum) => sum.add(report),
    }
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|cause| RunError::Runtime {
        what: "its thread could not be started".to_owned(),
        cause: Box::new(cause),
    })
}
