//! Windows by event time, over streams and over joins.

use watermill::function::RecordMeta;
use watermill::prelude::*;
use watermill::testing::TestMill;
use watermill::window::{CloseReason, IntoWindow, TimeWindow};
use watermill_derive::StreamRecord;

use crate::oracle::{Kind, windows};
use crate::random::{Random, for_seeds};

#[derive(StreamRecord, Clone, Debug)]
struct A {
    at: i64,
    time: Option<i64>,
    id: u32,
}

#[derive(StreamRecord, Clone, Debug)]
struct B {
    at: i64,
    id: u32,
}

#[derive(StreamRecord, Clone, Debug)]
struct C {
    at: i64,
    id: u32,
}

/// What is joined to a master: records of B, each with those of C below it.
type Below = Vec<(u32, Vec<u32>)>;

/// What a call has seen: each master with what is joined to it, the bounds, and why the window closed.
#[derive(StreamRecord, Clone, Debug, PartialEq)]
struct Seen {
    masters: Vec<(u32, Below)>,
    offsets: Vec<u64>,
    start: Option<i64>,
    end: Option<i64>,
    reason: CloseReason,
    index: u64,
}

impl Seen {
    fn of(info: &WindowInfo, meta: &Meta<A>, masters: Vec<(u32, Below)>) -> Self {
        let (start, end) = (info.start(), info.end());
        let offsets = meta.iter().map(RecordMeta::offset).collect();
        Self { masters, offsets, start, end, reason: info.reason(), index: info.index() }
    }
}

fn alone(masters: &[A], info: &WindowInfo, meta: &Meta<A>) -> Seen {
    Seen::of(info, meta, masters.iter().map(|a| (a.id, Vec::new())).collect())
}

fn joined(masters: &[A], bs: &Joined<A, B>, info: &WindowInfo, meta: &Meta<A>) -> Seen {
    let see = |a: &A| (a.id, bs[a].iter().map(|b| (b.id, Vec::new())).collect());
    Seen::of(info, meta, masters.iter().map(see).collect())
}

fn tree(masters: &[A], bs: &Joined<A, B>, cs: &Joined<B, C>, info: &WindowInfo, meta: &Meta<A>) -> Seen {
    let below = |b: &B| (b.id, cs[b].iter().map(|c| c.id).collect());
    let see = |a: &A| (a.id, bs[a].iter().map(below).collect());
    Seen::of(info, meta, masters.iter().map(see).collect())
}

fn ats(random: &mut Random, most: u64) -> Vec<i64> {
    let mut at = random.from(-20, 5);
    let steps: &[i64] = random.one_of(&[&[0, 0, 1, 1, 2, 5], &[0, 1, 1, 1], &[0, 3, 7, 19]]);
    (0..random.below(most + 1))
        .map(|_| {
            at += random.one_of(steps);
            at
        })
        .collect()
}

fn kind(random: &mut Random) -> Kind {
    let size = random.from(1, 12);
    match random.below(3) {
        0 => Kind::Fixed(size),
        1 => Kind::Session(size),
        _ => Kind::Sliding(size, random.from(1, size)),
    }
}

fn window(kind: Kind, empty: bool) -> impl IntoWindow<A> {
    let time = A::fields().time;
    let with_empty = |window: TimeWindow<A, i64>| if empty { window.with_empty() } else { window };
    match kind {
        Kind::Fixed(size) => with_empty(Window::fixed(size)).by(time),
        Kind::Session(gap) => Window::session(gap).by(time),
        Kind::Sliding(size, step) => with_empty(Window::sliding(size, step)).by(time),
    }
}

struct Streams {
    a: Vec<A>,
    b: Vec<B>,
    c: Vec<C>,
}

impl Streams {
    fn new(random: &mut Random) -> Self {
        let mut id = 0..;
        let mut id = || id.next().unwrap();
        let unknown = random.one_of(&[0, 0, 1]);
        let a = ats(random, 40)
            .into_iter()
            .map(|at| A { at, time: (random.below(5) >= unknown).then_some(at), id: id() })
            .collect();
        let b = ats(random, 40).into_iter().map(|at| B { at, id: id() }).collect();
        let c = ats(random, 40).into_iter().map(|at| C { at, id: id() }).collect();
        Self { a, b, c }
    }

    fn broker(&self, random: &mut Random, out: &Collected<Seen>) -> MemoryBroker {
        MemoryBroker::new()
            .read(self.a.clone())
            .read(self.b.clone())
            .read(self.c.clone())
            .write(out)
            .batch(random.one_of(&[1, 2, 3, 7, 100]))
    }
}

/// How the streams are joined.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Alone,
    /// Equal, inner.
    Inner,
    /// Within -3 to 2, left.
    Around,
    /// As of, left; below it equal, left.
    AsOf,
    /// Within -2 to 2, inner; below it within -4 to 0, left.
    Tree,
}

impl Shape {
    fn run(self, window: impl IntoWindow<A>, broker: MemoryBroker) -> u64 {
        let b = || JoinWith::new(A::fields().at, B::fields().at);
        let c = || JoinWith::new(B::fields().at, C::fields().at);
        let mill = match self {
            Shape::Alone => Mill::new(alone),
            Shape::Inner => Mill::new(joined).join(b()),
            Shape::Around => Mill::new(joined).join(b().within(-3..=2).left()),
            Shape::AsOf => Mill::new(tree).join(b().as_of().left().join(c().left())),
            Shape::Tree => Mill::new(tree).join(b().within(-2..=2).join(c().within(-4..=0).left())),
        };
        let report = mill.window(window).run_blocking(broker).unwrap();
        for input in &report.inputs {
            assert_eq!(input.records, input.matched + input.unmatched, "{input:?}");
        }
        report.inputs[0].matched
    }

    /// The masters that stay, with what is joined to them.
    fn keep(self, streams: &Streams) -> Vec<(A, Below)> {
        let cs = |b: &B| -> Vec<u32> {
            let matches = |c: &&C| match self {
                Shape::AsOf => c.at == b.at,
                Shape::Tree => (b.at - 4..=b.at).contains(&c.at),
                _ => false,
            };
            streams.c.iter().filter(matches).map(|c| c.id).collect()
        };
        let bs = |a: &A| -> Below {
            let matches = |b: &&B| match self {
                Shape::Alone => false,
                Shape::Inner => b.at == a.at,
                Shape::Around => (a.at - 3..=a.at + 2).contains(&b.at),
                Shape::AsOf => b.at <= a.at,
                Shape::Tree => (a.at - 2..=a.at + 2).contains(&b.at),
            };
            let mut found: Vec<_> = streams.b.iter().filter(matches).collect();
            if let Shape::AsOf = self {
                found = found.pop().into_iter().collect();
            }
            found.into_iter().map(|b| (b.id, cs(b))).collect()
        };
        let inner = matches!(self, Shape::Inner | Shape::Tree);
        streams.a.iter().map(|a| (a.clone(), bs(a))).filter(|(_, bs)| !inner || !bs.is_empty()).collect()
    }
}

fn agree(random: &mut Random, shape: Shape) {
    let streams = Streams::new(random);
    let (kind, empty) = (kind(random), random.below(3) == 0);
    let empty = empty && !matches!(kind, Kind::Session(_));
    let out = Collected::new();
    let matched = shape.run(window(kind, empty), streams.broker(random, &out));
    let kept: Vec<_> = shape.keep(&streams).into_iter().filter(|(a, _)| a.time.is_some()).collect();
    let keys: Vec<i64> = kept.iter().map(|(a, _)| a.at).collect();
    let idle = matches!(kind, Kind::Session(_));
    let expected: Vec<Seen> = windows(&keys, kind, empty)
        .into_iter()
        .enumerate()
        .map(|(index, window)| Seen {
            masters: window.masters.iter().map(|at| (kept[*at].0.id, kept[*at].1.clone())).collect(),
            offsets: window.masters.iter().map(|at| u64::from(kept[*at].0.id)).collect(),
            start: Some(window.start),
            end: Some(window.end),
            reason: match window.closed {
                true if idle => CloseReason::Idle,
                true => CloseReason::TimeUp,
                false => CloseReason::EndOfStream,
            },
            index: index as u64,
        })
        .collect();
    assert_eq!(out.take(), expected, "{shape:?} {kind:?}");
    assert_eq!(matched, kept.len() as u64);
}

#[test]
fn of_one_stream() {
    for_seeds(600, |random| agree(random, Shape::Alone));
}

#[test]
fn over_a_join() {
    for_seeds(400, |random| agree(random, Shape::Inner));
    for_seeds(300, |random| agree(random, Shape::Around));
}

#[test]
fn over_a_tree() {
    for_seeds(300, |random| agree(random, Shape::AsOf));
    for_seeds(300, |random| agree(random, Shape::Tree));
}

#[test]
fn no_record_is_in_two_fixed_windows() {
    for_seeds(100, |random| {
        let streams = Streams::new(random);
        let out = Collected::new();
        let size = random.from(1, 9);
        Shape::Alone.run(window(Kind::Fixed(size), false), streams.broker(random, &out));
        let ids: Vec<u32> =
            out.take().iter().flat_map(|seen| seen.masters.iter().map(|(id, _)| *id)).collect();
        let all = streams.a.iter().filter(|a| a.time.is_some()).map(|a| a.id);
        assert!(all.eq(ids.iter().copied()));
    });
}

/// A restart begins with the first master of the next window, and no earlier.
#[test]
fn that_overlap_hold_back_what_the_next_one_needs() {
    let mill = Mill::new(alone).window(Window::sliding(20, 10).by(A::fields().time));
    let mut test = TestMill::new(mill).unwrap();
    let feed = |test: &mut TestMill, at: i64| {
        test.feed(A { at, time: Some(at), id: 0 });
        test.run().unwrap();
        test.position::<A>()
    };
    assert_eq!([0, 5, 12, 13].map(|at| feed(&mut test, at)), [0, 0, 0, 0]);
    // The windows until 20 are over. The next one begins at 10.
    assert_eq!(feed(&mut test, 21), 2);
    assert_eq!(feed(&mut test, 29), 2);
    assert_eq!(feed(&mut test, 1000), 6);
    let input = test.input::<A>().unwrap();
    assert_eq!((input.matched, input.unmatched, input.pending), (6, 0, 1));
}

/// What is in no window to come is let go of, over a tree too.
#[test]
fn that_overlap_hold_no_more_than_they_need() {
    let stream = |count: i64| (0..count).map(|at| A { at, time: Some(at), id: 0 }).collect::<Vec<_>>();
    let bs = |count: i64| (0..count).map(|at| B { at, id: 0 }).collect::<Vec<_>>();
    let cs = |count: i64| (0..count).map(|at| C { at, id: 0 }).collect::<Vec<_>>();
    let count = 50_000;
    let broker = MemoryBroker::new().read(stream(count)).read(bs(count)).read(cs(count)).batch(50);
    let join = JoinWith::new(A::fields().at, B::fields().at)
        .join(JoinWith::new(B::fields().at, C::fields().at).within(-1..=1).left());
    let mill = Mill::new(|_: &[A], _: &Joined<A, B>, _: &Joined<B, C>| ()).join(join).memory_budget(200_000);
    let report = mill.window(Window::sliding(50, 10).by(A::fields().time)).run_blocking(broker).unwrap();
    assert_eq!(report.calls, 5004);
}
