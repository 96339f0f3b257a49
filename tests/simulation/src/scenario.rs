//! What a seed says.

use std::time::Duration;

use watermill::{Backoff, OnBad};

use crate::data::Data;
use crate::faults::Rates;
use crate::random::Random;
use crate::shape::{Join, Windows};

/// How the function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `Mill::new`.
    Sync,
    /// `Mill::per_lane`.
    PerLane,
    /// `Mill::new_async`.
    Async,
    /// `Mill::new`, of a function that takes an `Ack`.
    Ack,
    /// `Mill::new_async`, of a function that takes an `Ack`.
    AsyncAck,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sync, Self::PerLane, Self::Async, Self::Ack, Self::AsyncAck];

    /// It takes an `Ack`.
    #[must_use]
    pub fn acks(self) -> bool {
        matches!(self, Self::Ack | Self::AsyncAck)
    }

    /// It is an async function.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::Async | Self::AsyncAck)
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It returns an error.
    Error,
    /// It panics.
    Panic,
    /// It takes longer than it may.
    TooLong,
    /// Its `Ack` is told that the work failed.
    AckFails,
    /// Its `Ack` is dropped.
    AckDropped,
}

/// What the call of one master does.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// How many results there are.
    pub results: u32,
    /// How many results there are beside.
    pub notes: u32,
    /// So many attempts fail; `u32::MAX` is all.
    pub failures: u32,
    /// And how.
    pub how: How,
}

/// How a run ends before its streams do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It does not.
    None,
    /// When nothing comes.
    Idle(Duration),
    /// After some time.
    Lifetime(Duration),
    /// After some commits.
    Commits(u64),
    /// After some masters.
    Records(u64),
}

/// What becomes of a call that fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It stops the run.
    Stop,
    /// It is left out.
    Skip,
    /// Its masters are put aside.
    DeadLetter,
}

/// All that a seed decides.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The streams.
    pub data: Data,
    /// What is joined.
    pub join: Join,
    /// How masters are put together.
    pub windows: Windows,
    /// How the function is called.
    pub kind: Kind,
    /// How many calls may be under way.
    pub in_flight: Option<usize>,
    /// What becomes of calls that fail for good.
    pub then: Then,
    /// What becomes of bad records.
    pub on_bad: OnBad,
    /// After so much silence a join goes on.
    pub on_idle: Option<Duration>,
    /// How often a call is made again.
    pub retries: u32,
    /// And when.
    pub backoff: Backoff,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// How often a run goes back to its last commit.
    pub restarts: u32,
    /// When a run commits.
    pub commit_every: Duration,
    /// And after how many calls.
    pub commit_calls: Option<u64>,
    /// How a run ends.
    pub ending: Ending,
    /// The longest batch.
    pub batch: u64,
    /// What goes wrong.
    pub rates: Rates,
    /// The first call from this master on ends the mill.
    pub end_at: Option<u32>,
    /// It does so with a last result.
    pub with_last: bool,
    /// The first call from this master on ends the results beside.
    pub notes_end: Option<u32>,
    /// What is asked of runs from outside: a stop, a crash ..: one in so many runs.
    pub meddle: u64,
    /// For each master.
    pub scripts: Vec<Script>,
}

fn millis(random: &mut Random, low: u64, high: u64) -> Duration {
    Duration::from_millis(random.within(low, high))
}

impl Scenario {
    /// What this seed says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::of(&[seed, 1]);
        let most = random.pick(&[6, 20, 40]);
        let (with_bad, on_bad) = (random.one_in(3), random.pick(&[OnBad::Skip, OnBad::DeadLetter]));
        let mut data = Data::new(&mut random, most, with_bad);
        let join = random.pick(&[
            Join::None,
            Join::None,
            Join::Exists,
            Join::Unmatched,
            Join::Inner,
            Join::Inner,
            Join::Left,
            Join::Left,
            Join::AsOf,
            Join::AsOfLeft,
            Join::Within,
            Join::Tree,
            Join::TreeLeft,
            Join::And,
            Join::AsOfAnd,
            Join::Lookup,
        ]);
        if join == Join::Lookup {
            data.shuffle_b(&mut random);
        }
        let windows = windows(&mut random, join);
        let kind = random.pick(&Kind::ALL);
        let in_flight = match kind {
            Kind::Sync | Kind::PerLane => None,
            _ if windows.one_by_one() => None,
            _ => random.pick(&[None, Some(2), Some(3), Some(8), Some(50)]),
        };
        let then = match random.below(4) {
            // Nothing would tell how many masters such a call had.
            _ if windows.by_arrival() => Then::Stop,
            0 | 1 => Then::Stop,
            2 => Then::Skip,
            _ => Then::DeadLetter,
        };
        let retries = random.pick(&[0, 0, 1, 3]);
        let first = millis(&mut random, 0, 40);
        let backoff = match random.below(3) {
            0 => Backoff::fixed(first),
            _ => Backoff::exponential(first, first * 5),
        };
        let timeout = (kind.waits() && random.one_in(2)).then(|| millis(&mut random, 60, 200));
        let mut rates = rates(&mut random);
        let count = data.a.len() as u64;
        let some = |random: &mut Random| random.one_in(4).then(|| random.below(count + 1) as u32);
        let (end_at, mut notes_end) = (some(&mut random), some(&mut random));
        if windows.has_state() {
            // Their masters go down.
            notes_end = None;
        }
        let may_go_on =
            windows == Windows::None && matches!(join, Join::Left | Join::AsOfLeft | Join::AsOfAnd);
        let on_idle = (may_go_on && random.one_in(2)).then(|| millis(&mut random, 1, 30));
        if on_idle.is_some() {
            rates.delay = 2;
        }
        let ending = match random.below(10) {
            0 => Ending::Idle(millis(&mut random, 20, 400)),
            1 => Ending::Lifetime(millis(&mut random, 300, 3000)),
            2 => Ending::Commits(random.within(1, 4)),
            3 => Ending::Records(random.within(1, 15)),
            _ => Ending::None,
        };
        let mut scripts = scripts(&mut random, &data, kind, then != Then::Stop, retries, timeout.is_some());
        if windows.by_arrival() {
            scripts.iter_mut().for_each(|script| script.results = script.results.max(1));
        }
        Self {
            seed,
            join,
            windows,
            kind,
            in_flight,
            then,
            on_bad,
            on_idle,
            retries,
            backoff,
            timeout,
            restarts: random.pick(&[0, 0, 1, 4]),
            commit_every: random.pick(&[0, 1, 20, 100, 1000].map(Duration::from_millis)),
            commit_calls: random.pick(&[None, Some(1), Some(3), Some(10)]),
            ending,
            batch: random.pick(&[1, 2, 4, 16]),
            rates,
            end_at,
            with_last: random.one_in(2) || windows.by_arrival(),
            notes_end,
            meddle: random.pick(&[0, 1, 3]),
            scripts,
            data,
        }
    }

    /// How many calls may be under way.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.kind {
            Kind::Sync | Kind::PerLane => 1,
            _ if self.windows.one_by_one() => 1,
            Kind::Async => self.in_flight.unwrap_or(1),
            Kind::Ack | Kind::AsyncAck => self.in_flight.unwrap_or(256),
        }
    }
}

fn windows(random: &mut Random, join: Join) -> Windows {
    let size = random.within(1, 5);
    let (unit, time) = (size as i64, millis(random, 1, 300));
    let empty = random.one_in(2);
    match random.below(if join == Join::None { 16 } else { 12 }) {
        0..5 => Windows::None,
        5 => Windows::Count(size as usize),
        6 => Windows::By(unit),
        7 => Windows::Fixed(unit, empty),
        8 | 9 => Windows::Sliding(unit, random.within(1, size) as i64, empty),
        10 => Windows::Session(unit),
        11 => Windows::Emitter(size as usize),
        12 => Windows::CountOr(size as usize, time),
        13 => Windows::ArrivedWithin(time),
        14 => Windows::ArrivedTogether(time),
        _ => Windows::Relaxed(time),
    }
}

fn rates(random: &mut Random) -> Rates {
    let mut rates = Rates {
        delay: random.pick(&[0, 2, 5]),
        longest: random.pick(&[5, 50, 300].map(Duration::from_millis)),
        ..Rates::default()
    };
    match random.below(6) {
        0 => {}
        1 => rates.error = random.within(10, 60),
        2 => rates.crash = random.within(10, 60),
        3 => rates.revoke = random.within(10, 60),
        _ => {
            rates.error = random.within(20, 100);
            rates.crash = random.within(20, 100);
            rates.revoke = random.within(20, 100);
        }
    }
    rates
}

fn scripts(
    random: &mut Random,
    data: &Data,
    kind: Kind,
    skip: bool,
    retries: u32,
    timed: bool,
) -> Vec<Script> {
    let mut ways = vec![How::Error, How::Error, How::Panic];
    if timed {
        ways.push(How::TooLong);
    }
    if kind.acks() {
        ways.extend([How::AckFails, How::AckDropped]);
    }
    let often = random.pick(&[0, 3, 10]);
    let mut script = || Script {
        results: random.pick(&[0, 1, 1, 2]),
        notes: random.pick(&[0, 0, 1, 2]),
        failures: match often {
            0 => 0,
            often if !random.one_in(often) => 0,
            // Given up, each time that it comes to it.
            _ if skip && random.one_in(2) => u32::MAX,
            // Not so often that it would be given up.
            _ if skip => random.below(u64::from(retries) + 1) as u32,
            // A run may stop with it, but it works in the end.
            _ => random.within(1, 4) as u32,
        },
        how: random.pick(&ways),
    };
    data.a.iter().map(|_| script()).collect()
}
