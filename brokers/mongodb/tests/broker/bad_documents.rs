//! Documents that are no records: by each policy.

use bson::{Document, doc};
use watermill_core::prelude::*;
use watermill_core::{DeadLetter, RunError};

use crate::common::{Database, Here, Next, Speed, json, speeds, told};

/// 100 good ones, and bad ones wherever the order of keys has them.
fn mixed() -> Database {
    let database = Database::fresh();
    database.fill("next", 0..110);
    database.fill("here", 0..100);
    database.insert(
        "here",
        [
            doc! { "_id": "missing", "time": 30_i64 },
            doc! { "_id": "other type", "time": 60_i64, "x": "far" },
            doc! { "_id": "no key", "x": 1.0 },
            doc! { "_id": "text", "time": "noon", "x": 1.0 },
        ],
    );
    database
}

fn run(database: &Database, on_bad: OnBad, to: &str) -> Result<watermill_core::RunReport, RunError> {
    let broker = database
        .broker()
        .read::<Here>("here")
        .read::<Next>("next")
        .write::<Speed>(to)
        .write::<DeadLetter>("letters")
        .application(to);
    speeds().on_bad::<Here>(on_bad).commit_after_calls(5).run_blocking(broker)
}

#[test]
fn a_bad_document_stops_the_run_again_and_again() {
    let database = mixed();
    database.delete("here", doc! { "_id": "no key" });
    for _ in 0..2 {
        let error = run(&database, OnBad::Fail, "failed").unwrap_err();
        let text = told(&error);
        let RunError::BadRecord(bad) = &error else { panic!("{text}") };
        assert_eq!(bad.cause.kind(), "shape");
        for part in ["stream `Here`", "collection `here`", "\"_id\":\"missing\"", "missing field `x`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Its `_id`, a text, stands before the one of the good document with the same key.
        assert_eq!(database.speeds("failed").0.len(), 30);
    }
    // Mended, it goes on.
    database.delete("here", doc! { "_id": { "$in": ["missing", "other type", "text"] } });
    run(&database, OnBad::Fail, "failed").unwrap();
    assert_eq!(database.speeds("failed").0.len(), 100);
}

#[test]
fn bad_documents_are_skipped_and_counted() {
    let database = mixed();
    let report = run(&database, OnBad::Skip, "skipped").unwrap();
    assert_eq!((report.inputs[0].skipped, report.results), (4, 100), "{report}");
    assert_eq!(database.speeds("skipped").0.len(), 100);
}

#[test]
fn bad_documents_become_letters_that_hold_them_whole() {
    let database = mixed();
    let report = run(&database, OnBad::DeadLetter, "lettered").unwrap();
    assert_eq!(report.inputs[0].dead_lettered, 4, "{report}");
    assert_eq!(database.speeds("lettered").0.len(), 100);
    let letters = database.all("letters", doc! { "_id": 1 });
    let raws: Vec<serde_json::Value> = letters
        .into_iter()
        .map(|letter: Document| serde_json::from_str(json(letter)["raw"].as_str().unwrap()).unwrap())
        .collect();
    let ids: Vec<&str> = raws.iter().map(|raw| raw["_id"].as_str().unwrap()).collect();
    // In the order of the keys: what has none is before all others, and texts are behind numbers.
    assert_eq!(ids, ["no key", "missing", "other type", "text"]);
    assert_eq!(raws[2]["x"], "far");
}

#[test]
fn a_key_that_the_function_cannot_use_shows_its_document() {
    let database = Database::fresh();
    database.fill("next", 0..10);
    database.index("here", &["time"]);
    database.insert("here", [doc! { "_id": "far", "time": i64::MAX, "x": 1.0 }]);
    let broker = database.broker().read::<Here>("here").read::<Next>("next").write::<Speed>("out");
    let text = told(&speeds().run_blocking(broker).unwrap_err());
    assert!(text.contains("leaves the range") && text.contains("\"_id\":\"far\""), "{text}");
}
