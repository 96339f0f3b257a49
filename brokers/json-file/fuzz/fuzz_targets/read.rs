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
use tokio::runtime::Runtime;
use watermill_core::broker::{Broker, InputRequest, Job, Lane};
use watermill_core::record::Json;
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
    let small = runtime.block_on(read(path, usize::from(*size) + 1));
    let large = runtime.block_on(read(path, 1 << 16));
    assert_eq!(small, large);
});

/// All records, faults and the end, as text.
async fn read(path: &Path, size: usize) -> Vec<String> {
    let broker = JsonFileBroker::new().read::<Json>(path).batch_bytes(size).record_limit(200);
    let request = InputRequest { input: 0, stream: "fuzz".to_owned() };
    let job = Job { function: String::new(), inputs: vec![request], outputs: Vec::new() };
    let mut session = broker.open(&job).await.unwrap();
    let mut sources = session.sources(&Lane { index: 0, count: 1 }, &[]).await.unwrap();
    let mut source = sources.remove(0).typed::<Json>().unwrap();
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
