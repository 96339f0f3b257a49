//! The mills that are killed. They read the files of [`Streams::write`](crate::data::Streams::write) and write beside them.

use std::path::Path;
use std::time::Duration;

use watermill::json_file::Follow;
use watermill::prelude::*;
use watermill::{MillHandle, RunError, RunReport};

use crate::data::{A, Again, B, C, Odd, Saw};
use crate::window_mills;

/// How a mill runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Commits after this many calls.
    pub calls: Option<u64>,
    /// Commits when this much time has passed.
    pub every: Duration,
    /// How much is read at once.
    pub batch_bytes: usize,
    /// The function fails at the first master whose id is not below this one.
    pub fail_at: Option<i64>,
    /// The function takes this long.
    pub slow: Duration,
    /// Forgets what an earlier run has left.
    pub start_over: bool,
    /// Marks the end of outputs.
    pub mark_eos: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            calls: Some(20),
            every: Duration::from_millis(2),
            batch_bytes: 300,
            fail_at: None,
            slow: Duration::ZERO,
            start_over: false,
            mark_eos: false,
        }
    }
}

impl Settings {
    /// As arguments of the program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("every={}", self.every.as_micros()),
            format!("batch={}", self.batch_bytes),
            format!("slow={}", self.slow.as_micros()),
        ];
        arguments.extend(self.calls.map(|calls| format!("calls={calls}")));
        arguments.extend(self.fail_at.map(|id| format!("fail={id}")));
        arguments.extend(self.start_over.then(|| "start-over=1".to_owned()));
        arguments.extend(self.mark_eos.then(|| "mark-eos=1".to_owned()));
        arguments
    }

    /// From arguments of the program.
    ///
    /// # Panics
    /// When there is another one among them.
    #[must_use]
    pub fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut settings = Self { calls: None, ..Self::default() };
        for argument in arguments {
            let (name, value) = argument.split_once('=').expect("an argument is name=number");
            let value: u64 = value.parse().expect("an argument is name=number");
            match name {
                "calls" => settings.calls = Some(value),
                "every" => settings.every = Duration::from_micros(value),
                "batch" => settings.batch_bytes = value as usize,
                "fail" => settings.fail_at = Some(value as i64),
                "slow" => settings.slow = Duration::from_micros(value),
                "start-over" => settings.start_over = true,
                "mark-eos" => settings.mark_eos = true,
                other => panic!("there is no argument {other}"),
            }
        }
        settings
    }

    /// A broker without files.
    pub fn broker(&self) -> JsonFileBroker {
        let mut broker = JsonFileBroker::new().batch_bytes(self.batch_bytes);
        if self.start_over {
            broker = broker.start_over();
        }
        if self.mark_eos {
            broker = broker.mark_eos();
        }
        broker
    }

    /// Sets up when the mill commits.
    #[must_use]
    pub fn commits<M: StreamRecord>(&self, mill: Mill<M>) -> Mill<M> {
        let mill = mill.commit_every(self.every);
        match self.calls {
            Some(calls) => mill.commit_after_calls(calls),
            None => mill,
        }
    }

    /// What every call does first.
    pub(crate) fn call(&self, id: i64) -> Result<(), String> {
        if !self.slow.is_zero() {
            std::thread::sleep(self.slow);
        }
        if self.fail_at.is_some_and(|at| id >= at) { Err(format!("id {id} was to fail")) } else { Ok(()) }
    }
}

/// The names of all mills, each with the names of its outputs.
pub const MILLS: [(&str, &[&str]); 17] = [
    ("self-join", &["self-join.ndjson"]),
    ("nested-window", &["nested-window.json"]),
    ("nested-within", &["nested-within.ndjson"]),
    ("count-window", &["count-window.ndjson"]),
    ("as-of", &["as-of.ndjson.gz"]),
    ("within-and", &["within-and.ndjson"]),
    ("filter", &["filter.json"]),
    ("two-outputs", &["two/saw.json", "two/odd.ndjson"]),
    ("parts", &["parts-out.ndjson"]),
    ("lookup", &["lookup.ndjson"]),
    ("skip", &["skip.ndjson"]),
    ("late", &["late.ndjson", "late-letters.ndjson"]),
    ("letters", &["letters/saw.ndjson", "letters/letters.ndjson"]),
    ("append", &["append/saw.ndjson", "append/odd.json"]),
    ("sliding", &["sliding.ndjson"]),
    ("empty-window", &["empty-window.ndjson"]),
    ("emitter", &["emitter.ndjson"]),
];

/// The outputs of a mill.
///
/// # Panics
/// When there is no such mill.
#[must_use]
pub fn outputs_of(mill: &str) -> &'static [&'static str] {
    MILLS.iter().chain(&FOLLOWING).find(|(name, _)| *name == mill).expect("there is no such mill").1
}

/// The mills that follow `log.ndjson` and `other.ndjson`, or what the first of them writes, and their outputs.
pub const FOLLOWING: [(&str, &[&str]); 2] =
    [("follow-join", &["follow-join.ndjson"]), ("follow-chain", &["follow-chain.ndjson"])];

type Failed = String;

/// Runs a mill over the files in `directory`.
///
/// # Errors
/// What the mill fails with.
///
/// # Panics
/// When there is no such mill.
pub fn run(name: &str, directory: &Path, settings: &Settings) -> Result<RunReport, RunError> {
    start(name, directory, settings)?.wait_blocking()
}

/// Starts a mill over the files in `directory`.
///
/// # Errors
/// What the mill fails with.
///
/// # Panics
/// When there is no such mill.
pub fn start(name: &str, directory: &Path, settings: &Settings) -> Result<MillHandle, RunError> {
    let at = |file: &str| directory.join(file);
    let own = settings.clone();
    let broker = settings.broker();
    let out = |index: usize| at("out").join(outputs_of(name)[index]);
    match name {
        "self-join" => {
            let function = move |a: &A, again: &Joined<A, Again>| -> Result<Vec<Saw>, Failed> {
                own.call(a.id)?;
                Ok(again[a].iter().map(|again| Saw::of(vec![a.id, again.id])).collect())
            };
            let mill = Mill::new(function).join(JoinWith::new(A::fields().time + 3, Again::fields().time));
            let broker = broker.read::<A>(at("a.ndjson")).read::<Again>(at("a.ndjson")).write::<Saw>(out(0));
            settings.commits(mill).start(broker)
        }
        "nested-window" => {
            let function = move |all: &[A], b: &Joined<A, B>, c: &Joined<B, C>| -> Result<Saw, Failed> {
                own.call(all[0].id)?;
                let mut ids = Vec::new();
                for a in all {
                    ids.push(a.id);
                    for b in &b[a] {
                        ids.push(b.id);
                        ids.extend(c[b].iter().map(|c| c.id));
                    }
                }
                Ok(Saw::of(ids))
            };
            let mill = Mill::new(function).window(Window::by(A::fields().time / 10)).join(
                JoinWith::new(A::fields().time, B::fields().time)
                    .join(JoinWith::new(B::fields().time + 1, C::fields().time)),
            );
            let broker = broker
                .read::<A>(at("a.ndjson"))
                .read::<B>(at("b.json"))
                .read::<C>(at("c.ndjson.gz"))
                .write::<Saw>(out(0));
            settings.commits(mill).start(broker)
        }
        "nested-within" => {
            // Rights that are kept for several masters, each with matches of its own further below.
            let function = move |a: &A, b: &Joined<A, B>, c: &Joined<B, C>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                let below = b[a].iter().flat_map(|b| [b.id].into_iter().chain(c[b].iter().map(|c| c.id)));
                Ok(Saw::of([a.id].into_iter().chain(below).collect()))
            };
            let mill = Mill::new(function).join(
                JoinWith::new(A::fields().time, B::fields().time)
                    .within(-9..=9)
                    .left()
                    .join(JoinWith::new(B::fields().time, C::fields().time)),
            );
            let broker = broker
                .read::<A>(at("a.ndjson"))
                .read::<B>(at("b.json"))
                .read::<C>(at("c.ndjson.gz"))
                .write::<Saw>(out(0));
            settings.commits(mill).start(broker)
        }
        "count-window" => {
            let function = move |all: &[A], b: &Joined<A, B>| -> Result<Saw, Failed> {
                own.call(all[0].id)?;
                let ids = all.iter().flat_map(|a| [a.id].into_iter().chain(b[a].iter().map(|b| b.id)));
                Ok(Saw::of(ids.collect()))
            };
            let mill = Mill::new(function)
                .window(Window::count(7))
                .join(JoinWith::new(A::fields().time, B::fields().time).left());
            let broker = broker.read::<A>(at("a.ndjson")).read::<B>(at("b.json")).write::<Saw>(out(0));
            settings.commits(mill).start(broker)
        }
        "as-of" => {
            let function = move |a: &A, b: &Joined<A, B>, c: &Joined<B, C>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                let b = b[a].first();
                let c = b.and_then(|b| c[b].first());
                let ids = [Some(a.id), b.map(|b| b.id), c.map(|c| c.id)];
                Ok(Saw::of(ids.into_iter().flatten().collect()))
            };
            let mill = Mill::new(function).join(
                JoinWith::new(A::fields().time, B::fields().time)
                    .as_of()
                    .left()
                    .join(JoinWith::new(B::fields().time, C::fields().time).as_of()),
            );
            let broker = broker
                .read::<A>(at("a.ndjson"))
                .read::<B>(at("b.json"))
                .read::<C>(at("c.ndjson.gz"))
                .write::<Saw>(out(0));
            settings.commits(mill).start(broker)
        }
        "within-and" => {
            let function = move |a: &A, b: &Joined<A, B>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                Ok(Saw::of([a.id].into_iter().chain(b[a].iter().map(|b| b.id)).collect()))
            };
            let mill = Mill::new(function).join(
                JoinWith::new(A::fields().time, B::fields().time)
                    .within(-5..=4)
                    .and(A::fields().robot, B::fields().robot)
                    .left(),
            );
            let broker = broker.read::<A>(at("a.ndjson")).read::<B>(at("b.json")).write::<Saw>(out(0));
            settings.commits(mill).start(broker)
        }
        "filter" => {
            let function = move |b: &B| -> Result<Option<Saw>, Failed> {
                own.call(b.id)?;
                Ok((b.robot != 2).then(|| Saw::of(vec![b.id])))
            };
            let broker = broker.read::<B>(at("b.json")).write::<Saw>(out(0));
            settings.commits(Mill::new(function)).start(broker)
        }
        "two-outputs" => {
            // The first stream ends before the second; the mill ends when both have.
            let (first, second) = two_ends(directory);
            let function = move |a: &A, saw: &mut Out<Saw>, odd: &mut Out<Odd>| -> Result<(), Failed> {
                own.call(a.id)?;
                if a.id < first {
                    saw.push(Saw::of(vec![a.id]));
                } else if a.id == first {
                    saw.end();
                }
                if a.id > second {
                    return Err("called behind the end of both".to_owned());
                }
                if a.id == second {
                    odd.end();
                } else if a.id % 2 == 1 {
                    odd.push(Odd { id: a.id });
                }
                Ok(())
            };
            let broker = broker.read::<A>(at("a.ndjson")).write::<Saw>(out(0)).write::<Odd>(out(1));
            settings.commits(Mill::new(function)).start(broker)
        }
        "parts" => {
            let function = move |a: &A, meta: &Meta<A>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                Ok(Saw::of(vec![a.id, meta.offset() as i64]))
            };
            let broker = broker.read::<A>(at("parts")).write::<Saw>(out(0));
            settings.commits(Mill::new(function)).start(broker)
        }
        "lookup" => {
            let function = move |a: &A, b: &Joined<A, B>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                Ok(Saw::of([a.id].into_iter().chain(b[a].iter().take(5).map(|b| b.id)).collect()))
            };
            let mill = Mill::new(function).join(JoinWith::lookup(A::fields().robot, B::fields().robot));
            let broker = broker.read::<A>(at("a.ndjson")).read::<B>(at("b.json")).write::<Saw>(out(0));
            settings.commits(mill).start(broker)
        }
        "skip" => {
            let function = move |a: &A| -> Result<Saw, Failed> {
                own.call(a.id)?;
                Ok(Saw::of(vec![a.id]))
            };
            let broker = broker.read::<A>(at("bad.ndjson")).write::<Saw>(out(0));
            settings.commits(Mill::new(function).on_bad::<A>(OnBad::Skip)).start(broker)
        }
        "late" => {
            // Keys of both sides come slightly out of order.
            let function = move |a: &A, b: &Joined<A, B>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                Ok(Saw::of([a.id].into_iter().chain(b[a].iter().map(|b| b.id)).collect()))
            };
            let mill = Mill::new(function)
                .join(JoinWith::new(A::fields().time, B::fields().time).left())
                .reorder_within::<A>(6)
                .reorder_within::<B>(8)
                .on_bad::<A>(OnBad::DeadLetter)
                .on_bad::<B>(OnBad::DeadLetter);
            let broker = broker
                .read::<A>(at("late"))
                .read::<B>(at("late.json"))
                .write::<Saw>(out(0))
                .write::<DeadLetter>(out(1));
            settings.commits(mill).start(broker)
        }
        "letters" => {
            // Bad ones on both sides, that do not decode and whose keys go down.
            let function = move |a: &A, b: &Joined<A, B>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                Ok(Saw::of([a.id].into_iter().chain(b[a].iter().map(|b| b.id)).collect()))
            };
            let mill = Mill::new(function)
                .join(JoinWith::new(A::fields().time, B::fields().time).left())
                .on_bad::<A>(OnBad::DeadLetter)
                .on_bad::<B>(OnBad::DeadLetter);
            let broker = broker
                .read::<A>(at("bad.ndjson"))
                .read::<B>(at("low.json"))
                .write::<Saw>(out(0))
                .write::<DeadLetter>(out(1));
            settings.commits(mill).start(broker)
        }
        "append" => {
            // One output grows under its name, the other one appears in the end.
            let function = move |a: &A, odd: &mut Out<Odd>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                if a.id % 2 == 1 {
                    odd.push(Odd { id: a.id });
                }
                Ok(Saw::of(vec![a.id]))
            };
            let broker = broker.read::<A>(at("a.ndjson")).write::<Saw>(out(0)).append().write::<Odd>(out(1));
            settings.commits(Mill::new(function)).start(broker)
        }
        "sliding" | "empty-window" | "emitter" => window_mills::start(name, directory, &out(0), settings),
        "follow-join" => {
            let function = move |a: &A, again: &Joined<A, Again>, b: &Joined<A, B>| -> Result<Saw, Failed> {
                own.call(a.id)?;
                let later = again[a].iter().map(|again| again.id);
                Ok(Saw::of([a.id].into_iter().chain(later).chain(b[a].iter().map(|b| b.id)).collect()))
            };
            let mill = Mill::new(function)
                .join(JoinWith::new(A::fields().time + 3, Again::fields().time).left())
                .join(JoinWith::new(A::fields().time, B::fields().time).left());
            let broker = broker
                .read::<A>(at("log.ndjson"))
                .follow_with(often())
                .read::<Again>(at("log.ndjson"))
                .follow_with(often())
                .read::<B>(at("other.ndjson"))
                .follow_with(often())
                .write::<Saw>(out(0))
                .append();
            settings.commits(mill).start(broker)
        }
        "follow-chain" => {
            let function = move |saw: &Saw| -> Result<Saw, Failed> {
                own.call(saw.ids[0])?;
                Ok(saw.clone())
            };
            let broker = broker
                .read::<Saw>(at("out").join("follow-join.ndjson"))
                .follow_with(often())
                .write::<Saw>(out(0))
                .append();
            settings.commits(Mill::new(function)).start(broker)
        }
        other => panic!("there is no mill {other}"),
    }
}

fn often() -> Follow {
    Follow::new().every(Duration::from_millis(1))
}

/// Where the outputs of `two-outputs` end: at two fifths and four fifths of the input.
fn two_ends(directory: &Path) -> (i64, i64) {
    let text = std::fs::read_to_string(directory.join("a.ndjson")).expect("the input is there");
    let count = text.lines().count() as i64;
    (count * 2 / 5, count * 4 / 5)
}
