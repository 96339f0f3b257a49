//! What the threads of an app share.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;

use super::AppStatus;
use crate::background::{Background, BackgroundStatus, State};
use crate::error::StreamsError;
use crate::streams::Streams;

/// What the threads of an app share.
pub(super) struct Shared {
    streams: Streams,
    started: SystemTime,
    state: Mutex<Parts>,
    /// A part has ended.
    pub(super) over: Condvar,
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Parts {
    pub(super) parts: Vec<Background>,
    over: usize,
    /// One has failed for good.
    pub(super) failed: bool,
    stopped: bool,
    pub(super) given_up: bool,
}

impl Parts {
    pub(super) fn are_going(&self) -> bool {
        self.over < self.parts.len() && !self.given_up
    }
}

impl Shared {
    pub(super) fn new(streams: &Streams) -> Self {
        Self {
            streams: streams.clone(),
            started: SystemTime::now(),
            state: Mutex::default(),
            over: Condvar::new(),
            changed: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Parts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all parts to end, and waits until they have.
    pub(super) fn end(&self) {
        self.stop();
        let parts = self.lock().parts.clone();
        for part in parts {
            // Why the app does not start counts, not how a part of it has ended.
            let _ = part.wait_blocking();
        }
    }

    /// Nobody waits for the parts any more.
    pub(super) fn give_up(&self) {
        self.lock().given_up = true;
        self.over.notify_all();
        self.changed.notify_waiters();
    }

    pub(super) fn stop(&self) {
        let parts = {
            let mut state = self.lock();
            state.stopped = true;
            state.parts.clone()
        };
        parts.iter().for_each(Background::stop);
    }

    pub(super) fn part_over(&self, state: State) {
        let mut parts = self.lock();
        parts.over += 1;
        parts.failed |= state == State::Failed;
        // When one part has failed, all end.
        let stop = parts.failed && !parts.stopped;
        drop(parts);
        self.over.notify_all();
        self.changed.notify_waiters();
        if stop {
            self.stop();
        }
    }

    /// The parts alone.
    pub(super) fn parts(&self) -> Vec<BackgroundStatus> {
        let parts = self.lock().parts.clone();
        parts.iter().map(Background::status).collect()
    }

    pub(super) fn status(&self) -> Result<AppStatus, StreamsError> {
        let (parts, stopping) = {
            let state = self.lock();
            (state.parts.clone(), state.stopped)
        };
        let parts = parts.iter().map(Background::status).collect();
        Ok(AppStatus { started: self.started, stopping, parts, streams: self.streams.overview()? })
    }
}
