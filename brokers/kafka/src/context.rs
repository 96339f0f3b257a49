//! What clients are told by librdkafka: its log goes to `tracing`, its errors are kept for those who wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use serde::Deserialize;

/// What is known of the connections to the servers, which all clients of a run share: so it is told once, not by each of them, that they are gone. What a
/// client's own messages have met is its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    state: Arc<Mutex<State>>,
    /// The first message that could not be delivered since this was asked last.
    undelivered: Arc<Mutex<Option<(RDKafkaErrorCode, String)>>>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when no server can be reached.
    down_since: Option<Instant>,
    /// When one could be reached again.
    back_since: Option<Instant>,
    /// When somebody looked last whether one can be reached again.
    looked: Option<Instant>,
    /// What was told last, whether or not it matters.
    last: Option<String>,
    /// Which kind of error that was.
    code: Option<RDKafkaErrorCode>,
    /// What cannot get better by itself.
    fatal: Option<String>,
}

/// Clients find a server that is back one after the other. In this time after the first of them has, what the others tell is old news; if the server has
/// gone again, they go on telling it.
const SETTLE: Duration = Duration::from_secs(3);

/// While no server can be reached, it is tried this often whether one can be again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Health {
    /// That of another client of the same run.
    pub(crate) fn sibling(&self) -> Self {
        Self { state: Arc::clone(&self.state), undelivered: Arc::default() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A server has answered just now.
    pub(crate) fn well(&self) {
        let was_down = self.with(|state| {
            state.last = None;
            let was_down = state.down_since.take();
            if was_down.is_some() {
                state.back_since = Some(Instant::now());
            }
            was_down
        });
        if let Some(since) = was_down {
            tracing::info!(target: "watermill", seconds = since.elapsed().as_secs_f64(), "Kafka can be reached again");
        }
    }

    /// Asks a server now and then, while none can be reached: what clients tell by themselves is only that they cannot.
    pub(crate) fn look(&self, asks: impl FnOnce(Duration) -> bool) {
        let now = Instant::now();
        let due = self.with(|state| {
            let due = state.down_since.is_some()
                && state.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_EVERY);
            if due {
                state.looked = Some(now);
            }
            due
        });
        if due && asks(LOOK_EVERY) {
            self.well();
        }
    }

    /// How long no server could be reached.
    pub(crate) fn down_for(&self) -> Option<Duration> {
        self.with(|state| state.down_since.map(|since| since.elapsed()))
    }

    /// When to give up what begins now: `patience` from now, or from when the servers went.
    pub(crate) fn until(&self, patience: Duration) -> Instant {
        self.with(|state| state.down_since).unwrap_or_else(Instant::now) + patience
    }

    /// What was told last, to be shown beside an error that says less.
    pub(crate) fn last(&self) -> Option<String> {
        self.with(|state| state.fatal.clone().or_else(|| state.last.clone()))
    }

    /// Which kind of error was told last.
    pub(crate) fn code(&self) -> Option<RDKafkaErrorCode> {
        self.with(|state| state.code)
    }

    /// What cannot get better by itself.
    pub(crate) fn fatal(&self) -> Option<String> {
        self.with(|state| state.fatal.clone())
    }

    /// Why there is no sense in going on, where there is none: what cannot get better by itself, or that the servers have been gone for longer than `patience`.
    pub(crate) fn hopeless(&self, patience: Duration) -> Option<String> {
        let down = || self.down_for().filter(|time| *time >= patience);
        self.fatal().or_else(|| {
            let seconds = down()?.as_secs();
            let why = self.last().unwrap_or_else(|| "no server answers".to_owned());
            Some(format!(
                "no server could be reached for {seconds} s, which is longer than `retry_for` allows ({why})"
            ))
        })
    }

    pub(crate) fn take_undelivered(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn told(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        let down = code == Some(Code::AllBrokersDown);
        let fatal = matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed));
        let first = self.with(|state| {
            // That all are down says less than why, and so does an error without a reason of its own.
            let says_less = down || reason == error.to_string();
            // Why a connection is refused says more than that it is, whichever is told first.
            let says_why = |code| {
                matches!(
                    code,
                    Some(Code::SSL | Code::Resolve | Code::Authentication | Code::SaslAuthenticationFailed)
                )
            };
            let keeps = says_why(state.code) && !says_why(code);
            if state.last.is_none() || says_why(code) || (!says_less && !keeps) {
                state.last = Some(reason.to_owned());
                state.code = code;
            }
            if fatal {
                state.fatal = Some(reason.to_owned());
            }
            let settled = state.back_since.is_none_or(|since| since.elapsed() >= SETTLE);
            if down && settled && state.down_since.is_none() {
                state.down_since = Some(Instant::now());
                return true;
            }
            false
        });
        if first {
            tracing::warn!(target: "watermill", reason = self.last(), "Kafka cannot be reached; trying again and again");
        } else {
            tracing::debug!(target: "watermill", error = error as &dyn std::error::Error, reason, "told by the client");
        }
    }
}

/// Where partitions end that are fetched, as the servers tell it along with the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<BTreeMap<String, Partitions>>>);

type Partitions = BTreeMap<i32, Arc<AtomicU64>>;

impl Ends {
    /// From now on the end of this partition is kept up to date.
    pub(crate) fn follow(&self, topic: &str, partition: i32) -> Arc<AtomicU64> {
        let end = Arc::new(AtomicU64::new(0));
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic.to_owned()).or_default().insert(partition, Arc::clone(&end));
        end
    }

    fn told(&self, statistics: &Statistics) {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (topic, told) in &statistics.topics {
            let Some(partitions) = topics.get_mut(topic) else { continue };
            partitions.retain(|_, end| Arc::strong_count(end) > 1);
            for told in told.partitions.values() {
                // Less than 0 is not known yet.
                if let (Some(end), Ok(at)) = (partitions.get(&told.partition), u64::try_from(told.ls_offset))
                {
                    end.store(at, Ordering::Relaxed);
                }
            }
        }
    }
}

/// What is needed of librdkafka's statistics.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    /// Behind the last record that readers of committed records can see.
    #[serde(default = "unknown")]
    ls_offset: i64,
}

fn unknown() -> i64 {
    -1
}

/// The context of consumers and producers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    pub(crate) health: Health,
    /// Those who follow them.
    pub(crate) ends: Option<Ends>,
    /// Statistics are for the broker alone: nobody has asked for them.
    pub(crate) statistics_are_own: bool,
    /// It is polled only now and then: that its servers are gone may be old news when it is told.
    pub(crate) late: bool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel as Level;
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
                // What it calls an error mends itself, or comes as an error of a call.
                tracing::warn!(target: "watermill::librdkafka", facility, "{message}");
            }
            Level::Warning | Level::Notice | Level::Info => {
                tracing::info!(target: "watermill::librdkafka", facility, "{message}");
            }
            Level::Debug => tracing::debug!(target: "watermill::librdkafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let Some(ends) = &self.ends
            && let Ok(statistics) = serde_json::from_slice(statistics)
        {
            ends.told(&statistics);
        }
        if self.statistics_are_own {
            return;
        }
        tracing::info!(target: "watermill::librdkafka::statistics", "{}", String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // That is no error. Sources see it where it stands among the messages.
            Some(RDKafkaErrorCode::PartitionEOF) => return,
            Some(RDKafkaErrorCode::AllBrokersDown) if self.late => return,
            _ => {}
        }
        self.health.told(&error, reason);
    }
}

impl ConsumerContext for Context {}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        use rdkafka::message::Message;
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        let mut undelivered = self.health.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        undelivered.get_or_insert_with(|| {
            (code, format!("topic `{}`, partition {}", message.topic(), message.partition()))
        });
    }
}
