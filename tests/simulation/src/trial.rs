//! One seed from its first run to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use watermill::clock::Clock;
use watermill::testing::{Driven, drive};
use watermill::{EndReason, MillControl, OnBad, RunError, RunReport};

use crate::broker::{Reads, SimBroker};
use crate::clock::SimClock;
use crate::data::{Note, Seen, letter};
use crate::faults::{Faults, Rates};
use crate::mills::mill;
use crate::model::Model;
use crate::random::Random;
use crate::scenario::{Ending, Scenario, Then};
use crate::shape::Windows;
use crate::store::{Durable, Store};
use crate::world::{World, no_attempts};

/// From this run on nothing goes wrong any more, so that there is an end.
const CALM_FROM: u64 = 12;
/// Whoever has not come to an end by then never does: a master may stop a run so often.
const MOST_RUNS: u64 = 400;

/// What became of a seed: how often things happened, to see that they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs in all.
    pub runs: u64,
    /// Those that crashed.
    pub crashes: u64,
    /// Those that the storage ended.
    pub storage: u64,
    /// Those that the function ended with an error.
    pub function: u64,
    /// Those that were given up.
    pub aborted: u64,
    /// Those that were stopped, or ended by a policy.
    pub stopped: u64,
    /// Commits.
    pub commits: u64,
    /// Letters of records that do not decode.
    pub bad: u64,
    /// Letters of records that were late.
    pub late: u64,
    /// Letters of masters whose calls failed.
    pub given_up: u64,
    /// Seeds with windows of time, or of an emitter.
    pub windows: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.crashes += other.crashes;
        self.storage += other.storage;
        self.function += other.function;
        self.aborted += other.aborted;
        self.stopped += other.stopped;
        self.commits += other.commits;
        self.bad += other.bad;
        self.late += other.late;
        self.given_up += other.given_up;
        self.windows += other.windows;
    }
}

/// What has gone wrong with a seed.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// What has happened.
    pub trace: Vec<String>,
}

/// How a run ended.
enum End {
    Crashed,
    Over(Box<Result<RunReport, RunError>>),
}

/// What somebody outside does to a run.
#[derive(Debug, Clone, Copy)]
enum Meddling {
    Stop,
    Abort,
    Crash,
    Revoke,
}

/// Runs a seed to its end, and returns what happened, a line each.
///
/// # Errors
/// What has gone wrong.
pub fn trial(seed: u64) -> Result<(Tally, Vec<String>), Failure> {
    let scenario = Arc::new(Scenario::new(seed));
    let model = Model::new(&scenario);
    let store = Arc::new(Store::new(3, move |durable| model.judge(durable)));
    let mut tally = Tally::default();
    let result = runs(&scenario, &store, &mut tally);
    for letter in &store.durable().lines[2] {
        match letter[1] {
            0 => tally.bad += 1,
            1 => tally.late += 1,
            _ => tally.given_up += 1,
        }
    }
    let plain = matches!(scenario.windows, Windows::None | Windows::Count(_) | Windows::By(_));
    tally.windows += u64::from(!plain);
    let trace = store.trace();
    match result {
        Ok(()) => Ok((tally, trace)),
        Err(what) => {
            let mut scripted = format!("{scenario:?}");
            scripted.truncate(6000);
            Err(Failure { seed, what: format!("{what}\n{scripted}"), trace })
        }
    }
}

fn runs(scenario: &Arc<Scenario>, store: &Arc<Store>, tally: &mut Tally) -> Result<(), String> {
    let clock = SimClock::new();
    let attempts = no_attempts(scenario);
    let mut worlds: Vec<Arc<World>> = Vec::new();
    for number in 0..MOST_RUNS {
        let calm = number >= CALM_FROM;
        let mut random = Random::of(&[scenario.seed, 3, number]);
        let rates = if calm {
            Rates { longest: scenario.rates.longest, delay: scenario.rates.delay, ..Rates::default() }
        } else {
            scenario.rates
        };
        let faults = Random::of(&[scenario.seed, 4, number]);
        let faults = Arc::new(Faults::new(faults, rates, Arc::new(clock.clone()), Arc::clone(store)));
        let data = scenario.data.clone();
        let [bad_a, bad_b, bad_c] = data.bad;
        let broker = SimBroker::new(store, &faults, scenario.batch)
            .read_with(data.a, bad_a)
            .read_with(data.b, bad_b)
            .read_with(data.c, bad_c)
            .write::<Seen>()
            .write::<Note>()
            .write_as(letter);
        let reads = broker.reads();
        let world = Arc::new(World::new(scenario, &clock, store, &attempts));
        worlds.push(Arc::clone(&world));
        let meddling = (!calm && scenario.meddle > 0 && random.one_in(scenario.meddle)).then(|| {
            let after = Duration::from_micros(random.below(1_500_000));
            let what = random.pick(&[
                Meddling::Stop,
                Meddling::Stop,
                Meddling::Abort,
                Meddling::Crash,
                Meddling::Revoke,
            ]);
            (clock.now() + after, what)
        });
        let before = store.durable();
        let commits = before.commits;
        store.log(|| format!("run {number} begins"));
        let run =
            drive(mill(scenario, &world, &clock, calm), broker).map_err(|error| format!("{error:?}"))?;
        let mut simulation = Simulation {
            clock: &clock,
            store,
            faults: &faults,
            worlds: &worlds,
            meddling,
            aborted: None,
            started: clock.now(),
        };
        let end = simulation.run(run)?;
        let aborted = simulation.aborted;
        tally.runs += 1;
        let durable = store.durable();
        tally.commits += durable.commits - commits;
        let finished = durable.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.finished);
        match end {
            End::Crashed => tally.crashes += 1,
            End::Over(result) => match *result {
                Ok(report) => {
                    store.log(|| format!("the run ends: {}", report.end));
                    if report.end == EndReason::EndedBefore {
                        if finished && durable.commits == commits {
                            return Ok(());
                        }
                        // Its last commit seemed to have failed, so that it tried again.
                        if !finished || faults.seeming() == 0 {
                            return Err("a run says that it ended before, which it has not".to_owned());
                        }
                        continue;
                    }
                    if report.inputs.is_empty() {
                        // It came to its end before it had a lane, or had it again: only what was before that is committed.
                        if faults.errors() == 0 && durable.commits != commits {
                            return Err("a run without a lane has committed".to_owned());
                        }
                        tally.stopped += 1;
                        continue;
                    }
                    let seen = Ran { scenario, reads: &reads, world: &world, clock: &clock, faults: &faults };
                    seen.check(&report, &before, &durable)?;
                    tally.stopped += u64::from(!finished);
                }
                Err(RunError::Broker(error)) => {
                    if faults.errors() == 0 {
                        return Err(format!("the storage has not failed, but: {error}"));
                    }
                    tally.storage += 1;
                }
                Err(error @ RunError::Function { .. }) => {
                    store.log(|| format!("the run ends: {error:?}"));
                    if scenario.then != Then::Stop || world.failed() == 0 {
                        return Err(format!("no call should stop the run, but: {error:?}"));
                    }
                    tally.function += 1;
                }
                Err(RunError::Aborted) if aborted.is_some() => {
                    if aborted.is_some_and(|before| durable.commits > before) {
                        return Err("a run that was given up has committed nevertheless".to_owned());
                    }
                    tally.aborted += 1;
                }
                Err(error) => return Err(format!("the run failed: {error:?}")),
            },
        }
    }
    Err("there is no end".to_owned())
}

/// What is known about a run that has come to an end by itself.
struct Ran<'a> {
    scenario: &'a Scenario,
    reads: &'a Reads,
    world: &'a World,
    clock: &'a SimClock,
    faults: &'a Faults,
}

impl Ran<'_> {
    fn check(&self, report: &RunReport, before: &Durable, after: &Durable) -> Result<(), String> {
        let finished = after.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.finished);
        let should_finish = matches!(report.end, EndReason::InputEnded { .. } | EndReason::Function);
        if should_finish != finished {
            return Err(format!("the run ends with `{}`, but finished is {finished}", report.end));
        }
        for input in &report.inputs {
            let all = input.matched + input.unmatched + input.skipped + input.dead_lettered + input.pending;
            let wrong = match self.scenario.on_bad {
                OnBad::Skip => input.dead_lettered,
                _ => input.skipped,
            };
            let late = input.late > 0 && self.scenario.on_idle.is_none();
            if input.records != all || wrong > 0 || late {
                return Err(format!("not everything is accounted for: {input:?}"));
            }
        }
        // A commit that only seems to have failed is not counted.
        if self.faults.seeming() == 0 {
            let commits = after.commits - before.commits;
            let lines =
                |durable: &Durable| durable.lines[..2].iter().map(|lines| lines.len() as u64).sum::<u64>();
            let results = lines(after) - lines(before);
            if (report.commits, report.results) != (commits, results) {
                return Err(format!(
                    "{} commits with {} results are reported, but there were {commits} with {results}",
                    report.commits, report.results
                ));
            }
        }
        if report.end == EndReason::Idle {
            let Ending::Idle(silence) = self.scenario.ending else { return Err("idle?".to_owned()) };
            let quiet = self.reads.last().and_then(|last| self.clock.now().duration_since(last).ok());
            if quiet.is_some_and(|quiet| quiet < silence) || self.world.outstanding() > 0 {
                return Err(format!(
                    "it ends as idle after {quiet:?}, with {} calls under way",
                    self.world.outstanding()
                ));
            }
        }
        Ok(())
    }
}

/// Wakes the run.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One run, polled by hand.
struct Simulation<'a> {
    clock: &'a SimClock,
    store: &'a Store,
    faults: &'a Faults,
    /// This run's and those of earlier ones: work that they have handed elsewhere goes on.
    worlds: &'a [Arc<World>],
    meddling: Option<(SystemTime, Meddling)>,
    /// How many commits there were when it was given up.
    aborted: Option<u64>,
    started: SystemTime,
}

impl Simulation<'_> {
    fn run(&mut self, mut run: Driven) -> Result<End, String> {
        let control = run.control();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        woken.0.store(true, Ordering::SeqCst);
        loop {
            let mut polls = 0;
            while woken.0.swap(false, Ordering::SeqCst) {
                polls += 1;
                if polls > 10_000 {
                    return Err("the run spins: it wakes itself without end".to_owned());
                }
                if let Poll::Ready(result) = std::pin::Pin::new(&mut run).poll(&mut context) {
                    drop(run);
                    self.violation()?;
                    return Ok(End::Over(Box::new(result)));
                }
                self.violation()?;
                if self.faults.crashed() {
                    return Ok(End::Crashed);
                }
            }
            let due = self.worlds.iter().filter_map(|world| world.next_due());
            let meddling = self.meddling.map(|(at, _)| at);
            let Some(next) = due.chain(self.clock.next_wake()).chain(meddling).min() else {
                return Err("the run hangs: nothing will ever happen".to_owned());
            };
            if next.duration_since(self.started).is_ok_and(|time| time > Duration::from_secs(3600)) {
                return Err("the run takes an hour".to_owned());
            }
            self.clock.move_to(next);
            for (index, world) in self.worlds.iter().enumerate() {
                world.do_due(index + 1 < self.worlds.len());
            }
            if meddling.is_some_and(|at| at <= next) && self.meddle(&control) {
                return Ok(End::Crashed);
            }
            self.violation()?;
        }
    }

    /// Does something to the run; true when it is a crash.
    fn meddle(&mut self, control: &MillControl) -> bool {
        let Some((_, what)) = self.meddling.take() else { return false };
        self.store.log(|| format!("{what:?}"));
        match what {
            Meddling::Stop => control.stop(),
            Meddling::Abort => {
                self.aborted = Some(self.store.begun());
                control.abort();
            }
            Meddling::Crash => return true,
            Meddling::Revoke => drop(self.store.revoke()),
        }
        false
    }

    fn violation(&self) -> Result<(), String> {
        self.store.violation().map_or(Ok(()), Err)
    }
}
