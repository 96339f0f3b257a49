//! Runs every example as a newcomer would and compares what it writes with values that are computed here in another way.
//!
//! The examples are compiled by `cargo test` (and by `cargo build --examples`). Each runs in a directory of its own, with a copy of
//! `examples/data`, so that nothing here sees the results of another run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::{Value, json};

/// The names of all examples: every file `examples/*.rs`, but for the one that the README asks its reader to write.
fn all_examples() -> BTreeSet<String> {
    fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "mine")
        .collect()
}

/// A run of an example that went well.
struct Ran {
    directory: PathBuf,
    stdout: String,
}

impl Ran {
    fn example(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples").join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        let data = directory.join("examples/data");
        fs::create_dir_all(&data).unwrap();
        for entry in fs::read_dir(source_of("")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, data.join(path.file_name().unwrap())).unwrap();
        }
        let output = Command::new(executable(name)).current_dir(&directory).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the example `{name}` failed:\n{stdout}\n{stderr}");
        Self { directory, stdout }
    }

    /// What the example wrote to `out/{name}`: an array or NDJSON.
    fn output(&self, name: &str) -> Vec<Value> {
        records(&self.directory.join("out").join(name))
    }

    /// The row of a stream in the report: records, matched, unmatched, skipped, dead, pending.
    fn row(&self, stream: &str) -> [usize; 6] {
        let line = self.line(&format!("  {stream} "));
        let numbers: Vec<usize> =
            line.split_whitespace().skip(1).map(|number| number.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    }

    fn line(&self, start: &str) -> &str {
        let found = self.stdout.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no line begins with `{start}`:\n{}", self.stdout))
    }
}

fn executable(name: &str) -> PathBuf {
    // This test is `<target>/<profile>/deps/examples-<hash>`.
    let this = env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let path = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing; run `cargo build --examples` first", path.display());
    path
}

fn source_of(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(file)
}

fn data(file: &str) -> Vec<Value> {
    records(&source_of(file))
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    if text.starts_with('[') {
        serde_json::from_str(&text).unwrap()
    } else {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn every_example_has_a_test() {
    let here = include_str!("examples.rs");
    // Those that need servers, or other features.
    let elsewhere = [
        include_str!("kafka_example.rs"),
        include_str!("mongodb_example.rs"),
        include_str!("streams_example.rs"),
    ];
    for name in all_examples() {
        let quoted = format!("\"{name}\"");
        let tested = here.contains(&format!("Ran::example({quoted})"))
            || elsewhere
                .iter()
                .any(|test| test.contains(&quoted) || test.contains(&format!("\"{name}{{}}\"")));
        assert!(tested, "the example `{name}` has no test");
    }
}

#[test]
fn flight_connections() {
    /// Minutes since the year 2001 began; the flights are from its first three months.
    fn minutes(date: &str) -> i64 {
        let number = |from: usize, to: usize| date[from..to].parse::<i64>().unwrap();
        let days_before = [0, 31, 59][usize::try_from(number(5, 7)).unwrap() - 1];
        assert_eq!(number(0, 4), 2001);
        ((days_before + number(8, 10) - 1) * 24 + number(11, 13)) * 60 + number(14, 16)
    }

    let flights = data("flights-20k.json");
    let times: Vec<i64> = flights.iter().map(|flight| minutes(text(&flight["date"]))).collect();
    assert_eq!(flights.len(), 20_000);
    assert!(times.is_sorted());

    let mut expected = Vec::new();
    let mut used = BTreeSet::new();
    let mut airports = BTreeMap::<&str, (usize, usize)>::new();
    for (index, (flight, time)) in flights.iter().zip(&times).enumerate() {
        let onward: Vec<usize> = (index..flights.len())
            .skip_while(|&next| times[next] < time + 45)
            .take_while(|&next| times[next] <= time + 120)
            .filter(|&next| flights[next]["origin"] == flight["destination"])
            .collect();
        if onward.is_empty() {
            continue;
        }
        let tally = airports.entry(text(&flight["destination"])).or_default();
        tally.0 += onward.len();
        tally.1 += 1;
        expected.push(json!({
            "date": flight["date"],
            "origin": flight["origin"],
            "airport": flight["destination"],
            "onward": onward.iter().map(|&next| flights[next]["destination"].clone()).collect::<Vec<_>>(),
        }));
        used.extend(onward);
    }

    let ran = Ran::example("flight_connections");
    let written = ran.output("flight-connections.ndjson");
    assert_eq!(written.len(), expected.len());
    for (written, expected) in written.iter().zip(&expected) {
        assert_eq!(written, expected);
    }

    let (with, without) = (expected.len(), flights.len() - expected.len());
    assert!(
        ran.stdout.contains(&format!("flight_connections: {with} calls, {with} results")),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.row("Flight"), [20_000, with, without, 0, 0, 0]);
    assert_eq!(ran.row("Onward"), [20_000, used.len(), 20_000 - used.len(), 0, 0, 0]);

    let mut ranked: Vec<_> = airports.into_iter().collect();
    ranked.sort_by_key(|(airport, (connections, _))| (std::cmp::Reverse(*connections), *airport));
    let table: Vec<String> = ranked
        .iter()
        .take(10)
        .map(|(airport, (connections, flights))| format!("{airport} {connections} {flights}"))
        .collect();
    let printed: Vec<String> = ran
        .stdout
        .lines()
        .skip(1)
        .take(10)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(printed, table);
}

#[test]
fn robot_speed() {
    let places = data("robot-locations.json");
    let ran = Ran::example("robot_speed");
    let written = ran.output("robot-speed.json");
    assert_eq!(written.len(), places.len() - 1);
    for (result, step) in written.iter().zip(places.windows(2)) {
        let (dx, dy) =
            (float(&step[1]["x"]) - float(&step[0]["x"]), float(&step[1]["y"]) - float(&step[0]["y"]));
        assert_eq!(
            (&result["time_from"], &result["time_to"]),
            (&step[0]["time"], &step[1]["time"]),
            "{result}"
        );
        assert!(close(float(&result["speed"]), (dx * dx + dy * dy).sqrt() / 10.0), "{result}");
    }
    assert_eq!(ran.row("RobotLocation"), [60, 59, 1, 0, 0, 0]);
    // A JSON array, as the name of the file asks for.
    assert!(fs::read_to_string(ran.directory.join("out/robot-speed.json")).unwrap().starts_with('['));
}

#[cfg(feature = "prometheus")]
#[test]
fn metrics() {
    let places = data("robot-locations.json");
    let ran = Ran::example("metrics");
    let of = |metric: &str, stream: &str| -> usize {
        let line = ran.line(&format!("watermill_{metric}{{function=\"robot_speed\",lane=\"0\"{stream}}} "));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(of("calls_total", ""), places.len() - 1);
    for stream in ["RobotLocation", "NextLocation"] {
        let of = |metric: &str| of(&format!("records_{metric}"), &format!(",stream=\"{stream}\""));
        assert_eq!(
            (of("read_total"), of("matched_total"), of("unmatched_total")),
            (places.len(), places.len() - 1, 1)
        );
        assert_eq!((of("skipped_total"), of("dead_lettered_total"), of("pending")), (0, 0, 0));
    }
    assert_eq!(ran.output("robot-speed.ndjson").len(), places.len() - 1);
}

#[test]
fn audio_video() {
    let (video, stills) = (data("video.ndjson"), data("stills.ndjson"));
    let mut expected = Vec::new();
    for audio in data("audio.ndjson") {
        let second = int(&audio["time_seconds"]);
        let frames: Vec<f64> = video
            .iter()
            .filter(|frame| (second * 1000..(second + 1) * 1000).contains(&int(&frame["time_ms"])))
            .map(|frame| float(&frame["brightness"]))
            .collect();
        let still = stills
            .iter()
            .find(|still| int(&still["first_frame_seconds"]) + 2 * int(&still["frame_index"]) == second);
        if !frames.is_empty() {
            expected.push(json!({
                "time_seconds": second,
                "loudness": audio["loudness"],
                "frames": frames.len(),
                "brightest": frames.iter().copied().fold(f64::MIN, f64::max),
                "still": still.map(|still| &still["picture"]),
            }));
        }
    }
    let ran = Ran::example("audio_video");
    assert_eq!(ran.output("audio-video.ndjson"), expected);
    assert!(expected.iter().any(|row| row["still"].is_null()) && expected.len() < 20);
}

#[test]
fn path_statistics() {
    let places = data("robot-locations.json");
    let mut minutes = BTreeMap::<i64, (usize, f64, usize)>::new();
    for step in places.windows(2) {
        let (dx, dy) =
            (float(&step[1]["x"]) - float(&step[0]["x"]), float(&step[1]["y"]) - float(&step[0]["y"]));
        let metres = (dx * dx + dy * dy).sqrt();
        let minute = minutes.entry(int(&step[0]["time"]) / 60).or_default();
        minute.0 += 1;
        minute.1 += metres;
        minute.2 += usize::from(metres / 10.0 > 0.0714);
    }
    let written = Ran::example("path_statistics").output("path-statistics.ndjson");
    assert_eq!(written.len(), minutes.len());
    for (result, (minute, (steps, metres, too_fast))) in written.iter().zip(minutes) {
        assert_eq!((&result["minute"], &result["steps"]), (&json!(minute), &json!(steps)), "{result}");
        assert_eq!(result["too_fast"], json!(too_fast), "{result}");
        assert!(close(float(&result["metres"]), metres), "{result}");
    }
}

#[test]
fn merge_three() {
    let (lines, products, payments) =
        (data("order-lines.ndjson"), data("products.ndjson"), data("payments.ndjson"));
    let mut expected = Vec::new();
    for order in data("orders.ndjson") {
        let prices: Vec<i64> = lines
            .iter()
            .filter(|line| line["order"] == order["id"])
            .filter_map(|line| {
                let product = products.iter().find(|product| product["sku"] == line["sku"])?;
                Some(int(&line["quantity"]) * int(&product["cents"]))
            })
            .collect();
        let paid = payments.iter().filter(|payment| payment["order"] == order["id"]);
        if !prices.is_empty() {
            expected.push(json!({
                "order": order["id"],
                "customer": order["customer"],
                "lines": prices.len(),
                "cents": prices.iter().sum::<i64>(),
                "paid": paid.map(|payment| int(&payment["cents"])).sum::<i64>(),
            }));
        }
    }
    let ran = Ran::example("merge_three");
    assert_eq!(ran.output("invoices.ndjson"), expected);
    assert_eq!(expected.len(), 4);
    assert!(ran.stdout.contains("├─ Line: inner, id = order\n│  └─ Product: inner, sku"), "{}", ran.stdout);
}

#[test]
fn word_count() {
    let mut expected = BTreeMap::<(i64, String), i64>::new();
    for line in data("alice.ndjson") {
        let plain: String = text(&line["text"])
            .chars()
            .map(|c| if c.is_alphabetic() || c == '\'' { c.to_ascii_lowercase() } else { ' ' })
            .collect();
        for word in plain.split_whitespace() {
            *expected.entry((int(&line["chapter"]), word.to_owned())).or_default() += 1;
        }
    }
    let written = Ran::example("word_count").output("word-count.ndjson");
    let order: Vec<_> = written.iter().map(|row| (int(&row["chapter"]), -int(&row["count"]))).collect();
    assert!(order.is_sorted());
    let counts: BTreeMap<_, _> = written
        .iter()
        .map(|row| ((int(&row["chapter"]), text(&row["word"]).to_owned()), int(&row["count"])))
        .collect();
    assert_eq!(counts.len(), written.len());
    assert_eq!(counts, expected);
}

#[test]
fn filtering() {
    let known: Vec<Value> = data("sensors.ndjson").iter().map(|sensor| sensor["name"].clone()).collect();
    let readings = data("readings.ndjson");
    let good: Vec<&Value> = readings.iter().filter(|reading| reading["celsius"].is_number()).collect();
    let kept: Vec<&Value> =
        good.iter().copied().filter(|reading| known.contains(&reading["sensor"])).collect();
    let warmer = |than: f64| {
        kept.iter().filter(move |reading| float(&reading["celsius"]) > than).map(|&reading| reading.clone())
    };

    let ran = Ran::example("filtering");
    assert_eq!(ran.output("warm-readings.ndjson"), warmer(20.0).collect::<Vec<_>>());
    assert_eq!(ran.output("alarms.ndjson"), warmer(30.0).collect::<Vec<_>>());
    assert_eq!(
        ran.row("Reading"),
        [readings.len(), kept.len(), good.len() - kept.len(), readings.len() - good.len(), 0, 0]
    );
    assert!(kept.len() < good.len() && good.len() < readings.len() && warmer(30.0).count() > 0);
}

#[test]
fn sorted_window() {
    let lines = data("order-lines.ndjson");
    let mut expected: Vec<Value> = Vec::new();
    let mut waiting: Vec<&Value> = Vec::new();
    let mut picked = 0;
    let mut round = |waiting: &mut Vec<&Value>| {
        // Quantities that are equal stay in their order.
        waiting.sort_by_key(|line| int(&line["quantity"]));
        let next: Vec<String> = waiting
            .drain(..waiting.len().min(4))
            .map(|line| format!("{} {} for {}", line["quantity"], text(&line["sku"]), line["order"]))
            .collect();
        picked += next.len();
        let round = expected.len();
        expected.push(json!({ "round": round, "lines": next }));
    };
    for line in lines.iter().filter(|line| int(&line["quantity"]) % 2 == 0) {
        waiting.push(line);
        if waiting.len() == 4 {
            round(&mut waiting);
        }
    }
    if !waiting.is_empty() {
        round(&mut waiting);
    }

    let ran = Ran::example("sorted_window");
    assert_eq!(ran.output("picked.ndjson"), expected);
    assert!(expected.len() > 1);
    assert_eq!(ran.row("OrderLine"), [lines.len(), picked, lines.len() - picked, 0, 0, 0]);
}

#[test]
fn dead_letters() {
    let known: Vec<Value> = data("sensors.ndjson").iter().map(|sensor| sensor["name"].clone()).collect();
    let text = fs::read_to_string(source_of("readings.ndjson")).unwrap();
    let warm = |text: &str| -> Vec<Value> {
        let readings = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let kept = readings.filter(|reading| known.contains(&reading["sensor"]));
        let warm = kept.filter(|reading| reading["celsius"].as_f64().is_some_and(|celsius| celsius > 20.0));
        warm.map(|reading| json!({"time": reading["time"], "celsius": reading["celsius"]})).collect()
    };
    let (bad, good): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.contains("n/a"));

    let ran = Ran::example("dead_letters");
    assert_eq!(ran.output("warm.ndjson"), warm(&good.join("\n")));
    let letters = ran.output("dead-letters.ndjson");
    assert_eq!(letters.iter().map(|letter| letter["raw"].as_str().unwrap()).collect::<Vec<_>>(), bad);
    assert_eq!(
        (&letters[0]["kind"], &letters[0]["number"], &letters[0]["stream"]),
        (&json!("shape"), &json!(17), &json!("Reading"))
    );
    // Both together are what mended input gives.
    let mended = warm(&text.replace("\"n/a\"", "22.5"));
    let both = [ran.output("warm.ndjson"), ran.output("warm-replayed.ndjson")].concat();
    let by_text = |mut all: Vec<Value>| {
        all.sort_by_key(Value::to_string);
        all
    };
    assert_eq!(by_text(both), by_text(mended));
    assert_eq!(ran.output("warm-replayed.ndjson").len(), 1);
    assert_eq!(ran.output("dead-letters-again.ndjson"), Vec::<Value>::new());
}
