//! One database, used by Python's minibatch 0.6.0 as it is published, and from here.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bson::oid::ObjectId;
use bson::{DateTime, Document, doc};
use serde::{Deserialize, Serialize};
use watermill_core::prelude::*;
use watermill_derive::StreamRecord;
use watermill_servers::{Mongo, python_minibatch};
use watermill_streams::{MessageState, RunOnce, Stream, Streams};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Number {
    value: u64,
}

fn fresh() -> (String, Streams) {
    let server = Mongo::shared().unwrap();
    let url = format!("{}/{}", server.uri(), server.fresh_database("minibatch"));
    let streams = Streams::open(&url).unwrap();
    (url, streams)
}

fn start(arguments: &[&str]) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/minibatch/peer.py");
    let mut python = Command::new(python_minibatch().unwrap());
    python.arg("-W").arg("ignore").arg(script).args(arguments).stdout(Stdio::piped());
    python.spawn().unwrap()
}

/// What a Python program tells, one value a line.
fn told(child: Child) -> Vec<serde_json::Value> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn python(arguments: &[&str]) -> Vec<serde_json::Value> {
    told(start(arguments))
}

fn values(told: &[serde_json::Value]) -> Vec<u64> {
    told.iter().map(|value| value.as_u64().unwrap()).collect()
}

fn append(stream: &Stream<Number>, range: std::ops::Range<u64>) {
    let numbers: Vec<Number> = range.map(|value| Number { value }).collect();
    stream.append_all(&numbers).unwrap();
}

/// Asks the server behind our backs.
fn directly<T: Send>(url: &str, work: impl AsyncFnOnce(mongodb::Database) -> T + Send) -> T {
    let work = || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let client = mongodb::Client::with_uri_str(url).await.unwrap();
            work(client.default_database().unwrap()).await
        })
    };
    // Mills call their functions from within a runtime.
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
fn python_appends_and_windows_are_consumed_here() {
    let (url, streams) = fresh();
    // Python makes the stream.
    python(&["produce", &url, "numbers", "0", "25"]);
    let numbers = streams.stream::<Number>("numbers").unwrap();
    assert_eq!((streams.list("*").unwrap(), numbers.len().unwrap()), (vec!["numbers".to_owned()], 25));
    assert!(numbers.buffer().unwrap().iter().all(|message| message.state == MessageState::Appended));
    let windows = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&windows);
    let mill = Mill::new(move |all: &[Number]| {
        note.lock().unwrap().push(all.iter().map(|one| one.value).collect::<Vec<_>>());
    });
    mill.window(Window::count(5)).stop_after_records(20).run_blocking(numbers.consumer()).unwrap();
    let expected: Vec<Vec<u64>> = (0..4).map(|window| (5 * window..5 * window + 5).collect()).collect();
    assert_eq!(*windows.lock().unwrap(), expected);
    // What is done with is gone for Python as well; what is not, is not.
    let seen = python(&["look", &url, "numbers"]);
    let left: Vec<u64> =
        seen[0]["buffer"].as_array().unwrap().iter().map(|pair| pair[0]["value"].as_u64().unwrap()).collect();
    assert_eq!(left, (20..25).collect::<Vec<_>>());
}

#[test]
fn what_is_appended_here_is_consumed_by_python() {
    let (url, streams) = fresh();
    let numbers = streams.stream::<Number>("numbers").unwrap();
    append(&numbers, 0..20);
    for value in 20..24 {
        numbers.append(&Number { value }).unwrap();
    }
    // And the results of a mill.
    let source = streams.stream::<Number>("source").unwrap();
    append(&source, 24..30);
    source.close().unwrap();
    Mill::new(|number: &Number| *number).run_blocking(source.consumer().write(&numbers)).unwrap();
    numbers.reopen().unwrap();
    let stream = &python(&["look", &url, "numbers"])[0];
    assert_eq!((stream["status"].as_str(), stream["interval"].as_i64()), (Some("open"), Some(10)));
    // A function that fails puts its window back.
    let consumed = values(&python(&["consume", &url, "numbers", "3", "30", "fail"]));
    let mut sorted = consumed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..30).collect::<Vec<_>>());
    assert!(numbers.is_empty().unwrap() && numbers.buffer().unwrap().is_empty());
}

#[test]
fn both_consume_one_stream_and_nothing_is_lost_or_seen_twice_here() {
    let (url, streams) = fresh();
    let numbers = streams.stream::<Number>("numbers").unwrap();
    append(&numbers, 0..300);
    let (producer, mut consumer) =
        (start(&["produce", &url, "numbers", "300", "600"]), start(&["consume", &url, "numbers", "2", "0"]));
    // Both are there at once.
    let mut told_by_python = BufReader::new(consumer.stdout.take().unwrap()).lines();
    let mut theirs: Vec<u64> = vec![told_by_python.next().unwrap().unwrap().parse().unwrap()];
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let mill = Mill::new(move |number: &Number| {
        note.lock().unwrap().push(number.value);
        std::thread::sleep(Duration::from_millis(3));
    });
    let running = mill.commit_after_calls(5).start(numbers.consumer()).unwrap();
    told(producer);
    append(&numbers, 600..700);
    while !numbers.is_empty().unwrap() {
        std::thread::sleep(Duration::from_millis(20));
    }
    theirs.extend(told_by_python.map(|line| line.unwrap().parse::<u64>().unwrap()));
    assert!(consumer.wait().unwrap().success());
    numbers.close().unwrap();
    running.wait_blocking().unwrap();
    let ours = seen.lock().unwrap().clone();
    let once: BTreeSet<u64> = ours.iter().copied().collect();
    assert_eq!(once.len(), ours.len(), "messages were seen twice here");
    let all: BTreeSet<u64> = once.iter().copied().chain(theirs.iter().copied()).collect();
    assert_eq!(all, (0..700).collect());
    let both = theirs.iter().filter(|value| once.contains(value)).count();
    println!("{} here, {} by Python, of which {both} were consumed here, too", ours.len(), theirs.len());
    assert!(ours.len() > 50 && theirs.len() > 10, "{} {}", ours.len(), theirs.len());
}

#[test]
fn what_python_takes_back_or_away_under_our_hands_does_no_harm() {
    let (url, streams) = fresh();
    let numbers = streams.stream::<Number>("numbers").unwrap();
    append(&numbers, 0..10);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (note, behind) = (Arc::clone(&seen), url.clone());
    let mill = Mill::new(move |number: &Number| {
        note.lock().unwrap().push(number.value);
        if number.value == 0 {
            // All ten are claimed; what a Python program does that had read some of them before.
            directly(&behind, async |database| {
                let buffer = database.collection::<Document>("buffer");
                let undo = doc! { "$set": { "processed": false } };
                buffer.update_many(doc! { "data.value": { "$lt": 5 } }, undo).await.unwrap();
                buffer.delete_many(doc! { "data.value": { "$gt": 7 } }).await.unwrap();
            });
            // What was put back is nobody else's all the same.
            let also = Streams::open(&behind).unwrap().stream::<Number>("numbers").unwrap();
            let once = || Mill::new(|_: &Number| ()).run_once_blocking(&also).unwrap().calls;
            assert_eq!(std::thread::scope(|scope| scope.spawn(once).join().unwrap()), 0);
        }
    });
    mill.stop_after_records(8).run_blocking(numbers.consumer()).unwrap();
    assert_eq!(Mill::new(|_: &Number| ()).run_once_blocking(&numbers).unwrap().calls, 0);
    assert!(seen.lock().unwrap().len() >= 8);
    let once: BTreeSet<u64> = seen.lock().unwrap().iter().copied().collect();
    assert_eq!(once.len(), seen.lock().unwrap().len());
}

#[test]
fn a_late_message_in_the_place_of_one_that_python_took_is_consumed() {
    let (url, streams) = fresh();
    let numbers = streams.stream::<Number>("numbers").unwrap();
    // Producers count for themselves: identifiers are not in the order in which messages come.
    let message = |value: u64| {
        let mut id = [0x65; 12];
        id[4..].copy_from_slice(&value.to_be_bytes());
        let data = doc! { "value": value.cast_signed() };
        doc! { "_id": ObjectId::from_bytes(id), "stream": "numbers", "created": DateTime::now(), "data": data, "processed": false }
    };
    directly(&url, async |database| {
        let all: Vec<Document> = (0..40_000).step_by(2).map(message).collect();
        database.collection("buffer").insert_many(all).await.unwrap();
    });
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let (note, behind) = (Arc::clone(&seen), url.clone());
    let mill = Mill::new(move |number: &Number| {
        assert!(note.lock().unwrap().insert(number.value), "{} came twice", number.value);
        if number.value == 0 {
            // Those that are looked at next are known by now. Python takes one of them, and a late one comes beside it.
            directly(&behind, async |database| {
                let buffer = database.collection::<Document>("buffer");
                let taken =
                    buffer.delete_one(doc! { "processed": false, "data.value": { "$gt": 30_000 } }).await;
                assert_eq!(taken.unwrap().deleted_count, 1);
                buffer.insert_one(message(30_005)).await.unwrap();
            });
        }
    });
    numbers.close().unwrap();
    mill.run_blocking(numbers.consumer()).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.contains(&30_005), "it was claimed as another one, and lost");
    assert_eq!(seen.len(), 20_000);
}

#[test]
fn fields_that_only_one_side_knows_are_left_alone() {
    let (url, streams) = fresh();
    python(&["produce", &url, "numbers", "0", "3"]);
    directly(&url, async |database| {
        let more = doc! { "$set": { "later_version": { "of": "minibatch" } } };
        for collection in ["stream", "buffer"] {
            database.collection::<Document>(collection).update_many(doc! {}, more.clone()).await.unwrap();
        }
    });
    let numbers = streams.stream::<Number>("numbers").unwrap();
    numbers.max_age(Some(Duration::from_secs(3600))).unwrap();
    let mill = Mill::new(|_: &Number| ()).stop_after_records(2);
    assert_eq!(mill.run_blocking(numbers.consumer().keep()).unwrap().calls, 2);
    numbers.close().unwrap();
    let kept = directly(&url, async |database| {
        let stream = database.collection::<Document>("stream").find_one(doc! {}).await.unwrap().unwrap();
        let messages = database.collection::<Document>("buffer");
        let known = messages.count_documents(doc! { "later_version.of": "minibatch" }).await.unwrap();
        (stream, known)
    });
    assert_eq!((kept.0.get_document("later_version").is_ok(), kept.1), (true, 3));
    // Python reads what has our fields.
    let seen = python(&["look", &url, "numbers"]);
    assert_eq!(
        (seen[0]["status"].as_str(), seen[0]["buffer"].as_array().unwrap().len()),
        (Some("closed"), 3)
    );
}

#[test]
fn windows_of_messages_that_are_kept_are_windows_to_python() {
    let (url, streams) = fresh();
    let numbers = streams.stream::<Number>("numbers").unwrap();
    append(&numbers, 0..4);
    let mill = Mill::new(|_: &[Number]| ()).window(Window::count(2)).stop_after_records(4);
    mill.run_blocking(numbers.consumer().keep()).unwrap();
    let windows = serde_json::json!([
        [[{"value": 0}, {"value": 1}], true],
        [[{"value": 2}, {"value": 3}], true],
    ]);
    let seen = &python(&["look", &url, "numbers"])[0];
    assert_eq!(seen["windows"], windows);
    assert!(seen["buffer"].as_array().unwrap().iter().all(|pair| pair[1] == true));
    // Those that Python keeps stand beside them, and what it has kept is not consumed here.
    append(&numbers, 4..6);
    assert_eq!(values(&python(&["consume", &url, "numbers", "2", "2", "keep"])), [4, 5]);
    assert_eq!(python(&["look", &url, "numbers"])[0]["windows"].as_array().unwrap().len(), 3);
    assert_eq!((numbers.windows(0, 9).unwrap().len(), numbers.len().unwrap()), (2, 0));
}

#[test]
fn values_that_json_does_not_know_become_text() {
    #[derive(Debug, Clone, PartialEq, Deserialize, StreamRecord)]
    #[watermill(crate = watermill_core)]
    struct Typed {
        date: String,
        id: String,
        price: String,
        bytes: String,
        whole: i32,
        long: u64,
        part: f64,
        nothing: Option<u8>,
        nested: serde_json::Value,
    }
    let (url, streams) = fresh();
    python(&["types", &url, "typed"]);
    let messages = streams.stream::<Typed>("typed").unwrap().buffer().unwrap();
    let expected = Typed {
        date: "2024-02-29T12:30:01.5Z".to_owned(),
        id: "65e07a29a1b2c3d4e5f60718".to_owned(),
        price: "12.50".to_owned(),
        bytes: "AAH/".to_owned(),
        whole: 7,
        long: 1 << 40,
        part: 7.0,
        nothing: None,
        nested: serde_json::json!({"list": [1, "two", {"three": 3.5}]}),
    };
    assert_eq!(messages[0].get::<Typed>().unwrap(), expected);
}
