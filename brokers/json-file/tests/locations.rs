//! Directories, patterns, standard streams, and locations that cannot be.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::*;
use watermill_core::broker::{Broker, InputEnd};
use watermill_core::error::BadCause;
use watermill_json_file::JsonFileBroker;

fn put(path: &Path, times: &[i64]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let records: Vec<_> = times.iter().copied().map(location).collect();
    fs::write(path, serde_json::to_string(&records).unwrap()).unwrap();
}

/// Three files with 1 to 5 in them, of every kind, and some that do not count.
fn several() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    put(&data.join("2024-02.json"), &[3]);
    put(&data.join("2024-01.json"), &[1, 2]);
    put(&data.join(".hidden.json"), &[100]);
    put(&data.join("below/2024-04.json"), &[200]);
    let lines = format!(
        "{}\n\n{}",
        serde_json::to_string(&location(4)).unwrap(),
        serde_json::to_string(&location(5)).unwrap()
    );
    fs::write(data.join("2024-03.json"), lines).unwrap();
    (directory, data)
}

fn times(all: &Yield<Location>) -> Vec<i64> {
    all.records.iter().map(|record| record.time).collect()
}

#[test]
fn a_directory_is_one_stream_in_the_order_of_names() {
    let (_directory, data) = several();
    let all = read_all::<Location>(&JsonFileBroker::new().read::<Location>(&data)).unwrap();
    assert_eq!(times(&all), [1, 2, 3, 4, 5]);
    assert_eq!(all.end, Some(InputEnd::Exhausted));
    assert_eq!(all.places.iter().map(|place| place.2).collect::<Vec<_>>(), [0, 1, 0, 0, 1]);
    assert!(all.places[2].0.ends_with("data/2024-02.json`"), "{}", all.places[2].0);
    let size: u64 = ["1", "2", "3"]
        .iter()
        .map(|m| fs::metadata(data.join(format!("2024-0{m}.json"))).unwrap().len())
        .sum();
    assert_eq!((all.size, all.progress), (Some(size), size));
}

#[test]
fn a_pattern_is_one_stream_in_the_order_of_names() {
    let (directory, data) = several();
    let read = |pattern: PathBuf| {
        times(&read_all::<Location>(&JsonFileBroker::new().read::<Location>(pattern)).unwrap())
    };
    assert_eq!(read(data.join("2024-*.json")), [1, 2, 3, 4, 5]);
    assert_eq!(read(data.join("2024-0[23].json")), [3, 4, 5]);
    assert_eq!(read(directory.path().join("**/2024-0[34].json")), [4, 5, 200]);
    // A file whose name looks like a pattern is that file.
    put(&data.join("[x]*.json"), &[9]);
    assert_eq!(read(data.join("[x]*.json")), [9]);
}

#[test]
fn the_mark_ends_all_files_and_a_cut_file_is_not_followed_by_the_next() {
    let (_directory, data) = several();
    fs::write(data.join("2024-02.json"), "{\"eos__\": true}").unwrap();
    let all = read_all::<Location>(&JsonFileBroker::new().read::<Location>(&data)).unwrap();
    assert_eq!((times(&all), all.end), (vec![1, 2], Some(InputEnd::Mark)));
    fs::write(data.join("2024-02.json"), "[").unwrap();
    let all = read_all::<Location>(&JsonFileBroker::new().read::<Location>(&data)).unwrap();
    assert_eq!((times(&all), all.end), (vec![1, 2], None));
    assert!(matches!(all.only_fault().error.cause, BadCause::Truncated));
    assert!(all.only_fault().error.to_string().contains("2024-02.json`, byte 1, record 0"));
}

#[track_caller]
fn refused(broker: JsonFileBroker, parts: &[&str]) {
    let error = broker.catalog().map(drop).and_then(|()| {
        block_on(async {
            let mut session = broker.open(&job(&broker)?).await?;
            session.outputs(&LANE).await?;
            for source in session.sources(&LANE, &[]).await? {
                drain(&mut *source.typed::<Location>().unwrap()).await?;
            }
            Ok(())
        })
    });
    let text = told(&error.unwrap_err());
    for part in parts {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.starts_with("JsonFileBroker: cannot "), "{text}");
}

#[test]
fn what_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| JsonFileBroker::new().read::<Location>(directory.path().join(name));
    refused(at("missing.json"), &["open", "missing.json", "check the path", "No such file"]);
    refused(at("miss*.json"), &["miss*.json", "at least one"]);
    refused(at("a[.json"), &["a[.json", "write `[[]` for a bracket", "invalid range pattern"]);
    refused(at(""), &["at least one"]);
    refused(JsonFileBroker::new().read::<Location>(""), &["open"]);
}

#[cfg(unix)]
#[test]
fn what_must_not_be_read_or_written() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret.json");
    put(&secret, &[1]);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::File::open(&secret).is_ok() {
        // The superuser may do everything, except to what the kernel keeps for itself.
        refused(JsonFileBroker::new().write::<Location>("/proc/out.json"), &["write", "/proc/out.json"]);
        return;
    }
    refused(
        JsonFileBroker::new().read::<Location>(&secret),
        &["open", "secret.json", "who may use it", "denied"],
    );
    refused(
        JsonFileBroker::new().write::<Location>(closed.join("o.json")),
        &["write", "o.json", "who may use it", "denied"],
    );
}

#[test]
fn what_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let to = |name: &str| JsonFileBroker::new().write::<Location>(directory.path().join(name));
    fs::create_dir(directory.path().join("d.json")).unwrap();
    refused(to("d.json"), &["write", "d.json", "it is a directory"]);
    put(&directory.path().join("file"), &[]);
    refused(to("file/o.json"), &["write", "file/o.json"]);
    refused(to("o.csv"), &["o.csv", "which format", "output_format"]);
    refused(to("o"), &["which format"]);
}

#[test]
fn one_file_as_input_and_output() {
    let (directory, data) = several();
    let target = data.join("2024-01.json");
    let both =
        |read: &Path, write: &Path| JsonFileBroker::new().read::<Location>(read).write::<Location>(write);
    let refuse =
        |read: &Path, write: &Path| refused(both(read, write), &["use", "`Location` is read from it"]);
    refuse(&target, &target);
    refuse(&target, &data.join("below/../2024-01.json"));
    refuse(&data, &target);
    refuse(&data, &data.join("new.json"));
    refuse(&data.join("2024-*.json"), &data.join("2024-09.json"));
    refuse(&directory.path().join("**/*.json"), &data.join("deeper/new.json"));
    refuse(&data.join("new.json"), &data.join("new.json"));
    #[cfg(unix)]
    {
        let link = directory.path().join("link.json");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        refuse(&target, &link);
        refuse(&link, &target);
        let hard = directory.path().join("hard.json");
        std::fs::hard_link(&target, &hard).unwrap();
        refuse(&target, &hard);
        refuse(&data, &hard);
        let linked = directory.path().join("linked");
        std::os::unix::fs::symlink(&data, &linked).unwrap();
        refuse(&linked, &data.join("new.json"));
        refuse(&linked.join("*.json"), &data.join("new.json"));
    }
    // These are fine.
    for (read, write) in [
        (data.clone(), data.join(".hidden-too.json")),
        (data.clone(), data.join("below/new.json")),
        (data.join("2024-*.json"), data.join("2025-01.json")),
        (target.clone(), directory.path().join("2024-01.json")),
    ] {
        both(&read, &write).catalog().unwrap();
    }
}

#[test]
fn two_of_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a.json"), directory.path().join("b.json"));
    put(&a, &[]);
    let new = JsonFileBroker::new;
    refused(new().read::<Location>(&a).read::<Location>(&b), &["`Location` is read from", "read_as"]);
    refused(
        new().read_as::<Location>("x", &a).read_as::<Location>("x", &b),
        &["`Location` \"x\"", "read_as"],
    );
    refused(new().write::<Location>(&b).write::<Next>(directory.path().join("./b.json")), &["both written"]);
    refused(new().write::<Location>("-").write::<Next>("-"), &["both written"]);
    refused(new().read::<Location>("-").read::<Next>("-"), &["standard input", "one stream only"]);
    new().read::<Location>(&a).read_as::<Location>("x", &a).read::<Next>(&a).catalog().unwrap();
}

/// This test is also the child that the next one runs.
#[test]
fn copy_standard_input_to_standard_output() {
    if std::env::var_os("WATERMILL_TEST_CHILD").is_none() {
        return;
    }
    let broker = JsonFileBroker::new().read::<Location>("-").write::<Location>("-");
    block_on(async {
        let mut sources = sources::<Location>(&broker, &[None]).await.unwrap();
        let mut outputs = outputs::<Location>(&broker).await.unwrap();
        assert_eq!(sources[0].size(), None);
        loop {
            let batch = sources[0].next().await.unwrap();
            assert!(batch.faults.is_empty());
            outputs.sinks[0].write(batch.records).await.unwrap();
            if batch.end.is_some() {
                break;
            }
        }
        outputs.committer.commit(&checkpoint(true, false)).await.unwrap();
    });
}

#[test]
fn standard_input_and_output_go_on_as_they_come() {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "-q", "copy_standard_input_to_standard_output"])
        .env("WATERMILL_TEST_CHILD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .filter(|line| line.starts_with('{'));
    for time in 1..4 {
        let line = serde_json::to_string(&location(time)).unwrap();
        writeln!(input, "{line}").unwrap();
        // It comes back although the input goes on.
        assert_eq!(output.next().unwrap(), line);
    }
    drop(input);
    assert_eq!(output.next(), None);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_source_of_standard_input_can_be_given_up() {
    if std::env::var_os("WATERMILL_TEST_CHILD").is_some() {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "-q", "give_up_standard_input"])
        .env("WATERMILL_TEST_GIVE_UP", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Its input stays open, and silent.
    let input = child.stdin.take();
    assert!(child.wait().unwrap().success());
    drop(input);
}

#[test]
fn give_up_standard_input() {
    if std::env::var_os("WATERMILL_TEST_GIVE_UP").is_none() {
        return;
    }
    let broker = JsonFileBroker::new().read::<Location>("-");
    block_on(async {
        let mut sources = sources::<Location>(&broker, &[None]).await.unwrap();
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), sources[0].next());
        assert!(waiting.await.is_err());
    });
}
