//! How a left record and right records match: what each kind of join asks of the keys.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ops::Bound;

use super::keyed::key_of;
use crate::key::{KeyExpr, KeyOffset, KeyValue, Shifted};

/// The kinds of match.
pub(crate) enum Matching<V: KeyValue> {
    /// Equal keys.
    Equal,
    /// The latest right record at or before the left one; with a tolerance, not further back than that.
    AsOf(Option<Box<dyn Reach<V>>>),
    /// Right keys in an interval around the left key.
    Within(Box<dyn Interval<V>>),
    /// Equal keys, in a table that is loaded whole and need not be sorted.
    Lookup,
}

/// How far back an as-of join looks.
pub(crate) trait Reach<V: KeyValue>: Send + Sync {
    /// Whether a right record at `right` is still in reach of a left one at `left`.
    fn reaches<'a>(&self, right: &V::View<'a>, left: &V::View<'a>) -> bool;
    fn copy(&self) -> Box<dyn Reach<V>>;
}

/// An interval around a left key.
pub(crate) trait Interval<V: KeyValue>: Send + Sync {
    /// Where `right` lies: below the interval around `left`, in it, or above it.
    fn place<'a>(&self, right: &V::View<'a>, left: &V::View<'a>) -> Ordering;
    fn copy(&self) -> Box<dyn Interval<V>>;
}

impl<V: KeyValue> Matching<V> {
    pub(crate) fn copy(&self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::AsOf(reach) => Self::AsOf(reach.as_ref().map(|reach| reach.copy())),
            Self::Within(interval) => Self::Within(interval.copy()),
            Self::Lookup => Self::Lookup,
        }
    }
}

/// A tolerance: the right key plus this must reach the left key.
pub(crate) struct Tolerance<D>(pub(crate) D);

impl<V: KeyOffset<D>, D: Clone + Send + Sync + 'static> Reach<V> for Tolerance<D> {
    fn reaches<'a>(&self, right: &V::View<'a>, left: &V::View<'a>) -> bool {
        compare::<V>(&V::shift(right, &self.0), left) != Ordering::Less
    }

    fn copy(&self) -> Box<dyn Reach<V>> {
        Box::new(Self(self.0.clone()))
    }
}

/// The bounds of `within`, relative to the left key.
pub(crate) struct Bounds<D> {
    pub(crate) lower: Bound<D>,
    pub(crate) upper: Bound<D>,
}

impl<V: KeyOffset<D>, D: Clone + Send + Sync + 'static> Interval<V> for Bounds<D> {
    fn place<'a>(&self, right: &V::View<'a>, left: &V::View<'a>) -> Ordering {
        let below = match &self.lower {
            Bound::Included(by) => compare::<V>(&V::shift(left, by), right) == Ordering::Greater,
            Bound::Excluded(by) => compare::<V>(&V::shift(left, by), right) != Ordering::Less,
            Bound::Unbounded => false,
        };
        if below {
            return Ordering::Less;
        }
        let above = match &self.upper {
            Bound::Included(by) => compare::<V>(&V::shift(left, by), right) == Ordering::Less,
            Bound::Excluded(by) => compare::<V>(&V::shift(left, by), right) != Ordering::Greater,
            Bound::Unbounded => false,
        };
        if above { Ordering::Greater } else { Ordering::Equal }
    }

    fn copy(&self) -> Box<dyn Interval<V>> {
        Box::new(Self { lower: self.lower.clone(), upper: self.upper.clone() })
    }
}

/// A shifted key against an ordinary one.
fn compare<'a, V: KeyValue>(shifted: &Shifted<V::View<'a>>, other: &V::View<'a>) -> Ordering {
    match shifted {
        Shifted::BelowAll => Ordering::Less,
        Shifted::AboveAll => Ordering::Greater,
        Shifted::At(value) => value.cmp(other),
    }
}

/// Equalities beside the key, which need no order: `.and(left, right)`.
pub(crate) trait Also<L, R>: Send + Sync {
    /// A hash of the left record's keys; `None` matches nothing.
    fn left(&self, record: &L) -> Option<u64>;
    /// A hash of the right record's keys, equal where the keys are equal.
    fn right(&self, record: &R) -> Option<u64>;
    /// Whether the keys are really equal.
    fn equal(&self, left: &L, right: &R) -> bool;
}

/// One equality between two key expressions.
pub(crate) struct AlsoKeys<L, R, A, B> {
    pub(crate) left: std::sync::Arc<A>,
    pub(crate) right: std::sync::Arc<B>,
    pub(crate) types: PhantomData<fn(&L, &R)>,
}

impl<L, R, A, B> Also<L, R> for AlsoKeys<L, R, A, B>
where
    A: KeyExpr<L>,
    B: KeyExpr<R, Value = A::Value>,
{
    fn left(&self, record: &L) -> Option<u64> {
        key_of(&*self.left, record).ok().flatten().map(|key| hash(&key))
    }

    fn right(&self, record: &R) -> Option<u64> {
        key_of(&*self.right, record).ok().flatten().map(|key| hash(&key))
    }

    fn equal(&self, left: &L, right: &R) -> bool {
        match (key_of(&*self.left, left), key_of(&*self.right, right)) {
            (Ok(Some(left)), Ok(Some(right))) => left == right,
            _ => false,
        }
    }
}

/// Two equalities, both of which must hold.
pub(crate) struct BothAlso<L, R>(
    pub(crate) std::sync::Arc<dyn Also<L, R>>,
    pub(crate) std::sync::Arc<dyn Also<L, R>>,
);

impl<L, R> Also<L, R> for BothAlso<L, R> {
    fn left(&self, record: &L) -> Option<u64> {
        Some(self.0.left(record)?.rotate_left(17) ^ self.1.left(record)?)
    }

    fn right(&self, record: &R) -> Option<u64> {
        Some(self.0.right(record)?.rotate_left(17) ^ self.1.right(record)?)
    }

    fn equal(&self, left: &L, right: &R) -> bool {
        self.0.equal(left, right) && self.1.equal(left, right)
    }
}

fn hash(key: &impl std::hash::Hash) -> u64 {
    use std::hash::BuildHasher;
    // One fixed state: the two sides of a join must agree. Equality is checked besides.
    static STATE: std::sync::LazyLock<std::hash::RandomState> =
        std::sync::LazyLock::new(std::hash::RandomState::new);
    STATE.hash_one(key)
}
