//! Joins and windows, and the calls that they must give: nested loops over everything.

use std::time::Duration;

use watermill::record::StreamRecord;
use watermill::window::{Buffer, Emit, Window, WindowEmitter};
use watermill::{JoinWith, Mill};

use crate::data::{A, B, C, Data};

/// What is joined to the master, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Nothing.
    None,
    /// Those that have a `B` of the same key.
    Exists,
    /// Those that have none.
    Unmatched,
    /// Every `B` of the same key, at least one.
    Inner,
    /// Every `B` of the same key.
    Left,
    /// The last `B` before.
    AsOf,
    /// The last `B` before, if there is one.
    AsOfLeft,
    /// Every `B` nearby.
    Within,
    /// Every `B` that has a `C`.
    Tree,
    /// Every `B`, with every `C` of it.
    TreeLeft,
    /// Every `B` of the same key and the same tag.
    And,
    /// The last `B` of the same tag that is not too long before, if there is one.
    AsOfAnd,
    /// Every `B` of the same key, whose keys come in any order.
    Lookup,
}

/// How masters are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    /// One by one.
    None,
    /// So many.
    Count(usize),
    /// Neighbours whose keys have the same quotient.
    By(i64),
    /// Intervals of this size; with the empty ones between them.
    Fixed(i64, bool),
    /// Intervals of this size, one every so much; with the empty ones between them.
    Sliding(i64, i64, bool),
    /// Masters that follow each other by less than this.
    Session(i64),
    /// What an [`OddOnes`] takes that looks for so many.
    Emitter(usize),
    /// So many, or fewer after some time.
    CountOr(usize, Duration),
    /// Intervals of arrival.
    ArrivedWithin(Duration),
    /// Masters that arrive one soon after the other.
    ArrivedTogether(Duration),
    /// All that has arrived, every so often.
    Relaxed(Duration),
}

/// A call as it must be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The masters, by their places in their stream.
    pub masters: Vec<u32>,
    /// The ids of all its records, in order.
    pub ids: Vec<u32>,
}

impl Expected {
    /// The master by which the script of the call goes; an empty window goes by the first of all.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.masters.first().copied().unwrap_or(0)
    }
}

fn a_tag(a: &A) -> u32 {
    a.id % 2
}

fn b_tag(b: &B) -> u32 {
    b.id % 2
}

impl Join {
    /// How `B` is joined, where nothing is joined to it.
    #[must_use]
    pub fn to_b(self) -> JoinWith<A, B, i64> {
        let join = JoinWith::new(A::fields().key, B::fields().key);
        match self {
            Self::None | Self::Inner | Self::Tree => join,
            Self::Exists => join.exists(),
            Self::Unmatched => join.unmatched(),
            Self::Left | Self::TreeLeft => join.left(),
            Self::AsOf => join.as_of(),
            Self::AsOfLeft => join.as_of().left(),
            Self::Within => join.within(-1..=2),
            Self::And => join.and(a_tag, b_tag),
            Self::AsOfAnd => join.as_of().and(a_tag, b_tag).tolerance(3).left(),
            Self::Lookup => JoinWith::lookup(A::fields().key, B::fields().key),
        }
    }

    /// How `C` is joined.
    #[must_use]
    pub fn to_c(self) -> JoinWith<B, C, i64> {
        let join = JoinWith::new(B::fields().key, C::fields().key);
        if self == Self::TreeLeft { join.left() } else { join }
    }

    /// Every master is kept.
    #[must_use]
    pub fn keeps_all(self) -> bool {
        matches!(self, Self::None | Self::Left | Self::AsOfLeft | Self::TreeLeft | Self::AsOfAnd)
    }

    fn is_as_of(self) -> bool {
        matches!(self, Self::AsOf | Self::AsOfLeft | Self::AsOfAnd)
    }
}

impl Windows {
    /// Gives a mill its window.
    #[must_use]
    pub fn put_on(self, mill: Mill<A>) -> Mill<A> {
        let key = A::fields().key;
        let window = match self {
            Self::None => return mill,
            Self::Count(count) => Window::count(count),
            Self::By(unit) => Window::by(key / unit),
            Self::Fixed(size, true) => Window::fixed(size).with_empty().by(key),
            Self::Fixed(size, false) => Window::fixed(size).by(key),
            Self::Sliding(size, step, true) => Window::sliding(size, step).with_empty().by(key),
            Self::Sliding(size, step, false) => Window::sliding(size, step).by(key),
            Self::Session(gap) => Window::session(gap).by(key),
            Self::Emitter(least) => Window::emitter(move || OddOnes(least)),
            Self::CountOr(count, time) => Window::count(count).or_after(time),
            Self::ArrivedWithin(time) => return mill.window(Window::fixed(time)),
            Self::ArrivedTogether(time) => return mill.window(Window::session(time)),
            Self::Relaxed(time) => Window::relaxed(time),
        };
        mill.window(window)
    }

    /// What comes into which window depends on when it came.
    #[must_use]
    pub fn by_arrival(self) -> bool {
        matches!(
            self,
            Self::CountOr(..) | Self::ArrivedWithin(_) | Self::ArrivedTogether(_) | Self::Relaxed(_)
        )
    }

    /// Its calls are made one after the other.
    #[must_use]
    pub fn one_by_one(self) -> bool {
        matches!(self, Self::Sliding(..) | Self::Emitter(_))
    }

    /// The position of the masters alone does not say which calls were made.
    #[must_use]
    pub fn has_state(self) -> bool {
        self.one_by_one() || matches!(self, Self::Fixed(_, true))
    }
}

/// When there are so many: those with odd ids, the last one first, or the first one. Some are dropped.
pub struct OddOnes(usize);

impl OddOnes {
    /// Which are taken, and which are dropped.
    #[must_use]
    pub fn choose(&self, ids: &[u32]) -> (Vec<usize>, Vec<usize>) {
        if ids.len() < self.0 {
            return (Vec::new(), Vec::new());
        }
        let (drop, rest): (Vec<usize>, Vec<usize>) = (0..ids.len()).partition(|at| ids[*at] % 7 == 3);
        let odd: Vec<usize> = rest.iter().rev().copied().filter(|at| ids[*at] % 2 == 1).collect();
        (if odd.is_empty() { rest.into_iter().take(1).collect() } else { odd }, drop)
    }

    /// All windows of these masters, by their places among them.
    fn all(&self, ids: &[u32]) -> Vec<Vec<usize>> {
        let (mut windows, mut buffer): (Vec<Vec<usize>>, Vec<usize>) = (Vec::new(), Vec::new());
        for at in 0..ids.len() {
            buffer.push(at);
            loop {
                let (take, drop) = self.choose(&buffer.iter().map(|at| ids[*at]).collect::<Vec<_>>());
                if !take.is_empty() {
                    windows.push(take.iter().map(|at| buffer[*at]).collect());
                }
                let gone = |at: usize| take.contains(&at) || drop.contains(&at);
                buffer = (0..buffer.len()).filter(|at| !gone(*at)).map(|at| buffer[at]).collect();
                if take.is_empty() {
                    break;
                }
            }
        }
        if !buffer.is_empty() {
            windows.push(buffer);
        }
        windows
    }
}

impl WindowEmitter<A> for OddOnes {
    fn emit(&mut self, buffer: Buffer<'_, A>) -> Emit {
        let (take, drop) = self.choose(&buffer.iter().map(|a| a.id).collect::<Vec<_>>());
        Emit::take(take).and_drop(drop)
    }
}

/// All calls of a mill, where these do not depend on when records arrive.
#[must_use]
pub fn calls(data: &Data, join: Join, windows: Windows) -> Vec<Expected> {
    let kept: Vec<(&A, Vec<u32>)> =
        data.good_a().filter_map(|a| seen(a, data, join).map(|ids| (a, ids))).collect();
    let keys: Vec<i64> = kept.iter().map(|(a, _)| a.key).collect();
    let apart = |begins: &dyn Fn(usize, usize) -> bool| {
        let mut all: Vec<Vec<usize>> = Vec::new();
        for at in 0..kept.len() {
            match all.last_mut() {
                Some(last) if !begins(last[0], at) => last.push(at),
                _ => all.push(vec![at]),
            }
        }
        all
    };
    let all = match windows {
        Windows::Count(count) => apart(&|first, at| at - first >= count),
        Windows::By(unit) => apart(&|first, at| keys[first] / unit != keys[at] / unit),
        Windows::Session(gap) => apart(&|_, at| keys[at] - keys[at - 1] >= gap),
        Windows::Fixed(size, empty) => overlapping(&keys, size, size, empty),
        Windows::Sliding(size, step, empty) => overlapping(&keys, size, step, empty),
        Windows::Emitter(least) => OddOnes(least).all(&kept.iter().map(|(a, _)| a.id).collect::<Vec<_>>()),
        _ => apart(&|_, _| true),
    };
    let call = |window: Vec<usize>| Expected {
        masters: window.iter().map(|at| kept[*at].0.id).collect(),
        ids: window.iter().flat_map(|at| kept[*at].1.iter().copied()).collect(),
    };
    all.into_iter().map(call).collect()
}

/// The masters of each interval, in the order of the intervals.
fn overlapping(keys: &[i64], size: i64, step: i64, empty: bool) -> Vec<Vec<usize>> {
    let (Some(lowest), Some(highest)) = (keys.first(), keys.last()) else { return Vec::new() };
    let starts = (lowest - size..=*highest).filter(|start| start.rem_euclid(step) == 0);
    let within =
        |start: i64| (0..keys.len()).filter(|at| (start..start + size).contains(&keys[*at])).collect();
    let all: Vec<Vec<usize>> = starts.map(within).collect();
    let first = all.iter().position(|window| !window.is_empty()).unwrap_or(0);
    let last = all.iter().rposition(|window| !window.is_empty()).unwrap_or(0);
    let between =
        |(at, window): &(usize, Vec<usize>)| !window.is_empty() || (empty && (first..last).contains(at));
    all.into_iter().enumerate().filter(between).map(|(_, window)| window).collect()
}

/// The ids of all `B` that could be in the group of `a`, in their order.
#[must_use]
pub fn matching(a: &A, data: &Data, join: Join) -> Vec<u32> {
    group(a, data, join).into_iter().map(|b| 1000 + b.id).collect()
}

fn group<'d>(a: &A, data: &'d Data, join: Join) -> Vec<&'d B> {
    let survives = |b: &&B| join != Join::Tree || data.good_c().any(|c| c.key == b.key);
    let matches = |b: &&B| match join {
        Join::None => false,
        Join::AsOf | Join::AsOfLeft => b.key <= a.key,
        Join::AsOfAnd => b.key <= a.key && b.key >= a.key - 3 && a_tag(a) == b_tag(b),
        Join::Within => (a.key - 1..=a.key + 2).contains(&b.key),
        Join::And => b.key == a.key && a_tag(a) == b_tag(b),
        _ => b.key == a.key,
    };
    data.good_b().filter(survives).filter(matches).collect()
}

/// The ids of what a call sees of one master; `None` when its joins do not keep it.
fn seen(a: &A, data: &Data, join: Join) -> Option<Vec<u32>> {
    let mut group = group(a, data, join);
    if join.is_as_of() {
        group = group.pop().into_iter().collect();
    }
    let kept = match join {
        Join::Unmatched => group.is_empty(),
        _ => join.keeps_all() || !group.is_empty(),
    };
    if !kept {
        return None;
    }
    let mut ids = vec![a.id];
    if matches!(join, Join::Exists | Join::Unmatched) {
        return Some(ids);
    }
    for b in group {
        ids.push(1000 + b.id);
        if matches!(join, Join::Tree | Join::TreeLeft) {
            ids.extend(data.good_c().filter(|c| c.key == b.key).map(|c| 2000 + c.id));
        }
    }
    Some(ids)
}
