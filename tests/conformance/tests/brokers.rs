//! The suite over files and over memory. That of Kafka is in its own crate.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use watermill_conformance::{Left, Pair, Right, Storage, all, once};
use watermill_core::DeadLetter;
use watermill_core::prelude::*;
use watermill_json_file::JsonFileBroker;

/// Files of NDJSON.
struct Files(TempDir);

impl Files {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read<R: serde::de::DeserializeOwned>(&self, name: &str) -> Vec<R> {
        // What is not whole yet stands in a file beside it.
        let beside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains(name);
        let entries = fs::read_dir(self.0.path()).unwrap().map(Result::unwrap).filter(beside);
        let text = entries
            .filter(|entry| !entry.file_name().to_string_lossy().contains("state"))
            .map(|entry| fs::read_to_string(entry.path()).unwrap())
            .next();
        text.unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Storage for Files {
    type Broker = JsonFileBroker;

    const REMEMBERS_THE_END: bool = false;

    fn with(left: &[String], right: &[String]) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let lines = |texts: &[String]| texts.iter().map(|text| format!("{text}\n")).collect::<String>();
        fs::write(files.at("left"), lines(left)).unwrap();
        fs::write(files.at("right"), lines(right)).unwrap();
        files
    }

    fn broker(&self) -> JsonFileBroker {
        JsonFileBroker::new()
            .read::<Left>(self.at("left"))
            .read::<Right>(self.at("right"))
            .write::<Pair>(self.at("pairs.ndjson"))
            .write::<DeadLetter>(self.at("letters.ndjson"))
            .batch_bytes(500)
    }

    fn results(&self) -> (Vec<Pair>, Vec<DeadLetter>) {
        (self.read("pairs.ndjson"), self.read("letters.ndjson"))
    }

    fn ends(&self) -> usize {
        usize::from(self.at("pairs.ndjson").exists())
    }
}

/// Vectors; what one run has read, the next cannot.
struct Memory {
    left: Vec<Left>,
    right: Vec<Right>,
    pairs: Collected<Pair>,
}

impl Storage for Memory {
    type Broker = MemoryBroker;

    fn with(left: &[String], right: &[String]) -> Self {
        Self {
            left: left.iter().map(|text| serde_json::from_str(text).unwrap()).collect(),
            right: right.iter().map(|text| serde_json::from_str(text).unwrap()).collect(),
            pairs: Collected::new(),
        }
    }

    fn broker(&self) -> MemoryBroker {
        MemoryBroker::new().read(self.left.clone()).read(self.right.clone()).write(&self.pairs).batch(7)
    }

    fn results(&self) -> (Vec<Pair>, Vec<DeadLetter>) {
        (self.pairs.take(), Vec::new())
    }

    fn ends(&self) -> usize {
        1
    }
}

#[test]
fn files() {
    all::<Files>();
}

#[test]
fn memory() {
    once::<Memory>();
}
