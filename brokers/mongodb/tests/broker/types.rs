//! Every kind of value in records, there and back.

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Timestamp, doc};
use serde::{Deserialize, Serialize};
use watermill_core::key::Ordered;
use watermill_core::prelude::*;
use watermill_derive::StreamRecord;
use watermill_mongodb::ReadCollection;

use crate::common::{Database, ended, told};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
#[serde(deny_unknown_fields)]
struct Everything {
    #[serde(rename = "_id")]
    id: ObjectId,
    #[serde(rename = "when")]
    time: DateTime,
    price: Decimal128,
    #[serde(rename = "blob")]
    bytes: Binary,
    stamp: Timestamp,
    big: i64,
    small: i32,
    ratio: f64,
    text: String,
    list: Vec<Option<bool>>,
    any: Bson,
}

fn everything(number: i64) -> Everything {
    Everything {
        id: ObjectId::new(),
        time: DateTime::from_millis(1_754_035_200_000 + number),
        price: format!("{number}.50").parse().unwrap(),
        bytes: Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255, number as u8] },
        stamp: Timestamp { time: 7, increment: number as u32 },
        big: i64::MAX - number,
        small: -1,
        ratio: 0.1,
        text: "a \u{1f600}".to_owned(),
        list: vec![Some(true), None],
        any: Bson::Document(doc! { "x": [1, "two"] }),
    }
}

#[test]
fn dates_object_ids_decimals_and_binaries_come_back_and_only_the_fields_of_the_record_are_sent() {
    let database = Database::fresh();
    database.index("all", &["when"]);
    let all: Vec<Everything> = (0..10).map(everything).collect();
    // Another field would be refused by the record, were it sent.
    let documents = all.iter().map(|one| {
        let mut document = bson::serialize_to_document(one).unwrap();
        document.insert("unwanted", "x".repeat(1000));
        document
    });
    database.insert("all", documents);
    let mill = Mill::new(|all: &[Everything]| all.iter().map(Clone::clone).collect::<Vec<_>>())
        .window(Window::by(|one: &Everything| Ordered(one.time)));
    let read = || ReadCollection::new("all").order_by(["when"]);
    let report = mill
        .run_blocking(database.broker().read::<Everything>(read()).write::<Everything>("copies"))
        .unwrap();
    assert_eq!(report.results, 10);
    assert_eq!(database.read::<Everything>("copies", doc! { "when": 1 }).0, all);
    // Whole documents are refused.
    let whole = database.broker().read::<Everything>(read().whole_documents());
    let error = Mill::new(|_: &Everything| ()).run_blocking(whole).unwrap_err();
    assert!(told(&error).contains("unwanted"), "{}", told(&error));
}

#[test]
fn json_takes_any_document() {
    let database = Database::fresh();
    database.index("events", &["time"]);
    database
        .insert("events", [doc! { "time": 2, "what": ["b"] }, doc! { "time": 1_i64, "what": { "a": 1.5 } }]);
    let read = ReadCollection::new("events").order_by(["time"]);
    let broker = database.broker().read::<Json>(read).write::<Json>("seen");
    Mill::new(|event: &Json| Json(serde_json::json!({"time": event["time"], "what": event["what"]})))
        .run_blocking(broker)
        .unwrap();
    let seen: Vec<_> = database.all("seen", doc! { "_id": 1 }).into_iter().map(crate::common::json).collect();
    assert_eq!(
        seen,
        [serde_json::json!({"time": 1, "what": {"a": 1.5}}), serde_json::json!({"time": 2, "what": ["b"]})]
    );
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
struct Plain {
    time: i64,
}

#[test]
fn a_filter_is_answered_by_the_server_with_an_index_that_begins_with_it() {
    let database = Database::fresh();
    database.index("readings", &["robot", "time"]);
    database.insert(
        "readings",
        (0..30).map(|time| doc! { "time": 100 - time, "robot": if time % 3 == 0 { "R2" } else { "C3" } }),
    );
    let read = || ReadCollection::new("readings").filter(doc! { "robot": "R2" }).order_by(["time"]);
    let mut runs = 0;
    loop {
        let broker = database.broker().read::<Plain>(read()).write::<Plain>("out");
        let mill = Mill::new(|plain: &Plain| plain.clone()).stop_after_records(3).commit_after_calls(1);
        if ended(&mill.run_blocking(broker).unwrap()) {
            break;
        }
        runs += 1;
    }
    assert!(runs >= 3);
    let out = database.read::<Plain>("out", doc! { "_id": 1 }).0;
    let times: Vec<i64> = out.iter().map(|plain| plain.time).collect();
    assert_eq!(times, (0..30).rev().filter(|time| time % 3 == 0).map(|time| 100 - time).collect::<Vec<_>>());
}
