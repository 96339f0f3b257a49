//! Several calls at a time. Results leave in the order of the masters, and only the unbroken prefix of finished calls is
//! committed.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use super::crew::{Back, Crew, Flight, Hands, State};
use super::outputs::LATE;
use super::pool::Told;
use super::settings::{earlier, later};
use super::wait::TimedOut;
use super::{Ended, FLUSH_AT, LaneRun, Work};
use crate::engine::Seen;
use crate::engine::node::Loaded;
use crate::engine::walk::Step;
use crate::error::{BoxError, RecordPlace, RunError};
use crate::function::{AnyStage, Control};
use crate::report::EndReason;
use crate::retry::Then;

/// What ended a wait.
enum Event {
    Loaded(Loaded),
    Told(Told),
    Back(Back),
    AckUsed(u64, u32),
    /// A time has come, and nothing else has.
    Timer,
    /// There is a request to stop: the loop looks for itself.
    Look,
}

impl LaneRun {
    /// Walks to the end with up to `room` calls under way.
    pub(super) async fn walk_parallel(&mut self, work: Work, room: usize) -> Result<Ended, RunError> {
        let clock = Arc::clone(&self.clock);
        let mut crew = Crew::new(work, room, self.acks.clone(), clock, self.settings.timeout)?;
        // The stage of the call that is looked for.
        let mut open = None;
        let mut end = None;
        loop {
            let now = self.clock.now();
            self.walk.set_now(now);
            self.metered(|meter| meter.in_flight(crew.len()));
            self.look_after(&mut crew, now)?;
            while let Some(flight) = crew.pop_settled() {
                if let Some(reason) = self.deliver(flight, &mut crew)? {
                    return Ok(Ended::here(reason));
                }
                self.flush(FLUSH_AT).await?;
                self.commit_prefix(&crew, now).await?;
            }
            self.commit_prefix(&crew, now).await?;
            if end.is_none() {
                end = self.over(now);
            }
            // Also a run that has come to its end, and waits for `Ack`s, can be told not to.
            if end.is_none() || (end.as_ref().is_some_and(is_patient) && crew.front().is_some()) {
                if self.steering.should_stop() {
                    end = Some(self.steering.why_stopped());
                } else if let Some(EndReason::Lifetime) = self.over(now) {
                    end = Some(EndReason::Lifetime);
                }
            }
            if let Some(reason) = &end
                && let Some(ended) = ended(reason, crew.front())
            {
                return Ok(ended);
            }
            let mut need = None;
            if end.is_none() && crew.has_room() {
                let mut stage = match open.take() {
                    Some(stage) => stage,
                    None => self.next_stage(&mut crew)?,
                };
                // Anew after every wait: a commit may have passed masters since that no call is made for.
                let note = crew.should_note(self.settings.commits.calls, now);
                let before = note.then(|| self.walk.standing());
                match self.walk.step(stage.get(), 0)? {
                    Step::Call | Step::Called(..) => {
                        let seen = self.seen();
                        self.log_call();
                        if let Some(back) =
                            crew.begin(stage, self.walk.call_record(), self.walk.take_masters(), seen, before)
                        {
                            self.came_back(back, &mut crew);
                        }
                        continue;
                    }
                    Step::Need(node) => (need, open) = (Some(node), Some(stage)),
                    Step::Done(walk_end) => {
                        end = Some(self.input_ended(walk_end));
                        continue;
                    }
                }
            }
            if need.is_some() {
                self.flush(1).await?;
            }
            self.park(need, &crew);
            self.waits(need.is_some() && crew.front().is_none());
            self.tell_waiting(need);
            let event =
                self.wait_for_any(need, &mut crew, end.as_ref().is_some_and(|end| !is_patient(end))).await?;
            self.steering.publish(|watch| (watch.waiting_for, watch.parked) = (None, false));
            match event {
                Event::Loaded(loaded) => {
                    self.tell_waiting(None);
                    self.loaded(need.unwrap_or_default(), loaded)?;
                }
                Event::Back(back) => self.came_back(back, &mut crew),
                Event::Told(told) => self.told(told, &mut crew),
                Event::AckUsed(call, attempt) => self.ack_used(call, attempt, &mut crew),
                Event::Timer if need.is_some() && crew.front().is_none() && self.is_idle() => {
                    end = Some(EndReason::Idle);
                }
                Event::Timer | Event::Look => {}
            }
        }
    }

    fn next_stage(&mut self, crew: &mut Crew) -> Result<AnyStage, RunError> {
        self.walk.other_stage();
        match crew.spare() {
            Some(mut stage) => {
                self.walk.clear(stage.get());
                self.tell_ended(stage.get());
                Ok(stage)
            }
            None => self.new_stage(),
        }
    }

    /// Takes the results of the first call that is not done with; says why the run ends with it, if it does.
    fn deliver(&mut self, flight: Flight, crew: &mut Crew) -> Result<Option<EndReason>, RunError> {
        let Flight { place, masters, seen, failed, state, .. } = flight;
        self.tally.calls += 1;
        match state {
            State::Settled(mut stage, control) => {
                if self.wrote_past_end(stage.get()) {
                    return Err(self.call_failed(&place, seen, LATE.into()));
                }
                self.tell_ended(stage.get());
                let all_ended = match self.look_at_outs(stage.get()) {
                    Ok(all_ended) => all_ended,
                    Err(late) => return Err(self.call_failed(&place, seen, late)),
                };
                self.collect(stage.get());
                self.keep_call(seen, false);
                crew.put_back(stage);
                Ok((all_ended || control == Control::End).then_some(EndReason::Function))
            }
            State::GivenUp(stage, cause) => {
                self.call_given_up(&self.master_at(&place), &masters, failed + 1, &cause);
                self.keep_call(seen, true);
                if let Some(stage) = stage {
                    crew.put_back(stage);
                }
                Ok(None)
            }
            State::Failed(cause) => Err(self.call_failed(&place, seen, cause)),
            State::Away | State::Acking(..) | State::Waiting(..) => Ok(None),
        }
    }

    /// Commits all that is done with, when that is due and it is known where the inputs stood there.
    async fn commit_prefix(&mut self, crew: &Crew, now: SystemTime) -> Result<(), RunError> {
        if !self.commit_is_due(now) {
            return Ok(());
        }
        let standing = match crew.front() {
            None => self.walk.standing(),
            Some(front) => match &front.before {
                Some(before) => before.clone(),
                None => return Ok(()),
            },
        };
        self.commit(standing, false).await
    }

    fn told(&mut self, told: Told, crew: &mut Crew) {
        match told {
            Told::Begun { call, attempt, worker } => {
                let deadline = self.settings.timeout.map(|timeout| later(self.clock.now(), timeout));
                if let Some(flight) = crew.at(call, attempt) {
                    (flight.deadline, flight.worker) = (deadline, Some(worker));
                }
            }
            Told::Done { call, attempt, stage, result, took } => {
                let stage = AnyStage::Shared(stage);
                self.came_back(Back { call, attempt, stage, result, took }, crew);
            }
        }
    }

    /// A call has returned, perhaps one that is not waited for any more.
    fn came_back(&mut self, back: Back, crew: &mut Crew) {
        let Back { call, attempt, mut stage, result, took } = back;
        if crew.at(call, attempt).is_none() {
            return;
        }
        self.metered(|meter| meter.call_took(took));
        let settled = match result {
            Err(cause) => Err(cause),
            Ok(control) => match crew.acks_of(&mut stage) {
                None => {
                    if let Some(flight) = crew.at(call, attempt) {
                        flight.state = State::Acking(stage, control);
                    }
                    return;
                }
                Some(settled) => settled.map(|()| control),
            },
        };
        self.settle(call, attempt, Some(stage), settled, crew);
    }

    fn ack_used(&mut self, call: u64, attempt: u32, crew: &mut Crew) {
        let Some(flight) = crew.at(call, attempt) else { return };
        // While the call is still away, its return will find the `Ack` used.
        if !matches!(flight.state, State::Acking(..)) {
            return;
        }
        if let State::Acking(mut stage, control) = std::mem::replace(&mut flight.state, State::Away) {
            match crew.acks_of(&mut stage) {
                None => {
                    if let Some(flight) = crew.at(call, attempt) {
                        flight.state = State::Acking(stage, control);
                    }
                }
                Some(settled) => self.settle(call, attempt, Some(stage), settled.map(|()| control), crew),
            }
        }
    }

    /// An attempt has come to something.
    fn settle(
        &mut self,
        call: u64,
        attempt: u32,
        stage: Option<AnyStage>,
        result: Result<Control, BoxError>,
        crew: &mut Crew,
    ) {
        let state = match (stage, result) {
            (Some(stage), Ok(control)) => State::Settled(stage, control),
            (None, Ok(_)) => return,
            (Some(mut stage), Err(cause)) => {
                crew.close_acks(&mut stage);
                self.roll_back(stage.get());
                let now = self.clock.now();
                match self.settings.on_error.pause(attempt + 1, now) {
                    Some(pause) => {
                        if let Some(flight) = crew.at(call, attempt) {
                            let master = self.master_at(&flight.place);
                            self.told_of_retry(&master, attempt + 1, &cause);
                        }
                        State::Waiting(stage, later(now, pause))
                    }
                    None => self.given_up(Some(stage), cause),
                }
            }
            (None, Err(cause)) => self.given_up(None, cause),
        };
        if let Some(flight) = crew.at(call, attempt) {
            flight.failed += u32::from(matches!(state, State::Waiting(..)));
            flight.state = state;
        }
    }

    fn given_up(&self, stage: Option<AnyStage>, cause: BoxError) -> State {
        match self.settings.on_error.then() {
            Then::Stop => State::Failed(cause),
            Then::Skip | Then::DeadLetter => State::GivenUp(stage, cause),
        }
    }

    /// Makes calls again whose time has come, and gives up those that have taken too long.
    fn look_after(&mut self, crew: &mut Crew, now: SystemTime) -> Result<(), RunError> {
        let mut overdue = crew.overdue(now);
        if !overdue.is_empty() {
            // A call that came back in time has not taken too long, however busy the lane was.
            while let Hands::Threads(pool) = &crew.hands
                && let Some(told) = pool.told()
            {
                self.told(told, crew);
            }
            overdue = crew.overdue(now);
        }
        for call in overdue {
            let Some((state, attempt, worker)) = crew.take_state(call) else { continue };
            match state {
                State::Waiting(stage, _) => {
                    if let Some(back) = crew.send(call, stage) {
                        self.came_back(back, crew);
                    }
                }
                State::Acking(mut stage, control) => {
                    let settled = crew.acks_of(&mut stage).unwrap_or_else(|| Err(self.timed_out()));
                    self.settle(call, attempt, Some(stage), settled.map(|()| control), crew);
                }
                // The thread of a blocking call is left to it, and another takes its place.
                State::Away => {
                    if let (Hands::Threads(pool), Some(worker)) = (&mut crew.hands, worker) {
                        pool.replace(worker)?;
                        self.settle(call, attempt, None, Err(self.timed_out()), crew);
                    }
                }
                State::Settled(..) | State::GivenUp(..) | State::Failed(_) => {}
            }
        }
        Ok(())
    }

    fn timed_out(&self) -> BoxError {
        TimedOut(self.settings.timeout.unwrap_or_default()).into()
    }

    fn call_failed(&mut self, place: &RecordPlace, seen: Option<Arc<Seen>>, cause: BoxError) -> RunError {
        let (function, master) = (self.function.clone(), self.master_at(place));
        let call = self.keep_failed(seen);
        RunError::Function { function, master, key: None, call, cause }
    }

    fn master_at(&self, place: &RecordPlace) -> String {
        format!("`{}`, {place}", self.walk.nodes[0].stream)
    }

    /// Tells the handle what is waited for.
    fn park(&mut self, need: Option<usize>, crew: &Crew) {
        if crew.rests() {
            let unfinished = crew.unfinished() as u64;
            self.publish(need);
            self.steering.publish(|watch| (watch.parked, watch.unfinished) = (true, unfinished));
        }
    }

    /// When the lane has something to do whatever becomes of the calls. What it cannot do then anyway is no reason to look.
    fn next_look(&self, need: Option<usize>, crew: &Crew, stopping: bool) -> Option<SystemTime> {
        let commit = if crew.knows_prefix() { self.next_commit() } else { None };
        if stopping {
            return commit;
        }
        let idle = if crew.front().is_none() { self.idle_at() } else { None };
        earlier(earlier(commit, idle), self.deadline(need))
    }

    async fn wait_for_any(
        &mut self,
        need: Option<usize>,
        crew: &mut Crew,
        stopping: bool,
    ) -> Result<Event, RunError> {
        let deadline = earlier(self.next_look(need, crew, stopping), crew.deadline());
        let Self { walk, steering, clock, timer, .. } = self;
        let asked = steering.should_stop();
        let mut stopped = pin!(steering.stopped());
        let mut load = need.map(|node| walk.nodes[node].node.load());
        poll_fn(|context| {
            if let Poll::Ready(Some((call, attempt))) = crew.used.poll_recv(context) {
                return Poll::Ready(Ok(Event::AckUsed(call, attempt)));
            }
            match &mut crew.hands {
                Hands::Lane => {}
                Hands::Threads(pool) => {
                    if let Poll::Ready(told) = pool.poll_told(context) {
                        return Poll::Ready(Ok(Event::Told(told)));
                    }
                }
                Hands::Tasks(tasks) => match tasks.poll_join_next(context) {
                    Poll::Ready(Some(Ok(back))) => return Poll::Ready(Ok(Event::Back(back))),
                    Poll::Ready(Some(Err(cause))) => {
                        let what = "the task of a call is gone".to_owned();
                        return Poll::Ready(Err(RunError::Runtime { what, cause: Box::new(cause) }));
                    }
                    Poll::Ready(None) | Poll::Pending => {}
                },
            }
            if let Some(load) = &mut load
                && let Poll::Ready(loaded) = load.as_mut().poll(context)
            {
                return Poll::Ready(loaded.map(Event::Loaded));
            }
            if !asked && stopped.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Event::Look));
            }
            timer.poll(deadline, &**clock, context).map(|()| Ok(Event::Timer))
        })
        .await
    }
}

/// A run that ends so waits for all calls that it has made.
fn is_patient(reason: &EndReason) -> bool {
    matches!(
        reason,
        EndReason::InputEnded { .. } | EndReason::CurrentEnd { .. } | EndReason::Records | EndReason::Commits
    )
}

/// What the run comes to when it is to end with `reason`, and `front` is the first call that is not done with; `None` while it
/// is waited for.
fn ended(reason: &EndReason, front: Option<&Flight>) -> Option<Ended> {
    let Some(front) = front else { return Some(Ended::here(reason.clone())) };
    // Whoever asks a run to stop does not want to wait for work that is elsewhere. Calls that were begun are finished.
    if is_patient(reason) || matches!(front.state, State::Away) {
        return None;
    }
    Some(match &front.before {
        Some(before) => Ended::at(reason.clone(), before.clone()),
        None => Ended::unfinished(reason.clone()),
    })
}
