//! Bugs that were found by trying the whole thing, each kept as a test.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serializer;
use watermill::RunError;
use watermill::prelude::*;
use watermill::testing::{State, TestMill};

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
struct Left {
    key: i64,
    tag: u8,
}

#[derive(Debug, Serialize, Deserialize, StreamRecord)]
struct Right {
    key: i64,
    tag: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, StreamRecord)]
struct Matches {
    count: usize,
}

fn matches(left: &Left, right: &Joined<Left, Right>) -> Matches {
    Matches { count: right[left].len() }
}

#[test]
fn a_unique_match_is_complete_at_once_beside_a_second_key_too() {
    let join = JoinWith::new(Left::fields().key, Right::fields().key)
        .and(Left::fields().tag, Right::fields().tag)
        .unique();
    let mut test = TestMill::new(Mill::new(matches).join(join)).unwrap();
    test.feed(Left { key: 1, tag: 1 });
    test.feed(Right { key: 1, tag: 2 });
    // Only of another tag: the one that matches may still come.
    assert_eq!(test.run().unwrap(), State::Waiting("Right".to_owned()));
    assert!(test.results::<Matches>().is_empty());
    test.feed(Right { key: 1, tag: 1 });
    assert_eq!(test.run().unwrap(), State::Waiting("Left".to_owned()));
    assert_eq!(test.results::<Matches>(), [Matches { count: 1 }]);
}

/// Results that were made and not written yet, and the most there ever were.
static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[derive(StreamRecord)]
struct Counted {
    number: usize,
}

impl Counted {
    fn new(number: usize) -> Self {
        MOST.fetch_max(ALIVE.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Self { number }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.number as u64)
    }
}

#[test]
fn results_go_to_the_sink_before_they_pile_up() {
    const EACH: usize = 2000;
    const MASTERS: usize = 300;
    let directory = tempfile::tempdir().unwrap();
    let files = JsonFileBroker::new().write::<Counted>(directory.path().join("many.ndjson"));
    let lefts = (0..MASTERS).map(|key| Left { key: key as i64, tag: 0 }).collect();
    let mill = Mill::new(|_: &Left, out: &mut Out<Counted>| out.extend((0..EACH).map(Counted::new)));
    let report = mill.run_blocking(MemoryBroker::new().read::<Left>(lefts).and(files)).unwrap();
    assert_eq!(report.results, (EACH * MASTERS) as u64);
    // What waits for the writer is bounded, and so is what is collected for it.
    assert!(MOST.load(Ordering::Relaxed) < 100_000, "{MOST:?}");
}

#[test]
fn a_run_whose_runtime_is_shut_down_fails_instead_of_hanging() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("left.ndjson");
    let lines: String = (0..50_000).map(|key| format!("{{\"key\":{key},\"tag\":0}}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    let handle = {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let slow = Mill::new(|_: &Left| std::thread::sleep(Duration::from_micros(10)));
        runtime
            .block_on(async { slow.start(JsonFileBroker::new().read::<Left>(&path).batch_bytes(2000)) })
            .unwrap()
    };
    // How far it has come by then is open; that it comes to an end is not.
    let _ = handle.wait_blocking();
}

#[test]
fn a_panic_in_a_key_is_told_with_its_place_and_text_and_nothing_appears() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in.ndjson"), directory.path().join("out.ndjson"));
    // A bad record and a blank line before it, which are skipped: one has a number, the other has none.
    let before = format!("{}no record\n\n", lines(0..5));
    std::fs::write(&input, format!("{before}{}", lines(7..20))).unwrap();
    let key = |left: &Left| if left.key == 7 { panic!("seven is no key") } else { left.key };
    for bytes in [64, 1 << 20] {
        let files = JsonFileBroker::new().read::<Left>(&input).write::<Matches>(&output).batch_bytes(bytes);
        let broker = MemoryBroker::new().read(vec![Right { key: 0, tag: 0 }]).and(files);
        let mill = Mill::new(matches).join(JoinWith::new(key, Right::fields().key).left());
        let error = mill.on_bad::<Left>(OnBad::Skip).run_blocking(broker).unwrap_err();
        let RunError::KeyPanicked { stream, place, .. } = &error else { panic!("{error:?}") };
        assert_eq!((stream.as_str(), place.offset, place.number), ("Left", before.len() as u64, 6));
        let text = format!("{error:?}");
        let place = format!("in.ndjson`, byte {}, record 6", before.len());
        for part in ["`|Left| ..`", "stream `Left`", &place, "text `{\"key\"", "it panicked: seven is no key"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!output.exists());
    }
}

/// A run over `input` that is stopped by its function at `fail_at`.
fn interrupted(input: &std::path::Path, output: &std::path::Path, fail_at: i64) {
    let function = move |left: &Left| {
        if left.key == fail_at { Err("not this one") } else { Ok(Matches { count: left.key as usize }) }
    };
    let files = JsonFileBroker::new().read::<Left>(input).write::<Matches>(output).batch_bytes(64);
    Mill::new(function).commit_after_calls(1).run_blocking(files).unwrap_err();
}

fn lines(keys: std::ops::Range<i64>) -> String {
    keys.map(|key| format!("{{\"key\":{key},\"tag\":0}}\n")).collect()
}

#[test]
fn a_mill_with_another_window_is_not_taken_up() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in.ndjson"), directory.path().join("out.ndjson"));
    std::fs::write(&input, lines(0..20)).unwrap();
    interrupted(&input, &output, 10);
    let files = || JsonFileBroker::new().read::<Left>(&input).write::<Matches>(&output);
    let other = || Mill::new(|all: &[Left]| Matches { count: all.len() }).window(Window::count(3));
    let error = other().run_blocking(files()).unwrap_err();
    assert!(format!("{error:?}").contains("its joins or its window have changed"), "{error:?}");
    // And nothing is lost by the attempt.
    assert_eq!(other().run_blocking(files().start_over()).unwrap().calls, 7);
}

#[test]
fn a_file_that_appears_before_the_ones_that_were_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out.ndjson"));
    std::fs::create_dir(&input).unwrap();
    std::fs::write(input.join("a.ndjson"), lines(0..10)).unwrap();
    std::fs::write(input.join("c.ndjson"), lines(10..20)).unwrap();
    interrupted(&input, &output, 15);
    std::fs::write(input.join("b.ndjson"), lines(10..11)).unwrap();
    let files = JsonFileBroker::new().read::<Left>(&input).write::<Matches>(&output);
    let error = Mill::new(|_: &Left| Matches { count: 0 }).run_blocking(files).unwrap_err();
    assert!(format!("{error:?}").contains("b.ndjson` stands before"), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_link_to_a_result_that_is_not_there_yet_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (link, target) = (directory.path().join("link.ndjson"), directory.path().join("target.ndjson"));
    std::os::unix::fs::symlink("target.ndjson", &link).unwrap();
    let broker = MemoryBroker::new()
        .read(vec![Left { key: 1, tag: 1 }])
        .and(JsonFileBroker::new().write::<Matches>(&link));
    Mill::new(|_: &Left| Matches { count: 1 }).run_blocking(broker).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(target).unwrap(), "{\"count\":1}\n");
}
