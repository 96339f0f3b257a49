//! What becomes of results: inserted, in the place of others, into others; and what happens when the server refuses them.

use bson::{Bson, doc};
use serde::{Deserialize, Serialize};
use watermill_core::prelude::*;
use watermill_core::{DeadLetter, RunError};
use watermill_derive::StreamRecord;
use watermill_mongodb::ResultCollection;

use crate::common::{Database, Here, Speed, expected, here, json, speeds, standalone, told};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Latest {
    robot: i64,
    time: i64,
}

fn latest(here: &Here) -> Latest {
    Latest { robot: here.time % 3, time: here.time }
}

#[test]
fn results_replace_or_change_the_document_of_their_key() {
    for database in [Database::fresh(), Database::on(standalone())] {
        database.fill("here", 0..100);
        database.insert("replaced", [doc! { "_id": 1_i64, "note": "old" }]);
        database.insert("changed", [doc! { "_id": 1_i64, "note": "old" }]);
        for (to, replaces) in [("replaced", true), ("changed", false)] {
            let results = ResultCollection::new(to);
            let results = if replaces {
                results.replace_by(Latest::fields().robot)
            } else {
                results.upsert_by(|latest: &Latest| latest.robot)
            };
            let broker = database.broker().read::<Here>("here").write(results);
            let report = Mill::new(latest).commit_after_calls(7).run_blocking(broker).unwrap();
            assert_eq!(report.results, 100);
            let all = database.all(to, doc! { "_id": 1 });
            assert_eq!(all.len(), 3, "{all:?}");
            for document in all {
                let robot = document.get_i64("_id").unwrap();
                assert_eq!(document.get_i64("robot").unwrap(), robot);
                assert_eq!(document.get_i64("time").unwrap(), if robot == 0 { 99 } else { 96 + robot });
                assert_eq!(document.contains_key("note"), robot == 1 && !replaces);
            }
        }
    }
}

#[test]
fn what_the_server_refuses_is_told_with_collection_and_id() {
    let database = Database::fresh();
    database.fill("here", 0..100);
    database.unique("speeds", "to");
    database.insert("speeds", [doc! { "to": 50_i64 }]);
    let broker = || {
        database.broker().read::<Here>("here").read::<crate::common::Next>("here").write::<Speed>("speeds")
    };
    let error = speeds().commit_after_calls(10).run_blocking(broker()).unwrap_err();
    let text = told(&error);
    assert!(matches!(error, RunError::Broker(_)), "{text}");
    for part in ["collection `speeds`, `_id`", "11000", "replace_by"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nothing of the transaction is there, and what was committed before is.
    assert!(database.all("speeds", doc! {}).len() <= 41);
    database.delete("speeds", doc! { "to": 50_i64, "from": Bson::Null });
    speeds().run_blocking(broker()).unwrap();
    assert_eq!(database.speeds("speeds"), (expected(100), 0));
}

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Large {
    time: i64,
    text: String,
}

fn large(here: &Here) -> Large {
    let length = if here.time == 5 { 17 << 20 } else { 10 };
    Large { time: here.time, text: "x".repeat(length) }
}

#[test]
fn a_result_larger_than_a_document_is_refused_or_left_out() {
    let database = Database::fresh();
    database.fill("here", 0..10);
    let broker =
        |to: &str| database.broker().read::<Here>("here").write::<Large>(to).write::<DeadLetter>("letters");
    let text = told(&Mill::new(large).run_blocking(broker("stopped")).unwrap_err());
    assert!(text.contains("result 5 to collection `stopped`") && text.contains("16 MiB"), "{text}");
    let report =
        Mill::new(large).on_refused::<Large>(OnBad::DeadLetter).run_blocking(broker("left-out")).unwrap();
    assert_eq!(report.results, 9, "{report}");
    let letters: Vec<_> = database.all("letters", doc! {}).into_iter().map(json).collect();
    assert!(letters.len() == 1 && letters[0]["error"].as_str().unwrap().contains("16 MiB"), "{letters:?}");
}

#[test]
fn a_commit_larger_than_a_message_goes_through_in_one_transaction() {
    let database = Database::fresh();
    database.fill("here", 0..12);
    // 24 MB in one commit.
    let many = |here: &Here| Large { time: here.time, text: "x".repeat(2_000_000) };
    let broker = database.broker().read::<Here>("here").write::<Large>("large");
    let report = Mill::new(many).commit_after_calls(1000).run_blocking(broker).unwrap();
    assert_eq!(report.results, 12);
    assert_eq!(database.all("large", doc! { "time": 1 }).len(), 12);
}

#[test]
fn ends_are_written_on_request_and_read_by_the_next_mill() {
    let database = Database::fresh();
    database.fill("here", 0..100);
    let broker = |to: &str| {
        database.broker().read::<Here>("here").read::<crate::common::Next>("here").write::<Speed>(to)
    };
    speeds().run_blocking(broker("plain")).unwrap();
    assert_eq!(database.speeds("plain"), (expected(100), 0));
    speeds().run_blocking(broker("marked").write_eos()).unwrap();
    assert_eq!(database.speeds("marked"), (expected(100), 1));
    database.index("marked", &["from"]);
    let read =
        database.broker().read::<Speed>(watermill_mongodb::ReadCollection::new("marked").order_by(["from"]));
    let report = Mill::new(|_: &Speed| ()).run_blocking(read).unwrap();
    assert_eq!(report.calls, 90);
    assert!(matches!(report.end, watermill_core::EndReason::InputEnded { marked: true, .. }), "{report}");
    assert_eq!(here(3).time, 3);
}
