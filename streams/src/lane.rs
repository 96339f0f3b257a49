//! What a lane has in its hands: claims or whole streams, under leases.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watermill_core::broker::{CallLog, Ownership};

use crate::error::StreamsError;
use crate::ledger::claims::{self, Claimant};
use crate::ledger::{self, whole};
use crate::store::{ClaimRow, writing};
use crate::streams::Inner;

/// How a run consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It claims messages, in lots of so many, beside others.
    Dealt(u64),
    /// It has whole streams.
    Whole,
}

/// What a lane has.
pub(crate) struct Hold {
    pub(crate) inner: Arc<Inner>,
    pub(crate) mode: Mode,
    /// The subscriptions under which it has something, each once.
    pub(crate) who: Vec<Claimant>,
    pub(crate) ownership: Ownership,
    /// Which windows the function is called for.
    pub(crate) calls: CallLog,
    state: Mutex<Held>,
}

/// What changes while the lane is walked. Whoever changes it in the store holds the lock, so that both are the same.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) claims: Vec<ClaimRow>,
    /// Messages that could not be read: subscription and number.
    pub(crate) refused: Vec<(u64, u64)>,
    /// Nothing is taken any more.
    pub(crate) closed: bool,
    /// The lane has come to its end.
    pub(crate) finished: bool,
}

impl Hold {
    /// Of these subscriptions, nothing yet.
    pub(crate) fn new(inner: Arc<Inner>, mode: Mode, subscriptions: &[u64], lease: u64) -> Self {
        let owner = ledger::owner();
        let mut who: Vec<Claimant> = Vec::new();
        for subscription in subscriptions {
            if who.iter().all(|other| other.subscription != *subscription) {
                who.push(Claimant { subscription: *subscription, owner: owner.clone(), lease });
            }
        }
        Self { inner, mode, who, ownership: Ownership::new(), calls: CallLog::new(), state: Mutex::default() }
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the masters are under this subscription: the first one.
    pub(crate) fn is_master(&self, who: &Claimant) -> bool {
        self.who.first().is_some_and(|first| first.subscription == who.subscription)
    }

    pub(crate) fn claimant(&self, subscription: u64) -> Option<&Claimant> {
        self.who.iter().find(|who| who.subscription == subscription)
    }

    /// Takes the whole streams, all of them or none.
    pub(crate) fn take(&self) -> Result<bool, StreamsError> {
        let now = self.inner.now();
        let taken = writing(&*self.inner.store, false, |rows| {
            for who in &self.who {
                if !whole::take(rows, who, now)? {
                    return Err(StreamsError::Lost { stream: String::new() });
                }
            }
            Ok(())
        });
        match taken {
            Ok(()) => Ok(true),
            Err(StreamsError::Lost { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The leases go on. When one is another's by now, the lane is lost.
    pub(crate) fn renew(&self) -> Result<(), StreamsError> {
        let held = self.held();
        if held.closed || (self.mode != Mode::Whole && held.claims.is_empty()) {
            return Ok(());
        }
        let (now, emitted) = (self.inner.now(), self.calls.furthest().unwrap_or(0));
        let own = writing(&*self.inner.store, false, |rows| {
            let mut own = true;
            for who in &self.who {
                own &= match self.mode {
                    Mode::Dealt(_) => claims::renew(rows, who, &held.claims, emitted, now)?,
                    Mode::Whole => {
                        whole::renew(rows, who, if self.is_master(who) { emitted } else { 0 }, now)?
                    }
                };
            }
            Ok(own)
        })?;
        if !own {
            tracing::warn!(target: "watermill", "another consumer has taken what this one had");
            self.ownership.lose();
        }
        Ok(())
    }

    /// Gives everything back. What was not committed is free for others.
    pub(crate) fn release(&self) -> Result<(), StreamsError> {
        let mut held = self.held();
        if std::mem::replace(&mut held.closed, true) {
            return Ok(());
        }
        held.claims.clear();
        if self.who.is_empty() {
            return Ok(());
        }
        let released = writing(&*self.inner.store, false, |rows| {
            for who in &self.who {
                match self.mode {
                    Mode::Dealt(_) => claims::release(rows, who)?,
                    Mode::Whole => whole::release(rows, who)?,
                }
            }
            Ok(())
        });
        self.inner.hub.tell();
        released
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            // The lease expires.
            tracing::warn!(target: "watermill", error = &error as &dyn std::error::Error, "what a consumer had could not be given back");
        }
    }
}
