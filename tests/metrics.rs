//! The metrics: what is registered is what the README's table says, and the figures are those of the report.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use watermill::OnError;
use watermill::prelude::*;

/// What was told: kind and unit by name, and values by name and labels.
#[derive(Default)]
struct Told {
    described: BTreeMap<String, (&'static str, &'static str)>,
    registered: BTreeMap<String, BTreeSet<String>>,
    values: BTreeMap<(String, String), Arc<Value>>,
}

#[derive(Default)]
struct Value {
    total: AtomicU64,
    gauge: Mutex<f64>,
    samples: Mutex<Vec<f64>>,
}

impl CounterFn for Value {
    fn increment(&self, value: u64) {
        self.total.fetch_add(value, Ordering::Relaxed);
    }
    fn absolute(&self, _: u64) {
        panic!("two lanes may share a counter");
    }
}

impl GaugeFn for Value {
    fn increment(&self, value: f64) {
        *self.gauge.lock().unwrap() += value;
    }
    fn decrement(&self, value: f64) {
        *self.gauge.lock().unwrap() -= value;
    }
    fn set(&self, value: f64) {
        *self.gauge.lock().unwrap() = value;
    }
}

impl HistogramFn for Value {
    fn record(&self, value: f64) {
        self.samples.lock().unwrap().push(value);
    }
}

static TOLD: LazyLock<Mutex<Told>> = LazyLock::new(|| {
    metrics::set_global_recorder(Listener).expect("the first recorder");
    Mutex::default()
});

fn told() -> MutexGuard<'static, Told> {
    TOLD.lock().unwrap()
}

struct Listener;

impl Listener {
    fn describe(name: &KeyName, kind: &'static str, unit: Option<Unit>) {
        let unit = unit.expect("every metric has a unit").as_str();
        told().described.insert(name.as_str().to_owned(), (kind, unit));
    }

    fn register(key: &Key) -> Arc<Value> {
        let mut told = told();
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let names = key.labels().map(|label| label.key().to_owned()).collect();
        told.registered.insert(key.name().to_owned(), names);
        Arc::clone(told.values.entry((key.name().to_owned(), labels.join(","))).or_default())
    }
}

impl Recorder for Listener {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        Self::describe(&key, "counter", unit);
    }
    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        Self::describe(&key, "gauge", unit);
    }
    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        Self::describe(&key, "histogram", unit);
    }
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Self::register(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Self::register(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Self::register(key))
    }
}

/// The metric of a function, and of one of its streams.
fn value(name: &str, function: &str, stream: Option<&str>) -> Arc<Value> {
    let mut labels = format!("function={function},lane=0");
    if let Some(stream) = stream {
        labels += &format!(",stream={stream}");
    }
    let told = told();
    let found = told.values.get(&(name.to_owned(), labels.clone()));
    Arc::clone(found.unwrap_or_else(|| panic!("there is no {name}{{{labels}}}")))
}

fn total(name: &str, function: &str, stream: Option<&str>) -> u64 {
    value(name, function, stream).total.load(Ordering::Relaxed)
}

fn gauge(name: &str, function: &str, stream: Option<&str>) -> f64 {
    *value(name, function, stream).gauge.lock().unwrap()
}

fn samples(name: &str, function: &str) -> Vec<f64> {
    value(name, function, None).samples.lock().unwrap().clone()
}

#[derive(Clone, Serialize, Deserialize, StreamRecord)]
struct Order {
    id: i64,
}

#[derive(Clone, Serialize, Deserialize, StreamRecord)]
struct Line {
    order: i64,
}

#[derive(Serialize, StreamRecord)]
struct Sum {
    id: i64,
}

/// Orders 0 to 9 from a file, the third of which is bad, and two lines for each order from 5 to 14 from memory.
fn broker(directory: &Path) -> impl watermill::broker::Broker {
    let orders = directory.join("orders.ndjson");
    let line = |id| if id == 3 { "{}\n".to_owned() } else { format!("{{\"id\":{id}}}\n") };
    fs::write(&orders, (0..10).map(line).collect::<String>()).unwrap();
    let lines = (10..30).map(|half| Line { order: half / 2 }).collect();
    JsonFileBroker::new()
        .read::<Order>(&orders)
        .write::<Sum>(directory.join("sums.ndjson"))
        .and(MemoryBroker::new().read::<Line>(lines))
}

use watermill::broker::BrokerExt;

#[test]
fn the_figures_are_those_of_the_report() {
    fn counted(order: &Order, _: &Joined<Order, Line>) -> Result<Sum, &'static str> {
        if order.id == 7 { Err("seven") } else { Ok(Sum { id: order.id }) }
    }

    drop(told());
    let directory = tempfile::tempdir().unwrap();
    let pause = watermill::Backoff::fixed(Duration::from_millis(1));
    let report = Mill::new(counted)
        .join(JoinWith::new(Order::fields().id, Line::fields().order))
        .on_bad::<Order>(OnBad::Skip)
        .on_error(OnError::retry(2, pause).then_skip())
        .run_blocking(broker(directory.path()))
        .unwrap();

    let of = |name| total(name, "counted", None);
    assert_eq!((report.calls, report.results, report.retries, report.given_up), (5, 4, 2, 1));
    assert_eq!((of("watermill_calls_total"), of("watermill_call_retries_total")), (5, 2));
    assert_eq!((of("watermill_call_errors_total"), of("watermill_calls_given_up_total")), (3, 1));
    assert_eq!(total("watermill_results_total", "counted", Some("Sum")), 4);
    assert_eq!(of("watermill_commits_total"), report.commits);
    for input in &report.inputs {
        let of = |name| total(name, "counted", Some(&input.stream));
        assert_eq!(of("watermill_records_read_total"), input.records, "{}", input.stream);
        assert_eq!(of("watermill_records_matched_total"), input.matched, "{}", input.stream);
        assert_eq!(of("watermill_records_unmatched_total"), input.unmatched, "{}", input.stream);
        assert_eq!(of("watermill_records_skipped_total"), input.skipped, "{}", input.stream);
        assert_eq!(of("watermill_records_dead_lettered_total"), 0, "{}", input.stream);
        assert_eq!(gauge("watermill_records_pending", "counted", Some(&input.stream)), input.pending as f64);
        assert_eq!(gauge("watermill_waiting", "counted", Some(&input.stream)), 0.0);
    }
    assert_eq!((report.inputs[0].skipped, report.inputs[0].unmatched, report.inputs[1].records), (1, 4, 20));
    // Nine good lines, without their line feeds.
    assert_eq!(total("watermill_read_bytes_total", "counted", Some("Order")), 9 * 8);
    assert_eq!(gauge("watermill_lag_bytes", "counted", Some("Order")), 0.0);
    assert_eq!(gauge("watermill_lag_records", "counted", Some("Line")), 0.0);
    assert_eq!(samples("watermill_call_duration_seconds", "counted").len(), 5);
    assert_eq!(samples("watermill_commit_duration_seconds", "counted").len() as u64, report.commits);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let commit = gauge("watermill_last_commit_timestamp_seconds", "counted", None);
    assert!(commit <= now && now - commit < 600.0);

    table_is_complete();
}

/// The table in the README is what is described, and all of it is registered.
fn table_is_complete() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `watermill_"));
    let mut table = BTreeMap::new();
    let mut labels = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [name, kind, unit, label, text] = cells[..] else { panic!("the row {row} has other columns") };
        assert!(!text.is_empty());
        table.insert(name.to_owned(), (kind.to_owned(), unit.to_owned()));
        labels.insert(
            name.to_owned(),
            label.split(", ").map(|label| label.trim_matches('`').to_owned()).collect(),
        );
    }
    let told = told();
    let described: BTreeMap<String, (String, String)> = told
        .described
        .iter()
        .map(|(name, (kind, unit))| (name.clone(), ((*kind).to_owned(), (*unit).to_owned())))
        .collect();
    assert_eq!(table, described);
    assert_eq!(labels, told.registered);
    for (name, (kind, unit)) in &table {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert_eq!(name.contains("_seconds"), unit == "seconds", "{name}");
        assert_eq!(name.contains("_bytes"), unit == "bytes", "{name}");
    }
}

#[test]
fn every_slow_call_is_measured_by_itself() {
    fn slow(order: &Order) {
        std::thread::sleep(Duration::from_millis(if order.id == 2 { 60 } else { 10 }));
    }

    drop(told());
    Mill::new(slow).run_blocking(MemoryBroker::new().read((0..5).map(|id| Order { id }).collect())).unwrap();
    let times = samples("watermill_call_duration_seconds", "slow");
    assert_eq!(times.len(), 5);
    let long: Vec<bool> = times.iter().map(|seconds| *seconds >= 0.06).collect();
    assert_eq!(long, [false, false, true, false, false], "{times:?}");
    assert!(times.iter().all(|seconds| *seconds >= 0.01), "{times:?}");
}

#[test]
fn fast_calls_are_all_counted() {
    fn fast(_: &Order) {}

    drop(told());
    let orders = (0..100_000).map(|id| Order { id }).collect();
    Mill::new(fast).run_blocking(MemoryBroker::new().read::<Order>(orders)).unwrap();
    assert_eq!(samples("watermill_call_duration_seconds", "fast").len(), 100_000);
    assert_eq!(total("watermill_calls_total", "fast", None), 100_000);
}

#[test]
fn calls_on_workers_and_in_flight_are_measured_by_themselves() {
    fn worked(order: &Order) {
        std::thread::sleep(Duration::from_millis(if order.id % 2 == 0 { 20 } else { 1 }));
    }
    async fn awaited(order: &Order) {
        tokio::time::sleep(Duration::from_millis(if order.id % 2 == 0 { 20 } else { 1 })).await;
    }

    drop(told());
    let orders = || MemoryBroker::new().read((0..10).map(|id| Order { id }).collect());
    Mill::new(worked).workers(2).run_blocking(orders()).unwrap();
    Mill::new_async(awaited).in_flight(4).run_blocking(orders()).unwrap();
    for function in ["worked", "awaited"] {
        let times = samples("watermill_call_duration_seconds", function);
        let long = times.iter().filter(|seconds| **seconds >= 0.02).count();
        assert!(times.len() == 10 && (5..=7).contains(&long), "{function}: {times:?}");
        assert_eq!(total("watermill_calls_total", function, None), 10);
        assert_eq!(gauge("watermill_calls_in_flight", function, None), 0.0);
    }
}

#[test]
fn a_run_that_fails_tells_its_last_attempt_too() {
    fn failing(order: &Order) -> Result<(), &'static str> {
        if order.id == 3 { Err("three") } else { Ok(()) }
    }

    drop(told());
    let orders = (0..10).map(|id| Order { id }).collect();
    Mill::new(failing).run_blocking(MemoryBroker::new().read::<Order>(orders)).unwrap_err();
    assert_eq!(total("watermill_call_errors_total", "failing", None), 1);
    assert_eq!(total("watermill_calls_total", "failing", None), 3);
}

/// What is left of a file shrinks from batch to batch, also of one that is followed.
#[test]
fn what_is_left_of_files_shrinks() {
    fn lags(_: &Order, seen: Inject<Mutex<Vec<f64>>>) {
        seen.lock().unwrap().push(gauge("watermill_lag_bytes", "lags", Some("Order")));
    }

    drop(told());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("orders.ndjson");
    fs::write(&path, (0..1000).map(|id| format!("{{\"id\":{id}}}\n")).collect::<String>()).unwrap();
    let length = fs::metadata(&path).unwrap().len() as f64;
    for follow in [false, true] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let files = JsonFileBroker::new().batch_bytes(100).read::<Order>(&path);
        let mill = Mill::new(lags).inject_shared(Arc::clone(&seen)).stop_after_records(1000);
        let files = if follow { files.follow() } else { files };
        mill.run_blocking(files).unwrap();
        let seen = seen.lock().unwrap();
        assert!(seen.is_sorted_by(|before, after| before >= after), "follow: {follow}");
        assert!(
            seen[0] < length && seen[0] > length / 2.0,
            "{} of {length} left at first, follow: {follow}",
            seen[0]
        );
        assert_eq!(seen.last(), Some(&0.0), "follow: {follow}");
    }
}

#[test]
fn what_is_waited_for_shows() {
    fn waits(_: &Order, _: &Joined<Order, Line>) {}

    drop(told());
    let mut test = metrics::with_local_recorder(&Listener, || {
        let mill = Mill::new(waits).join(JoinWith::new(Order::fields().id, Line::fields().order));
        watermill::testing::TestMill::new(mill).unwrap()
    });
    let waiting = || ["Order", "Line"].map(|stream| gauge("watermill_waiting", "waits", Some(stream)));
    let waited =
        || ["Order", "Line"].map(|stream| total("watermill_waited_seconds_total", "waits", Some(stream)));
    test.run().unwrap();
    assert_eq!(waiting(), [1.0, 0.0]);
    test.feed(Order { id: 1 });
    test.advance(Duration::from_millis(1500));
    test.run().unwrap();
    assert_eq!((waiting(), waited()), ([0.0, 1.0], [1, 0]));
    test.feed(Line { order: 2 });
    test.advance(Duration::from_millis(3700));
    test.run().unwrap();
    assert_eq!((waiting(), waited()), ([1.0, 0.0], [1, 3]));
    test.feed(Order { id: 3 });
    test.advance(Duration::from_millis(500));
    test.run().unwrap();
    assert_eq!((waiting(), waited()), ([0.0, 1.0], [2, 3]), "the half seconds make one");
    assert_eq!(gauge("watermill_records_pending", "waits", Some("Order")), 1.0);
}

#[cfg(feature = "prometheus")]
#[test]
fn a_program_with_a_recorder_of_its_own_is_told_so() {
    drop(told());
    let error = watermill::prometheus::serve("127.0.0.1:0").unwrap_err();
    assert!(matches!(error, watermill::prometheus::ServeError::OtherRecorder(_)), "{error:?}");
}
