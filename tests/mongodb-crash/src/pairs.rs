//! What the program `pair-mill` runs: the same mill, from one kind of broker to another.

use std::path::PathBuf;
use std::time::Duration;

use watermill::kafka::KafkaBroker;
use watermill::mongodb::MongoBroker;
use watermill::prelude::*;
use watermill::{RunError, RunReport};

use crate::mills::{Here, LATER, Moved, Next};

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair {
    /// A topic of several partitions into a collection.
    KafkaToMongo,
    /// A file into a collection.
    FileToMongo,
    /// A collection into a topic.
    MongoToKafka,
    /// A collection into a file.
    MongoToFile,
}

impl Pair {
    const ALL: [Self; 4] = [Self::KafkaToMongo, Self::FileToMongo, Self::MongoToKafka, Self::MongoToFile];

    /// As arguments and tests call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KafkaToMongo => "kafka-to-mongodb",
            Self::FileToMongo => "file-to-mongodb",
            Self::MongoToKafka => "mongodb-to-kafka",
            Self::MongoToFile => "mongodb-to-file",
        }
    }

    /// Whether a server of Kafka is needed.
    #[must_use]
    pub fn has_kafka(self) -> bool {
        matches!(self, Self::KafkaToMongo | Self::MongoToKafka)
    }

    /// Whether the results are in MongoDB.
    #[must_use]
    pub fn is_to_mongo(self) -> bool {
        matches!(self, Self::KafkaToMongo | Self::FileToMongo)
    }
}

/// How it runs.
#[derive(Debug, Clone)]
pub struct PairSettings {
    /// From where to where.
    pub pair: Pair,
    /// Where MongoDB is.
    pub uri: String,
    /// Which database.
    pub database: String,
    /// Where Kafka is, if it is needed.
    pub servers: String,
    /// The topic that is read or written.
    pub topic: String,
    /// The file that is read or written.
    pub file: PathBuf,
    /// How often it commits.
    pub every: Duration,
    /// How long a call takes.
    pub call: Duration,
}

impl PairSettings {
    /// As arguments.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        vec![
            self.pair.name().to_owned(),
            self.uri.clone(),
            self.database.clone(),
            self.servers.clone(),
            self.topic.clone(),
            self.file.to_str().expect("a path of text").to_owned(),
            self.every.as_micros().to_string(),
            self.call.as_micros().to_string(),
        ]
    }

    /// From arguments.
    ///
    /// # Panics
    /// When one is missing or is none.
    #[must_use]
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut next = || arguments.next().expect("an argument");
        let name = next();
        let pair = Pair::ALL.into_iter().find(|pair| pair.name() == name).expect("a pair");
        let (uri, database, servers, topic, file) = (next(), next(), next(), next(), next().into());
        let mut micros = || Duration::from_micros(next().parse().expect("a number"));
        let (every, call) = (micros(), micros());
        Self { pair, uri, database, servers, topic, file, every, call }
    }
}

/// Runs it.
///
/// # Errors
/// As the mill.
pub fn run(settings: &PairSettings) -> Result<RunReport, RunError> {
    let call = settings.call;
    let moved = move |here: &Here, next: &Joined<Here, Next>| {
        std::thread::sleep(call);
        Moved { robot: here.robot, time: here.time, by: next[here][0].x - here.x }
    };
    let join = JoinWith::new(Here::fields().time + LATER, Next::fields().time)
        .and(Here::fields().robot, Next::fields().robot);
    let mill = Mill::new(moved).join(join).commit_every(settings.every).stop_on_signals();
    let mongo = || MongoBroker::new(&settings.uri, &settings.database);
    let into_mongo = || mongo().write::<Moved>("moved").write_eos();
    let of_mongo = || mongo().read::<Here>("here").read::<Next>("here");
    // A static member: it has its lanes back at once.
    let kafka = || KafkaBroker::new(&settings.servers, &settings.database).static_member(&settings.database);
    let files = JsonFileBroker::new;
    match settings.pair {
        Pair::KafkaToMongo => {
            let read = kafka().read::<Here>(&settings.topic).read::<Next>(&settings.topic);
            mill.run_blocking(read.and(into_mongo()))
        }
        Pair::FileToMongo => {
            let read = files().read::<Here>(&settings.file).read::<Next>(&settings.file);
            mill.run_blocking(read.and(into_mongo()))
        }
        Pair::MongoToKafka => {
            mill.run_blocking(of_mongo().and(kafka().write::<Moved>(settings.topic.as_str())))
        }
        Pair::MongoToFile => mill.run_blocking(of_mongo().and(files().write::<Moved>(&settings.file))),
    }
}
