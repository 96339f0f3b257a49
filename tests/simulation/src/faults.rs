//! What goes wrong at an await.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watermill::clock::Clock;
use watermill::error::BrokerError;

use crate::lock;
use crate::random::Random;
use crate::store::Store;

/// How often what goes wrong: one in so many awaits; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// It takes its time.
    pub delay: u64,
    /// At most so long.
    pub longest: Duration,
    /// It fails.
    pub error: u64,
    /// The program dies.
    pub crash: u64,
    /// Another owner has taken the lane: no later commit is taken.
    pub revoke: u64,
}

/// Decides what goes wrong, and tells the simulation of crashes.
pub struct Faults {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
}

struct State {
    random: Random,
    rates: Rates,
    crashed: bool,
    errors: u64,
    seeming: u64,
    plans: Vec<(&'static str, u64, Planned)>,
}

/// What is to happen at an await, whatever the seed says.
#[derive(Debug, Clone, Copy)]
pub enum Planned {
    /// It takes so long.
    Delay(Duration),
    /// It fails.
    Error,
}

impl Faults {
    /// Faults at these rates.
    #[must_use]
    pub fn new(random: Random, rates: Rates, clock: Arc<dyn Clock>, store: Arc<Store>) -> Self {
        let state = State { random, rates, crashed: false, errors: 0, seeming: 0, plans: Vec::new() };
        Self { state: Mutex::new(state), clock, store }
    }

    /// The program has died: nothing of it is polled any more.
    #[must_use]
    pub fn crashed(&self) -> bool {
        lock(&self.state).crashed
    }

    /// How many errors there were.
    #[must_use]
    pub fn errors(&self) -> u64 {
        lock(&self.state).errors
    }

    /// How many commits only seemed to have failed.
    #[must_use]
    pub fn seeming(&self) -> u64 {
        lock(&self.state).seeming
    }

    /// One in so many, as the seed has it.
    pub fn chance(&self, of: u64) -> bool {
        of > 0 && lock(&self.state).random.one_in(of)
    }

    /// A number from `low` to `high`.
    pub fn within(&self, low: u64, high: u64) -> u64 {
        lock(&self.state).random.within(low, high)
    }

    fn delay(&self) -> Duration {
        let mut state = lock(&self.state);
        let (often, longest) = (state.rates.delay, state.rates.longest.as_micros() as u64);
        if often > 0 && state.random.one_in(often) {
            Duration::from_micros(state.random.below(longest.max(1)))
        } else {
            Duration::ZERO
        }
    }

    /// Has something happen the next time but `after` that `action` is done.
    pub fn plan(&self, action: &'static str, after: u64, what: Planned) {
        lock(&self.state).plans.push((action, after, what));
    }

    /// How long the next await takes, unless it is to fail.
    ///
    /// # Errors
    /// As planned.
    pub fn begin(&self, action: &str) -> Result<Duration, BrokerError> {
        match self.planned(action) {
            Some(Planned::Delay(time)) => Ok(time),
            Some(Planned::Error) => Err(self.failure(action, "as planned")),
            None => Ok(self.delay()),
        }
    }

    fn planned(&self, action: &str) -> Option<Planned> {
        let mut state = lock(&self.state);
        let mut found = None;
        for (index, plan) in state.plans.iter_mut().enumerate().filter(|(_, plan)| plan.0 == action) {
            match plan.1.checked_sub(1) {
                Some(left) => plan.1 = left,
                None => found = Some(index),
            }
        }
        found.map(|index| state.plans.remove(index).2)
    }

    /// An await of the storage: it may take its time, fail, or be the last thing that happens.
    ///
    /// # Errors
    /// As the seed has it.
    pub async fn pass(&self, action: &str) -> Result<(), BrokerError> {
        self.wait(self.begin(action)?).await;
        self.strike(action).await
    }

    /// As [`pass`](Faults::pass), at once.
    ///
    /// # Errors
    /// As the seed has it.
    pub async fn strike(&self, action: &str) -> Result<(), BrokerError> {
        let (error, crash, revoke) = {
            let state = lock(&self.state);
            (state.rates.error, state.rates.crash, state.rates.revoke)
        };
        if self.chance(revoke) {
            self.store.log(|| format!("revoked at {action}"));
            self.store.revoke();
        }
        if self.chance(crash) {
            self.store.log(|| format!("crash at {action}"));
            lock(&self.state).crashed = true;
            pending::<()>().await;
        }
        if self.chance(error) {
            self.store.log(|| format!("error at {action}"));
            lock(&self.state).seeming += u64::from(action == "committed");
            return Err(self.failure(action, "the storage is out of order"));
        }
        Ok(())
    }

    /// An error of the storage.
    pub fn failure(&self, action: &str, cause: &str) -> BrokerError {
        lock(&self.state).errors += 1;
        BrokerError {
            broker: "SimBroker".to_owned(),
            action: action.to_owned(),
            location: "memory".to_owned(),
            cause: cause.into(),
        }
    }

    /// Time passes.
    pub async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            self.clock.sleep_until(self.clock.now() + time).await;
        }
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}
