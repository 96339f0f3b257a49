//! Runs over files that end by a policy, again and again: the next one goes on exactly there.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use watermill::prelude::*;
use watermill::{EndReason, RunReport};
use watermill_crash::data::{A, Saw};

const RECORDS: i64 = 300;

fn trial() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let records: String =
        (0..RECORDS).map(|id| format!("{{\"id\":{id},\"time\":{id},\"robot\":0}}\n")).collect();
    std::fs::write(directory.path().join("a.ndjson"), records).unwrap();
    directory
}

fn run(mill: Mill<A>, directory: &Path) -> RunReport {
    let broker = JsonFileBroker::new().read::<A>(directory.join("a.ndjson")).batch_bytes(500);
    mill.run_blocking(broker.write::<Saw>(directory.join("saw.ndjson"))).unwrap()
}

fn saw(a: &A) -> Saw {
    std::thread::sleep(Duration::from_micros(100));
    Saw::of(vec![a.id])
}

/// The function in each of the ways in which it can be called.
fn mills() -> Vec<fn() -> Mill<A>> {
    vec![
        || Mill::new(saw),
        || Mill::new(saw).workers(3),
        || Mill::new_async(async |a: &A| saw(a)).in_flight(5),
        || {
            let elsewhere = |a: &A, ack: Ack<Saw>| {
                let saw = saw(a);
                std::thread::spawn(move || ack.save([saw]));
            };
            Mill::new(elsewhere).in_flight(8)
        },
    ]
}

/// Runs mills that end with `reason` until the input has ended.
fn again_and_again(reason: &EndReason, policy: fn(Mill<A>) -> Mill<A>) {
    let undisturbed = trial();
    run(Mill::new(saw), undisturbed.path());
    let expected = std::fs::read(undisturbed.path().join("saw.ndjson")).unwrap();
    for (way, mill) in mills().into_iter().enumerate() {
        let directory = trial();
        let (mut runs, mut calls) = (0, 0);
        loop {
            let report = run(policy(mill()), directory.path());
            (runs, calls) = (runs + 1, calls + report.calls);
            if matches!(report.end, EndReason::InputEnded { .. }) {
                break;
            }
            assert_eq!(report.end, *reason);
            assert!(runs < 400, "there is no headway");
        }
        assert!(runs > 2, "way {way}: only {runs} runs");
        // Whatever was done with is done with: no call is made twice.
        assert_eq!(calls, RECORDS as u64, "way {way}");
        assert!(std::fs::read(directory.path().join("saw.ndjson")).unwrap() == expected, "way {way}");
    }
}

#[test]
fn after_so_many_records() {
    again_and_again(&EndReason::Records, |mill| mill.stop_after_records(37));
}

#[test]
fn after_so_many_commits() {
    again_and_again(&EndReason::Commits, |mill| mill.commit_after_calls(13).stop_after_commits(3));
}

#[test]
fn after_some_time() {
    again_and_again(&EndReason::Lifetime, |mill| mill.stop_after(Duration::from_millis(4)));
}
