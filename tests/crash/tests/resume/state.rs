//! What an earlier run has left: damaged, of another mill, incomplete.

use super::*;

#[test]
fn a_state_that_is_cut_or_damaged_is_refused_and_nothing_is_lost() {
    let streams = Streams::random(&mut Seed::new(5), 60);
    let mill = "two-outputs";
    let expected = undisturbed(mill, &streams);
    let directory = broken_off(mill, &streams, 40);
    let path = state_of(directory.path(), mill);
    let state = fs::read(&path).unwrap();
    let held = || -> Vec<Vec<u8>> {
        let of = |name: &&str| fs::read(hidden(directory.path(), name, "partial")).unwrap();
        outputs_of(mill).iter().map(of).collect()
    };
    let before = held();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
        assert!(error.contains("state") && error.contains("start over"), "{error}");
        assert!(error.contains(".saw.json.state"), "{error}");
        assert!(held() == before, "something of the outputs was lost");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    };
    for cut in 0..state.len() {
        refused(&state[..cut]);
    }
    let mut seed = Seed::new(9);
    for at in 0..state.len() {
        let mut changed = state.clone();
        changed[at] ^= 1 << seed.below(8);
        refused(&changed);
    }
    for at in [0, state.len() / 2, state.len() - 1] {
        for byte in 0..=u8::MAX {
            let mut changed = state.clone();
            changed[at] = byte;
            if changed != state {
                refused(&changed);
            }
        }
    }
    fs::write(&path, &state).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == expected);
}

#[test]
fn a_state_of_another_layout_or_another_mill_is_refused() {
    let streams = Streams::random(&mut Seed::new(6), 60);
    let directory = broken_off("within-and", &streams, 40);
    let path = state_of(directory.path(), "within-and");
    let state = json_state(&path);
    let refused = |change: &dyn Fn(&mut serde_json::Value), why: &str| {
        let mut other = state.clone();
        change(&mut other);
        put_state(&path, &other.to_string());
        let error = told(&run("within-and", directory.path(), &calls(7)).unwrap_err());
        assert!(error.contains(why), "{error}");
    };
    refused(&|state| state["version"] = 99.into(), "layout 99");
    refused(&|state| drop(state.as_object_mut().unwrap().remove("inputs")), "inputs");
    refused(&|state| state["inputs"][0]["stream"] = "Z".into(), "another mill, which reads Z, B");
    refused(&|state| drop(state["inputs"].as_array_mut().unwrap().pop()), "another mill");
    refused(&|state| state["outputs"][0]["name"] = "z.ndjson".into(), "other files");
    refused(&|state| state["inputs"][0]["position"]["part"] = "gone".into(), "gone");
    // A mill with other streams, which writes the same file.
    put_state(&path, &state.to_string());
    let mill = Mill::new(|b: &B| Saw::of(vec![b.id]));
    let out = directory.path().join("out/within-and.ndjson");
    let broker = JsonFileBroker::new().read::<B>(directory.path().join("b.json")).write::<Saw>(&out);
    let error = told(&mill.run_blocking(broker.clone()).unwrap_err());
    assert!(error.contains("another mill, which reads A, B") && error.contains("start_over()"), "{error}");
    let mill = Mill::new(|b: &B| Saw::of(vec![b.id]));
    mill.run_blocking(broker.start_over()).unwrap();
    assert_eq!(names_in(&directory.path().join("out")), ["within-and.ndjson"]);
}

#[test]
fn a_hidden_output_that_lost_something_is_refused() {
    let streams = Streams::random(&mut Seed::new(8), 60);
    let mill = "two-outputs";
    let directory = broken_off(mill, &streams, 40);
    for output in outputs_of(mill) {
        let path = hidden(directory.path(), output, "partial");
        let whole = fs::read(&path).unwrap();
        let length = json_state(&state_of(directory.path(), mill))["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| output.ends_with(found["name"].as_str().unwrap()))
            .unwrap()["length"]
            .as_u64()
            .unwrap() as usize;
        let refused = || {
            let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
            assert!(error.contains("fewer than") && error.contains(output), "{error}");
        };
        fs::write(&path, &whole[..length - 1]).unwrap();
        refused();
        fs::remove_file(&path).unwrap();
        refused();
        refused();
        fs::write(&path, &whole).unwrap();
    }
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == undisturbed(mill, &streams));
}

/// A state says that all is written, but the outputs are not what it says: nothing is given a name, and nothing is removed.
#[test]
fn a_finished_state_whose_outputs_are_not_there() {
    let streams = Streams::random(&mut Seed::new(8), 60);
    let mill = "two-outputs";
    let directory = broken_off(mill, &streams, 40);
    let path = state_of(directory.path(), mill);
    let mut state = json_state(&path);
    state["finished"] = true.into();
    let partial = hidden(directory.path(), outputs_of(mill)[1], "partial");
    let whole = fs::read(&partial).unwrap();
    for (index, output) in outputs_of(mill).iter().enumerate() {
        let partial = hidden(directory.path(), output, "partial");
        state["outputs"][index]["length"] = fs::metadata(&partial).unwrap().len().into();
    }
    put_state(&path, &state.to_string());
    fs::write(&partial, &whole[..whole.len() - 1]).unwrap();
    for _ in 0..2 {
        let error = told(&run(mill, directory.path(), &calls(7)).unwrap_err());
        assert!(error.contains("odd.ndjson") && error.contains("start_over()"), "{error}");
        assert!(fs::read(&partial).unwrap() == whole[..whole.len() - 1]);
    }
    // The second output is as the state says again.
    fs::write(&partial, &whole).unwrap();
    let report = run(mill, directory.path(), &calls(7)).unwrap();
    assert_eq!(report.end, EndReason::EndedBefore);
    assert_eq!(names_in(&directory.path().join("out/two")), ["odd.ndjson", "saw.json"]);
}

/// When one output cannot be opened, what an earlier run has committed of the others stays.
#[test]
fn an_output_that_cannot_be_opened_costs_the_others_nothing() {
    let streams = Streams::random(&mut Seed::new(8), 60);
    let mill = "two-outputs";
    let directory = broken_off(mill, &streams, 40);
    let second = hidden(directory.path(), outputs_of(mill)[1], "partial");
    let aside = directory.path().join("aside");
    fs::rename(&second, &aside).unwrap();
    fs::create_dir(&second).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap_err();
    fs::remove_dir(&second).unwrap();
    fs::rename(&aside, &second).unwrap();
    run(mill, directory.path(), &calls(7)).unwrap();
    assert!(outputs(mill, directory.path()) == undisturbed(mill, &streams));
}

#[test]
fn starting_over() {
    let streams = Streams::random(&mut Seed::new(12), 100);
    for (mill, _) in MILLS {
        let directory = broken_off_with(mill, &streams, 30, 300);
        assert!(state_of(directory.path(), mill).exists(), "{mill}");
        // Whatever is wrong with what is there.
        fs::write(state_of(directory.path(), mill), "damaged").unwrap();
        let report = run(mill, directory.path(), &Settings { start_over: true, ..calls(7) }).unwrap();
        assert_accounted(&report);
        let mut found = outputs(mill, directory.path());
        let expected = undisturbed(mill, &streams);
        if mill == "append" {
            // What is there stays: whole lines, and all of it again behind them.
            let kept = found[0].len() - expected[0].len();
            assert!(kept > 0 && expected[0].starts_with(&found[0][..kept]) && found[0][kept - 1] == b'\n');
            found[0].drain(..kept);
        }
        assert!(found == expected, "{mill}");
        let output = directory.path().join("out").join(outputs_of(mill)[0]);
        let mut names = names_in(output.parent().unwrap());
        names.retain(|name| mill != "append" || name != ".saw.ndjson.state");
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    }
}

/// Whatever a run leaves behind that died between two steps, the next one that ends leaves nothing but outputs.
#[test]
fn leftovers_of_a_state_go_with_the_next_run() {
    let streams = Streams::random(&mut Seed::new(12), 100);
    let directory = trial(&streams);
    let mill = "filter";
    fs::create_dir(directory.path().join("out")).unwrap();
    fs::write(hidden(directory.path(), outputs_of(mill)[0], "state.new"), "half a sta").unwrap();
    let never = Settings { calls: None, ..calls(1) };
    run(mill, directory.path(), &never).unwrap();
    assert_eq!(names_in(&directory.path().join("out")), ["filter.json"]);
}
