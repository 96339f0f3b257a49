//! What the functions do, and what happens outside of them.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use watermill::clock::Clock;
use watermill::function::{Ack, Flow, Out};

use crate::clock::SimClock;
use crate::data::{Note, Seen};
use crate::lock;
use crate::model::{notes, seen};
use crate::random::Random;
use crate::scenario::{How, Scenario};
use crate::store::Store;

/// What functions return.
pub type Answer<T> = Result<Flow<T>, String>;

/// The outside of the functions. Each run has one of its own, but all share the attempts.
pub struct World {
    scenario: Arc<Scenario>,
    clock: SimClock,
    store: Arc<Store>,
    attempts: Arc<Mutex<Vec<u32>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    handed: Vec<Handed>,
    /// Calls of async functions.
    under_way: usize,
    failed: u64,
}

/// Work that was handed elsewhere.
struct Handed {
    due: SystemTime,
    first: u32,
    ack: Ack<Seen>,
    outcome: Result<Vec<Seen>, How>,
    /// It cannot be done in time.
    late: bool,
}

/// A call of an async function under way; it may be dropped at any await.
struct UnderWay<'a>(&'a World);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).under_way -= 1;
    }
}

/// How many attempts have been made for each master, over all runs.
#[must_use]
pub fn no_attempts(scenario: &Scenario) -> Arc<Mutex<Vec<u32>>> {
    Arc::new(Mutex::new(vec![0; scenario.scripts.len()]))
}

impl World {
    /// The outside of one run.
    #[must_use]
    pub fn new(
        scenario: &Arc<Scenario>,
        clock: &SimClock,
        store: &Arc<Store>,
        attempts: &Arc<Mutex<Vec<u32>>>,
    ) -> Self {
        Self {
            scenario: Arc::clone(scenario),
            clock: clock.clone(),
            store: Arc::clone(store),
            attempts: Arc::clone(attempts),
            state: Mutex::default(),
        }
    }

    /// Begins an attempt: whether it fails, and numbers for it.
    fn attempt(&self, first: u32) -> (Option<How>, Random) {
        let outstanding = self.outstanding();
        if outstanding >= self.scenario.room() {
            self.store.complain(format!("{outstanding} calls are under way when {first} is called"));
        }
        let mut attempts = lock(&self.attempts);
        let attempt = &mut attempts[first as usize];
        *attempt += 1;
        let script = self.scenario.scripts[first as usize];
        let fails = *attempt <= script.failures;
        self.store
            .log(|| format!("call {first}, attempt {attempt}, fails: {:?}", fails.then_some(script.how)));
        if fails {
            lock(&self.state).failed += 1;
        }
        (
            fails.then_some(script.how),
            Random::of(&[self.scenario.seed, 2, u64::from(first), u64::from(*attempt)]),
        )
    }

    /// Calls that have begun and not come to anything.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let state = lock(&self.state);
        state.under_way + state.handed.iter().filter(|handed| !handed.ack.is_closed()).count()
    }

    /// How many attempts have failed in this run.
    #[must_use]
    pub fn failed(&self) -> u64 {
        lock(&self.state).failed
    }

    fn write(&self, first: u32, out: &mut Out<Note>) {
        out.extend(notes(&self.scenario, first).into_iter().map(|text| Note { text }));
        if self.scenario.notes_end.is_some_and(|end| first >= end) {
            out.end();
        }
    }

    fn results(&self, first: u32, ids: &[u32]) -> Vec<Seen> {
        seen(&self.scenario, first, ids).into_iter().map(|ids| Seen { ids }).collect()
    }

    fn answer<T>(&self, first: u32, results: T) -> Flow<T> {
        if self.scenario.end_at.is_none_or(|end| first < end) {
            Flow::Go(results)
        } else if self.scenario.with_last {
            Flow::Last(results)
        } else {
            Flow::End
        }
    }

    /// A call that is done when it returns. Time may pass in it.
    pub fn now(&self, first: u32, ids: &[u32], out: &mut Out<Note>) -> Answer<Vec<Seen>> {
        let (fails, mut random) = self.attempt(first);
        self.write(first, out);
        if random.one_in(3) {
            self.clock.advance(Duration::from_micros(random.below(20_000)));
        }
        fail(fails)?;
        Ok(self.answer(first, self.results(first, ids)))
    }

    /// A call that waits.
    pub async fn later(&self, first: u32, ids: &[u32], out: &mut Out<Note>) -> Answer<Vec<Seen>> {
        let (fails, mut random) = self.attempt(first);
        lock(&self.state).under_way += 1;
        let _under_way = UnderWay(self);
        self.sleep(&mut random).await;
        self.write(first, out);
        if fails == Some(How::TooLong) {
            self.clock.sleep_until(self.clock.now() + self.scenario.timeout.unwrap_or_default() * 2).await;
        }
        self.sleep(&mut random).await;
        fail(fails)?;
        Ok(self.answer(first, self.results(first, ids)))
    }

    async fn sleep(&self, random: &mut Random) {
        if random.one_in(2) {
            self.clock.sleep_until(self.clock.now() + Duration::from_micros(random.below(25_000))).await;
        }
    }

    /// A call that hands its work elsewhere.
    pub fn hand_over(&self, first: u32, ids: &[u32], ack: Ack<Seen>, out: &mut Out<Note>) -> Answer<()> {
        let (fails, mut random) = self.attempt(first);
        self.write(first, out);
        self.hand(first, ids, ack, fails, &mut random)?;
        Ok(self.answer(first, ()))
    }

    /// A call that waits, and then hands its work elsewhere, or the other way round.
    pub async fn hand_over_later(
        &self,
        first: u32,
        ids: &[u32],
        ack: Ack<Seen>,
        out: &mut Out<Note>,
    ) -> Answer<()> {
        let (fails, mut random) = self.attempt(first);
        let under_way = {
            lock(&self.state).under_way += 1;
            UnderWay(self)
        };
        self.write(first, out);
        self.sleep(&mut random).await;
        // From here on the `Ack` counts.
        drop(under_way);
        self.hand(first, ids, ack, fails, &mut random)?;
        self.sleep(&mut random).await;
        Ok(self.answer(first, ()))
    }

    fn hand(
        &self,
        first: u32,
        ids: &[u32],
        ack: Ack<Seen>,
        fails: Option<How>,
        random: &mut Random,
    ) -> Result<(), String> {
        let late = fails == Some(How::TooLong);
        let outcome = match fails {
            None | Some(How::TooLong) => Ok(self.results(first, ids)),
            Some(how @ (How::AckFails | How::AckDropped)) => Err(how),
            other => return fail(other),
        };
        if !late && random.one_in(5) {
            // At once, within the call.
            self.use_ack(first, ack, outcome);
            return Ok(());
        }
        let wait = match self.scenario.timeout {
            Some(timeout) if late => timeout * 2,
            _ => Duration::from_micros(random.below(30_000)),
        };
        let due = self.clock.now() + wait;
        lock(&self.state).handed.push(Handed { due, first, ack, outcome, late });
        Ok(())
    }

    fn use_ack(&self, first: u32, ack: Ack<Seen>, outcome: Result<Vec<Seen>, How>) -> bool {
        self.store.log(|| format!("ack {first}: {}, closed: {}", outcome.is_ok(), ack.is_closed()));
        match outcome {
            Ok(results) => ack.save(results).is_ok(),
            Err(How::AckFails) => ack.fail("the work failed").is_ok(),
            Err(_) => {
                let open = !ack.is_closed();
                drop(ack);
                open
            }
        }
    }

    /// When something happens outside.
    #[must_use]
    pub fn next_due(&self) -> Option<SystemTime> {
        lock(&self.state).handed.iter().map(|handed| handed.due).min()
    }

    /// Does what is due; `run_is_over` says that nobody may be waiting for it.
    pub fn do_due(&self, run_is_over: bool) {
        let now = self.clock.now();
        let due: Vec<Handed> = lock(&self.state).handed.extract_if(.., |handed| handed.due <= now).collect();
        for mut handed in due {
            if handed.late && !handed.ack.is_closed() {
                // The lane has not looked yet: it may be writing. Still later, then.
                handed.due = now + self.scenario.timeout.unwrap_or_default();
                lock(&self.state).handed.push(handed);
                continue;
            }
            let Handed { first, ack, outcome, late, .. } = handed;
            let taken = self.use_ack(first, ack, outcome);
            if taken && run_is_over {
                self.store.complain(format!("the `Ack` of {first} was taken though the run is over"));
            }
            if taken && late {
                self.store.complain(format!("the `Ack` of {first} was taken though it was late"));
            }
        }
    }
}

fn fail(how: Option<How>) -> Result<(), String> {
    match how {
        None | Some(How::TooLong) => Ok(()),
        // Without the message that `panic!` prints.
        Some(How::Panic) => resume_unwind(Box::new("as the script has it".to_owned())),
        Some(_) => Err("as the script has it".to_owned()),
    }
}
