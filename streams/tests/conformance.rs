//! What every broker promises, over streams.
#![allow(clippy::unwrap_used)]

use tempfile::TempDir;
use watermill_conformance::{Left, Pair, Right, Storage};
use watermill_core::DeadLetter;
use watermill_core::record::Json;
use watermill_streams::{Consumer, Status, Streams};

const MEMORY: char = 'm';
const FILE: char = 'f';
#[cfg(feature = "mongodb")]
const MONGODB: char = 'd';

/// The streams `left`, `right`, `pairs` and `letters`.
struct Kept<const STORE: char> {
    streams: Streams,
    _directory: Option<TempDir>,
}

fn open(store: char) -> (Streams, Option<TempDir>) {
    if store == MEMORY {
        return (Streams::open("memory:").unwrap(), None);
    }
    #[cfg(feature = "mongodb")]
    if store == MONGODB {
        let server = watermill_servers::Mongo::shared().unwrap();
        let url = format!("{}/{}", server.uri(), server.fresh_database("conformance"));
        return (Streams::open(&url).unwrap(), None);
    }
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("streams.db").display());
    (Streams::open(&url).unwrap(), Some(directory))
}

impl<const STORE: char> Storage for Kept<STORE> {
    type Broker = Consumer;

    fn with(left: &[String], right: &[String]) -> Self {
        let (streams, directory) = open(STORE);
        for (name, texts) in [("left", left), ("right", right)] {
            let stream = streams.get(name).unwrap();
            let messages: Vec<Json> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            stream.append_all(&messages).unwrap();
            stream.close().unwrap();
        }
        Self { streams, _directory: directory }
    }

    fn broker(&self) -> Consumer {
        self.streams
            .broker()
            .read(&self.streams.stream::<Left>("left").unwrap())
            .read(&self.streams.stream::<Right>("right").unwrap())
            .write(&self.streams.stream::<Pair>("pairs").unwrap())
            .write(&self.streams.stream::<DeadLetter>("letters").unwrap())
    }

    fn results(&self) -> (Vec<Pair>, Vec<DeadLetter>) {
        let pairs = self.streams.get("pairs").unwrap().buffer().unwrap();
        let letters = self.streams.get("letters").unwrap().buffer().unwrap();
        let pairs = pairs.iter().map(|message| message.get().unwrap()).collect();
        (pairs, letters.iter().map(|message| serde_json::from_slice(&message.text).unwrap()).collect())
    }

    fn ends(&self) -> usize {
        usize::from(self.streams.metadata("pairs").is_ok_and(|pairs| pairs.status != Status::Open))
    }
}

#[test]
fn streams_in_memory_conform() {
    watermill_conformance::all::<Kept<MEMORY>>();
}

#[test]
fn streams_in_a_file_conform() {
    watermill_conformance::all::<Kept<FILE>>();
}

#[cfg(feature = "mongodb")]
#[test]
fn streams_in_mongodb_conform() {
    watermill_conformance::all::<Kept<MONGODB>>();
}
