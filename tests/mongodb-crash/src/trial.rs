//! The database of one mill: filled, and compared in the end with what must be there.

use std::process::Command;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::{Client, Database};
use tokio::runtime::Runtime;
use watermill_servers::Mongo;

use crate::data;
use crate::mills::{Kind, Moved, Settings};
use watermill_crash::process::Process;

/// A database, and the program that works on it.
pub struct Trial {
    /// How the program runs.
    pub settings: Settings,
    program: String,
    runtime: Runtime,
    client: Client,
    times: std::sync::atomic::AtomicI64,
}

impl Trial {
    /// An empty database.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn new(mongo: &Mongo, program: &str, kind: Kind) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(Client::with_uri_str(mongo.uri())).unwrap();
        let settings = Settings {
            uri: mongo.uri().to_owned(),
            database: mongo.fresh_database("crash"),
            kind,
            every: Duration::from_millis(50),
            call: Duration::from_micros(300),
            most: 4,
        };
        let trial = Self { settings, program: program.to_owned(), runtime, client, times: 0.into() };
        let index = doc! { "key": { "time": 1, "_id": 1 }, "name": "time" };
        trial.command(doc! { "createIndexes": "here", "indexes": [index] });
        // It refuses what comes twice, at once.
        let unique = doc! { "key": { "robot": 1, "time": 1 }, "name": "once", "unique": true };
        trial.command(doc! { "createIndexes": "moved", "indexes": [unique] });
        trial
    }

    fn db(&self) -> Database {
        self.client.database(&self.settings.database)
    }

    fn command(&self, command: Document) {
        self.runtime.block_on(async { self.db().run_command(command).await }).unwrap();
    }

    /// Adds records of every robot for so many times.
    ///
    /// # Panics
    /// When the server does not take them.
    pub fn fill(&self, times: i64) {
        let first = self.times.fetch_add(times, std::sync::atomic::Ordering::Relaxed);
        let documents = data::records(first..first + times);
        self.runtime.block_on(async { self.db().collection("here").insert_many(documents).await }).unwrap();
    }

    /// Ends the input.
    ///
    /// # Panics
    /// When the server does not take the mark.
    pub fn end(&self) {
        let mark = doc! { "eos__": true };
        self.runtime
            .block_on(async { self.db().collection::<Document>("here").insert_one(mark).await })
            .unwrap();
    }

    /// How many results were committed, as the positions of all lanes say.
    ///
    /// # Panics
    /// When the server does not tell.
    #[must_use]
    pub fn progress(&self) -> u64 {
        let positions = self.db().collection::<Document>("watermill_positions");
        self.runtime.block_on(async {
            let mut cursor = positions.find(doc! {}).await.unwrap();
            let mut all = 0;
            while cursor.advance().await.unwrap() {
                let lane = cursor.deserialize_current().unwrap();
                let written = lane.get_array("written").ok().and_then(|outputs| outputs.first()?.as_i64());
                all += written.unwrap_or(0);
            }
            u64::try_from(all).unwrap()
        })
    }

    /// How many results there will be.
    #[must_use]
    pub fn count(&self) -> u64 {
        data::count(self.times.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// The program, to be started.
    #[must_use]
    pub fn program(&self, settings: &Settings) -> Command {
        let mut command = Command::new(&self.program);
        command.args(settings.arguments());
        command
    }

    /// The program, started.
    #[must_use]
    pub fn start(&self, name: &str, settings: &Settings) -> Process {
        Process::start(name, self.program(settings))
    }

    /// What is there is what must be there.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_complete(&self, what: &str) {
        let mut found: Vec<Moved> = Vec::new();
        let mut marks = 0;
        self.runtime.block_on(async {
            let mut cursor = self.db().collection::<Document>("moved").find(doc! {}).await.unwrap();
            while cursor.advance().await.unwrap() {
                let document = cursor.deserialize_current().unwrap();
                if document.contains_key("eos__") {
                    marks += 1;
                } else {
                    found.push(bson::deserialize_from_document(document).unwrap());
                }
            }
        });
        data::assert_results(found, self.times.load(std::sync::atomic::Ordering::Relaxed), what);
        assert_eq!(marks, 1, "{what}");
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(async { self.db().drop().await });
    }
}
