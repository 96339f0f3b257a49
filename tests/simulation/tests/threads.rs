//! Random failure schedules with real threads, on real time: workers, and `Ack`s that are saved from anywhere. No commit passes
//! unfinished work, and in the end everything has come out once and in order.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use watermill_core::clock::SystemClock;
use watermill_core::prelude::*;
use watermill_core::{Backoff, OnError, RunError, RunReport};
use watermill_simulation::broker::SimBroker;
use watermill_simulation::data::{A, Seen};
use watermill_simulation::faults::{Faults, Rates};
use watermill_simulation::lock;
use watermill_simulation::random::Random;
use watermill_simulation::store::{Durable, Store};

/// How the function is called.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Workers,
    WorkersAndAcks,
    Acks,
}

/// What the call of a master does.
#[derive(Debug, Clone, Copy)]
enum Does {
    Works,
    /// So many attempts fail.
    Fails(u32),
    Panics(u32),
    /// It is slow.
    Sleeps,
    /// It never works: it is left out.
    NeverWorks,
}

struct Trial {
    seed: u64,
    kind: Kind,
    does: Vec<Does>,
    skip: bool,
    attempts: Mutex<Vec<u32>>,
}

type Handed = (u64, u32, bool, Ack<Seen>);

impl Trial {
    fn new(seed: u64, kind: Kind) -> Self {
        let mut random = Random::of(&[seed, 7]);
        let (count, skip) = (random.within(1, 120), random.one_in(2));
        let often = random.pick(&[4, 15, 1000]);
        let mut does = || match random.below(3) {
            _ if !random.one_in(often) => Does::Works,
            // Not so often that it would be given up.
            0 => Does::Fails(random.within(1, 2) as u32),
            1 => Does::Panics(random.within(1, 2) as u32),
            _ if skip && random.one_in(2) => Does::NeverWorks,
            _ => Does::Sleeps,
        };
        let does: Vec<_> = (0..count).map(|_| does()).collect();
        Self { seed, kind, skip, attempts: Mutex::new(vec![0; does.len()]), does }
    }

    /// An attempt: whether it works.
    fn attempt(&self, a: &A) -> Result<(), String> {
        let attempt = {
            let mut attempts = lock(&self.attempts);
            attempts[a.id as usize] += 1;
            attempts[a.id as usize]
        };
        let mut random = Random::of(&[self.seed, u64::from(a.id), u64::from(attempt)]);
        thread::sleep(Duration::from_micros(random.below(300)));
        match self.does[a.id as usize] {
            Does::Works => Ok(()),
            Does::Fails(times) if attempt <= times => Err("not yet".to_owned()),
            Does::Panics(times) if attempt <= times => resume_unwind(Box::new("not yet")),
            Does::Fails(_) | Does::Panics(_) => Ok(()),
            Does::Sleeps => {
                thread::sleep(Duration::from_millis(8));
                Ok(())
            }
            Does::NeverWorks => Err("never".to_owned()),
        }
    }

    fn expected(&self, before: u64) -> Vec<Vec<u32>> {
        let all = self.does.iter().enumerate().take(before as usize);
        all.filter(|(_, does)| !matches!(does, Does::NeverWorks)).map(|(id, _)| vec![id as u32]).collect()
    }

    fn mill(self: &Arc<Self>, random: &mut Random) -> Mill<A> {
        let trial = Arc::clone(self);
        let workers = random.within(2, 4) as usize;
        let room = random.pick(&[2, 5, 50]);
        match self.kind {
            Kind::Workers => Mill::new(move |a: &A| {
                trial.attempt(a)?;
                Ok::<_, String>(Seen { ids: vec![a.id] })
            })
            .workers(workers),
            Kind::WorkersAndAcks => Mill::new(trial.hand_over()).workers(workers).in_flight(room),
            Kind::Acks => Mill::new(trial.hand_over()).in_flight(room),
        }
    }

    /// A function that has other threads do the work, and save it.
    fn hand_over(self: Arc<Self>) -> impl Fn(&A, Ack<Seen>) + Send + Sync + 'static {
        let mut hands: Vec<mpsc::Sender<Handed>> = Vec::new();
        for _ in 0..3 {
            let (send, receive) = mpsc::channel::<Handed>();
            let trial = Arc::clone(&self);
            hands.push(send);
            thread::spawn(move || {
                for (key, id, drops, ack) in receive {
                    let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        trial.attempt(&A { key: key as i64, id })
                    }));
                    // It may be refused: the run may be over.
                    let _ = match worked {
                        Ok(Ok(())) => ack.save([Seen { ids: vec![id] }]),
                        Ok(Err(error)) if !drops => ack.fail(error),
                        _ => {
                            drop(ack);
                            Ok(())
                        }
                    };
                }
            });
        }
        let hands = Mutex::new(hands);
        move |a: &A, ack: Ack<Seen>| {
            let hand = a.id as usize % 3;
            lock(&hands)[hand].send((a.key as u64, a.id, a.id.is_multiple_of(2), ack)).unwrap();
        }
    }
}

fn run_to_the_end(seed: u64, kind: Kind) -> u64 {
    let trial = Arc::new(Trial::new(seed, kind));
    let judge = {
        let trial = Arc::clone(&trial);
        move |durable: &Durable| {
            let checkpoint = durable.checkpoint.as_ref().unwrap();
            let before = if checkpoint.finished { u64::MAX } else { checkpoint.positions[0].next };
            let expected = trial.expected(before);
            if durable.lines[0] == expected {
                return Ok(());
            }
            Err(format!("for {before} there should be {expected:?}, and there is {:?}", durable.lines[0]))
        }
    };
    let store = Arc::new(Store::new(1, judge));
    let masters: Vec<A> = (0..trial.does.len() as u32).map(|id| A { key: 0, id }).collect();
    for number in 0..300 {
        let mut random = Random::of(&[seed, 8, number]);
        let rates = Rates {
            delay: 4,
            longest: Duration::from_millis(3),
            error: if number < 8 { random.pick(&[0, 25, 100]) } else { 0 },
            ..Rates::default()
        };
        let shared = Arc::new(SystemClock::new());
        let faults = Arc::new(Faults::new(Random::of(&[seed, 9, number]), rates, shared, Arc::clone(&store)));
        let batch = random.pick(&[1, 7, 40]);
        let broker = SimBroker::new(&store, &faults, batch).read(masters.clone()).write::<Seen>();
        let retry = OnError::retry(2, Backoff::fixed(Duration::from_micros(random.below(2000))));
        let mill = trial
            .mill(&mut random)
            .on_error(if trial.skip { retry.then_skip() } else { retry })
            .commit_every(Duration::from_millis(random.below(4)))
            .commit_after_calls(random.within(1, 9))
            .restart(random.below(3) as u32, Backoff::fixed(Duration::from_millis(1)));
        let handle = mill.start(broker).unwrap();
        if number < 8 && random.one_in(4) {
            thread::sleep(Duration::from_micros(random.below(20_000)));
            handle.stop();
        }
        let result = handle.wait_blocking();
        let what = format!("seed {seed}, {kind:?}, run {number}: {result:?}");
        assert_eq!(store.violation(), None, "{what}");
        match result {
            Ok(report) => {
                accounted_for(&report, &what);
                if store.durable().checkpoint.is_some_and(|checkpoint| checkpoint.finished) {
                    assert_eq!(store.durable().lines[0], trial.expected(u64::MAX), "{what}");
                    return number + 1;
                }
            }
            Err(RunError::Broker(_)) => assert!(faults.errors() > 0, "{what}"),
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
    panic!("seed {seed}, {kind:?}: there is no end")
}

fn accounted_for(report: &RunReport, what: &str) {
    for input in &report.inputs {
        let sum = input.matched + input.unmatched + input.skipped + input.dead_lettered + input.pending;
        assert_eq!(input.records, sum, "{what}");
    }
    assert!(report.given_up <= report.calls, "{what}");
}

fn many(kind: Kind) {
    let runs: u64 = (0..16).map(|seed| run_to_the_end(seed, kind)).sum();
    assert!(runs > 20, "only {runs} runs: too little goes wrong");
}

#[test]
fn workers() {
    many(Kind::Workers);
}

#[test]
fn workers_and_acks_from_other_threads() {
    many(Kind::WorkersAndAcks);
}

#[test]
fn acks_from_other_threads() {
    many(Kind::Acks);
}
