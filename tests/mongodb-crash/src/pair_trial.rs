//! What one mill between two kinds of brokers reads and writes: filled at the beginning, and compared in the end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use bson::{Document, doc};
use mongodb::{Client, Database};
use tokio::runtime::Runtime;
use watermill_crash::process::Process;
use watermill_servers::Mongo;
use watermill_servers::kafka::{Isolation, Kafka, NewRecord};

use crate::data;
use crate::mills::Moved;
use crate::pairs::{Pair, PairSettings};

/// Into so many partitions records of a topic are divided, by their robots.
const PARTITIONS: u32 = 2;

const MARK: &str = "{\"eos__\": true}";

/// How far a mill has come: it changes with every commit, and for Kafka with every result that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So many results.
    Results(u64),
    /// The state beside the file was written then.
    Since(Option<SystemTime>),
}

/// Input and output of a mill, and the program that works on them.
pub struct PairTrial {
    /// How the program runs.
    pub settings: PairSettings,
    program: &'static str,
    kafka: Option<&'static Kafka>,
    times: i64,
    runtime: Runtime,
    client: Client,
    /// Of the file; removed with this.
    directory: PathBuf,
}

impl PairTrial {
    /// Input of so many times, and no output.
    ///
    /// # Panics
    /// When a server does not answer.
    #[must_use]
    pub fn new(program: &'static str, directory: PathBuf, pair: Pair, times: i64) -> Self {
        let mongo = Mongo::shared().unwrap();
        let kafka = pair.has_kafka().then(|| Kafka::shared().unwrap());
        let partitions = if pair == Pair::KafkaToMongo { PARTITIONS } else { 1 };
        let topic = kafka.map(|kafka| kafka.fresh_topic("pair", partitions).unwrap()).unwrap_or_default();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(Client::with_uri_str(mongo.uri())).unwrap();
        fs::create_dir_all(&directory).unwrap();
        let settings = PairSettings {
            pair,
            uri: mongo.uri().to_owned(),
            database: mongo.fresh_database(pair.name()),
            servers: kafka.map(|kafka| kafka.bootstrap().to_owned()).unwrap_or_default(),
            topic,
            file: directory.join("moves.ndjson"),
            every: Duration::from_millis(50),
            call: Duration::ZERO,
        };
        let trial = Self { settings, program, kafka, times, runtime, client, directory };
        trial.fill();
        trial
    }

    fn db(&self) -> Database {
        self.client.database(&self.settings.database)
    }

    fn kafka(&self) -> &'static Kafka {
        self.kafka.expect("this pair has Kafka")
    }

    fn fill(&self) {
        let command = |command: Document| {
            self.runtime.block_on(async { self.db().run_command(command).await }).unwrap()
        };
        let records = || data::records(0..self.times);
        match self.settings.pair {
            Pair::KafkaToMongo => {
                let marks = (0..PARTITIONS)
                    .map(|partition| NewRecord::new(&self.settings.topic).partition(partition).value(MARK));
                let all: Vec<NewRecord> = records()
                    .map(|here| {
                        let record = NewRecord::new(&self.settings.topic)
                            .partition(here.robot.unsigned_abs() as u32 % PARTITIONS);
                        record.value(serde_json::to_vec(&here).unwrap())
                    })
                    .chain(marks)
                    .collect();
                self.kafka().client().produce(&all).unwrap();
            }
            Pair::FileToMongo => {
                let lines: String =
                    records().map(|here| serde_json::to_string(&here).unwrap() + "\n").collect();
                fs::write(&self.settings.file, lines).unwrap();
            }
            Pair::MongoToKafka | Pair::MongoToFile => {
                let index = doc! { "key": { "time": 1, "_id": 1 }, "name": "time" };
                command(doc! { "createIndexes": "here", "indexes": [index] });
                let all: Vec<_> = records().collect();
                self.runtime.block_on(async { self.db().collection("here").insert_many(all).await }).unwrap();
            }
        }
        if self.settings.pair.is_to_mongo() {
            // It refuses what comes twice, at once.
            let unique = doc! { "key": { "robot": 1, "time": 1 }, "name": "once", "unique": true };
            command(doc! { "createIndexes": "moved", "indexes": [unique] });
        }
    }

    /// How far it has come.
    ///
    /// # Panics
    /// When a server does not tell.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.settings.pair {
            Pair::KafkaToMongo | Pair::FileToMongo => {
                let moved = self.db().collection::<Document>("moved");
                let count = moved.estimated_document_count();
                Progress::Results(self.runtime.block_on(async { count.await }).unwrap())
            }
            Pair::MongoToKafka => {
                let latest = self.kafka().client().latest(&self.settings.topic).unwrap();
                Progress::Results(latest.iter().sum::<i64>().unsigned_abs())
            }
            Pair::MongoToFile => {
                let state = self.directory.join(".moves.ndjson.state");
                Progress::Since(fs::metadata(state).and_then(|metadata| metadata.modified()).ok())
            }
        }
    }

    /// How many results there will be.
    #[must_use]
    pub fn count(&self) -> u64 {
        data::count(self.times)
    }

    /// The program, to be started.
    #[must_use]
    pub fn program(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.settings.arguments());
        command
    }

    /// The program, started.
    #[must_use]
    pub fn start(&self, name: &str) -> Process {
        Process::start(name, self.program())
    }

    /// All results that a reader sees, and how many marks.
    fn results(&self) -> (Vec<Moved>, usize) {
        let mut found: Vec<Moved> = Vec::new();
        let mut marks = 0;
        match self.settings.pair {
            Pair::KafkaToMongo | Pair::FileToMongo => self.runtime.block_on(async {
                let mut cursor = self.db().collection::<Document>("moved").find(doc! {}).await.unwrap();
                while cursor.advance().await.unwrap() {
                    let document = cursor.deserialize_current().unwrap();
                    if document.contains_key("eos__") {
                        marks += 1;
                    } else {
                        found.push(bson::deserialize_from_document(document).unwrap());
                    }
                }
            }),
            Pair::MongoToKafka => {
                for record in self.kafka().client().read(&self.settings.topic, Isolation::Committed).unwrap()
                {
                    let value = record.value.unwrap();
                    if value == MARK.as_bytes() {
                        marks += 1;
                    } else {
                        found.push(serde_json::from_slice(&value).unwrap());
                    }
                }
            }
            Pair::MongoToFile => {
                let text = fs::read_to_string(&self.settings.file).unwrap();
                found.extend(text.lines().map(|line| serde_json::from_str::<Moved>(line).unwrap()));
            }
        }
        (found, marks)
    }

    /// What is there is what must be there.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_complete(&self, what: &str) {
        let (found, marks) = self.results();
        data::assert_results(found, self.times, what);
        // Files end where they end.
        assert_eq!(marks, usize::from(self.settings.pair != Pair::MongoToFile), "{what}: marks of the end");
    }
}

impl Drop for PairTrial {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(async { self.db().drop().await });
        let _ = fs::remove_dir_all(&self.directory);
    }
}
