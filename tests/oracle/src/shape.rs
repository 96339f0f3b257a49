//! Typed functions for many tree shapes. Each records everything it sees.

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};
use watermill::error::RunError;
use watermill::key::{KeyExpr, KeyOffset, KeyValue};
use watermill::prelude::*;
use watermill::{OnBad, RunReport};

use crate::case::{Case, Cuts, EdgeSpec, Form, Keep, Match, Windowing};
use crate::oracle;
use crate::row::{Call, Rec, Seen};
use crate::script::{ScriptBroker, Step};

/// A tree shape with its typed function.
pub struct Shape {
    /// The left and the right stream of each join, in preorder.
    pub edges: &'static [(usize, usize)],
    /// The mill of a case, for any broker that reads `Rec<0>`, `Rec<1>`, .. and writes `Call`.
    pub mill: fn(&Case) -> Mill<Rec<0>>,
    /// Runs a case of this shape.
    pub run: fn(&Case, OnBad) -> Result<Came, RunError>,
}

/// What came out.
pub struct Came {
    /// What the calls saw.
    pub calls: Vec<Call>,
    /// What the mill reported.
    pub report: RunReport,
}

/// A join of two streams, with keys of one of the types that are tried.
pub enum Join<const L: usize, const R: usize> {
    /// `i64`.
    Int(JoinWith<Rec<L>, Rec<R>, i64>),
    /// `Option<i64>`.
    Maybe(JoinWith<Rec<L>, Rec<R>, Option<i64>>),
    /// `String`.
    Text(JoinWith<Rec<L>, Rec<R>, String>),
    /// A tuple, of which one part may be missing.
    Pair(JoinWith<Rec<L>, Rec<R>, (Option<i64>, u8)>),
    /// `f64`.
    Real(JoinWith<Rec<L>, Rec<R>, f64>),
    /// `Option<u8>`.
    Also(JoinWith<Rec<L>, Rec<R>, Option<u8>>),
}

macro_rules! each_form {
    ($self:expr, $join:ident => $do:expr) => {
        match $self {
            Join::Int($join) => Join::Int($do),
            Join::Maybe($join) => Join::Maybe($do),
            Join::Text($join) => Join::Text($do),
            Join::Pair($join) => Join::Pair($do),
            Join::Real($join) => Join::Real($do),
            Join::Also($join) => Join::Also($do),
        }
    };
}

macro_rules! any_form {
    ($self:expr, $join:ident => $do:expr) => {
        match $self {
            Join::Int($join) => $do,
            Join::Maybe($join) => $do,
            Join::Text($join) => $do,
            Join::Pair($join) => $do,
            Join::Real($join) => $do,
            Join::Also($join) => $do,
        }
    };
}

impl<const L: usize, const R: usize> Join<L, R> {
    /// The join that a case asks for.
    #[must_use]
    pub fn of(edge: &EdgeSpec) -> Self {
        assert_eq!((edge.left, edge.right), (L, R), "the shape's edges and its function disagree");
        let (by, to) = (edge.left_offset, edge.right_offset);
        let lookup = edge.matching == Match::Lookup;
        let join = match edge.form {
            Form::Int => {
                let left = Rec::<L>::fields().at + by;
                let right = move |r: &Rec<R>| r.at + to;
                Self::Int(ranged(made(lookup, left, right), edge, |n| n))
            }
            Form::Half => {
                let left = move |l: &Rec<L>| l.at.div_euclid(2) + by;
                let right = Rec::<R>::fields().at.div_euclid(2) + to;
                Self::Int(ranged(made(lookup, left, right), edge, |n| n))
            }
            Form::Maybe => {
                let right = |r: &Rec<R>| r.maybe;
                Self::Maybe(ranged(made(lookup, Rec::<L>::fields().maybe, right), edge, |n| n))
            }
            Form::Real => {
                let left = move |l: &Rec<L>| l.real + by as f64 / 2.0;
                let right = Rec::<R>::fields().real + to as f64 / 2.0;
                Self::Real(ranged(made(lookup, left, right), edge, |n| n as f64 / 2.0))
            }
            Form::Text if edge.left.is_multiple_of(2) => {
                Self::Text(plain(made(lookup, Rec::<L>::fields().text, Rec::<R>::fields().text), edge))
            }
            Form::Text => {
                let left = |l: &Rec<L>| l.text.clone();
                Self::Text(plain(made(lookup, left, Rec::<R>::fields().text), edge))
            }
            Form::Pair => {
                let left = (Rec::<L>::fields().maybe, |l: &Rec<L>| l.minor);
                let right = |r: &Rec<R>| (r.maybe, r.minor);
                Self::Pair(plain(made(lookup, left, right), edge))
            }
            Form::Also => {
                Self::Also(plain(made(lookup, Rec::<L>::fields().also, Rec::<R>::fields().also), edge))
            }
        };
        each_form!(join, join => {
            let join = match edge.keep {
                Keep::Inner => join,
                Keep::Left => join.left(),
                Keep::Exists => join.exists(),
                Keep::Unmatched => join.unmatched(),
            };
            let join = if edge.and {
                join.and(Rec::<L>::fields().also, |r: &Rec<R>| r.also)
            } else {
                join
            };
            if edge.unique { join.unique() } else { join }
        })
    }

    /// Nests a join to the right stream into this one.
    #[must_use]
    pub fn with<const S: usize>(self, below: Join<R, S>) -> Self {
        each_form!(self, join => any_form!(below, below => join.join(below)))
    }

    /// Gives the join to the mill.
    #[must_use]
    pub fn onto(self, mill: Mill<Rec<0>>) -> Mill<Rec<0>> {
        any_form!(self, join => mill.join(join))
    }
}

fn made<const L: usize, const R: usize, V: KeyValue>(
    lookup: bool,
    left: impl KeyExpr<Rec<L>, Value = V>,
    right: impl KeyExpr<Rec<R>, Value = V>,
) -> JoinWith<Rec<L>, Rec<R>, V> {
    if lookup { JoinWith::lookup(left, right) } else { JoinWith::new(left, right) }
}

/// The match of a join whose keys can be moved.
fn ranged<const L: usize, const R: usize, V, D>(
    join: JoinWith<Rec<L>, Rec<R>, V>,
    edge: &EdgeSpec,
    number: fn(i64) -> D,
) -> JoinWith<Rec<L>, Rec<R>, V>
where
    V: KeyOffset<D>,
    D: Clone + Default + PartialOrd + std::fmt::Debug + Send + Sync + 'static,
{
    match edge.matching {
        Match::AsOfTolerance(reach) => join.as_of().tolerance(number(reach)),
        Match::Within { low, high, open: false } => join.within(number(low)..=number(high)),
        Match::Within { low, high, open: true } => join.within(number(low)..number(high)),
        _ => plain(join, edge),
    }
}

fn plain<const L: usize, const R: usize, V: KeyValue>(
    join: JoinWith<Rec<L>, Rec<R>, V>,
    edge: &EdgeSpec,
) -> JoinWith<Rec<L>, Rec<R>, V> {
    if edge.matching == Match::AsOf { join.as_of() } else { join }
}

/// The joins of a case, for a shape to pick from.
pub struct Joins<'a>(&'a Case);

impl Joins<'_> {
    fn at<const L: usize, const R: usize>(&self, index: usize) -> Join<L, R> {
        Join::of(&self.0.edges[index])
    }
}

/// What is seen of the group of `left`; every way to look into a group must agree.
fn see<const L: usize, const R: usize>(
    left: &Rec<L>,
    joined: &Joined<Rec<L>, Rec<R>>,
    below: impl Fn(&Rec<R>) -> Vec<Vec<Seen>>,
) -> Vec<Seen> {
    let group = joined.get(left).expect("a record of this call");
    assert!(std::ptr::eq(group, &joined[left]));
    assert_eq!(group.is_empty(), group.iter().next().is_none());
    let mut seen = Vec::new();
    for record in group {
        assert!(std::ptr::eq(record, &group[seen.len()]));
        seen.push(Seen { id: record.id, groups: below(record) });
    }
    assert_eq!(group.len(), seen.len());
    assert!(group.get(seen.len()).is_none());
    assert_eq!(group.first().map(|r| r.id), seen.first().map(|s| s.id));
    assert_eq!(group.last().map(|r| r.id), seen.last().map(|s| s.id));
    if let Some(slice) = group.as_slice() {
        assert!(slice.iter().map(|r| r.id).eq(seen.iter().map(|s| s.id)));
    }
    seen
}

/// Nothing is joined to the record.
fn leaf<const N: usize>(_: &Rec<N>) -> Vec<Vec<Seen>> {
    Vec::new()
}

fn windowed(mill: Mill<Rec<0>>, window: Windowing) -> Mill<Rec<0>> {
    match window {
        Windowing::None => mill,
        Windowing::Count(count) => mill.window(Window::count(count)),
        Windowing::ByAt(unit) => mill.window(Window::by(move |m: &Rec<0>| m.at.div_euclid(unit))),
        Windowing::ByMinor => mill.window(Window::by(Rec::<0>::fields().minor)),
    }
}

/// The scripts of one stream.
fn scripted<const N: usize>(case: &Case, broker: ScriptBroker) -> ScriptBroker {
    let mut rows = case.rows[N].iter();
    let mut steps: Vec<Step<Rec<N>>> = Vec::new();
    for size in case.batches(N) {
        steps.push(Step::Batch(rows.by_ref().take(size).map(Rec::of).collect()));
    }
    broker.read(steps)
}

/// The same policy for bad rows of every stream.
#[must_use]
pub fn bad_streams(mill: Mill<Rec<0>>, on_bad: OnBad) -> Mill<Rec<0>> {
    mill.on_bad::<Rec<0>>(on_bad)
        .on_bad::<Rec<1>>(on_bad)
        .on_bad::<Rec<2>>(on_bad)
        .on_bad::<Rec<3>>(on_bad)
        .on_bad::<Rec<4>>(on_bad)
        .on_bad::<Rec<5>>(on_bad)
}

macro_rules! shape {
    (
        $(#[$doc:meta])*
        $name:ident = $m:ident => [$($arg:ident: $l:literal => $r:literal),+],
        nested: |$mill:ident, $joins:ident| $nested:expr,
        sees: $sees:expr
    ) => {
        $(#[$doc])*
        pub const fn $name() -> Shape {
            fn one($m: &Rec<0>, $($arg: &Joined<Rec<$l>, Rec<$r>>),+) -> Call {
                Call { masters: vec![Seen { id: $m.id, groups: $sees }] }
            }

            fn window(masters: &[Rec<0>], $($arg: &Joined<Rec<$l>, Rec<$r>>),+) -> Call {
                Call { masters: masters.iter().map(|$m| Seen { id: $m.id, groups: $sees }).collect() }
            }

            fn mill(case: &Case) -> Mill<Rec<0>> {
                let $mill = match case.window {
                    Windowing::None => Mill::new(one),
                    other => windowed(Mill::new(window), other),
                };
                let $joins = Joins(case);
                if case.nested {
                    $nested
                } else {
                    let mill = $mill;
                    let mut index = 0..;
                    $(let mill = $joins.at::<$l, $r>(index.next().unwrap()).onto(mill);)+
                    mill
                }
            }

            fn run(case: &Case, on_bad: OnBad) -> Result<Came, RunError> {
                let mill = mill(case);
                let mill = if on_bad == OnBad::Fail { mill } else { bad_streams(mill, on_bad) };
                if let Cuts::Even(size) = case.cuts {
                    let out = Collected::<Call>::new();
                    let broker = MemoryBroker::new().read(Rec::<0>::all(&case.rows[0]));
                    $(let broker = broker.read(Rec::<$r>::all(&case.rows[$r]));)+
                    let report = mill.run_blocking(broker.write(&out).batch(size))?;
                    Ok(Came { calls: out.take(), report })
                } else {
                    let broker = scripted::<0>(case, ScriptBroker::new());
                    $(let broker = scripted::<$r>(case, broker);)+
                    let (broker, out) = broker.write::<Call>();
                    let report = mill.run_blocking(broker)?;
                    let calls = std::mem::take(&mut *out.lock().unwrap());
                    Ok(Came { calls, report })
                }
            }

            Shape { edges: &[$(($l, $r)),+], mill, run }
        }
    };
}

shape! {
    /// One join.
    one = m => [a: 0 => 1],
    nested: |mill, e| e.at::<0, 1>(0).onto(mill),
    sees: vec![see(m, a, leaf)]
}

shape! {
    /// A chain of two joins.
    chain_2 = m => [a: 0 => 1, b: 1 => 2],
    nested: |mill, e| e.at::<0, 1>(0).with(e.at::<1, 2>(1)).onto(mill),
    sees: vec![see(m, a, |r| vec![see(r, b, leaf)])]
}

shape! {
    /// A chain of three joins.
    chain_3 = m => [a: 0 => 1, b: 1 => 2, c: 2 => 3],
    nested: |mill, e| e.at::<0, 1>(0).with(e.at::<1, 2>(1).with(e.at::<2, 3>(2))).onto(mill),
    sees: vec![see(m, a, |r| vec![see(r, b, |r| vec![see(r, c, leaf)])])]
}

shape! {
    /// A chain of four joins.
    chain_4 = m => [a: 0 => 1, b: 1 => 2, c: 2 => 3, d: 3 => 4],
    nested: |mill, e| e
        .at::<0, 1>(0)
        .with(e.at::<1, 2>(1).with(e.at::<2, 3>(2).with(e.at::<3, 4>(3))))
        .onto(mill),
    sees: vec![see(m, a, |r| vec![see(r, b, |r| vec![see(r, c, |r| vec![see(r, d, leaf)])])])]
}

shape! {
    /// Two joins to the master.
    star_2 = m => [a: 0 => 1, b: 0 => 2],
    nested: |mill, e| e.at::<0, 2>(1).onto(e.at::<0, 1>(0).onto(mill)),
    sees: vec![see(m, a, leaf), see(m, b, leaf)]
}

shape! {
    /// Five joins to the master.
    star_5 = m => [a: 0 => 1, b: 0 => 2, c: 0 => 3, d: 0 => 4, f: 0 => 5],
    nested: |mill, e| {
        let mill = e.at::<0, 2>(1).onto(e.at::<0, 1>(0).onto(mill));
        e.at::<0, 5>(4).onto(e.at::<0, 4>(3).onto(e.at::<0, 3>(2).onto(mill)))
    },
    sees: vec![see(m, a, leaf), see(m, b, leaf), see(m, c, leaf), see(m, d, leaf), see(m, f, leaf)]
}

shape! {
    /// Two joins below the one stream that is joined to the master.
    fork_below = m => [a: 0 => 1, b: 1 => 2, c: 1 => 3],
    nested: |mill, e| e.at::<0, 1>(0).with(e.at::<1, 2>(1)).with(e.at::<1, 3>(2)).onto(mill),
    sees: vec![see(m, a, |r| vec![see(r, b, leaf), see(r, c, leaf)])]
}

shape! {
    /// A chain of two beside a chain of two.
    two_chains = m => [a: 0 => 1, b: 1 => 2, c: 0 => 3, d: 3 => 4],
    nested: |mill, e| {
        let mill = e.at::<0, 1>(0).with(e.at::<1, 2>(1)).onto(mill);
        e.at::<0, 3>(2).with(e.at::<3, 4>(3)).onto(mill)
    },
    sees: vec![see(m, a, |r| vec![see(r, b, leaf)]), see(m, c, |r| vec![see(r, d, leaf)])]
}

shape! {
    /// A chain of three with a branch at its middle, and a join to the master beside it.
    mixed = m => [a: 0 => 1, b: 1 => 2, c: 2 => 3, d: 1 => 4, f: 0 => 5],
    nested: |mill, e| {
        let mill = e
            .at::<0, 1>(0)
            .with(e.at::<1, 2>(1).with(e.at::<2, 3>(2)))
            .with(e.at::<1, 4>(3))
            .onto(mill);
        e.at::<0, 5>(4).onto(mill)
    },
    sees: vec![
        see(m, a, |r| vec![see(r, b, |r| vec![see(r, c, leaf)]), see(r, d, leaf)]),
        see(m, f, leaf),
    ]
}

shape! {
    /// A join to the master, and beside it a chain of three that forks at its end.
    deep_fork = m => [a: 0 => 1, b: 0 => 2, c: 2 => 3, d: 3 => 4, f: 3 => 5],
    nested: |mill, e| {
        let mill = e.at::<0, 1>(0).onto(mill);
        e.at::<0, 2>(1).with(e.at::<2, 3>(2).with(e.at::<3, 4>(3)).with(e.at::<3, 5>(4))).onto(mill)
    },
    sees: vec![
        see(m, a, leaf),
        see(m, b, |r| vec![see(r, c, |r| vec![see(r, d, leaf), see(r, f, leaf)])]),
    ]
}

/// Runs a case on the engine and compares with the oracle: every call, and the accounting of every stream.
///
/// # Errors
/// When they differ.
pub fn check(shape: &Shape, case: &Case) -> Result<(), TestCaseError> {
    let expected = oracle::expect(case);
    let came = (shape.run)(case, OnBad::Skip).map_err(|error| TestCaseError::fail(told(&error)))?;
    prop_assert_eq!(came.calls.len(), expected.calls.len(), "so many calls");
    for (at, (came, expected)) in came.calls.iter().zip(&expected.calls).enumerate() {
        prop_assert_eq!(came, expected, "call {}", at);
    }
    let report = &came.report;
    prop_assert_eq!(report.calls, expected.calls.len() as u64);
    prop_assert_eq!(report.results, expected.calls.len() as u64);
    prop_assert_eq!(report.inputs.len(), case.rows.len());
    for (stream, input) in report.inputs.iter().enumerate() {
        let sum = input.matched + input.unmatched + input.skipped + input.dead_lettered + input.pending;
        prop_assert_eq!(input.records, sum, "stream {} adds up: {:?}", stream, input);
        prop_assert!(input.records <= case.rows[stream].len() as u64, "stream {}: {:?}", stream, input);
        prop_assert_eq!(
            input.matched,
            expected.matched[stream].len() as u64,
            "matched of stream {}: {:?}",
            stream,
            input
        );
        let bad = expected.bad[stream].iter().filter(|at| (**at as u64) < input.records).count();
        prop_assert_eq!(input.skipped, bad as u64, "skipped of stream {}: {:?}", stream, input);
        prop_assert_eq!(input.dead_lettered, 0);
    }
    Ok(())
}

/// Runs a case whose bad rows stop the run: either the walk never gets to one, and the result is that of the rows before the
/// first bad one of each stream, or the error is of a stream that has one.
///
/// # Errors
/// When neither is so.
pub fn check_failing(shape: &Shape, case: &Case) -> Result<(), TestCaseError> {
    let bad = oracle::expect(case).bad;
    match (shape.run)(case, OnBad::Fail) {
        Ok(came) => {
            let mut good = case.clone();
            for (rows, bad) in good.rows.iter_mut().zip(&bad) {
                rows.truncate(bad.first().copied().unwrap_or(rows.len()));
            }
            let expected = oracle::expect(&good);
            prop_assert_eq!(came.calls, expected.calls);
        }
        Err(error) => {
            let text = told(&error);
            prop_assert!(bad.iter().any(|bad| !bad.is_empty()), "no row is bad, but: {}", text);
            let RunError::BadRecord(bad_record) = &error else {
                return Err(TestCaseError::fail(format!("another error: {text}")));
            };
            let at = bad_record.place.number as usize;
            prop_assert!(bad.iter().any(|bad| bad.first() == Some(&at)), "another record: {}", text);
        }
    }
    Ok(())
}

/// An error with its causes.
#[must_use]
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
