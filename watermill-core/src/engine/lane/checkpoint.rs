//! Keeps what the last call was given, for [`Mill::checkpoint`](crate::Mill::checkpoint).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::LaneRun;
use super::outputs::Port;
use super::settings::elapsed;
use crate::engine::Seen;
use crate::function::Stage;
use crate::last_call::{CallNames, CallReport, LastCall};

/// What came of the last call.
pub(super) struct Kept {
    names: Arc<CallNames>,
    results: Vec<u64>,
    /// After how many calls that was.
    calls: u64,
    /// When the handle was told last.
    told: SystemTime,
}

/// The handle of a run that does not wait is told about so often.
const BETWEEN: Duration = Duration::from_millis(5);

impl Kept {
    pub(super) fn new(ports: &[Port], now: SystemTime) -> Self {
        let names = CallNames { outputs: ports.iter().map(|port| port.stream.clone()).collect() };
        Self { names: Arc::new(names), results: vec![0; ports.len()], calls: 0, told: now }
    }
}

impl LaneRun {
    /// Counts what the last call wrote, before it is taken.
    pub(super) fn count_results(&mut self, stage: &mut dyn Stage) {
        let Some(kept) = &mut self.kept else { return };
        if kept.calls == self.tally.calls {
            return;
        }
        kept.calls = self.tally.calls;
        for (results, port) in kept.results.iter_mut().zip(&self.ports) {
            *results = port.of_last_call(stage);
        }
    }

    /// What the call that is prepared, or was made last, is given.
    pub(super) fn seen(&mut self) -> Option<Arc<Seen>> {
        self.kept.as_ref()?;
        self.walk.last_call()
    }

    /// Tells the handle of the last call.
    pub(super) fn keep_call(&mut self, seen: Option<Arc<Seen>>, failed: bool) -> Option<LastCall> {
        let (Some(kept), Some(seen)) = (&self.kept, seen) else { return None };
        let results = if failed { vec![0; kept.results.len()] } else { kept.results.clone() };
        let call = LastCall { names: Arc::clone(&kept.names), seen, results, failed };
        self.steering.put_last_call(call.clone());
        Some(call)
    }

    /// Tells the handle of the last call now and then.
    pub(super) fn keep_call_at(&mut self, now: SystemTime) {
        if let Some(kept) = &mut self.kept
            && elapsed(kept.told, now) >= BETWEEN
        {
            kept.told = now;
            self.keep_last_call();
        }
    }

    /// Tells the handle of the last call, where calls are made one after the other: elsewhere each call that is done with tells.
    pub(super) fn keep_last_call(&mut self) {
        if self.work.is_none() && self.kept.as_ref().is_some_and(|kept| kept.calls > 0) {
            let seen = self.seen();
            self.keep_call(seen, false);
        }
    }

    /// Tells the handle of the call that has failed.
    pub(super) fn keep_failed(&mut self, seen: Option<Arc<Seen>>) -> Option<Box<CallReport>> {
        self.keep_call(seen, true).map(|call| Box::new(call.report()))
    }
}
