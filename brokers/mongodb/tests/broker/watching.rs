//! Collections that grow: change streams, and asking again where there are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bson::{Document, doc};
use serde::{Deserialize, Serialize};
use watermill_core::function::Meta;
use watermill_core::prelude::*;
use watermill_core::{EndReason, RunError, RunReport};
use watermill_derive::StreamRecord;
use watermill_mongodb::{MongoBroker, ReadCollection, WatchCollection};

use crate::common::answering::Answering;
use crate::common::{Database, Here, here, standalone, told, until};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Item {
    #[serde(rename = "_id")]
    id: i64,
    #[serde(default)]
    value: i64,
    #[serde(default)]
    deleted__: bool,
}

/// What was seen of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Seen {
    id: i64,
    value: i64,
    operation: String,
}

fn see(item: &Item, meta: &Meta<Item>) -> Seen {
    let told = meta.headers().iter().find(|(name, _)| name == "operation");
    let operation = told.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    let operation = operation.unwrap_or_else(|| "there".to_owned());
    assert_eq!(operation == "delete", item.deleted__);
    Seen { id: item.id, value: item.value, operation }
}

fn run(broker: MongoBroker) -> JoinHandle<Result<RunReport, RunError>> {
    std::thread::spawn(move || Mill::new(see).commit_every(Duration::from_millis(20)).run_blocking(broker))
}

fn seen(database: &Database) -> Vec<(i64, i64, String)> {
    let all = database.read::<Seen>("seen", doc! { "_id": 1 }).0;
    all.into_iter().map(|seen| (seen.id, seen.value, seen.operation)).collect()
}

fn items(ids: std::ops::Range<i64>) -> impl Iterator<Item = Document> {
    ids.map(|id| doc! { "_id": id, "value": id * 10 })
}

const MARK: fn() -> Document = || doc! { "_id": -1_i64, "eos__": true };

#[test]
fn first_what_is_there_and_then_every_change() {
    let database = Database::fresh();
    database.insert("items", items(0..5));
    let watched = WatchCollection::new("items").deletes();
    let running = run(database.broker().watch::<Item>(watched).write::<Seen>("seen"));
    until("the snapshot", || seen(&database).len() == 5);
    database.insert("items", items(5..7));
    database.update("items", doc! { "_id": 1_i64 }, doc! { "$set": { "value": 77_i64 } });
    until("the update", || seen(&database).len() == 8);
    database.delete("items", doc! { "_id": 2_i64 });
    database.insert("items", [MARK()]);
    let report = running.join().unwrap().unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    let mut wanted: Vec<(i64, i64, String)> = (0..5).map(|id| (id, id * 10, "there".to_owned())).collect();
    wanted.extend(
        [(5, 50, "insert"), (6, 60, "insert"), (1, 77, "update"), (2, 0, "delete")]
            .map(|(id, value, how)| (id, value, how.to_owned())),
    );
    assert_eq!(seen(&database), wanted);
    // It has ended, and says so.
    let again =
        run(database.broker().watch::<Item>(WatchCollection::new("items").deletes()).write::<Seen>("seen"));
    assert_eq!(again.join().unwrap().unwrap().end, EndReason::EndedBefore);
}

#[test]
fn changes_are_gone_on_with_where_a_run_was_stopped() {
    let database = Database::fresh();
    database.insert("items", items(0..40));
    let broker = || {
        database.broker().watch::<Item>(WatchCollection::new("items").inserts_only()).write::<Seen>("seen")
    };
    let stopped_after = |records: u64| {
        let report =
            Mill::new(see).commit_after_calls(1).stop_after_records(records).run_blocking(broker()).unwrap();
        assert_eq!(report.end, EndReason::Records, "{report}");
    };
    // In the middle of the snapshot, while things change.
    stopped_after(15);
    database.insert("items", items(100..120));
    database.update("items", doc! { "_id": 3_i64 }, doc! { "$set": { "value": 5_i64 } });
    let done = seen(&database).len();
    assert!((10..40).contains(&done), "{done}");
    for records in [11, 20, 13] {
        stopped_after(records);
    }
    database.insert("items", items(200..220));
    database.insert("items", [MARK()]);
    while !matches!(
        Mill::new(see).stop_after_records(9).run_blocking(broker()).unwrap().end,
        EndReason::InputEnded { .. }
    ) {}
    let ids: Vec<i64> = seen(&database).into_iter().map(|(id, ..)| id).collect();
    // Nothing is missing and nothing comes twice; changes come in their order.
    let changes: Vec<i64> = ids.iter().copied().filter(|id| *id >= 200).collect();
    assert_eq!(changes, (200..220).collect::<Vec<_>>());
    let mut all = ids.clone();
    all.sort_unstable();
    assert_eq!(all, (0..40).chain(100..120).chain(200..220).collect::<Vec<_>>());
}

/// How many commits there were.
fn commits(database: &Database) -> i64 {
    database.positions().first().map_or(0, |positions| positions.get_i64("commit").unwrap())
}

#[test]
fn a_run_that_reads_nothing_new_leaves_the_position_as_it_was() {
    let database = Database::fresh();
    let broker = || {
        database.broker().watch::<Item>(WatchCollection::new("items").inserts_only()).write::<Seen>("seen")
    };
    let started = || Mill::new(see).commit_every(Duration::from_millis(20)).start(broker()).unwrap();
    // Where the last record was read itself, and where it came as a change.
    database.insert("items", items(0..5));
    let mut wanted: Vec<i64> = (0..5).collect();
    for round in 0..3 {
        let run = started();
        if round > 0 {
            let ids = round * 10..round * 10 + 5;
            wanted.extend(ids.clone());
            database.insert("items", items(ids));
        }
        until("what is new", || seen(&database).len() == wanted.len());
        run.stop();
        run.wait_blocking().unwrap();
        // It looks at the last record, to compare what comes with it, and commits; nothing comes.
        for _ in 0..2 {
            let before = commits(&database);
            let idle = started();
            until("a commit of the idle run", || commits(&database) > before);
            idle.stop();
            assert_eq!(idle.wait_blocking().unwrap().calls, 0);
        }
    }
    database.insert("items", [MARK()]);
    run(broker()).join().unwrap().unwrap();
    let ids: Vec<i64> = seen(&database).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(ids, wanted);
}

#[test]
fn what_changes_while_the_collection_is_read_comes_once() {
    let database = Database::fresh();
    // Several chunks, and a producer that writes before and behind where it is read.
    database.insert(
        "items",
        items(0..9000).map(|mut item| {
            item.insert("_id", item.get_i64("_id").unwrap() * 2);
            item
        }),
    );
    let broker = || {
        database.broker().watch::<Item>(WatchCollection::new("items").inserts_only()).write::<Seen>("seen")
    };
    let inserted: Vec<i64> = (0..1500).map(|number| (number * 7919 % 9000) * 2 + 1).collect();
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            for ids in inserted.chunks(3) {
                database.insert("items", ids.iter().map(|id| doc! { "_id": *id, "value": 0_i64 }));
            }
            database.insert("items", [MARK()]);
        });
        let mut step = 700;
        // An update looks like nothing here.
        database.update("items", doc! { "_id": { "$lt": 100_i64 } }, doc! { "$set": { "value": 1_i64 } });
        loop {
            let report = Mill::new(see).stop_after_records(step).run_blocking(broker()).unwrap();
            step += 600;
            if matches!(report.end, EndReason::InputEnded { .. }) {
                break;
            }
        }
        producer.join().unwrap();
    });
    let mut ids: Vec<i64> = seen(&database).into_iter().map(|(id, ..)| id).collect();
    let mut wanted: Vec<i64> = (0..9000).map(|id| id * 2).chain(inserted).collect();
    ids.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(ids.len(), wanted.len());
    assert!(ids == wanted, "something is missing, or comes twice");
}

#[test]
fn what_was_there_before_is_left_out_on_request() {
    let database = Database::fresh();
    database.insert("items", items(0..5));
    let watched = || WatchCollection::new("items").changes_only();
    let running = run(database.broker().watch::<Item>(watched()).write::<Seen>("seen"));
    // The first position is there when it watches.
    until("the first position", || !database.positions().is_empty());
    std::thread::sleep(Duration::from_millis(500));
    database.insert("items", items(5..8));
    database.insert("items", [MARK()]);
    running.join().unwrap().unwrap();
    let ids: Vec<i64> = seen(&database).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(ids, [5, 6, 7]);
}

#[test]
fn a_place_that_the_server_does_not_know_any_more_is_an_error_with_the_choices() {
    let database = Database::fresh();
    database.insert("items", items(0..5));
    let broker = || database.broker().watch::<Item>("items").write::<Seen>("seen");
    let running = run(broker());
    until("the snapshot", || seen(&database).len() == 5);
    database.insert("items", items(5..6));
    until("the insert", || seen(&database).len() == 6);
    database.insert("items", items(6..8));
    until("the others", || seen(&database).len() == 8);
    drop(running);
    // Somebody else's token in the place of ours, and one from before all that the server has.
    let long_ago = doc! { "s": -9_i64, "t": bson::Timestamp { time: 1, increment: 1 }, "n": "", "k": {} };
    let long_ago: String =
        bson::serialize_to_vec(&long_ago).unwrap().iter().map(|byte| format!("{byte:02X}")).collect();
    for data in ["8263", &long_ago] {
        let token =
            format!("{{\"changes\":{{\"at\":{{\"behind\":{{\"_data\":\"{data}\"}}}},\"read\":true}}}}");
        let fence = doc! { "$set": { "checkpoint.positions.0.token": token }, "$inc": { "epoch": 1_i64 } };
        database.update("watermill_positions", doc! {}, fence);
        let began = std::time::Instant::now();
        let text = told(&Mill::new(see).run_blocking(broker()).unwrap_err());
        for part in ["collection `items`", "start_over", "changes_only", "replSetResizeOplog"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it is no loop");
    }
    // One of the choices: all that is there is read anew.
    database.insert("items", [MARK()]);
    run(broker().start_over()).join().unwrap().unwrap();
    assert_eq!(seen(&database).len(), 16);
}

/// Records that come from several producers, whose `_id`s say nothing of their order.
fn followed(database: &Database, broker: impl Fn() -> MongoBroker) {
    database.index("here", &["time"]);
    let next = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..2_i64)
            .map(|producer| {
                let next = Arc::clone(&next);
                scope.spawn(move || {
                    for _ in 0..60 {
                        let time = next.fetch_add(1, Ordering::Relaxed) as i64;
                        // The later the key, the lower the `_id` of one of them.
                        let id = if producer == 0 { time } else { 1_000_000 - time };
                        std::thread::sleep(Duration::from_millis(if time % 7 == 0 { 60 } else { 5 }));
                        database.insert(
                            "here",
                            [doc! { "_id": id, "time": time, "x": (time * time % 1009) as f64 }],
                        );
                    }
                })
            })
            .collect();
        // The mill is stopped and started again while they write.
        for _ in 0..3 {
            let copy = Mill::new(|here: &Here| here.clone()).stop_after_records(25).commit_after_calls(1);
            copy.run_blocking(broker()).unwrap();
        }
        for producer in producers {
            producer.join().unwrap();
        }
        database.insert("here", [MARK()]);
        let report = Mill::new(|here: &Here| here.clone()).run_blocking(broker()).unwrap();
        assert!(matches!(report.end, EndReason::InputEnded { marked: true, .. }), "{report}");
    });
    let out = database.read::<Here>("out", doc! { "_id": 1 }).0;
    assert_eq!(out, (0..120).map(here).collect::<Vec<_>>());
}

#[test]
fn a_collection_is_followed_by_its_key() {
    let database = Database::fresh();
    followed(&database, || {
        let read = ReadCollection::new("here").order_by(["time"]).follow(Duration::from_millis(800));
        database.broker().read::<Here>(read).write::<Here>("out")
    });
}

#[test]
fn on_a_standalone_server_watching_is_asking_again() {
    let database = Database::on(standalone());
    followed(&database, || {
        database.broker().watch::<Here>(WatchCollection::new("here").order_by(["time"])).write::<Here>("out")
    });
}

#[test]
fn a_stream_that_is_quiet_can_end_by_itself() {
    let database = Database::fresh();
    database.insert("items", items(0..5));
    let broker = database.broker().watch::<Item>("items").write::<Seen>("seen");
    let report = Mill::new(see).eos_after::<Item>(Duration::from_secs(4)).run_blocking(broker).unwrap();
    assert_eq!(report.calls, 5, "{report}");
}

/// As `mongod` says that its log does not reach back: at the start, while changes are read, and as versions before 4.4 said it.
#[test]
fn a_log_that_does_not_reach_back_is_told_with_the_choices_in_whatever_words() {
    let resume = "Executor error during getMore :: caused by :: Resume of change stream was not possible, as the resume point may no longer be in the oplog. ";
    let capped = "Executor error during getMore :: caused by :: CollectionScan died due to position in capped collection being deleted. Last seen record id: RecordId(7264905836921159681)";
    let error = |code: i32, name: &str, message: &str, label: Option<&str>| {
        let mut answer = doc! { "ok": 0.0, "errmsg": message, "code": code, "codeName": name };
        if let Some(label) = label {
            answer.insert("errorLabels", [label]);
        }
        answer
    };
    let answers = [
        ("aggregate", error(286, "ChangeStreamHistoryLost", resume, Some("NonResumableChangeStreamError"))),
        ("getMore", error(286, "ChangeStreamHistoryLost", resume, None)),
        ("getMore", error(280, "ChangeStreamFatalError", resume, Some("NonResumableChangeStreamError"))),
        ("getMore", error(136, "CappedPositionLost", capped, None)),
    ];
    let database = Database::fresh();
    database.insert("items", items(0..5));
    for (asked, answer) in answers {
        let between = Answering::before(&database.uri);
        let counted = Arc::new(AtomicU64::new(0));
        let (times, code) = (Arc::clone(&counted), answer.get_i32("code").unwrap());
        between.answer(move |name, command| {
            let opens =
                name == "aggregate" && command.as_bytes().windows(13).any(|part| part == b"$changeStream");
            let is_asked = if asked == "aggregate" { opens } else { name == asked };
            is_asked.then(|| {
                times.fetch_add(1, Ordering::Relaxed);
                answer.clone()
            })
        });
        let broker = MongoBroker::new(between.uri(), &database.name)
            .watch::<Item>(WatchCollection::new("items").changes_only())
            .write::<Seen>("seen")
            .application(format!("{asked} {code}"));
        let began = std::time::Instant::now();
        let text = told(&Mill::new(see).run_blocking(broker).unwrap_err());
        for part in
            ["collection `items`", &code.to_string(), "start_over", "changes_only", "replSetResizeOplog"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{asked} {code}");
        assert_eq!(counted.load(Ordering::Relaxed), 1, "{asked} {code}: it is no loop");
    }
}
