//! The topics of one mill: filled while it runs, and compared in the end.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use watermill_servers::kafka::{Isolation, Kafka, NewRecord, unique};

use crate::mills::Settings;
use crate::records::{A, Kind, Saw};
use watermill_crash::process::Process;

/// The topics of a mill.
pub struct Trial<'k> {
    kafka: &'k Kafka,
    kind: Kind,
    partitions: u32,
    program: &'static str,
    /// How its programs are run.
    pub settings: Settings,
    /// How many records each partition has.
    count: Arc<AtomicI64>,
}

const MARK: &[u8] = b"{\"eos__\": true}";

impl<'k> Trial<'k> {
    /// Makes the topics. `program` is the path of `kafka-mill`, which only its tests know.
    ///
    /// # Panics
    /// When Kafka refuses them.
    #[must_use]
    pub fn new(kafka: &'k Kafka, program: &'static str, kind: Kind, partitions: u32) -> Self {
        let from = kafka.fresh_topic("from", partitions).unwrap();
        let right = match kind {
            Kind::SelfJoin => from.clone(),
            Kind::TwoTopics => kafka.fresh_topic("right", partitions).unwrap(),
        };
        let to = kafka.fresh_topic("to", partitions).unwrap();
        let settings = Settings::new(kind, kafka.bootstrap(), &unique("mill"), [&from, &right, &to]);
        Self { kafka, kind, partitions, program, settings, count: Arc::default() }
    }

    fn topics(&self) -> Vec<&str> {
        let mut topics = vec![self.settings.from.as_str(), self.settings.right.as_str()];
        topics.dedup();
        topics
    }

    /// Appends so many records to every partition.
    ///
    /// # Panics
    /// When Kafka refuses them.
    pub fn fill(&self, more: i64) {
        let begin = self.count.load(Ordering::Relaxed);
        let mut records = Vec::new();
        for topic in self.topics() {
            for id in begin..begin + more {
                let value = serde_json::to_vec(&A::of(id)).unwrap();
                for partition in 0..self.partitions {
                    records.push(NewRecord::new(topic).partition(partition).value(value.clone()));
                }
            }
        }
        self.kafka.client().produce(&records).unwrap();
        self.count.store(begin + more, Ordering::Relaxed);
    }

    /// Ends every partition.
    ///
    /// # Panics
    /// When Kafka refuses it.
    pub fn end(&self) {
        let marks: Vec<NewRecord> = self
            .topics()
            .into_iter()
            .flat_map(|topic| {
                (0..self.partitions)
                    .map(move |partition| NewRecord::new(topic).partition(partition).value(MARK))
            })
            .collect();
        self.kafka.client().produce(&marks).unwrap();
    }

    /// How many records each partition has by now.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The program, with these settings instead of the trial's own.
    #[must_use]
    pub fn command(&self, settings: &Settings) -> Command {
        let mut command = Command::new(self.program);
        command.args(settings.arguments());
        command
    }

    /// Starts the program.
    #[must_use]
    pub fn start(&self, name: &str, settings: &Settings) -> Process {
        Process::start(name, self.command(settings))
    }

    /// The results of each partition that committed readers see, and how many marks.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn results(&self) -> Vec<(Vec<Saw>, usize)> {
        let mut results = vec![(Vec::new(), 0); self.partitions as usize];
        for record in self.kafka.client().read(&self.settings.to, Isolation::Committed).unwrap() {
            let (saw, marks) = &mut results[record.partition as usize];
            let value = record.value.unwrap();
            if value.starts_with(b"{\"eos__\"") {
                *marks += 1;
            } else {
                assert_eq!(*marks, 0, "a result stands behind the mark");
                saw.push(serde_json::from_slice(&value).unwrap());
            }
        }
        results
    }

    /// How far the committed offsets of the group are, over all topics and partitions.
    ///
    /// # Panics
    /// When they cannot be asked for.
    #[must_use]
    pub fn progress(&self) -> i64 {
        let offsets = self.kafka.client().group_offsets(&self.settings.application).unwrap_or_default();
        offsets.iter().map(|offset| offset.offset.max(0)).sum()
    }

    /// The longest time without a result in a partition that began at `at`, or not a second before it, or within two seconds of it. By the times of the results: Kafka's
    /// own tools wait for servers that are gone.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn silence_after(&self, partition: u32, at: SystemTime) -> Duration {
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
        let read = self.kafka.client().read_from(&self.settings.to, Isolation::Committed, &[(partition, 0)]);
        let times: Vec<i64> = read
            .unwrap()
            .iter()
            .filter(|record| record.partition == partition)
            .map(|record| record.timestamp)
            .collect();
        let near = times
            .windows(2)
            .filter(|pair| (at - 1000..at + 2000).contains(&pair[0]) || (pair[0]..pair[1]).contains(&at));
        Duration::from_millis(near.map(|pair| (pair[1] - pair[0]).unsigned_abs()).max().unwrap_or(0))
    }

    /// Waits until more is committed than `before`.
    ///
    /// # Panics
    /// When nothing is for too long.
    pub fn await_more(&self, before: i64, most: Duration, what: &str) -> Duration {
        let since = Instant::now();
        while self.progress() <= before {
            assert!(since.elapsed() < most, "{what}: nothing is committed for {most:?}");
            thread::sleep(Duration::from_millis(10));
        }
        since.elapsed()
    }

    /// Panics unless everything is there, once and in order, and ended once; `marked` when the input has ended.
    ///
    /// # Panics
    /// As said.
    pub fn assert_complete(&self, what: &str) {
        let expected = self.kind.expected(self.count());
        let mut wrong = Vec::new();
        for (partition, (found, marks)) in self.results().into_iter().enumerate() {
            let (lost, twice) = difference(&found, &expected);
            if found != expected || marks != 1 {
                let at = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
                wrong.push(format!(
                    "partition {partition}: {} results instead of {}, {lost} lost, {twice} too many, {marks} marks, other from {at} on: {:?} instead of {:?}",
                    found.len(),
                    expected.len(),
                    found.iter().skip(at).take(5).collect::<Vec<_>>(),
                    expected.iter().skip(at).take(5).collect::<Vec<_>>(),
                ));
            }
        }
        assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    }
}

/// How many of `expected` are missing, and how many of `found` are too many.
fn difference(found: &[Saw], expected: &[Saw]) -> (usize, usize) {
    let mut counts = std::collections::BTreeMap::<(i64, &[i64]), i64>::new();
    expected.iter().for_each(|saw| *counts.entry((saw.id, &saw.with)).or_default() += 1);
    found.iter().for_each(|saw| *counts.entry((saw.id, &saw.with)).or_default() -= 1);
    let lost: i64 = counts.values().filter(|count| **count > 0).sum();
    let twice: i64 = counts.values().filter(|count| **count < 0).sum();
    (lost.unsigned_abs() as usize, twice.unsigned_abs() as usize)
}

/// Appends records all the time, until it is told to stop.
pub struct Load<'scope> {
    stop: Stop,
    thread: thread::ScopedJoinHandle<'scope, ()>,
}

impl<'scope> Load<'scope> {
    /// Appends `batch` records to every partition every `pause`.
    pub fn start<'env>(
        scope: &'scope thread::Scope<'scope, 'env>,
        trial: &'env Trial<'env>,
        batch: i64,
        pause: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = scope.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                trial.fill(batch);
                thread::sleep(pause);
            }
        });
        Self { stop: Stop(stop), thread }
    }

    /// Stops it, and ends the input.
    ///
    /// # Panics
    /// When Kafka has refused something.
    pub fn end(self, trial: &Trial<'_>) {
        drop(self.stop);
        self.thread.join().unwrap();
        trial.end();
    }
}

impl Drop for Stop {
    /// A test that fails must not wait for it.
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Stops the thread that appends.
struct Stop(Arc<AtomicBool>);
