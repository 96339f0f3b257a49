//! What is written, byte for byte, and when it appears.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use watermill_core::broker::codec::Encode;
use watermill_core::error::BoxError;
use watermill_json_file::{Format, JsonFileBroker};

const A: &str = r#"{"time":1,"x":1.5,"y":-1.0}"#;
const B: &str = r#"{"time":2,"x":2.5,"y":-1.0}"#;

#[track_caller]
fn written(name: &str, records: &[i64], options: fn(JsonFileBroker) -> JsonFileBroker) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/deeper").join(name);
    let broker = options(JsonFileBroker::new().write::<Location>(&path));
    write_all(&broker, records.iter().copied().map(location).collect()).unwrap();
    assert_eq!(names_in(path.parent().unwrap()), [name]);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn by_extension() {
    assert_eq!(written("o.ndjson", &[1, 2], |b| b), format!("{A}\n{B}\n"));
    assert_eq!(written("o.jsonl", &[1], |b| b), format!("{A}\n"));
    assert_eq!(written("o.JSON", &[1, 2], |b| b), format!("[\n{A},\n{B}\n]\n"));
    assert_eq!(written("o.json", &[1], |b| b), format!("[\n{A}\n]\n"));
}

#[test]
fn by_choice() {
    assert_eq!(written("o.json", &[1, 2], |b| b.output_format(Format::Ndjson)), format!("{A}\n{B}\n"));
    assert_eq!(written("o", &[1], |b| b.output_format(Format::JsonArray)), format!("[\n{A}\n]\n"));
}

#[test]
fn without_results() {
    assert_eq!(written("o.ndjson", &[], |b| b), "");
    assert_eq!(written("o.json", &[], |b| b), "[]\n");
}

#[test]
fn with_the_mark() {
    assert_eq!(written("o.ndjson", &[1], JsonFileBroker::mark_eos), format!("{A}\n{{\"eos__\": true}}\n"));
    assert_eq!(
        written("o.json", &[1], JsonFileBroker::mark_eos),
        format!("[\n{A},\n{{\"eos__\": true}}\n]\n")
    );
    assert_eq!(written("o.json", &[], JsonFileBroker::mark_eos), "[\n{\"eos__\": true}\n]\n");
}

#[test]
fn nothing_appears_before_the_end_and_then_all_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("o.ndjson");
    std::fs::write(&path, "the last run's\n").unwrap();
    let broker = JsonFileBroker::new().write::<Location>(&path);
    block_on(async {
        let mut outputs = outputs::<Location>(&broker).await.unwrap();
        outputs.sinks[0].write(vec![location(1)]).await.unwrap();
        outputs.committer.commit(&checkpoint(false, false)).await.unwrap();
        outputs.committer.settle().await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "the last run's\n");
        // What a commit has made durable is in the hidden file.
        assert_eq!(names_in(directory.path()), [".o.ndjson.partial", ".o.ndjson.state", "o.ndjson"]);
        let hidden = std::fs::read_to_string(directory.path().join(".o.ndjson.partial")).unwrap();
        assert_eq!(hidden, format!("{A}\n"));
        outputs.sinks[0].write(vec![location(2)]).await.unwrap();
        outputs.committer.commit(&checkpoint(true, true)).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{A}\n{B}\n"));
        assert_eq!(names_in(directory.path()), ["o.ndjson"]);
        assert!(outputs.committer.commit(&checkpoint(true, true)).await.is_err());
    });
}

/// A commit returns before it is durable; that it never became so is not lost.
#[test]
fn a_commit_that_does_not_become_durable_fails_what_comes_next() {
    for next in ["settle", "commit", "abort"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("o.ndjson");
        let broker = JsonFileBroker::new().write::<Location>(&path);
        block_on(async {
            let mut outputs = outputs::<Location>(&broker).await.unwrap();
            let next_state = directory.path().join(".o.ndjson.state.new");
            std::fs::create_dir(&next_state).unwrap();
            outputs.sinks[0].write(vec![location(1)]).await.unwrap();
            outputs.committer.commit(&checkpoint(false, false)).await.unwrap();
            let failed = match next {
                "settle" => outputs.committer.settle().await,
                "commit" => outputs.committer.commit(&checkpoint(true, true)).await,
                _ => outputs.committer.abort().await,
            };
            let error = failed.unwrap_err().to_string();
            assert!(error.contains(".o.ndjson.state"), "{next}: {error}");
            assert!(!path.exists(), "{next}");
            std::fs::remove_dir(next_state).unwrap();
        });
    }
}

#[test]
fn a_run_that_fails_before_its_first_commit_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("o.json");
    std::fs::write(&path, "the last run's\n").unwrap();
    let broker = JsonFileBroker::new().write::<Location>(&path);
    for abort in [true, false] {
        block_on(async {
            let mut outputs = outputs::<Location>(&broker).await.unwrap();
            outputs.sinks[0].write(vec![location(1)]).await.unwrap();
            if abort {
                outputs.committer.abort().await.unwrap();
            }
            drop(outputs);
        });
        assert_eq!(names_in(directory.path()), ["o.json"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "the last run's\n");
    }
}

#[test]
fn a_run_that_fails_behind_a_commit_leaves_what_the_next_one_goes_on_with() {
    for abort in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("o.json");
        let broker = JsonFileBroker::new().write::<Location>(&path);
        block_on(async {
            let mut first = outputs::<Location>(&broker).await.unwrap();
            first.sinks[0].write(vec![location(1)]).await.unwrap();
            first.committer.commit(&checkpoint(false, false)).await.unwrap();
            first.sinks[0].write(vec![location(2)]).await.unwrap();
            if abort {
                first.committer.abort().await.unwrap();
            }
        });
        assert_eq!(names_in(directory.path()), [".o.json.partial", ".o.json.state"]);
        // The second result was not committed: it is written again. A run that was not aborted takes a moment to let go.
        let mut tries = 0;
        while let Err(error) = write_all(&broker, vec![location(2)]) {
            tries += 1;
            assert!(!abort && tries < 100, "{error:?}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("[\n{A},\n{B}\n]\n"));
        assert_eq!(names_in(directory.path()), ["o.json"]);
    }
}

#[test]
fn what_a_killed_run_has_left_is_no_obstacle() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("o.ndjson");
    std::fs::write(
        directory.path().join(".o.ndjson.partial"),
        "something much longer than the result".repeat(9),
    )
    .unwrap();
    write_all(&JsonFileBroker::new().write::<Location>(&path), vec![location(1)]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{A}\n"));
    assert_eq!(names_in(directory.path()), ["o.ndjson"]);
}

#[test]
fn two_runs_do_not_write_one_output() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("o.ndjson");
    let broker = JsonFileBroker::new().write::<Location>(&path);
    block_on(async {
        let mut first = outputs::<Location>(&broker).await.unwrap();
        first.sinks[0].write(vec![location(1)]).await.unwrap();
        let Err(error) = outputs::<Location>(&broker).await else { panic!("a second run") };
        assert!(told(&error).contains("another run is writing this output"), "{}", told(&error));
        first.committer.commit(&checkpoint(true, true)).await.unwrap();
        // Once it is finished the next may, and the first has nothing to clean up.
        drop(first.sinks);
        let mut second = loop {
            // Its writer lets go of the file when it has noticed.
            match outputs::<Location>(&broker).await {
                Ok(second) => break second,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
            }
        };
        drop(first.committer);
        second.sinks[0].write(vec![location(2)]).await.unwrap();
        second.committer.commit(&checkpoint(true, true)).await.unwrap();
    });
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{B}\n"));
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("deep/o.ndjson"), directory.path().join("link.ndjson"));
    std::fs::create_dir(directory.path().join("deep")).unwrap();
    std::fs::write(&path, "").unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    write_all(&JsonFileBroker::new().write::<Location>(&link), vec![location(1)]).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{A}\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let broker = JsonFileBroker::new().write::<Location>("/dev/full");
    let error = write_all(&broker, vec![location(1)]).unwrap_err();
    let text = told(&error);
    assert!(
        text.contains("cannot write `/dev/full` (free some space and run again): No space left"),
        "{text}"
    );
    // In the middle of a run the sink tells it, and goes on telling.
    block_on(async {
        let mut outputs = outputs::<Location>(&broker).await.unwrap();
        let mut error = None;
        for _ in 0..1000 {
            if let Err(told) = outputs.sinks[0].write((0..1000).map(location).collect()).await {
                error = Some(told);
                break;
            }
        }
        assert!(told(&error.unwrap()).contains("No space left"));
        assert!(
            told(&outputs.sinks[0].write(vec![location(1)]).await.unwrap_err()).contains("No space left")
        );
        let error = outputs.committer.commit(&checkpoint(true, true)).await.unwrap_err();
        assert!(told(&error).contains("No space left"));
    });
    assert!(!std::fs::metadata("/dev/full").unwrap().is_file());
}

struct Own;

impl Encode<Location> for Own {
    fn encode(&self, record: &Location, out: &mut Vec<u8>) -> Result<(), BoxError> {
        match record.time {
            0 => out.extend_from_slice(b"1,\n2"),
            1 => {}
            2 => return Err("no twos".into()),
            3 => panic!("no threes"),
            time => out.extend_from_slice(time.to_string().as_bytes()),
        }
        Ok(())
    }
}

#[test]
fn a_codec_of_ones_own_keeps_to_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("o.ndjson");
    let broker = JsonFileBroker::new().write_with::<Location>(&path, Own);
    write_all(&broker, vec![location(4), location(5)]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "4\n5\n");
    for (time, cause) in [(0, "line feed"), (1, "empty"), (2, "no twos"), (3, "the encoder panicked")] {
        let text = told(&write_all(&broker, vec![location(time)]).unwrap_err());
        assert!(text.contains(cause), "{text}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "4\n5\n");
}

#[test]
fn several_outputs_appear_together() {
    let directory = tempfile::tempdir().unwrap();
    let (good, bad) = (directory.path().join("good.ndjson"), directory.path().join("bad.ndjson"));
    let broker = JsonFileBroker::new().write::<Location>(&good).write_with::<Location>(&bad, Own);
    block_on(async {
        let mut outputs = outputs::<Location>(&broker).await.unwrap();
        outputs.sinks[0].write(vec![location(1)]).await.unwrap();
        outputs.sinks[1].write(vec![location(2)]).await.unwrap();
        assert!(outputs.committer.commit(&checkpoint(true, true)).await.is_err());
    });
    assert!(names_in(directory.path()).is_empty());
}
