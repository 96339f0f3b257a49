//! Thousands of seeds. `WATERMILL_SEED=n` runs one, and tells what happens in it; `WATERMILL_SEEDS=n` runs so many.
#![allow(missing_docs, clippy::panic, clippy::print_stdout)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use watermill_simulation::trial::{Failure, Tally, trial};

/// How many seeds are run unless something else is asked for.
const SEEDS: u64 = 4000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn report(failure: &Failure) -> ! {
    let Failure { seed, what, trace } = failure;
    let from = trace.len().saturating_sub(200);
    panic!(
        "seed {seed} fails: {what}\n\nthe last things that happened:\n{}\n\nWATERMILL_SEED={seed} runs it again",
        trace[from..].join("\n")
    )
}

#[test]
fn whatever_goes_wrong_the_results_are_those_of_the_model() {
    if let Some(seed) = number("WATERMILL_SEED") {
        let (tally, trace) = trial(seed).unwrap_or_else(|failure| report(&failure));
        println!("{}\n{tally:?}", trace.join("\n"));
        return;
    }
    let seeds = number("WATERMILL_SEEDS").unwrap_or(SEEDS);
    let (next, all, failed) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(None));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            match trial(seed) {
                Ok((tally, _)) => *all.lock().unwrap_or_else(PoisonError::into_inner) += tally,
                Err(failure) => {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    // The first one, whichever thread was faster.
                    if failed.as_ref().is_none_or(|first: &Failure| failure.seed < first.seed) {
                        *failed = Some(failure);
                    }
                    next.store(seeds, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |count| count.get().min(8)) {
            scope.spawn(work);
        }
    });
    if let Some(failure) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        report(&failure);
    }
    let tally = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{seeds} seeds: {tally:?}");
    // Everything that can happen has happened, often.
    for (what, count) in [
        ("crashes", tally.crashes),
        ("failures of the storage", tally.storage),
        ("failures of the function", tally.function),
        ("runs given up", tally.aborted),
        ("stops", tally.stopped),
        ("letters of bad records", tally.bad),
        ("letters of late records", 4 * tally.late),
        ("letters of failed calls", tally.given_up),
        ("windows of time", tally.windows),
    ] {
        assert!(count >= seeds / 50, "only {count} {what} in {tally:?}");
    }
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in (0..SEEDS).step_by(97) {
        let once = trial(seed).unwrap_or_else(|failure| report(&failure));
        let again = trial(seed).unwrap_or_else(|failure| report(&failure));
        assert!(once == again, "seed {seed} is not the same twice");
    }
}
