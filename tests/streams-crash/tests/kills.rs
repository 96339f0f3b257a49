//! Eight producers and five consumers on one file, or one database, fifty of which are killed: what was acknowledged is delivered, and nothing twice.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use tempfile::tempdir;
use watermill::streams::{Status, Stream, Streams};
use watermill_crash::process::{Ended, Process};
use watermill_crash::seed::Seed;
use watermill_servers::{Mongo, MongoOptions};
use watermill_streams_crash::{Batch, Item};

const PROGRAM: &str = env!("CARGO_BIN_EXE_streams-program");
const PRODUCERS: u32 = 8;
const CONSUMERS: u32 = 4;
const KILLS: usize = 50;

/// Who a process is.
#[derive(Debug, Clone, Copy)]
enum Role {
    Producer(u32),
    Consumer,
    Audit,
}

struct Trial {
    url: String,
    running: Vec<(Role, u32, Process)>,
    /// How often each producer was started.
    starts: BTreeMap<u32, u32>,
    /// How many messages of each start of a producer were acknowledged.
    acknowledged: BTreeMap<(u32, u32), u32>,
}

impl Trial {
    fn start(&mut self, role: Role) {
        let mut command = Command::new(PROGRAM);
        let mut start = 0;
        match role {
            Role::Producer(producer) => {
                let next = self.starts.entry(producer).or_default();
                start = *next;
                *next += 1;
                command.args(["produce", &self.url]).args([producer.to_string(), start.to_string()]);
            }
            Role::Consumer => drop(command.args(["consume", &self.url])),
            Role::Audit => drop(command.args(["audit", &self.url])),
        }
        self.running.push((role, start, Process::start(&format!("{role:?}"), command)));
    }

    fn kill(&mut self, at: usize) -> Role {
        let (role, start, process) = self.running.swap_remove(at);
        let ended = process.kill();
        assert!(ended.was_killed(), "{role:?} ended by itself: {}", ended.told);
        self.note(role, start, &ended);
        role
    }

    fn note(&mut self, role: Role, start: u32, ended: &Ended) {
        if let Role::Producer(producer) = role {
            let told = ended.told.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
            self.acknowledged.insert((producer, start), told.max().unwrap_or(0));
        }
    }
}

fn items(stream: &Stream<Batch>) -> Vec<Item> {
    stream.buffer().unwrap().iter().flat_map(|message| message.get::<Batch>().unwrap().items).collect()
}

fn run(url: &str, seed: u64) {
    let streams = Streams::open(url).unwrap();
    let of_items: Stream<Item> = streams.stream("items").unwrap();
    of_items.subscribe("audit").unwrap();
    let mut seed = Seed::new(seed);
    let url = url.to_owned();
    let mut trial =
        Trial { url, running: Vec::new(), starts: BTreeMap::new(), acknowledged: BTreeMap::new() };
    (0..PRODUCERS).for_each(|producer| trial.start(Role::Producer(producer)));
    (0..CONSUMERS).for_each(|_| trial.start(Role::Consumer));
    trial.start(Role::Audit);
    let mut killed = BTreeMap::new();
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(seed.below(250)));
        let at = usize::try_from(seed.below(trial.running.len() as u64)).unwrap();
        let role = trial.kill(at);
        let kind = if let Role::Producer(_) = role { "producers" } else { "consumers" };
        *killed.entry(kind).or_insert(0) += 1;
        trial.start(role);
    }
    while let Some(at) = trial.running.iter().position(|(role, ..)| matches!(role, Role::Producer(_))) {
        trial.kill(at);
    }
    of_items.close().unwrap();
    for (role, _, process) in trial.running.drain(..) {
        let _ = process.wait(Duration::from_secs(120)).expect_success(&format!("{role:?}"));
    }
    // A consumer that was killed at the very end may have left something to the next one.
    for role in [Role::Consumer, Role::Audit] {
        trial.start(role);
        let (_, _, process) = trial.running.pop().unwrap();
        let _ = process.wait(Duration::from_secs(60)).expect_success("the last consumer");
    }
    let (batches, audited) = (streams.stream("batches").unwrap(), streams.stream("audited").unwrap());
    let acknowledged: BTreeSet<Item> = trial
        .acknowledged
        .iter()
        .flat_map(|((producer, start), count)| {
            (0..*count).map(|number| Item { producer: *producer, start: *start, number })
        })
        .collect();
    for (name, all) in [("the consumers", items(&batches)), ("the audit", items(&audited))] {
        let once: BTreeSet<Item> = all.iter().copied().collect();
        assert_eq!(once.len(), all.len(), "{name} have had messages twice");
        let lost: Vec<&Item> = acknowledged.difference(&once).collect();
        assert!(lost.is_empty(), "{name} have not had {lost:?}");
        println!("{name}: {} messages, {} acknowledged; killed: {killed:?}", all.len(), acknowledged.len());
    }
    // Who has all of the stream has it in its order.
    let mut last: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for item in items(&audited) {
        let expected = last.entry((item.producer, item.start)).or_default();
        assert_eq!(item.number, *expected);
        *expected += 1;
    }
    assert_eq!(items(&audited).len() as u64, of_items.info().unwrap().appended);
    assert!(of_items.buffer().unwrap().is_empty());
    assert_eq!(
        (of_items.info().unwrap().status, batches.info().unwrap().status),
        (Status::Processed, Status::Closed)
    );
}

#[test]
fn what_is_acknowledged_is_delivered_and_nothing_twice() {
    let directory = tempdir().unwrap();
    run(&format!("sqlite:{}", directory.path().join("streams.db").display()), Seed::of_environment());
}

#[test]
fn so_it_is_in_mongodb() {
    let server = Mongo::start(MongoOptions::new()).unwrap();
    run(&format!("{}/crash", server.uri()), Seed::of_environment());
}
