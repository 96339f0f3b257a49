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
            doc! { "_id": "too deep", "time": 80_i64, "x": nested(DEEP) },
        ],
    );
    database
}

/// Deeper than MongoDB's manual allows; servers store it, and JSON of it can still be read.
const DEEP: usize = 110;

/// A document so many levels deep.
fn nested(levels: usize) -> Document {
    (1..levels).fold(doc! { "bottom": 1 }, |below, _| doc! { "below": below })
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
    // One behind the other: when one is mended, the next one stops it. Its `_id`, a text, is behind the one of the good document with the same key.
    for (id, kind, cause, results) in [
        ("missing", "shape", "missing field `x`", 30),
        ("other type", "shape", "field `x`", 60),
        ("too deep", "too_deep", "100", 80),
        ("text", "shape", "field `time`", 100),
    ] {
        for _ in 0..2 {
            let error = run(&database, OnBad::Fail, "failed").unwrap_err();
            let text = told(&error);
            let RunError::BadRecord(bad) = &error else { panic!("{text}") };
            assert_eq!(bad.cause.kind(), kind, "{text}");
            for part in ["stream `Here`", "collection `here`", &format!("\"_id\":\"{id}\""), cause] {
                assert!(text.contains(part), "{part}: {text}");
            }
            // What was done since the last commit is done again by the next run.
            let committed = database.speeds("failed").0.len();
            assert!((results - 30..=results).contains(&committed), "{id}: {committed}");
        }
        database.delete("here", doc! { "_id": id });
    }
    // Mended, it goes on.
    run(&database, OnBad::Fail, "failed").unwrap();
    assert_eq!(database.speeds("failed").0.len(), 100);
}

#[test]
fn bad_documents_are_skipped_and_counted() {
    let database = mixed();
    let report = run(&database, OnBad::Skip, "skipped").unwrap();
    assert_eq!((report.inputs[0].skipped, report.results), (5, 100), "{report}");
    assert_eq!(database.speeds("skipped").0.len(), 100);
}

#[test]
fn bad_documents_become_letters_that_hold_them_whole() {
    let database = mixed();
    let report = run(&database, OnBad::DeadLetter, "lettered").unwrap();
    assert_eq!(report.inputs[0].dead_lettered, 5, "{report}");
    assert_eq!(database.speeds("lettered").0.len(), 100);
    let letters = database.all("letters", doc! { "_id": 1 });
    let raws: Vec<serde_json::Value> = letters
        .into_iter()
        .map(|letter: Document| serde_json::from_str(json(letter)["raw"].as_str().unwrap()).unwrap())
        .collect();
    let ids: Vec<&str> = raws.iter().map(|raw| raw["_id"].as_str().unwrap()).collect();
    // In the order of the keys: what has none is before all others, and texts are behind numbers.
    assert_eq!(ids, ["no key", "missing", "other type", "too deep", "text"]);
    assert_eq!(raws[2]["x"], "far");
    let mut deep = &raws[3]["x"];
    for _ in 1..DEEP {
        deep = &deep["below"];
    }
    assert_eq!(deep["bottom"], 1);
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
