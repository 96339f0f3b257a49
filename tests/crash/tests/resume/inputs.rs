//! Inputs that change between runs, and what is read of them again.

use super::*;

/// The master of `filter`, with a line that is no record.
fn with_bad_line(streams: &Streams, at: usize, bad: &str) -> (TempDir, Vec<u8>, Vec<u8>) {
    let directory = trial(streams);
    let good = fs::read(directory.path().join("a.ndjson")).unwrap();
    let mut texts: Vec<String> =
        String::from_utf8(good.clone()).unwrap().lines().map(str::to_owned).collect();
    texts[at] = bad.to_owned();
    (directory, good, lines(&texts))
}

#[test]
fn a_bad_record_is_mended_behind_the_committed_position() {
    let streams = Streams::random(&mut Seed::new(7), 100);
    for mill in ["within-and", "count-window", "lookup", "two-outputs"] {
        let expected = undisturbed(mill, &streams);
        for bad in ["{\"id\": 1, ", "{\"id\": 70, \"time\": -1, \"robot\": 1}"] {
            if bad.contains("-1") && (mill == "lookup" || mill == "two-outputs") {
                continue;
            }
            let (directory, good, broken) = with_bad_line(&streams, 70, bad);
            let input = directory.path().join("a.ndjson");
            fs::write(&input, broken).unwrap();
            for settings in [calls(7), calls(1), calls(10)] {
                // Again and again at the same record.
                let error = told(&run(mill, directory.path(), &settings).unwrap_err());
                assert!(error.contains("bad record in stream `A`"), "{mill}: {error}");
                assert!(error.contains("record 70"), "{mill}: {error}");
            }
            fs::write(&input, good).unwrap();
            let report = run(mill, directory.path(), &calls(7)).unwrap();
            assert!(report.calls < 50, "{report}");
            assert!(outputs(mill, directory.path()) == expected, "{mill}");
        }
    }
}

/// A key that goes down right behind the committed position is found by the next run too, on either side of a join.
#[test]
fn a_key_that_goes_down_behind_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let text = |times: &[i64]| {
        let texts: Vec<String> = times
            .iter()
            .enumerate()
            .map(|(id, time)| format!(r#"{{"id":{id},"time":{time},"robot":0}}"#))
            .collect();
        lines(&texts)
    };
    let rising: Vec<i64> = (0..40).collect();
    let mut falling = rising.clone();
    falling[20] = 3;
    for (a, b, stream) in [(&falling, &rising, "A"), (&rising, &falling, "B")] {
        for batch in [10, 200, 100_000] {
            fs::write(at("a"), text(a)).unwrap();
            fs::write(at("b"), text(b)).unwrap();
            for start_over in [true, false, false] {
                let mill = Mill::new(|a: &A, b: &Joined<A, B>| Saw::of(vec![a.id, b[a].len() as i64]))
                    .join(JoinWith::new(A::fields().time, B::fields().time).left())
                    .commit_after_calls(1);
                let mut broker = JsonFileBroker::new()
                    .read::<A>(at("a"))
                    .read::<B>(at("b"))
                    .write::<Saw>(at("o.ndjson"))
                    .batch_bytes(batch);
                if start_over {
                    broker = broker.start_over();
                }
                let error = told(&mill.run_blocking(broker).unwrap_err());
                assert!(error.contains(&format!("bad record in stream `{stream}`")), "{error}");
                assert!(error.contains("record 20"), "{error}");
                assert!(error.contains("goes down, from 19 to 3"), "{error}");
            }
        }
    }
}

#[test]
fn an_input_that_was_changed_is_refused() {
    let streams = Streams::random(&mut Seed::new(3), 200);
    let mill = "within-and";
    let expected = undisturbed(mill, &streams);
    let directory = broken_off(mill, &streams, 150);
    let input = directory.path().join("a.ndjson");
    let good = fs::read(&input).unwrap();
    let state = json_state(&state_of(directory.path(), mill));
    let next = state["inputs"][0]["position"]["next"].as_u64().unwrap() as usize;
    let refused = |bytes: &[u8], why: &str| {
        fs::write(&input, bytes).unwrap();
        let before = fs::read(hidden(directory.path(), outputs_of(mill)[0], "partial")).unwrap();
        for _ in 0..2 {
            let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
            assert!(error.contains(why), "{error}");
            assert!(error.contains("a.ndjson") && error.contains("start_over()"), "{error}");
        }
        let after = fs::read(hidden(directory.path(), outputs_of(mill)[0], "partial")).unwrap();
        assert!(before == after, "a refused run has touched the output");
    };
    refused(&good[..next - 1], "shorter");
    refused(&good[..10], "shorter");
    let mut other = good.clone();
    other[7] ^= 1;
    refused(&other, "beginning has changed");
    let mut other = good.clone();
    other[next - 3] ^= 1;
    refused(&other, "changed");
    fs::remove_file(&input).unwrap();
    let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
    assert!(error.contains("a.ndjson"), "{error}");
    // What stands behind the position may change; here it only comes back.
    fs::write(&input, &good).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == expected);
}

#[test]
fn what_was_appended_after_a_stop_is_read() {
    let rows = |count: i64| (0..count).map(|id| (id, id, 0)).collect::<Vec<_>>();
    let all = Streams { a: rows(120), b: rows(120), c: rows(120) };
    for mill in ["count-window", "within-and"] {
        let expected = undisturbed(mill, &all);
        for batch_bytes in [50, 100_000] {
            // The right stream ends long before the master is through, and both grow.
            let first = Streams { a: rows(90), b: rows(30), c: rows(120) };
            let directory = broken_off_with(mill, &first, 70, batch_bytes);
            all.write(directory.path());
            run(mill, directory.path(), &Settings { batch_bytes, ..calls(7) }).unwrap();
            // Masters before the stop have not seen what came later, those behind it have.
            let found = String::from_utf8(outputs(mill, directory.path()).remove(0)).unwrap();
            let expected = String::from_utf8(expected[0].clone()).unwrap();
            let behind = |text: &str| -> Vec<String> {
                let first = if mill == "count-window" { 70 / 7 } else { 70 };
                text.lines().skip(first).map(str::to_owned).collect()
            };
            assert!(!behind(&found).is_empty());
            assert_eq!(behind(&found), behind(&expected), "{mill}, batches of {batch_bytes}");
            assert_eq!(found.lines().count(), expected.lines().count(), "{mill}");
        }
    }
}

/// What stands behind an EndOfStream mark is never read, not by the next run either.
#[test]
fn a_mark_ends_a_stream_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let record = |id: i64| format!("{{\"id\":{id},\"time\":{id},\"robot\":0}}\n");
    // The mark stands first, or behind records.
    for before in [0, 10] {
        drop(fs::remove_file(at("o.ndjson")));
        fs::write(at("a"), (0..40).map(record).collect::<String>()).unwrap();
        fs::write(at("b"), (0..before).map(record).collect::<String>() + "{\"eos__\": true}\n" + &record(30))
            .unwrap();
        let fail = AtomicI64::new(25);
        let fail = std::sync::Arc::new(fail);
        for (turn, until) in [(0, 20), (1, 25), (2, 1000)] {
            fail.store(until, Ordering::Relaxed);
            let own = std::sync::Arc::clone(&fail);
            let mill = Mill::new(move |a: &A, b: &Joined<A, B>| {
                if a.id == own.load(Ordering::Relaxed) {
                    Err("was to fail")
                } else {
                    Ok(Saw::of(vec![a.id, b[a].len() as i64]))
                }
            })
            .join(JoinWith::new(A::fields().time, B::fields().time).left())
            .commit_after_calls(1);
            let broker = JsonFileBroker::new()
                .read::<A>(at("a"))
                .read::<B>(at("b"))
                .write::<Saw>(at("o.ndjson"))
                .batch_bytes(30);
            assert_eq!(mill.run_blocking(broker).is_ok(), turn == 2);
        }
        let text = fs::read_to_string(at("o.ndjson")).unwrap();
        let matched = text.lines().filter(|line| line.contains(",1],")).count();
        assert_eq!((text.lines().count(), matched), (40, before as usize));
    }
}

/// Files of a directory that a run is through with may be taken away; new ones behind are read.
#[test]
fn directories_change_between_runs() {
    let streams = Streams::random(&mut Seed::new(14), 90);
    let mill = "parts";
    let expected = undisturbed(mill, &streams);
    for id in [10, 29, 30, 31, 45, 59, 60, 61, 80] {
        let directory = broken_off_with(mill, &streams, id, 100);
        let parts = directory.path().join("parts");
        if id > 30 {
            fs::remove_file(parts.join("1.ndjson")).unwrap();
        }
        if id > 60 {
            fs::remove_file(parts.join("2.json")).unwrap();
        }
        run(mill, directory.path(), &calls(7)).unwrap();
        assert!(outputs(mill, directory.path()) == expected, "broken off at {id}");
    }
    // A new file.
    let directory = broken_off_with(mill, &streams, 80, 100);
    let more: Vec<String> = (90..95).map(|id| format!(r#"{{"id":{id},"time":{id},"robot":0}}"#)).collect();
    fs::write(directory.path().join("parts/4.json"), array(&more)).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    let text = String::from_utf8(outputs(mill, directory.path()).remove(0)).unwrap();
    assert_eq!(text.lines().count(), 95);
    // The file it stopped in is gone.
    let directory = broken_off_with(mill, &streams, 45, 100);
    fs::remove_file(directory.path().join("parts/2.json")).unwrap();
    let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
    assert!(error.contains("2.json") && error.contains("not there any more"), "{error}");
    assert!(error.contains("start_over()"), "{error}");
}

#[test]
fn in_the_middle_of_compressed_inputs() {
    let streams = Streams::random(&mut Seed::new(15), 120);
    let run_over = |directory: &Path, fail: i64| {
        let mill =
            Mill::new(move |a: &A| if a.id == fail { Err("was to fail") } else { Ok(Saw::of(vec![a.id])) })
                .commit_after_calls(5);
        let broker = JsonFileBroker::new()
            .read::<A>(directory.join("a.gz"))
            .write::<Saw>(directory.join("o.json.zst"))
            .batch_bytes(200);
        mill.run_blocking(broker)
    };
    let directory = trial(&streams);
    let text = fs::read(directory.path().join("a.ndjson")).unwrap();
    fs::write(directory.path().join("a.gz"), gzip(&text)).unwrap();
    for fail in [1, 20, 40, 41, 100, 119] {
        run_over(directory.path(), fail).unwrap_err();
    }
    // Another member may be appended; that is more input.
    let mut grown = gzip(&text);
    grown.extend(gzip(b"{\"id\":120,\"time\":9999,\"robot\":0}\n"));
    fs::write(directory.path().join("a.gz"), &grown).unwrap();
    run_over(directory.path(), -1).unwrap();
    let mut packed = &*fs::read(directory.path().join("o.json.zst")).unwrap();
    assert!(packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    // Read back by a mill: one record for each id.
    packed = &packed[..4];
    assert_eq!(packed.len(), 4);
    let ids = Collected::<Saw>::new();
    let broker = JsonFileBroker::new()
        .read::<Saw>(directory.path().join("o.json.zst"))
        .and(MemoryBroker::new().write(&ids));
    fn same(saw: &Saw) -> Saw {
        saw.clone()
    }
    Mill::new(same).run_blocking(broker).unwrap();
    let ids: Vec<i64> = ids.take().into_iter().map(|saw| saw.ids[0]).collect();
    assert_eq!(ids, (0..=120).collect::<Vec<_>>());
    // Another content is refused.
    run_over(directory.path(), 60).unwrap_err();
    fs::write(directory.path().join("a.gz"), gzip(&text[..text.len() / 2])).unwrap();
    let error = told(&run_over(directory.path(), -1).unwrap_err());
    assert!(error.contains("a.gz") && error.contains("start_over()"), "{error}");
}

/// Marks at the end of outputs come once, however often the run was broken off.
#[test]
fn marks_come_once() {
    let streams = Streams::random(&mut Seed::new(16), 100);
    let mill = "two-outputs";
    let marked = Settings { mark_eos: true, ..calls(3) };
    let calm = trial(&streams);
    run(mill, calm.path(), &marked).unwrap();
    let expected = outputs(mill, calm.path());
    assert!(expected.iter().all(|text| String::from_utf8_lossy(text).matches("eos__").count() == 1));
    let directory = trial(&streams);
    for id in (10..80).step_by(3) {
        run(mill, directory.path(), &Settings { fail_at: Some(id), ..marked.clone() }).unwrap_err();
    }
    run(mill, directory.path(), &marked).unwrap();
    assert!(outputs(mill, directory.path()) == expected);
}

/// Numbers of records are told right behind bad ones that were skipped, in this run and in the next.
#[test]
fn numbers_behind_skipped_records() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let texts: Vec<String> = (0..60)
        .map(|id| match id % 5 {
            1 => "no record".to_owned(),
            _ => format!(r#"{{"id":{id},"time":{id},"robot":0}}"#),
        })
        .collect();
    fs::write(at("a"), lines(&texts)).unwrap();
    for batch in [10, 300, 100_000] {
        fs::remove_file(at("o.ndjson")).ok();
        for id in [12, 30, 44, 59] {
            let mill =
                Mill::new(move |a: &A| if a.id == id { Err("was to fail") } else { Ok(Saw::of(vec![a.id])) })
                    .on_bad::<A>(OnBad::Skip)
                    .commit_after_calls(3);
            let broker =
                JsonFileBroker::new().read::<A>(at("a")).write::<Saw>(at("o.ndjson")).batch_bytes(batch);
            let error = told(&mill.run_blocking(broker).unwrap_err());
            assert!(error.contains(&format!("record {id}:")), "batches of {batch}: {error}");
        }
        let mill = Mill::new(move |a: &A| Saw::of(vec![a.id])).on_bad::<A>(OnBad::Skip).commit_after_calls(3);
        let broker = JsonFileBroker::new().read::<A>(at("a")).write::<Saw>(at("o.ndjson")).batch_bytes(batch);
        let report = mill.run_blocking(broker).unwrap();
        assert_eq!(report.inputs[0].skipped, 0, "{report}");
        assert_eq!(fs::read_to_string(at("o.ndjson")).unwrap().lines().count(), 48);
    }
}
