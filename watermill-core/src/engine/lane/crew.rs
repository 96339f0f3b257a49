//! Calls under way: who makes them, and which of them are finished.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::meter::{Stopwatch, Took};
use super::pool::Pool;
use super::settings::later;
use super::wait::within;
use crate::clock::Clock;
use crate::engine::Seen;
use crate::engine::held::Standing;
use crate::error::{BoxError, RecordPlace, RunError};
use crate::function::{AckRef, AnyStage, CallResult, Called, Control, RecordMeta, Slot, Ticket};

/// Positions are noted at least this often while calls are under way, so that a commit or a stop finds one at hand.
const BETWEEN_NOTES: Duration = Duration::from_millis(5);

/// How calls are made that do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// On the lane's thread, at once: what is waited for is their `Ack`s.
    Lane,
    /// On so many threads.
    Threads(usize),
    /// As tasks on the lane's thread.
    Tasks,
}

/// A call under way, or one whose results wait for those of earlier calls.
pub(super) struct Flight {
    /// Where its master stood, the first one of a window.
    pub(super) place: RecordPlace,
    pub(super) state: State,
    /// Where its masters came from, and their numbers, where calls that fail leave dead letters.
    pub(super) masters: Vec<(RecordMeta, u64)>,
    /// What it is given, where checkpoints are kept.
    pub(super) seen: Option<Arc<Seen>>,
    /// How many attempts have failed.
    pub(super) failed: u32,
    /// Where the inputs stood before it, if that was noted: there a restart begins when all before it are committed.
    pub(super) before: Option<Standing>,
    /// When it has taken too long.
    pub(super) deadline: Option<SystemTime>,
    /// The worker that makes it, where that is known.
    pub(super) worker: Option<usize>,
}

pub(super) enum State {
    /// With a worker, or a task.
    Away,
    /// It has returned; its `Ack`s are waited for.
    Acking(AnyStage, Control),
    /// It has failed, and will be made again at this time.
    Waiting(AnyStage, SystemTime),
    /// Its results are in the stage.
    Settled(AnyStage, Control),
    /// It has failed for good, and the run goes on without it.
    GivenUp(Option<AnyStage>, BoxError),
    /// It has failed for good, and the run with it.
    Failed(BoxError),
}

impl Flight {
    fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled(..) | State::GivenUp(..) | State::Failed(_))
    }
}

/// Who makes the calls.
pub(super) enum Hands {
    Lane,
    Threads(Pool),
    Tasks(JoinSet<Back>),
}

/// The calls under way, in the order of their masters, and the stages they are made with.
pub(super) struct Crew {
    pub(super) hands: Hands,
    queue: VecDeque<Flight>,
    /// The number of the first call in the queue.
    first: u64,
    /// So many calls may be under way.
    room: usize,
    spare: Vec<AnyStage>,
    /// The parameters that are `Ack`s.
    acks: Vec<usize>,
    tell: mpsc::UnboundedSender<(u64, u32)>,
    pub(super) used: mpsc::UnboundedReceiver<(u64, u32)>,
    clock: Arc<dyn Clock>,
    timeout: Option<Duration>,
    /// The call before which positions were noted last, and when.
    noted: (u64, SystemTime),
}

impl Crew {
    pub(super) fn new(
        work: Work,
        room: usize,
        acks: Vec<usize>,
        clock: Arc<dyn Clock>,
        timeout: Option<Duration>,
    ) -> Result<Self, RunError> {
        let hands = match work {
            Work::Lane => Hands::Lane,
            Work::Threads(workers) => Hands::Threads(Pool::new(workers, room, timeout.is_some(), &clock)?),
            Work::Tasks => Hands::Tasks(JoinSet::new()),
        };
        let (tell, used) = mpsc::unbounded_channel();
        let noted = (0, clock.now());
        let (queue, spare) = (VecDeque::with_capacity(room), Vec::new());
        Ok(Self { hands, queue, first: 0, room, spare, acks, tell, used, clock, timeout, noted })
    }

    /// Another call may be made.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < self.room
    }

    /// How many calls are under way, or wait for those before them.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The first call that is not done with.
    pub(super) fn front(&self) -> Option<&Flight> {
        self.queue.front()
    }

    /// Takes the first call out, if it has come to something.
    pub(super) fn pop_settled(&mut self) -> Option<Flight> {
        let flight = self.queue.pop_front_if(|flight| flight.is_settled())?;
        self.first += 1;
        Some(flight)
    }

    /// A stage that was used before.
    pub(super) fn spare(&mut self) -> Option<AnyStage> {
        self.spare.pop()
    }

    pub(super) fn put_back(&mut self, stage: AnyStage) {
        self.spare.push(stage);
    }

    /// Whether positions should be noted before the next call.
    pub(super) fn should_note(&self, every: Option<u64>, now: SystemTime) -> bool {
        let next = self.first + self.queue.len() as u64;
        let (call, at) = self.noted;
        !self.acks.is_empty()
            || every.is_some_and(|every| next - call >= every)
            || now.duration_since(at).unwrap_or_default() >= BETWEEN_NOTES
    }

    /// How many calls have returned, but wait for an `Ack`.
    pub(super) fn unfinished(&self) -> usize {
        self.queue.iter().filter(|flight| matches!(flight.state, State::Acking(..))).count()
    }

    /// Nothing happens unless somebody uses an `Ack`.
    pub(super) fn rests(&self) -> bool {
        self.queue.iter().all(|flight| !matches!(flight.state, State::Away | State::Waiting(..)))
    }

    /// The lane itself ends calls that take too long. Tasks do so without it, and are asked for nothing but their result.
    fn ends_late_calls(&self) -> bool {
        matches!(self.hands, Hands::Threads(_))
    }

    /// Where the inputs stand behind all that is done with is known: by `before` of the first call that is not.
    pub(super) fn knows_prefix(&self) -> bool {
        self.front().is_none_or(|front| front.before.is_some())
    }

    /// The next time at which something is to be done about a call.
    pub(super) fn deadline(&self) -> Option<SystemTime> {
        let of = |flight: &Flight| match &flight.state {
            State::Waiting(_, at) => Some(*at),
            State::Acking(..) => flight.deadline,
            State::Away if self.ends_late_calls() => flight.deadline,
            _ => None,
        };
        self.queue.iter().filter_map(of).min()
    }

    /// Adds a call and makes it.
    pub(super) fn begin(
        &mut self,
        stage: AnyStage,
        place: RecordPlace,
        masters: Vec<(RecordMeta, u64)>,
        seen: Option<Arc<Seen>>,
        before: Option<Standing>,
    ) -> Option<Back> {
        let call = self.first + self.queue.len() as u64;
        if before.is_some() {
            self.noted = (call, self.clock.now());
        }
        let state = State::Away;
        self.queue.push_back(Flight {
            place,
            masters,
            seen,
            state,
            failed: 0,
            before,
            deadline: None,
            worker: None,
        });
        self.send(call, stage)
    }

    /// Has the call made; what it came to, if that is known at once.
    pub(super) fn send(&mut self, call: u64, mut stage: AnyStage) -> Option<Back> {
        let (timeout, now) = (self.timeout, self.clock.now());
        let flight = self.get(call)?;
        let attempt = flight.failed;
        (flight.state, flight.worker, flight.deadline) = (State::Away, None, None);
        if !matches!(self.hands, Hands::Threads(_)) {
            // A worker tells when it begins.
            self.get(call)?.deadline = timeout.map(|timeout| later(now, timeout));
        }
        for &param in &self.acks {
            if let Some(AckRef(ack)) = stage.get().param(param).and_then(Slot::as_ack) {
                ack.arm(Ticket { call, attempt, used: self.tell.clone() });
            }
        }
        match (&mut self.hands, stage) {
            (Hands::Threads(pool), AnyStage::Shared(stage)) => {
                pool.submit(call, attempt, stage);
                None
            }
            (Hands::Tasks(tasks), mut stage) => {
                let clock = Arc::clone(&self.clock);
                tasks.spawn_local(async move {
                    let watch = Stopwatch::start(&*clock);
                    let result = within(stage.get().call(), timeout, &*clock).await;
                    let took = watch.stop(&*clock);
                    Back { call, attempt, stage, result, took }
                });
                None
            }
            (_, mut stage) => {
                let watch = Stopwatch::start(&*self.clock);
                let result = match stage.get().call() {
                    Called::Done(result) => result,
                    Called::Pending(_) => Err("an async function was called where none can wait".into()),
                };
                let took = watch.stop(&*self.clock);
                Some(Back { call, attempt, stage, result, took })
            }
        }
    }

    fn get(&mut self, call: u64) -> Option<&mut Flight> {
        let index = usize::try_from(call.checked_sub(self.first)?).ok()?;
        self.queue.get_mut(index)
    }

    /// The call, if it is still at this attempt.
    pub(super) fn at(&mut self, call: u64, attempt: u32) -> Option<&mut Flight> {
        self.get(call).filter(|flight| flight.failed == attempt && !flight.is_settled())
    }

    /// Whether the `Ack`s of this stage were used: `None` while one was not.
    pub(super) fn acks_of(&self, stage: &mut AnyStage) -> Option<Result<(), BoxError>> {
        for &param in &self.acks {
            if let Some(AckRef(ack)) = stage.get().param(param).and_then(Slot::as_ack)
                && let Err(error) = ack.settled()?
            {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    /// Nobody waits for the `Ack`s of this stage any more.
    pub(super) fn close_acks(&self, stage: &mut AnyStage) {
        for &param in &self.acks {
            if let Some(AckRef(ack)) = stage.get().param(param).and_then(Slot::as_ack) {
                ack.close();
            }
        }
    }

    /// Calls whose next attempt is due, or that have taken too long.
    pub(super) fn overdue(&self, now: SystemTime) -> Vec<u64> {
        let due = |(index, flight): (usize, &Flight)| {
            let due = match &flight.state {
                State::Waiting(_, at) => *at <= now,
                State::Acking(..) => flight.deadline.is_some_and(|at| at <= now),
                State::Away if self.ends_late_calls() => flight.deadline.is_some_and(|at| at <= now),
                _ => false,
            };
            due.then_some(self.first + index as u64)
        };
        self.queue.iter().enumerate().filter_map(due).collect()
    }

    /// Takes the state out of a call that is overdue.
    pub(super) fn take_state(&mut self, call: u64) -> Option<(State, u32, Option<usize>)> {
        let flight = self.get(call)?;
        let state = std::mem::replace(&mut flight.state, State::Away);
        Some((state, flight.failed, flight.worker))
    }
}

/// A call that has returned.
pub(super) struct Back {
    pub(super) call: u64,
    pub(super) attempt: u32,
    pub(super) stage: AnyStage,
    pub(super) result: CallResult,
    pub(super) took: Took,
}
