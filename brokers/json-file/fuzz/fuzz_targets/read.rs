//! Reads any bytes as a file, in chunks of two sizes: no panic, the same records and faults, and never an end behind a cut.
//!
//! The first byte is the size of the small chunks, the rest is the file. To run it for a minute:
//!
//! ```text
//! cargo install cargo-fuzz
//! cd brokers/json-file
//! cargo +nightly fuzz run read fuzz/seeds -- -max_total_time=60 -dict=fuzz/json.dict
//! ```
//!
//! What it finds is kept as a test in `tests/every_cut.rs`.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use watermill_core::broker::{Broker, InputRequest, Job, Lane};
use watermill_core::key::Place;
use watermill_core::record::{Json, StreamRecord};
use watermill_json_file::JsonFileBroker;

fuzz_target!(|input: &[u8]| {
    let Some((size, content)) = input.split_first() else { return };
    static SETUP: OnceLock<(Runtime, std::path::PathBuf)> = OnceLock::new();
    let (runtime, path) = SETUP.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = directory.join(format!("watermill-fuzz-{}", std::process::id()));
        (tokio::runtime::Builder::new_current_thread().build().unwrap(), path)
    });
    std::fs::write(path, content).unwrap();
    let size = usize::from(*size) + 1;
    assert_eq!(runtime.block_on(read::<Json>(path, size)), runtime.block_on(read::<Json>(path, 1 << 16)));
    // Plain JSON takes another way when its types are known.
    assert_eq!(runtime.block_on(read::<Plain>(path, size)), runtime.block_on(read::<Plain>(path, 1 << 16)));
});

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[allow(dead_code)]
struct Plain {
    a: Option<i64>,
    b: Option<f64>,
    c: Option<String>,
    d: Vec<u8>,
}

impl StreamRecord for Plain {
    const NAME: &'static str = "Plain";
    type Fields<P: Place<Value = Self>> = ();

    fn fields_below<P: Place<Value = Self>>() -> &'static () {
        &()
    }
}

/// All records, faults and the end, as text.
async fn read<R: StreamRecord + DeserializeOwned + std::fmt::Debug>(path: &Path, size: usize) -> Vec<String> {
    let broker = JsonFileBroker::new().read::<R>(path).batch_bytes(size).record_limit(200);
    let request = InputRequest { input: 0, stream: "fuzz".to_owned(), node: 0, keep_raw: true };
    let job = Job { inputs: vec![request], streams: vec!["fuzz".to_owned()], ..Job::default() };
    let mut session = broker.open(&job).await.unwrap();
    let mut sources = session.sources(&Lane { index: 0, count: 1 }, &[]).await.unwrap();
    let mut source = sources.remove(0).typed::<R>().unwrap();
    let mut told = Vec::new();
    loop {
        let batch = source.next().await.unwrap();
        let mut faults = batch.faults.iter().peekable();
        for index in 0..=batch.records.len() {
            while let Some(fault) = faults.next_if(|fault| fault.before == index) {
                told.push(format!("{} {:?}", fault.error.place, fault.error.cause));
            }
            if let Some(record) = batch.records.get(index) {
                told.push(format!("{} {record:?}", batch.places.offset(index)));
            }
        }
        let broken = batch.faults.iter().any(|fault| !fault.recoverable);
        assert!(!(broken && batch.end.is_some()));
        if broken || batch.end.is_some() {
            told.push(format!("{:?}", batch.end));
            return told;
        }
    }
}
