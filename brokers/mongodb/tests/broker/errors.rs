//! What is said when something is wrong: where, why, and what to do.

use std::time::Duration;

use bson::doc;
use watermill_core::prelude::*;
use watermill_mongodb::{Lanes, MongoBroker, ReadCollection, WatchCollection};

use crate::common::{Database, Here, Next, Speed, speeds, standalone, told};

fn fails(broker: MongoBroker) -> String {
    told(&speeds().run_blocking(broker).unwrap_err())
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn an_index_that_is_missing_is_told_with_the_command_that_makes_it() {
    let database = Database::fresh();
    database.insert("here", [doc! { "time": 1_i64, "x": 1.0 }]);
    let text = fails(database.broker().read::<Here>("here").read::<Next>("here").write::<Speed>("out"));
    says(
        &text,
        &[
            "collection `here`",
            &database.name,
            "`time`",
            r#"db.getCollection("here").createIndex({time: 1, _id: 1})"#,
        ],
    );
    // Or it is made.
    let broker = database.broker().read::<Here>("here").read::<Next>("here").write::<Speed>("out");
    speeds().run_blocking(broker.clone().create_indexes()).unwrap();
    speeds().run_blocking(broker.application("again")).unwrap();
}

#[test]
fn a_collection_that_is_not_there_is_not_an_empty_one() {
    let database = Database::fresh();
    database.create("there");
    let text = fails(database.broker().read::<Here>("heer").read::<Next>("there").write::<Speed>("out"));
    says(&text, &["collection `heer`", "it is not there"]);
}

#[test]
fn a_key_that_does_not_say_its_fields_asks_for_them() {
    let database = Database::fresh();
    database.fill("here", 0..3);
    let mill = || {
        let by = JoinWith::new(|here: &Here| here.time, |next: &Next| next.time);
        Mill::new(|_: &Here, _: &Joined<Here, Next>| ()).join(by)
    };
    let broker = || database.broker().read::<Here>("here").read::<Next>("here");
    let text = told(&mill().run_blocking(broker()).unwrap_err());
    says(&text, &["collection `here`", "|Here| ..", "order_by"]);
    let ordered = || ReadCollection::new("here").order_by(["time"]);
    let broker = database.broker().read::<Here>(ordered()).read::<Next>(ordered());
    assert_eq!(mill().run_blocking(broker).unwrap().calls, 3);
}

#[test]
fn declarations_that_contradict_each_other() {
    let database = Database::fresh();
    let broker = || database.broker().read::<Here>("here").read::<Next>("next");
    says(&fails(broker().write::<Speed>("here")), &["collection `here`", "it is read by the same broker"]);
    says(
        &fails(broker().read::<Here>("other").write::<Speed>("out")),
        &["is read from `here` already", "read_as"],
    );
    says(&fails(broker().write::<Speed>("watermill_positions")), &["positions and leases are kept there"]);
    says(&fails(broker().write::<Speed>("a$b")), &["no name of a collection"]);
    says(&fails(broker().write::<Speed>("out").lanes(Lanes::by_hash("robot", 2))), &["application"]);
    let named = || broker().write::<Speed>("out").application("speeds");
    says(&fails(named().lanes(Lanes::by_hash("robot", 0))), &["one at least"]);
    says(&fails(named().lease(Duration::from_millis(1))), &["100 ms"]);
    let bad = MongoBroker::new(&database.uri, "a b")
        .read::<Here>("here")
        .read::<Next>("next")
        .write::<Speed>("out");
    says(&fails(bad), &["no name of a database"]);
}

#[test]
fn a_server_that_cannot_be_reached_and_a_uri_that_is_none() {
    let at = |uri: &str| {
        MongoBroker::new(uri, "test").read::<Here>("here").read::<Next>("next").write::<Speed>("out")
    };
    let text = fails(at("mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=300"));
    says(&text, &["cannot reach", "check that the server is up"]);
    says(&fails(at("localhost")), &["cannot reach"]);
    #[cfg(not(feature = "srv"))]
    says(&fails(at("mongodb+srv://example.com")), &["dns-resolver"]);
    // A password is told to nobody.
    let secret = at("mongodb://user:secret@127.0.0.1:9/?serverSelectionTimeoutMS=300");
    assert!(!format!("{secret:?}{}", fails(secret.clone())).contains("secret"));
}

#[test]
fn what_a_standalone_server_cannot_do() {
    let database = Database::on(standalone());
    database.fill("here", 0..3);
    let watch = |watched: WatchCollection| {
        let broker = database.broker().watch::<Here>(watched);
        told(&Mill::new(|_: &Here| ()).run_blocking(broker).unwrap_err())
    };
    says(&watch(WatchCollection::new("here").deletes()), &["no change streams", "replica set"]);
    says(&watch(WatchCollection::new("here").changes_only()), &["no change streams", "replica set"]);
    says(&watch(WatchCollection::new("here")), &["order_by", "`_id`s of several producers"]);
}
