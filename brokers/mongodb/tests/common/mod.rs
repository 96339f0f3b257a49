//! What the tests share: records, databases of their own, and a witness that looks into them by the driver alone.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod answering;

use std::sync::OnceLock;

use bson::{Bson, Document, doc};
use mongodb::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use watermill_core::prelude::*;
use watermill_derive::StreamRecord;
use watermill_mongodb::MongoBroker;
use watermill_servers::{Mongo, MongoOptions};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Here {
    pub time: i64,
    pub x: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Next {
    pub time: i64,
    pub x: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub struct Speed {
    pub from: i64,
    pub to: i64,
    pub speed: f64,
}

pub fn speed(here: &Here, next: &Joined<Here, Next>) -> Speed {
    let there = &next[here][0];
    Speed { from: here.time, to: there.time, speed: (there.x - here.x) / (there.time - here.time) as f64 }
}

/// Each record is joined to the one ten later.
pub fn speeds() -> Mill<Here> {
    Mill::new(speed).join(JoinWith::new(Here::fields().time + 10, Next::fields().time))
}

/// The record of `time`.
pub fn here(time: i64) -> Here {
    Here { time, x: (time * time % 1009) as f64 }
}

/// What comes of `count` records.
pub fn expected(count: i64) -> Vec<Speed> {
    (0..count - 10)
        .map(|time| {
            let (at, next) = (here(time), here(time + 10));
            Speed { from: time, to: time + 10, speed: (next.x - at.x) / 10.0 }
        })
        .collect()
}

/// The threads of the witness.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// A server without transactions, for all tests of the process.
pub fn standalone() -> &'static Mongo {
    static STANDALONE: OnceLock<Mongo> = OnceLock::new();
    STANDALONE.get_or_init(|| Mongo::start(MongoOptions::new().standalone()).unwrap())
}

/// A database of one's own, looked at without the broker.
pub struct Database {
    pub uri: String,
    pub name: String,
    client: Client,
}

impl Database {
    pub fn fresh() -> Self {
        Self::on(Mongo::shared().unwrap())
    }

    pub fn on(mongo: &Mongo) -> Self {
        let uri = mongo.uri().to_owned();
        let client = runtime().block_on(Client::with_uri_str(&uri)).unwrap();
        Self { name: mongo.fresh_database("test"), uri, client }
    }

    pub fn broker(&self) -> MongoBroker {
        MongoBroker::new(&self.uri, &self.name)
    }

    fn db(&self) -> mongodb::Database {
        self.client.database(&self.name)
    }

    pub fn run(&self, command: Document) -> Document {
        runtime().block_on(async { self.db().run_command(command).await }).unwrap()
    }

    pub fn create(&self, collection: &str) {
        runtime().block_on(async { self.db().create_collection(collection).await }).unwrap();
    }

    /// Makes an index on these fields and `_id`.
    pub fn index(&self, collection: &str, fields: &[&str]) {
        let mut key = Document::new();
        fields.iter().for_each(|field| drop(key.insert(*field, 1)));
        key.insert("_id", 1);
        let index = doc! { "key": key, "name": fields.join("_") };
        self.run(doc! { "createIndexes": collection, "indexes": [index] });
    }

    pub fn unique(&self, collection: &str, field: &str) {
        let index = doc! { "key": { field: 1 }, "name": format!("unique_{field}"), "unique": true };
        self.run(doc! { "createIndexes": collection, "indexes": [index] });
    }

    pub fn insert(&self, collection: &str, documents: impl IntoIterator<Item = Document>) {
        let documents: Vec<Document> = documents.into_iter().collect();
        if documents.is_empty() {
            return;
        }
        runtime().block_on(async { self.db().collection(collection).insert_many(documents).await }).unwrap();
    }

    pub fn update(&self, collection: &str, filter: Document, update: Document) {
        let target = self.db().collection::<Document>(collection);
        runtime().block_on(async { target.update_many(filter, update).await }).unwrap();
    }

    pub fn delete(&self, collection: &str, filter: Document) {
        let target = self.db().collection::<Document>(collection);
        runtime().block_on(async { target.delete_many(filter).await }).unwrap();
    }

    /// Records with the times, and an index on them.
    pub fn fill(&self, collection: &str, times: impl IntoIterator<Item = i64>) {
        self.index(collection, &["time"]);
        self.insert(
            collection,
            times.into_iter().map(|time| bson::serialize_to_document(&here(time)).unwrap()),
        );
    }

    /// All documents, in the order of `sort`.
    pub fn all(&self, collection: &str, sort: Document) -> Vec<Document> {
        runtime().block_on(async {
            let target = self.db().collection::<Document>(collection);
            let mut cursor = target.find(doc! {}).sort(sort).await.unwrap();
            let mut all = Vec::new();
            while cursor.advance().await.unwrap() {
                all.push(cursor.deserialize_current().unwrap());
            }
            all
        })
    }

    /// The records of a collection in the order in which they were written, and how many marks there are.
    pub fn read<R: DeserializeOwned>(&self, collection: &str, sort: Document) -> (Vec<R>, usize) {
        let all = self.all(collection, sort);
        let (marks, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|document| document.contains_key("eos__"));
        (
            rest.into_iter().map(|document| bson::deserialize_from_document(document).unwrap()).collect(),
            marks.len(),
        )
    }

    pub fn speeds(&self, collection: &str) -> (Vec<Speed>, usize) {
        self.read(collection, doc! { "from": 1 })
    }

    pub fn positions(&self) -> Vec<Document> {
        self.all("watermill_positions", doc! { "_id": 1 })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = runtime().block_on(async { self.db().drop().await });
    }
}

/// A document as JSON, without its `_id`.
pub fn json(mut document: Document) -> serde_json::Value {
    document.remove("_id");
    Bson::Document(document).into_relaxed_extjson()
}

/// An error with its causes.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Whether a run has come to the end of its streams.
pub fn ended(report: &watermill_core::RunReport) -> bool {
    matches!(report.end, watermill_core::EndReason::InputEnded { .. })
}

/// Waits until `there` says so.
pub fn until(what: &str, mut there: impl FnMut() -> bool) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !there() {
        assert!(std::time::Instant::now() < limit, "waited too long: {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
