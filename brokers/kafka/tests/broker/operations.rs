//! What is told of a run: lag, what it waits for, the client library's log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use watermill_core::prelude::*;
use watermill_kafka::KafkaBroker;
use watermill_servers::kafka::{Kafka, NewRecord, unique};

use crate::common::{Here, Next, fill, here, logged, logs, until};

/// Keeps gauges, by name and labels.
#[derive(Default)]
struct Gauges(Mutex<BTreeMap<String, Arc<Value>>>);

#[derive(Default)]
struct Value(AtomicU64);

impl GaugeFn for Value {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}

impl Recorder for &'static Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Gauge::from_arc(Arc::clone(all.entry(key.to_string()).or_default()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn gauges() -> &'static Gauges {
    static GAUGES: OnceLock<Gauges> = OnceLock::new();
    GAUGES.get_or_init(Gauges::default)
}

/// The gauge of this name whose labels contain all of these texts.
fn gauge(name: &str, labels: &[&str]) -> Option<u64> {
    let all = gauges().0.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |key: &str| key.contains(name) && labels.iter().all(|label| key.contains(label));
    all.iter().find(|(key, _)| fits(key)).map(|(_, value)| value.0.load(Ordering::Relaxed))
}

#[test]
fn lag_follows_the_end_of_the_partition_and_is_none_when_all_is_read() {
    let _ = metrics::set_global_recorder(gauges());
    let kafka = Kafka::shared().unwrap();
    let from = kafka.fresh_topic("lagging", 1).unwrap();
    fill(kafka, &from, 1, 0..10);
    fn slowly_and_alone(_: &Here) {
        std::thread::sleep(Duration::from_micros(700));
    }
    let broker = KafkaBroker::new(kafka.bootstrap(), unique("lagging")).read::<Here>(&from);
    let run = Mill::new(slowly_and_alone).start(broker).unwrap();
    until("the first are read", || run.watch().calls == 10);
    // Within transactions: control records stand at the end.
    let writer = kafka.client().transactional(&unique("writer"), &[]).unwrap();
    writer.begin().unwrap();
    let record = |time| NewRecord::new(&from).partition(0).value(serde_json::to_vec(&here(time, 0)).unwrap());
    writer.send(&(10..12_000).map(record).collect::<Vec<_>>()).unwrap();
    writer.commit().unwrap();
    let lag = || gauge("watermill_lag_records", &["slowly_and_alone"]);
    until("the lag is seen", || lag().is_some_and(|lag| lag > 3000));
    until("all is read", || run.watch().calls == 12_000);
    until("there is no lag any more", || lag() == Some(0));
    run.stop();
    run.wait_blocking().unwrap();
}

#[test]
fn the_stream_that_is_waited_for_is_told() {
    let kafka = Kafka::shared().unwrap();
    let (left, right) = (kafka.fresh_topic("left", 1).unwrap(), kafka.fresh_topic("right", 1).unwrap());
    fill(kafka, &left, 1, 0..10);
    fill(kafka, &right, 1, 0..3);
    let broker =
        KafkaBroker::new(kafka.bootstrap(), unique("waits")).read::<Here>(&left).read::<Next>(&right);
    let join = JoinWith::new(Here::fields().time, Next::fields().time);
    let run = Mill::new(|_: &Here, _: &Joined<Here, Next>| ()).join(join).start(broker).unwrap();
    until("it waits for the right", || run.watch().waiting_for.as_deref() == Some("Next"));
    fill(kafka, &right, 1, 3..30);
    until("it waits for the left", || run.watch().waiting_for.as_deref() == Some("Here"));
    run.stop();
    run.wait_blocking().unwrap();
}

#[test]
fn the_log_of_the_client_library_and_its_statistics_are_told() {
    logged();
    let kafka = Kafka::shared().unwrap();
    let from = kafka.fresh_topic("told", 1).unwrap();
    fill(kafka, &from, 1, 0..10);
    let application = unique("told");
    let run = Mill::new(|_: &Here| ())
        .start(
            KafkaBroker::new(kafka.bootstrap(), &application)
                .read::<Here>(&from)
                .option("debug", "conf")
                .option("log_level", "7")
                .statistics(Duration::from_millis(200)),
        )
        .unwrap();
    until("the log is told", || logs(&["watermill::librdkafka:", "group.id", &application]));
    until("statistics are told", || logs(&["watermill::librdkafka::statistics:", "ls_offset", &from]));
    run.stop();
    run.wait_blocking().unwrap();
    // The other tests ask for none.
    assert!(!logs(&["watermill::librdkafka::statistics:", "lagging"]));
}
