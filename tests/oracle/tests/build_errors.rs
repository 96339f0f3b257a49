//! Mistakes that the compiler cannot see: found before any data is read, each named with function, argument and type, and with
//! what to do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::reversed_empty_ranges)]

extern crate watermill_core as watermill;

use watermill::RunError;
use watermill::error::{BuildError, BuildProblem};
use watermill::prelude::*;
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
    let no_tolerance = mill(and().as_of().and(|_: &Flight| 1_u8, place));
    says(&no_tolerance, &["`weathers`", "`Flight`", "`Weather`", ".tolerance("]);
    says(&mill(and().within(1..=0)), &["`weathers`", "`Weather`", "empty"]);
    says(&mill(and().within(0..0)), &["`weathers`", "`Weather`", "empty"]);
    says(&mill(and().within(0..)), &["`weathers`", "`Weather`", "bound"]);
    says(&mill(and().as_of().within(0..=1)), &["`weathers`", "`within`"]);
    says(&mill(and().tolerance(1)), &["`weathers`", "`tolerance`", "as_of"]);
    says(&mill(and().left().unmatched()), &["`weathers`", "left", "unmatched"]);
    says(
        &mill(JoinWith::lookup(Flight::fields().time, Weather::fields().time).as_of()),
        &["`weathers`", "as_of"],
    );
    says(&error(Mill::new(weathers).join(and()).max_group(0)), &["`weathers`", "max_group"]);
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
