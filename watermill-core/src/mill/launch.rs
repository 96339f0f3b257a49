//! Starting a mill: its thread, and going back to the last commit when the storage fails.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::assemble::{Assembly, LaneWindow};
use crate::broker::{Broker, Job};
use crate::engine::{RoleCheck, make_node};
use crate::error::RunError;
use crate::handle::{Control, MillHandle, OverOnDrop};
use crate::mill::Mill;
use crate::plan::Plan;
use crate::policy::OnBad;
use crate::record::{RecordType, StreamRecord};
use crate::report::{EndReason, RunReport};
use crate::retry::Then;
use crate::window::Window;

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

    fn plan_and_job(&self, broker: &dyn Broker) -> Result<(Arc<Plan>, Job), RunError> {
        let plan = self.plan()?;
        let catalog = broker.catalog()?;
        let window = self.window.as_ref().map(|window| window.text.as_str());
        let mut job =
            plan.job(&catalog, broker.name(), window, &self.put_aside(&plan), &self.refusals(&plan))?;
        if let (Some(master), Some(check)) =
            (job.orders.first_mut(), self.window.as_ref().and_then(Window::check))
            && let Some(order) =
                check.downcast::<Box<dyn RoleCheck<M>>>().ok().and_then(|check| check.order())
            && !master.contains(&order)
        {
            master.push(order);
        }
        if plan.nodes.len() == 1 && job.orders.iter().all(Vec::is_empty) {
            job.lot = self.window.as_ref().map_or(Some(1), Window::lot);
        }
        Ok((Arc::new(plan), job))
    }

    /// Runs the lanes, and again from the last commit when the storage fails, as often as the mill allows.
    async fn run_and_restart(
        &self,
        plan: &Arc<Plan>,
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
                    // Where no lane is left, others have walked all of them to their end.
                    let nothing = || RunReport::of_nothing(&plan.function, EndReason::EndedBefore);
                    return Ok(report.unwrap_or_else(nothing));
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

    pub(crate) fn assembly(&self, plan: &Arc<Plan>) -> Assembly {
        Assembly {
            plan: Arc::clone(plan),
            function: Arc::clone(&self.function),
            injected: Arc::new(self.injected.clone()),
            limits: self.limits,
            settings: Arc::new(self.settings.clone()),
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

pub(super) fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|cause| RunError::Runtime {
        what: "its thread could not be started".to_owned(),
        cause: Box::new(cause),
    })
}
