//! Runs that are stopped or fail, and the ones that go on.

use super::*;

#[test]
fn stopped_again_and_again() {
    let mut seed = Seed::new(Seed::of_environment());
    for (mill, _) in MILLS {
        let streams = Streams::random(&mut seed, 150);
        let expected = undisturbed(mill, &streams);
        let directory = trial(&streams);
        let mut stops = 0;
        for turn in 0_u64.. {
            // Every other one is stopped before it has read anything.
            let delay = if turn % 2 == 1 && turn < 20 { 0 } else { seed.below(3000 + 200 * turn) };
            let settings = Settings { slow: Duration::from_micros(50), ..calls(1 + seed.below(30)) };
            let handle = start(mill, directory.path(), &settings).unwrap();
            std::thread::sleep(Duration::from_micros(delay));
            handle.stop();
            let report = handle.wait_blocking().unwrap();
            assert_accounted(&report);
            if report.end != EndReason::Stopped {
                break;
            }
            stops += 1;
        }
        println!("{mill}: {stops} stops");
        assert!(stops > 0);
        assert!(outputs(mill, directory.path()) == expected, "{mill}");
    }
}

#[test]
fn failed_and_mended() {
    let mut seed = Seed::new(Seed::of_environment());
    for (mill, _) in MILLS {
        let streams = Streams::random(&mut seed, 200);
        let expected = undisturbed(mill, &streams);
        let directory = trial(&streams);
        let mut failures = 0;
        for id in (5..160).step_by(9) {
            // A mill may come to its end here.
            let settings = Settings { fail_at: Some(id), ..calls(1 + seed.below(9)) };
            match run(mill, directory.path(), &settings) {
                Err(error) => {
                    assert!(told(&error).contains("was to fail"), "{}", told(&error));
                    failures += 1;
                }
                Ok(_) => break,
            }
        }
        run(mill, directory.path(), &calls(10)).unwrap();
        assert!(failures > 3, "{mill}");
        assert!(outputs(mill, directory.path()) == expected, "{mill}");
        assert_eq!(
            names_in(&directory.path().join("out")).iter().filter(|name| name.starts_with('.')).count(),
            0
        );
    }
}

#[test]
fn a_stop_is_followed_at_once_by_the_next_run() {
    let streams = Streams::random(&mut Seed::new(13), 300);
    let directory = trial(&streams);
    let settings = Settings { slow: Duration::from_millis(1), ..calls(3) };
    for turn in 0..20 {
        let handle = start("two-outputs", directory.path(), &settings).unwrap();
        std::thread::sleep(Duration::from_millis(turn % 4));
        handle.stop();
        // No waiting: the outputs of the last run must be free as soon as it has returned.
        let report = handle.wait_blocking().unwrap();
        assert_eq!(report.end, EndReason::Stopped, "{report}");
    }
}

#[test]
fn a_second_run_of_the_same_output_is_refused() {
    let streams = Streams::random(&mut Seed::new(13), 100);
    for mill in ["two-outputs", "self-join"] {
        let directory = trial(&streams);
        let settings = Settings { slow: Duration::from_millis(3), ..calls(3) };
        let first = start(mill, directory.path(), &settings).unwrap();
        let state = state_of(directory.path(), mill);
        while !state.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for start_over in [false, true] {
            let error = run(mill, directory.path(), &Settings { start_over, ..calls(7) }).unwrap_err();
            assert!(told(&error).contains("another run is writing this output"), "{}", told(&error));
        }
        assert!(first.wait_blocking().is_ok());
        assert!(outputs(mill, directory.path()) == undisturbed(mill, &streams), "{mill}");
    }
}

/// A slow function is no reason to commit late, or to be stopped late.
#[test]
fn slow_functions_are_committed_and_stopped_in_time() {
    let streams = Streams::random(&mut Seed::new(13), 400);
    let directory = trial(&streams);
    let settings = Settings {
        calls: None,
        every: Duration::from_millis(50),
        batch_bytes: 1_000_000,
        slow: Duration::from_millis(60),
        ..Settings::default()
    };
    let begun = Instant::now();
    let handle = start("filter", directory.path(), &settings).unwrap();
    let state = state_of(directory.path(), "filter");
    while !state.exists() {
        assert!(begun.elapsed() < Duration::from_secs(3), "no commit");
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = Instant::now();
    handle.stop();
    let report = handle.wait_blocking().unwrap();
    assert_eq!(report.end, EndReason::Stopped);
    assert!(asked.elapsed() < Duration::from_secs(1), "stopped after {:?}", asked.elapsed());
    run("filter", directory.path(), &calls(10)).unwrap();
    assert!(outputs("filter", directory.path()) == undisturbed("filter", &streams));
}

/// Masters in a window that was still open were given to no call.
#[test]
fn an_open_window_is_pending_in_the_report_of_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let record = |id: i64| format!("{{\"id\":{id},\"time\":{id},\"robot\":0}}\n");
    fs::write(at("a"), (0..100).map(record).collect::<String>()).unwrap();
    // `B` is a pipe that nobody closes: the walk waits for it in the middle of a window.
    let status = std::process::Command::new("mkfifo").arg(at("b")).status().unwrap();
    assert!(status.success());
    let pipe = at("b");
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let mut pipe = fs::OpenOptions::new().write(true).open(pipe).unwrap();
        pipe.write_all((0..15).map(record).collect::<String>().as_bytes()).unwrap();
        pipe
    });
    let mill = Mill::new(|all: &[A], b: &Joined<A, B>| Saw::of(vec![all[0].id, b[&all[0]].len() as i64]))
        .window(Window::count(10))
        .join(JoinWith::new(A::fields().time, B::fields().time));
    let broker = JsonFileBroker::new().read::<A>(at("a")).read::<B>(at("b")).write::<Saw>(at("o.ndjson"));
    let handle = mill.start(broker).unwrap();
    let pipe = writer.join().unwrap();
    while handle.watch().records < 115 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));
    handle.stop();
    let report = handle.wait_blocking().unwrap();
    drop(pipe);
    assert_accounted(&report);
    let of = |index: usize| (report.inputs[index].matched, report.inputs[index].pending);
    assert_eq!((report.calls, of(0), of(1)), (1, (10, 90), (10, 5)), "{report}");
}
