//! Joins and windows, and the calls that they must give: nested loops over everything.

use watermill::JoinWith;
use watermill::record::StreamRecord;
use watermill::window::Window;

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
}

/// A call as it must be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The masters, by their places in their stream.
    pub masters: Vec<u32>,
    /// The ids of all its records, in order.
    pub ids: Vec<u32>,
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
        }
    }

    /// How `C` is joined.
    #[must_use]
    pub fn to_c(self) -> JoinWith<B, C, i64> {
        let join = JoinWith::new(B::fields().key, C::fields().key);
        if self == Self::TreeLeft { join.left() } else { join }
    }
}

impl Windows {
    /// The window of a mill.
    #[must_use]
    pub fn window(self) -> Window<A> {
        match self {
            Self::None => Window::count(1),
            Self::Count(count) => Window::count(count),
            Self::By(unit) => Window::by(A::fields().key / unit),
        }
    }
}

/// All calls of a mill.
#[must_use]
pub fn calls(data: &Data, join: Join, windows: Windows) -> Vec<Expected> {
    let mut calls: Vec<Expected> = Vec::new();
    let mut open = false;
    for a in &data.a {
        let Some(ids) = seen(a, data, join) else { continue };
        let joins = open
            && calls.last().is_some_and(|last| match windows {
                Windows::None => false,
                Windows::Count(count) => last.masters.len() < count,
                Windows::By(unit) => data.a[last.masters[0] as usize].key / unit == a.key / unit,
            });
        match calls.last_mut() {
            Some(last) if joins => {
                last.masters.push(a.id);
                last.ids.extend(ids);
            }
            _ => calls.push(Expected { masters: vec![a.id], ids }),
        }
        open = true;
    }
    calls
}

/// The ids of what a call sees of one master; `None` when its joins do not keep it.
fn seen(a: &A, data: &Data, join: Join) -> Option<Vec<u32>> {
    let survives = |b: &&B| join != Join::Tree || data.c.iter().any(|c| c.key == b.key);
    let matches = |b: &&B| match join {
        Join::None => false,
        Join::AsOf | Join::AsOfLeft => b.key <= a.key,
        Join::Within => (a.key - 1..=a.key + 2).contains(&b.key),
        _ => b.key == a.key,
    };
    let mut group: Vec<&B> = data.b.iter().filter(survives).filter(matches).collect();
    if matches!(join, Join::AsOf | Join::AsOfLeft) {
        group = group.pop().into_iter().collect();
    }
    let kept = match join {
        Join::None | Join::Left | Join::AsOfLeft | Join::TreeLeft => true,
        Join::Unmatched => group.is_empty(),
        _ => !group.is_empty(),
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
            ids.extend(data.c.iter().filter(|c| c.key == b.key).map(|c| 2000 + c.id));
        }
    }
    Some(ids)
}
