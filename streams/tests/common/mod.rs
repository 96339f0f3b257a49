//! What the tests of streams share.
#![allow(dead_code)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use watermill_core::clock::ManualClock;
use watermill_derive::StreamRecord;
use watermill_streams::{Stream, Streams};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub(crate) struct Number {
    pub(crate) value: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, StreamRecord)]
#[watermill(crate = watermill_core)]
pub(crate) struct Window {
    pub(crate) values: Vec<u64>,
}

/// Streams for a test, with what they are kept in.
pub(crate) struct Kept {
    pub(crate) streams: Streams,
    pub(crate) clock: ManualClock,
    pub(crate) url: String,
    directory: Option<TempDir>,
}

impl Kept {
    pub(crate) fn in_memory() -> Self {
        Self::of("memory:", None)
    }

    pub(crate) fn in_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("streams.db").display());
        Self::of(&url, Some(directory))
    }

    #[cfg(feature = "mongodb")]
    pub(crate) fn in_mongodb() -> Self {
        Self::of(&mongodb(), None)
    }

    fn of(url: &str, directory: Option<TempDir>) -> Self {
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let streams = Streams::open(url).unwrap().clock(clock.clone());
        Self { streams, clock, url: url.to_owned(), directory }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.as_ref().unwrap().path().join("streams.db")
    }

    pub(crate) fn numbers(&self, name: &str, values: impl IntoIterator<Item = u64>) -> Stream<Number> {
        let stream = self.streams.stream(name).unwrap();
        let values: Vec<Number> = values.into_iter().map(|value| Number { value }).collect();
        stream.append_all(&values).unwrap();
        stream
    }
}

/// Runs a test on every store.
pub(crate) fn each(test: impl Fn(&Kept)) {
    test(&Kept::in_memory());
    test(&Kept::in_file());
    #[cfg(feature = "mongodb")]
    test(&Kept::in_mongodb());
}

/// Runs a test on every store that processes share, with consumers that share a stream and with such that have it whole.
pub(crate) fn each_shared(test: impl Fn(&Kept, bool)) {
    for whole in [false, true] {
        test(&Kept::in_file(), whole);
        #[cfg(feature = "mongodb")]
        test(&Kept::in_mongodb(), whole);
    }
}

/// A database of its own.
#[cfg(feature = "mongodb")]
pub(crate) fn mongodb() -> String {
    let server = watermill_servers::Mongo::shared().unwrap();
    format!("{}/{}", server.uri(), server.fresh_database("streams"))
}

pub(crate) fn values(stream: &Stream<Number>) -> Vec<u64> {
    stream.buffer().unwrap().iter().map(|message| message.get::<Number>().unwrap().value).collect()
}

pub(crate) fn windows(stream: &Stream<Window>) -> Vec<Vec<u64>> {
    stream.buffer().unwrap().iter().map(|message| message.get::<Window>().unwrap().values).collect()
}

pub(crate) fn window(all: &[Number]) -> Window {
    Window { values: all.iter().map(|number| number.value).collect() }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = std::time::Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Counts until it is to end.
pub(crate) fn counting(
    intake: &mut watermill_streams::source::Intake<Number>,
) -> Result<(), watermill_streams::StreamsError> {
    let mut value: u64 = intake.position()?.unwrap_or(0);
    while !intake.pause(Duration::from_millis(1)) {
        intake.append_at([&Number { value }], &(value + 1))?;
        value += 1;
    }
    Ok(())
}
