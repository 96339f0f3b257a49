//! Single promises of the runtime, on a clock that is moved by hand and over a storage whose commits can be looked at.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use watermill_core::clock::Clock;
use watermill_core::function::AckError;
use watermill_core::prelude::*;
use watermill_core::testing::{Driven, drive};
use watermill_core::{Backoff, EndReason, OnError, RunError, RunReport};
use watermill_simulation::broker::SimBroker;
use watermill_simulation::clock::SimClock;
use watermill_simulation::data::{A, Note, Seen};
use watermill_simulation::faults::{Faults, Planned, Rates};
use watermill_simulation::lock;
use watermill_simulation::random::Random;
use watermill_simulation::shape::Windows;
use watermill_simulation::store::{Durable, Store};

/// A storage, its clock, and a log of (master position, results) of every commit.
struct Bench {
    clock: SimClock,
    store: Arc<Store>,
    faults: Arc<Faults>,
    commits: Arc<Mutex<Vec<(u64, usize)>>>,
    count: u32,
    batch: u64,
}

impl Bench {
    fn new(count: u32) -> Self {
        let clock = SimClock::new();
        let commits = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&commits);
        let judge = move |durable: &Durable| {
            let position = durable.checkpoint.as_ref().unwrap().positions[0].next;
            lock(&log).push((position, durable.lines[0].len()));
            Ok(())
        };
        let store = Arc::new(Store::new(2, judge));
        let (random, shared) = (Random::new(1), Arc::new(clock.clone()));
        let faults = Arc::new(Faults::new(random, Rates::default(), shared, Arc::clone(&store)));
        Self { clock, store, faults, commits, count, batch: 1 }
    }

    fn run(&self, mill: Mill<A>) -> Driven {
        let masters = (0..self.count).map(|id| A { key: i64::from(id), id }).collect();
        let broker = SimBroker::new(&self.store, &self.faults, self.batch).read::<A>(masters);
        drive(mill.clock(self.clock.clone()), broker.write::<Seen>().write::<Note>()).unwrap()
    }

    /// Moves the clock whenever nothing else happens, for so long at most.
    fn polled(&self, run: &mut Driven, most: Duration) -> Option<Result<RunReport, RunError>> {
        let until = self.clock.now() + most;
        let mut run = pin!(run);
        loop {
            for _ in 0..20 {
                // It wakes itself now and then; a poll too many does no harm.
                if let Poll::Ready(result) = run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return Some(result);
                }
            }
            match self.clock.next_wake() {
                Some(next) if next <= until => self.clock.move_to(next),
                _ => {
                    self.clock.move_to(until);
                    return None;
                }
            }
        }
    }

    fn end(&self, mut run: Driven) -> Result<RunReport, RunError> {
        self.polled(&mut run, Duration::from_secs(3600)).unwrap()
    }

    fn results(&self) -> Vec<u32> {
        self.store.durable().lines[0].iter().map(|line| line[0]).collect()
    }

    fn commits(&self) -> Vec<(u64, usize)> {
        lock(&self.commits).clone()
    }
}

fn seen(a: &A) -> Seen {
    Seen { ids: vec![a.id] }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An async function whose calls take as long as this says.
fn waits(clock: &SimClock, time: fn(u32) -> Duration) -> Mill<A> {
    let clock = clock.clone();
    Mill::new_async(async move |a: &A| {
        clock.sleep_until(clock.now() + time(a.id)).await;
        seen(a)
    })
}

#[test]
fn no_commit_passes_a_call_that_is_not_finished() {
    let bench = Bench::new(10);
    let first_is_slow = |id| if id == 3 { Duration::from_secs(60) } else { millis(10) };
    let mill = waits(&bench.clock, first_is_slow).in_flight(20).commit_every(millis(1)).commit_after_calls(1);
    let mut run = bench.run(mill);
    assert!(bench.polled(&mut run, Duration::from_secs(30)).is_none());
    let held = bench.commits();
    assert_eq!(held.last(), Some(&(3, 3)), "all before it are committed, and nothing behind it: {held:?}");
    bench.end(run).unwrap();
    assert_eq!(bench.results(), (0..10).collect::<Vec<_>>());
    assert!(bench.commits().iter().all(|(position, results)| *position as usize == *results));
}

#[test]
fn a_commit_never_goes_back_over_masters_without_a_call() {
    // Found by seed 11: the position before a call was that before the search for its master.
    let bench = Bench::new(6);
    bench.faults.plan("read", 4, Planned::Delay(millis(50)));
    let broker = SimBroker::new(&bench.store, &bench.faults, 1)
        .read::<A>((0..6).map(|id| A { key: i64::from(id), id }).collect())
        .read(vec![watermill_simulation::data::B { key: 5, id: 0 }])
        .write::<Seen>();
    let join = JoinWith::new(A::fields().key, watermill_simulation::data::B::fields().key).exists();
    let mill = Mill::new(|a: &A, ack: Ack<Seen>| ack.save([seen(a)]));
    let mill = mill.join(join).commit_every(Duration::ZERO).clock(bench.clock.clone());
    bench.end(drive(mill, broker).unwrap()).unwrap();
    let positions: Vec<u64> = bench.commits().iter().map(|(position, _)| *position).collect();
    assert!(positions.is_sorted() && bench.store.violation().is_none(), "{positions:?}");
}

#[test]
fn an_ack_saved_in_time_counts_however_long_the_sink_keeps_the_lane_busy() {
    // Found by seed 42: the lane looked at the time before it looked at the `Ack`.
    let bench = Bench::new(3);
    bench.faults.plan("write", 0, Planned::Delay(Duration::from_secs(10)));
    let held: Arc<Mutex<Vec<Ack<Seen>>>> = Arc::default();
    let hand_over = {
        let held = Arc::clone(&held);
        async move |a: &A, ack: Ack<Seen>| {
            if a.id == 0 { ack.save([seen(a)]).unwrap() } else { lock(&held).push(ack) }
        }
    };
    let mill = Mill::new_async(hand_over).timeout(millis(100)).commit_every(millis(5)).in_flight(8);
    let mut run = bench.run(mill);
    assert!(bench.polled(&mut run, millis(50)).is_none());
    let acks = std::mem::take(&mut *lock(&held));
    assert!(!acks.is_empty());
    for (index, ack) in acks.into_iter().enumerate() {
        ack.save([Seen { ids: vec![index as u32 + 1] }]).unwrap();
    }
    while bench.polled(&mut run, millis(20)).is_none() {
        for ack in std::mem::take(&mut *lock(&held)) {
            ack.save([Seen { ids: vec![2] }]).unwrap();
        }
    }
    assert_eq!(bench.results(), [0, 1, 2]);
}

#[test]
fn a_run_is_not_idle_while_a_call_is_under_way_or_records_are_there() {
    for calls in [1, 4] {
        let bench = Bench::new(6);
        // For half a second after the calls before it have ended.
        bench.faults.plan(
            "read",
            if calls == 1 { 2 } else { 3 },
            Planned::Delay(millis(if calls == 1 { 500 } else { 5500 })),
        );
        let mill = waits(&bench.clock, |_| Duration::from_secs(5)).in_flight(calls);
        let report = bench.end(bench.run(mill.stop_when_idle(Duration::from_secs(1)))).unwrap();
        assert!(matches!(report.end, EndReason::InputEnded { .. }), "{report}");
        assert_eq!(report.calls, 6);
    }
    // A slow sink is not silence either.
    let bench = Bench::new(6);
    bench.faults.plan("write", 1, Planned::Delay(Duration::from_secs(5)));
    let report = bench.end(bench.run(Mill::new(seen).stop_when_idle(Duration::from_secs(1)))).unwrap();
    assert_eq!(report.calls, 6);
}

#[test]
fn a_run_that_waits_too_long_is_idle_and_the_next_one_goes_on_there() {
    for calls in [1, 4] {
        let bench = Bench::new(6);
        bench.faults.plan("read", 3, Planned::Delay(Duration::from_secs(50)));
        let mill =
            || waits(&bench.clock, |_| millis(1)).in_flight(calls).stop_when_idle(Duration::from_secs(2));
        let report = bench.end(bench.run(mill())).unwrap();
        assert_eq!((report.end, report.calls, report.elapsed.as_secs()), (EndReason::Idle, 3, 2));
        assert_eq!(bench.end(bench.run(mill())).unwrap().calls, 3);
        assert_eq!(bench.results(), (0..6).collect::<Vec<_>>());
    }
}

#[test]
fn a_lifetime_that_is_over_waits_for_calls_under_way_without_spinning() {
    let bench = Bench::new(40);
    let mill = || waits(&bench.clock, |_| millis(700)).in_flight(4).stop_after(Duration::from_secs(1));
    let report = bench.end(bench.run(mill())).unwrap();
    assert_eq!((report.end, report.calls), (EndReason::Lifetime, 8));
    assert_eq!(bench.end(bench.run(mill())).unwrap().calls, 8);
    assert_eq!(bench.results(), (0..16).collect::<Vec<_>>());
}

#[test]
fn endings_go_on_exactly_where_they_stopped() {
    for calls in [1, 3] {
        let bench = Bench::new(20);
        let mill = || waits(&bench.clock, |_| millis(3)).in_flight(calls);
        let report = bench.end(bench.run(mill().stop_after_records(7))).unwrap();
        assert_eq!((report.end, report.calls), (EndReason::Records, 7));
        let report = bench.end(bench.run(mill().commit_after_calls(2).stop_after_commits(3))).unwrap();
        assert_eq!((report.end, report.commits >= 3), (EndReason::Commits, true));
        assert_eq!(bench.results().len() as u64, 7 + report.calls);
        bench.end(bench.run(mill())).unwrap();
        assert_eq!(bench.results(), (0..20).collect::<Vec<_>>());
        assert_eq!(bench.end(bench.run(mill())).unwrap().end, EndReason::EndedBefore);
    }
}

/// Fails until it has been called so often for the master.
fn fails(times: u32, attempts: &Arc<Mutex<Vec<(u32, Duration)>>>, clock: &SimClock) -> Mill<A> {
    let (attempts, clock) = (Arc::clone(attempts), clock.clone());
    let start = clock.now();
    Mill::new(move |a: &A, out: &mut Out<Note>| {
        // A failed attempt leaves nothing behind.
        out.push(Note { text: vec![a.id] });
        let mut attempts = lock(&attempts);
        attempts.push((a.id, clock.now().duration_since(start).unwrap()));
        let made = attempts.iter().filter(|(id, _)| *id == a.id).count();
        if a.id == 2 && made <= times as usize { Err("not yet") } else { Ok(seen(a)) }
    })
}

#[test]
fn retries_are_counted_and_wait_as_long_as_the_backoff_says() {
    let bench = Bench::new(4);
    let attempts = Arc::default();
    let backoff = Backoff::exponential(millis(100), millis(300));
    let mill = fails(3, &attempts, &bench.clock).on_error(OnError::retry(3, backoff));
    let report = bench.end(bench.run(mill)).unwrap();
    assert_eq!((report.calls, report.retries, report.given_up, report.results), (4, 3, 0, 8));
    assert_eq!(bench.store.durable().lines[1], [[0], [1], [2], [3]]);
    let times: Vec<u128> =
        lock(&attempts).iter().filter(|(id, _)| *id == 2).map(|(_, time)| time.as_millis()).collect();
    let pauses: Vec<u128> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, full) in pauses.iter().zip([100, 200, 300]) {
        assert!((full / 2..=full).contains(pause), "{pauses:?}");
    }
    // One attempt less than it takes.
    let bench = Bench::new(4);
    let mill = fails(3, &Arc::default(), &bench.clock).on_error(OnError::retry(2, backoff));
    assert!(matches!(bench.end(bench.run(mill)), Err(RunError::Function { .. })));
    let bench = Bench::new(4);
    let mill = fails(3, &Arc::default(), &bench.clock).on_error(OnError::retry(2, backoff).then_skip());
    let report = bench.end(bench.run(mill)).unwrap();
    assert_eq!((report.calls, report.retries, report.given_up), (4, 2, 1));
    assert_eq!(bench.store.durable().lines[1], [[0], [1], [3]]);
}

#[test]
fn a_stop_between_two_attempts_commits_what_was_done_before() {
    let bench = Bench::new(4);
    let mill = |times| {
        fails(times, &Arc::default(), &bench.clock)
            .on_error(OnError::retry(9, Backoff::fixed(Duration::from_secs(100))))
            .commit_every(Duration::from_secs(1000))
    };
    let mut run = bench.run(mill(9));
    assert!(bench.polled(&mut run, Duration::from_secs(10)).is_none());
    run.control().stop();
    let report = bench.end(run).unwrap();
    assert_eq!((report.end, report.calls, report.results), (EndReason::Stopped, 2, 4));
    assert_eq!(bench.commits(), [(2, 2)]);
    bench.end(bench.run(mill(0))).unwrap();
    assert_eq!(bench.results(), [0, 1, 2, 3]);
}

#[test]
fn a_stop_between_two_attempts_at_a_window_commits_the_windows_before() {
    for window in [Windows::Count(2), Windows::By(2), Windows::Fixed(2, false), Windows::Session(1)] {
        let bench = Bench::new(9);
        let mill = |fails: bool| {
            let ids = move |all: &[A]| {
                if fails && all[0].id >= 4 { Err("not now") } else { Ok(Seen { ids: vec![all[0].id] }) }
            };
            let mill = window.put_on(Mill::new(ids)).commit_every(Duration::from_secs(1000));
            mill.on_error(OnError::retry(9, Backoff::fixed(Duration::from_secs(100))))
        };
        let mut run = bench.run(mill(true));
        assert!(bench.polled(&mut run, Duration::from_secs(10)).is_none());
        run.control().stop();
        let report = bench.end(run).unwrap();
        let calls = report.calls as usize;
        assert_eq!((report.end, report.results), (EndReason::Stopped, report.calls), "{window:?}");
        assert_eq!(bench.commits(), [(4, calls)], "{window:?}");
        bench.end(bench.run(mill(false))).unwrap();
        assert!(bench.results().is_sorted_by(|one, next| one < next), "{window:?}: {:?}", bench.results());
        assert!(bench.results().len() > calls && bench.results().last() == Some(&8));
    }
}

#[test]
fn a_run_goes_back_to_its_last_commit_as_often_as_allowed_in_a_row() {
    let bench = Bench::new(30);
    // Each time there is a commit before: the failures do not add up.
    for after in [1, 4, 8, 12, 16] {
        bench.faults.plan("committed", after, Planned::Error);
    }
    let mill = || {
        Mill::new(seen)
            .commit_after_calls(3)
            .restart(1, Backoff::fixed(millis(10)))
            .commit_every(millis(1000))
    };
    let report = bench.end(bench.run(mill())).unwrap();
    assert!(matches!(report.end, EndReason::InputEnded { .. }));
    assert_eq!(bench.results(), (0..30).collect::<Vec<_>>());
    // Twice in a row is too often.
    let bench = Bench::new(30);
    bench.faults.plan("read", 9, Planned::Error);
    bench.faults.plan("read", 10, Planned::Error);
    assert!(matches!(bench.end(bench.run(mill())), Err(RunError::Broker(_))));
    // A run that fails before a commit reports all of what it had committed, and only that.
    let bench = Bench::new(30);
    bench.faults.plan("write", 5, Planned::Error);
    let report = bench.end(bench.run(mill())).unwrap();
    assert_eq!((report.calls, report.results), (30, 30));
    assert_eq!(bench.results(), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_run_that_was_given_up_commits_nothing_any_more() {
    for calls in [1, 4] {
        let bench = Bench::new(6);
        let mill = waits(&bench.clock, |_| Duration::from_secs(1)).in_flight(calls).commit_after_calls(1);
        let mut run = bench.run(mill);
        assert!(bench.polled(&mut run, millis(1500)).is_none());
        let before = bench.commits();
        run.control().abort();
        assert!(matches!(bench.end(run), Err(RunError::Aborted)));
        assert_eq!(bench.commits(), before);
    }
}

#[test]
fn a_slow_sink_slows_the_source() {
    for calls in [1, 4] {
        let mut bench = Bench::new(200_000);
        bench.batch = 1000;
        bench.faults.plan("write", 0, Planned::Delay(Duration::from_secs(60)));
        let begun = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&begun);
        let mill = Mill::new_async(async move |a: &A| {
            count.fetch_add(1, Ordering::Relaxed);
            seen(a)
        });
        let mut run = bench.run(mill.in_flight(calls));
        assert!(bench.polled(&mut run, Duration::from_secs(30)).is_none());
        let ahead = begun.load(Ordering::Relaxed);
        assert!(ahead < 6000, "{ahead} calls were made while the sink was busy");
    }
}

#[test]
fn what_comes_after_the_crash_is_refused() {
    let bench = Bench::new(3);
    let held: Arc<Mutex<Vec<Ack<Seen>>>> = Arc::default();
    let keep = Arc::clone(&held);
    let mut run = bench.run(Mill::new(move |_: &A, ack: Ack<Seen>| lock(&keep).push(ack)));
    assert!(bench.polled(&mut run, millis(10)).is_none());
    drop(run);
    for ack in std::mem::take(&mut *lock(&held)) {
        assert!(ack.is_closed());
        assert_eq!(ack.save([Seen { ids: vec![] }]), Err(AckError));
    }
}

#[test]
fn the_ack_of_a_call_that_was_given_up_is_closed() {
    let bench = Bench::new(2);
    let held: Arc<Mutex<Vec<Ack<Seen>>>> = Arc::default();
    let (keep, clock) = (Arc::clone(&held), bench.clock.clone());
    let mill = Mill::new_async(async move |a: &A, ack: Ack<Seen>| {
        if a.id == 0 {
            lock(&keep).push(ack);
        } else {
            // The run is there much longer.
            clock.sleep_until(clock.now() + Duration::from_secs(5)).await;
            ack.save([seen(a)]).unwrap();
        }
    });
    let mut run = bench.run(mill.timeout(Duration::from_secs(9)).on_error(OnError::skip()).in_flight(5));
    bench.faults.plan("read", 1, Planned::Delay(Duration::from_secs(8)));
    assert!(bench.polled(&mut run, Duration::from_secs(10)).is_none());
    let ack = lock(&held).pop().unwrap();
    assert!(ack.is_closed());
    assert_eq!(ack.save([Seen { ids: vec![0] }]), Err(AckError));
    assert_eq!(bench.end(run).unwrap().given_up, 1);
    assert_eq!(bench.results(), [1]);
}

#[test]
fn runs_that_end_after_fewer_records_than_a_window_holds_get_on() {
    let windows =
        [Windows::Count(5), Windows::Fixed(5, false), Windows::Sliding(6, 3, true), Windows::Emitter(5)];
    for window in windows {
        let whole = Bench::new(23);
        let ids = |all: &[A]| Seen { ids: all.iter().map(|a| a.id).collect() };
        whole.end(whole.run(window.put_on(Mill::new(ids)))).unwrap();
        let bench = Bench::new(23);
        let runs = (1..30).find(|_| {
            let mill = window.put_on(Mill::new(ids)).stop_after_records(2);
            bench.end(bench.run(mill)).unwrap().end != EndReason::Records
        });
        assert!(runs.is_some_and(|runs| runs > 3), "{window:?}: {runs:?}");
        assert_eq!(bench.store.durable().lines, whole.store.durable().lines, "{window:?}");
    }
}
