//! What a lane tells the `metrics` facade.
//!
//! Handles are asked for once, when the lane begins. Whatever is counted is counted by the lane and the walk in any case; here the growth since
//! the last time is passed on, where the lane loads, waits, commits, or looks at the clock anyway: never for a record, and for a call only where each
//! is made elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use super::LaneRun;
use super::settings::elapsed;
use crate::broker::Lag;
use crate::clock::Clock;
use crate::engine::leak::Account;
use crate::metric_table::describe;

/// How long a call took.
pub(super) type Took = Option<Duration>;

/// Measures a call.
pub(super) struct Stopwatch(SystemTime);

impl Stopwatch {
    pub(super) fn start(clock: &dyn Clock) -> Self {
        Self(clock.now())
    }

    pub(super) fn stop(&self, clock: &dyn Clock) -> Took {
        Some(elapsed(self.0, clock.now()))
    }
}

/// A counter, and what it was told already.
struct Grown {
    counter: Counter,
    told: u64,
}

impl Grown {
    fn new(name: &'static str, labels: &[Label]) -> Self {
        Self { counter: counter!(name, labels.to_vec()), told: 0 }
    }

    fn tell(&mut self, total: u64) {
        if total > self.told {
            self.counter.increment(total - self.told);
            self.told = total;
        }
    }
}

/// The metrics of one input.
struct Stream {
    labels: Vec<Label>,
    read: Grown,
    bytes: Grown,
    matched: Grown,
    unmatched: Grown,
    skipped: Grown,
    dead_lettered: Grown,
    late: Grown,
    pending: Gauge,
    /// Which of the two it is shows when the source is asked.
    lag: Option<Gauge>,
    waiting: Gauge,
    waited: Grown,
    bytes_read: u64,
    time_waited: Duration,
}

impl Stream {
    fn new(labels: Vec<Label>) -> Self {
        let grown = |name| Grown::new(name, &labels);
        Self {
            read: grown("watermill_records_read_total"),
            bytes: grown("watermill_read_bytes_total"),
            matched: grown("watermill_records_matched_total"),
            unmatched: grown("watermill_records_unmatched_total"),
            skipped: grown("watermill_records_skipped_total"),
            dead_lettered: grown("watermill_records_dead_lettered_total"),
            late: grown("watermill_records_late_total"),
            pending: gauge!("watermill_records_pending", labels.clone()),
            lag: None,
            waiting: gauge!("watermill_waiting", labels.clone()),
            waited: grown("watermill_waited_seconds_total"),
            bytes_read: 0,
            time_waited: Duration::ZERO,
            labels,
        }
    }

    fn tell(&mut self, account: &Account, lag: Option<Lag>) {
        self.read.tell(account.records());
        self.bytes.tell(self.bytes_read);
        self.matched.tell(account.matched);
        self.unmatched.tell(account.unmatched);
        self.skipped.tell(account.skipped);
        self.dead_lettered.tell(account.dead_lettered);
        self.late.tell(account.late);
        self.pending.set(account.pending as f64);
        self.waited.tell(self.time_waited.as_secs());
        let (name, left) = match lag {
            Some(Lag::Bytes(left)) => ("watermill_lag_bytes", left),
            Some(Lag::Records(left)) => ("watermill_lag_records", left),
            None => return,
        };
        self.lag.get_or_insert_with(|| gauge!(name, self.labels.clone())).set(left as f64);
    }
}

/// The metrics of one lane.
pub(super) struct Meter {
    calls: Grown,
    errors: Grown,
    retries: Grown,
    given_up: Grown,
    call_time: Histogram,
    in_flight: Gauge,
    in_flight_now: usize,
    results: Vec<Grown>,
    streams: Vec<Stream>,
    commits: Counter,
    commit_time: Histogram,
    last_commit: Gauge,
    /// Since when calls are made, one after the other, if they are.
    calling: Option<SystemTime>,
    /// How long that was since the last time it was told, and how many calls there were then.
    called_for: Duration,
    calls_told: u64,
    waiting: Option<(usize, SystemTime)>,
    /// A call has failed the run.
    fatal: bool,
}

impl Meter {
    /// Asks the recorder that is installed now.
    pub(super) fn new(function: &str, lane: u32, inputs: &[&str], outputs: &[&str]) -> Self {
        describe();
        let labels = vec![Label::new("function", function.to_owned()), Label::new("lane", lane.to_string())];
        let of = |stream: &str| {
            let mut labels = labels.clone();
            labels.push(Label::new("stream", stream.to_owned()));
            labels
        };
        let grown = |name| Grown::new(name, &labels);
        Self {
            calls: grown("watermill_calls_total"),
            errors: grown("watermill_call_errors_total"),
            retries: grown("watermill_call_retries_total"),
            given_up: grown("watermill_calls_given_up_total"),
            call_time: histogram!("watermill_call_duration_seconds", labels.clone()),
            in_flight: gauge!("watermill_calls_in_flight", labels.clone()),
            in_flight_now: 0,
            results: outputs
                .iter()
                .map(|stream| Grown::new("watermill_results_total", &of(stream)))
                .collect(),
            streams: inputs.iter().map(|stream| Stream::new(of(stream))).collect(),
            commits: counter!("watermill_commits_total", labels.clone()),
            commit_time: histogram!("watermill_commit_duration_seconds", labels.clone()),
            last_commit: gauge!("watermill_last_commit_timestamp_seconds", labels.clone()),
            calling: None,
            called_for: Duration::ZERO,
            calls_told: 0,
            waiting: None,
            fatal: false,
        }
    }

    /// Calls are made one after the other from now on.
    pub(super) fn calls_begin(&mut self, now: SystemTime) {
        self.calling = Some(now);
    }

    /// No calls are made for a while.
    pub(super) fn calls_pause(&mut self, now: SystemTime) {
        if let Some(since) = self.calling.take() {
            self.called_for += elapsed(since, now);
        }
    }

    /// No calls were made since [`Meter::calls_begin`].
    pub(super) fn calls_wait(&mut self) {
        self.calling = None;
    }

    /// So many calls are done with by now. Each counts as having taken as long as the others since the last time.
    pub(super) fn calls_made(&mut self, calls: u64, now: SystemTime) {
        self.calls_pause(now);
        let made = calls - self.calls_told;
        if made > 0 {
            self.call_time.record_many(self.called_for.as_secs_f64() / made as f64, made as usize);
        }
        (self.called_for, self.calls_told) = (Duration::ZERO, calls);
        self.calls.tell(calls);
    }

    /// A call that was made beside others took so long.
    pub(super) fn call_took(&self, took: Took) {
        if let Some(took) = took {
            self.call_time.record(took);
        }
    }

    pub(super) fn in_flight(&mut self, calls: usize) {
        if calls != self.in_flight_now {
            self.in_flight.set(calls as f64);
            self.in_flight_now = calls;
        }
    }

    /// So many bytes of the input at `node` were read.
    pub(super) fn read(&mut self, node: usize, bytes: u64) {
        if let Some(stream) = self.streams.get_mut(node) {
            stream.bytes_read += bytes;
        }
    }

    /// This input is waited for from now on, or none.
    pub(super) fn wait_for(&mut self, node: Option<usize>, clock: &dyn Clock) {
        if self.waiting.map(|(waiting, _)| waiting) == node {
            return;
        }
        let now = clock.now();
        if let Some((node, since)) = self.waiting.take()
            && let Some(stream) = self.streams.get_mut(node)
        {
            stream.waiting.set(0.0);
            stream.time_waited += elapsed(since, now);
        }
        if let Some(node) = node
            && let Some(stream) = self.streams.get_mut(node)
        {
            stream.waiting.set(1.0);
            self.waiting = Some((node, now));
        }
    }

    pub(super) fn committed(&mut self, since: SystemTime, now: SystemTime) {
        self.commits.increment(1);
        self.commit_time.record(elapsed(since, now));
        self.last_commit.set(elapsed(UNIX_EPOCH, now).as_secs_f64());
    }

    /// A call has failed, and the run with it.
    pub(super) fn call_failed_run(&mut self) {
        self.fatal = true;
    }
}

impl LaneRun {
    pub(super) fn begin_metrics(&mut self) {
        let inputs: Vec<&str> = self.walk.nodes.iter().map(|node| node.stream.as_str()).collect();
        let outputs: Vec<&str> = self.ports.iter().map(|port| port.stream.as_str()).collect();
        self.meter = Some(Meter::new(&self.function, self.steering.lane(), &inputs, &outputs));
    }

    /// Passes on how the counts have grown.
    pub(super) fn tell_metrics(&mut self) {
        let Self { meter: Some(meter), walk, ports, tally, .. } = self else { return };
        meter.calls.tell(tally.calls);
        meter.retries.tell(tally.retries);
        meter.given_up.tell(tally.given_up);
        // Every attempt that fails is made again, or its call is given up, or it ends the run.
        meter.errors.tell(tally.retries + tally.given_up + u64::from(meter.fatal));
        for (results, port) in meter.results.iter_mut().zip(ports) {
            results.tell(port.outlet.total());
        }
        for (node, stream) in meter.streams.iter_mut().enumerate() {
            stream.tell(&walk.account(node), walk.nodes[node].node.lag());
        }
    }
}
