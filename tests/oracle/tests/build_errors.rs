//! Mistakes that the compiler cannot see: found before any data is read, each named with function, argument and type, and with
//! what to do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::reversed_empty_ranges)]

extern crate watermill_core as watermill;

use std::time::Duration;

use watermill::error::{BuildError, BuildProblem};
use watermill::prelude::*;
use watermill::{Backoff, OnError, RunError};
use watermill_derive::StreamRecord;
use watermill_oracle::script::{ScriptBroker, Step};

#[derive(Debug, StreamRecord)]
struct Flight {
    time: i64,
}

#[derive(Debug, StreamRecord)]
struct Delay {
    time: i64,
}

#[derive(Debug, StreamRecord)]
struct Weather {
    time: i64,
    place: u8,
}

#[derive(Debug, StreamRecord)]
struct Answer {
    n: usize,
}

#[derive(Debug, StreamRecord)]
struct Other {
    n: usize,
}

fn answer(flight: &Flight, delays: &Joined<Flight, Delay>) -> Answer {
    Answer { n: delays[flight].len() }
}

fn alone(_: &Flight) -> Answer {
    Answer { n: 0 }
}

fn delays() -> JoinWith<Flight, Delay, i64> {
    JoinWith::new(Flight::fields().time, Delay::fields().time)
}

fn weather() -> JoinWith<Delay, Weather, i64> {
    JoinWith::new(Delay::fields().time, Weather::fields().time)
}

/// Runs on a broker that has everything, but must not be asked for anything.
fn error<M: StreamRecord>(mill: Mill<M>) -> BuildError {
    let (broker, _) = ScriptBroker::new()
        .read(vec![Step::<Flight>::Never])
        .read(vec![Step::<Delay>::Never])
        .read(vec![Step::<Weather>::Never])
        .write::<Answer>();
    let (broker, _) = broker.write::<Other>();
    error_on(mill, broker)
}

fn error_on<M: StreamRecord>(mill: Mill<M>, broker: impl Broker) -> BuildError {
    match mill.run_blocking(broker) {
        Err(RunError::Build(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(report) => panic!("{report}"),
    }
}

/// The message holds all of this.
#[track_caller]
fn says(error: &BuildError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

#[test]
fn an_argument_without_a_join() {
    let error = error(Mill::new(answer));
    assert!(matches!(*error.problem, BuildProblem::NoJoin { number: 2, .. }));
    says(
        &error,
        &["`answer`", "argument 2", "&Joined<Flight, Delay>", ".join(JoinWith::new(Flight::fields()"],
    );
}

#[test]
fn an_argument_whose_join_hangs_elsewhere() {
    fn wrong(_: &Flight, _: &Joined<Flight, Weather>, _: &Joined<Flight, Delay>) -> Answer {
        Answer { n: 0 }
    }
    says(
        &error(Mill::new(wrong).join(delays().join(weather()))),
        &["`wrong`", "argument 2", "&Joined<Flight, Weather>"],
    );
}

#[test]
fn an_inner_or_left_join_that_no_argument_looks_at() {
    let inner = error(Mill::new(alone).join(delays()));
    says(&inner, &["`alone`", "inner", "`Flight`", "`Delay`", "&Joined<Flight, Delay>", ".exists()"]);
    let left = error(Mill::new(alone).join(delays().left()));
    says(&left, &["`alone`", "left", "`Flight`", "`Delay`", "&Joined<Flight, Delay>"]);
    let below = error(Mill::new(answer).join(delays().join(weather())));
    says(&below, &["`answer`", "`Delay`", "`Weather`"]);
}

#[test]
fn two_joins_that_nothing_tells_apart() {
    let error = error(Mill::new(answer).join(delays()).join(delays().within(0..=1)));
    assert!(matches!(*error.problem, BuildProblem::AmbiguousJoin { .. }));
    says(&error, &["`answer`", "`Flight`", "`Delay`", "read_as", ".from("]);
}

#[test]
fn a_join_to_a_type_that_is_read_from_several_streams() {
    let broker = MemoryBroker::new()
        .read_as::<Delay>("a", vec![])
        .read_as::<Delay>("b", vec![])
        .read::<Flight>(vec![]);
    let mill = Mill::new(answer).join(delays().from("a")).join(delays().from("b")).join(weather().exists());
    says(&error_on(mill, broker), &["`answer`", "`Delay`", "`Weather`", "nest"]);
}

#[test]
fn a_join_that_hangs_in_the_air() {
    let error = error(Mill::new(alone).join(weather().exists()));
    assert!(matches!(*error.problem, BuildProblem::LooseJoin { .. }));
    says(&error, &["`alone`", "`Delay`", "`Weather`", "join `Delay` first"]);
}

#[test]
fn a_loop() {
    let back = JoinWith::new(Delay::fields().time, Flight::fields().time).exists();
    let to_master = error(Mill::new(answer).join(delays().join(back)));
    assert!(matches!(*to_master.problem, BuildProblem::Loop { .. }));
    says(&to_master, &["`answer`", "`Flight`", "twice", "second type"]);
    let itself =
        error(Mill::new(alone).join(JoinWith::new(Flight::fields().time, Flight::fields().time).exists()));
    says(&itself, &["`alone`", "`Flight`", "twice"]);
    let both = error(
        Mill::new(answer)
            .join(JoinWith::new(Flight::fields().time, Weather::fields().time).exists())
            .join(delays().join(weather().exists())),
    );
    says(&both, &["`answer`", "`Weather`", "twice"]);
}

#[test]
fn a_stream_without_a_location() {
    let mill = || Mill::new(answer).join(delays());
    let out = Collected::<Answer>::new();
    let no_right = error_on(mill(), MemoryBroker::new().read::<Flight>(vec![]).write(&out));
    says(&no_right, &["`answer`", "`Delay`", "MemoryBroker", ".read::<Delay>"]);
    let no_master = error_on(mill(), MemoryBroker::new().read::<Delay>(vec![]).write(&out));
    says(&no_master, &["`answer`", "`Flight`", ".read::<Flight>"]);
    let no_result = error_on(mill(), MemoryBroker::new().read::<Flight>(vec![]).read::<Delay>(vec![]));
    says(&no_result, &["`answer`", "`Answer`", ".write::<Answer>"]);
    let named = MemoryBroker::new().read::<Flight>(vec![]).read::<Delay>(vec![]).write(&out);
    let no_name = error_on(Mill::new(answer).join(delays().from("late")), named);
    says(&no_name, &["`answer`", "late", ".read_as::<Delay>(\"late\""]);
}

#[test]
fn a_stream_that_is_declared_twice() {
    let out = Collected::<Answer>::new();
    let twice = MemoryBroker::new().read::<Flight>(vec![]).read::<Flight>(vec![]).write(&out);
    says(&error_on(Mill::new(alone), twice), &["`alone`", "`Flight`", "twice", "read_as"]);
    let twice = MemoryBroker::new().read::<Flight>(vec![]).write(&out).write(&out);
    says(&error_on(Mill::new(alone), twice), &["`alone`", "`Answer`", "twice"]);
}

#[test]
fn a_function_over_a_window_without_a_window_and_the_other_way_round() {
    fn window(flights: &[Flight]) -> Answer {
        Answer { n: flights.len() }
    }
    says(&error(Mill::new(window)), &["`window`", "&[Flight]", ".window("]);
    says(&error(Mill::new(alone).window(Window::count(2))), &["`alone`", "&Flight", "&[Flight]"]);
    says(&error(Mill::new(window).window(Window::count(0))), &["`window`", "0"]);
    says(
        &error(Mill::new(window).window(Window::count(1)).window(Window::count(2))),
        &["`window`", "two windows"],
    );
}

#[test]
fn a_value_that_was_not_injected_or_was_injected_twice() {
    struct Model;
    fn injected(_: &Flight, _: Inject<Model>) -> Answer {
        Answer { n: 0 }
    }
    let missing = error(Mill::new(injected));
    says(&missing, &["`injected`", "argument 2", "Inject<Model>", ".inject("]);
    says(&error(Mill::new(injected).inject(Model).inject(Model)), &["`injected`", "Model", "two"]);
}

#[test]
fn an_argument_that_is_taken_twice() {
    fn twice(_: &Flight, _: &Joined<Flight, Delay>, _: &Joined<Flight, Delay>) -> Answer {
        Answer { n: 0 }
    }
    says(&error(Mill::new(twice).join(delays())), &["`twice`", "argument 3", "&Joined<Flight, Delay>"]);
    fn outs(_: &Flight, _: &mut Out<Answer>, _: &mut Out<Answer>) {}
    says(&error(Mill::new(outs)), &["`outs`", "argument 3", "&mut Out<Answer>"]);
    fn returned(_: &Flight, _: &mut Out<Other>, _: &mut Out<Answer>) -> Answer {
        Answer { n: 0 }
    }
    says(&error(Mill::new(returned)), &["`returned`", "argument 3", "&mut Out<Answer>"]);
}

#[test]
fn meta_of_another_stream_than_the_master() {
    fn meta(_: &Flight, _: &Joined<Flight, Delay>, _: &Meta<Delay>) -> Answer {
        Answer { n: 0 }
    }
    says(&error(Mill::new(meta).join(delays())), &["`meta`", "argument 3", "&Meta<Delay>", "&Meta<Flight>"]);
}

#[test]
fn window_info_without_a_window() {
    fn info(_: &Flight, _: &WindowInfo) -> Answer {
        Answer { n: 0 }
    }
    says(&error(Mill::new(info)), &["`info`", "argument 2", "`&WindowInfo`", "no window"]);
}

#[test]
fn joins_that_contradict_themselves() {
    let and = || JoinWith::new(Flight::fields().time, Weather::fields().time);
    fn weathers(flight: &Flight, weather: &Joined<Flight, Weather>) -> Answer {
        Answer { n: weather[flight].len() }
    }
    let mill = |join| error(Mill::new(weathers).join(join));
    let place = |w: &Weather| w.place;
    let lookup = || JoinWith::lookup(Flight::fields().time, Weather::fields().time);
    // What is wrong, and the call to make instead.
    for (join, problem, fix) in [
        (
            and().as_of().and(|_: &Flight| 1_u8, place),
            "an as-of join with `.and(..)` needs a tolerance",
            "call `.tolerance(..)` behind `.as_of()`",
        ),
        (and().within(1..=0), "`.within(1..=0)` is an empty range", "call `.within(0..=1)`"),
        (and().within(0..0), "`.within(0..0)` is an empty range", "call `.within(0..=0)`"),
        (and().within(5..-5), "`.within(5..-5)` is an empty range", "call `.within(-5..=5)`"),
        (and().within(0..), "`.within(0..)` needs a lower and an upper bound", "call `.within(0..=highest)`"),
        (
            and().within(..=9),
            "`.within(..=9)` needs a lower and an upper bound",
            "call `.within(lowest..=9)`",
        ),
        (and().within(..9), "`.within(..9)` needs a lower and an upper bound", "call `.within(lowest..=9)`"),
        (and().within::<i64>(..), "`.within(..)` needs", "call `.within(lowest..=highest)`"),
        (
            and().as_of().within(0..=1),
            "`.within(0..=1)` was called on a join that is `.as_of()` already",
            "leave out `.as_of()` or `.within(0..=1)`",
        ),
        (
            and().within(0..=1).as_of(),
            "`.as_of()` was called on a join that is `.within(..)` already",
            "leave out `.within(..)` or `.as_of()`",
        ),
        (and().as_of().as_of(), "`.as_of()` was called on", "leave out the second `.as_of()`"),
        (
            lookup().as_of(),
            "`.as_of()` was called on a join that is made by `JoinWith::lookup(..)`",
            "leave out `.as_of()`, or call `JoinWith::new(..)` instead",
        ),
        (
            and().tolerance(1),
            "`.tolerance(1)` belongs to an as-of join",
            "call `.as_of()` before it: `.as_of().tolerance(1)`",
        ),
        (lookup().tolerance(1), "made by `JoinWith::lookup(..)`", "leave out `.tolerance(1)`"),
        (and().within(0..=1).tolerance(1), "`.within(..)` already", "leave out `.tolerance(1)`"),
        (
            and().as_of().tolerance(-1),
            "`.tolerance(-1)` matches nothing",
            "call `.tolerance(..)` with how far back the match may lie: `.tolerance(0)`",
        ),
        (and().left().unmatched(), "declared left and unmatched", "leave out `.left()` or `.unmatched()`"),
    ] {
        let error = mill(join);
        assert!(matches!(&*error.problem, BuildProblem::Setting(mistakes) if mistakes.len() == 1), "{error}");
        let place = "`weathers` cannot be built: in the join from `Flight` to `Weather`, ";
        says(&error, &[place, problem, &format!("; {fix}")]);
        assert!(error.fix.starts_with(fix), "{error}");
    }
}

#[test]
fn settings_of_the_mill_that_cannot_be() {
    struct Model;
    fn window(flights: &[Flight]) -> Answer {
        Answer { n: flights.len() }
    }
    async fn asynchronous(_: &Flight) -> Answer {
        Answer { n: 0 }
    }
    let second = Duration::from_secs(1);
    for (mill, problem, fix) in [
        (Mill::new(alone).max_group(0), "`.max_group(0)`", "; call `.max_group(1)`"),
        (
            Mill::new(alone).commit_after_calls(0),
            "`.commit_after_calls(0)`",
            "; call `.commit_after_calls(1)`",
        ),
        (Mill::new(window).window(Window::count(0)), "`Window::count(0)`", "; call `Window::count(1)`"),
        (
            Mill::new(window).window(Window::count(1)).window(Window::count(2)),
            "two windows",
            "; leave out one of the two `.window(..)` calls",
        ),
        (Mill::new(alone).workers(0), "`.workers(0)`", "; call `.workers(1)`"),
        (Mill::new(alone).in_flight(0), "`.in_flight(0)`", "; call `.in_flight(1)`"),
        (Mill::new(alone).in_flight(3), "`.in_flight(3)`", "; call `.workers(3)`"),
        (
            Mill::new(alone).timeout(second).on_error(OnError::retry(1, Backoff::fixed(second))),
            "cannot be interrupted by `.timeout(..)`",
            "; call `Mill::new_async(..)`",
        ),
        (Mill::new_async(asynchronous).workers(2), "`.workers(2)`", "; call `.in_flight(2)`"),
        (Mill::per_lane(|| alone).workers(2), "`.workers(2)`", "; leave out `.workers(2)`"),
        (Mill::per_lane(|| alone).in_flight(2), "`.in_flight(2)`", "; leave out `.in_flight(2)`"),
        (Mill::per_lane(|| alone).timeout(second), "`.timeout(..)`", "; leave out `.timeout(..)`"),
        (
            Mill::new(alone).inject(Model).inject(Model),
            "Model` are injected",
            "; leave out one of the two `.inject(..)` calls",
        ),
    ] {
        let error = error(mill);
        assert!(matches!(&*error.problem, BuildProblem::Setting(mistakes) if mistakes.len() == 1), "{error}");
        says(&error, &[problem, fix]);
    }
}

#[test]
fn all_mistaken_settings_are_listed_at_once() {
    let below = weather().tolerance(3).left().exists();
    let mill = Mill::new(answer).join(delays().within(2..=1).join(below)).max_group(0).commit_after_calls(0);
    let error = error(mill);
    assert_eq!(
        error.to_string(),
        "the mill of `answer` cannot be built: 5 settings are mistaken:\n  \
         - `.max_group(0)` allows no match at all; call `.max_group(1)`, or with more\n  \
         - `.commit_after_calls(0)` would commit without end; call `.commit_after_calls(1)`, which commits after every call, or with more\n  \
         - in the join from `Flight` to `Delay`, `.within(2..=1)` is an empty range, which matches nothing; call `.within(1..=2)`\n  \
         - in the join from `Delay` to `Weather`, `.tolerance(3)` belongs to an as-of join, and this one is made by `JoinWith::new(..)` alone; call `.as_of()` before it: `.as_of().tolerance(3)`\n  \
         - in the join from `Delay` to `Weather`, the join is declared left and exists, but it can be only one; leave out `.left()` or `.exists()`"
    );
    let BuildProblem::Setting(mistakes) = &*error.problem else { panic!("{error}") };
    assert_eq!(mistakes.len(), 5);
    assert!(mistakes.iter().all(|mistake| error.fix.contains(&mistake.fix)));
}

#[test]
fn a_closure_and_a_generic_function_have_a_name_too() {
    let closure = |_: &Flight, _: &Joined<Flight, Delay>| Answer { n: 0 };
    says(&error(Mill::new(closure)), &["&Joined<Flight, Delay>", "argument 2"]);
    fn generic<T: Default + Send + Sync + 'static>(
        _: &Flight,
        _: &Joined<Flight, Delay>,
        _: Inject<T>,
    ) -> Answer {
        Answer { n: 0 }
    }
    says(&error(Mill::new(generic::<u8>)), &["generic", "&Joined<Flight, Delay>"]);
}
