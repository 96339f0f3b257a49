//! The example over named streams, as its reader runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::env;
use std::process::Command;

use serde_json::Value;

fn run(file: &str) -> String {
    // This test is `<target>/<profile>/deps/streams_example-<hash>`.
    let this = env::current_exe().unwrap();
    let name = format!("named_streams{}", env::consts::EXE_SUFFIX);
    let path = this.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing; run `cargo build --examples --features streams` first",
        path.display()
    );
    let output = Command::new(path).arg(file).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn every_word_is_counted_once_however_often_it_is_run() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/alice.ndjson")).unwrap();
    let mut counts = BTreeMap::<String, u64>::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let line = line["text"].as_str().unwrap().to_lowercase();
        for word in line.split(|c: char| !c.is_alphabetic() && c != '\'').filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("watermill.db").display().to_string();
    for turn in 0..2 {
        let told = run(&file);
        let shown: Vec<(&str, u64)> = told
            .lines()
            .rev()
            .take(5)
            .map(|line| line.trim().rsplit_once(' ').unwrap())
            .map(|(word, count)| (word.trim(), count.parse().unwrap()))
            .collect();
        assert!(shown.iter().all(|(word, count)| counts[*word] == *count), "{told}");
        assert!(shown.iter().any(|(word, _)| *word == "the"), "{told}");
        // Ten parts at a time; what is left waits for more.
        let jobs = told.matches("10 more parts").count();
        assert_eq!(jobs, if turn == 0 { text.lines().count().div_ceil(100) / 10 } else { 0 }, "{told}");
    }
}
