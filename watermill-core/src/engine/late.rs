//! Late records: those that come when a left record which they match was decided without them.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::check::{RoleCheck, describe};
use super::keyed::key_of;
use super::matching::{Also, Matching};
use super::tape::Tape;
use crate::error::BadCause;
use crate::key::{KeyExpr, KeyValue};

/// So many left records are remembered at most. A right record that matches none but older ones is taken for one that matches
/// nothing.
const MOST: usize = 1 << 16;

/// The left keys that were decided without the right stream, ascending, each with a hash of the keys that must also be equal.
pub(crate) struct Decided<V>(VecDeque<(V, Option<u64>)>);

/// What the two sides of a join share.
type Shared<V> = Arc<Mutex<Decided<V>>>;

fn lock<V>(decided: &Shared<V>) -> MutexGuard<'_, Decided<V>> {
    decided.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers left records whose type the walk does not know.
pub(crate) trait AnyDecided: Send {
    /// The left record at `position` of `left`, a `Tape<L>`, is decided.
    fn decide(&mut self, left: &dyn Any, position: u64);
}

/// Both sides of a join: what remembers its left records, and what checks its right ones.
pub(crate) fn late<L, R, A, B>(
    left_key: Arc<A>,
    right_key: Arc<B>,
    matching: Matching<A::Value>,
    also: Option<Arc<dyn Also<L, R>>>,
) -> (Box<dyn AnyDecided>, Box<dyn RoleCheck<R>>)
where
    L: 'static,
    R: 'static,
    A: KeyExpr<L>,
    B: KeyExpr<R, Value = A::Value>,
{
    let decided: Shared<A::Value> = Arc::new(Mutex::new(Decided(VecDeque::new())));
    let remember =
        Remember { key: left_key, also: also.as_ref().map(Arc::clone), decided: Arc::clone(&decided) };
    (Box::new(remember), Box::new(LateCheck { key: right_key, matching, also, decided }))
}

struct Remember<L, R, A: KeyExpr<L>> {
    key: Arc<A>,
    also: Option<Arc<dyn Also<L, R>>>,
    decided: Shared<A::Value>,
}

impl<L: 'static, R: 'static, A: KeyExpr<L>> AnyDecided for Remember<L, R, A> {
    fn decide(&mut self, left: &dyn Any, position: u64) {
        let record = left.downcast_ref::<Tape<L>>().and_then(|tape| tape.get(position));
        let Some(record) = record else { return };
        let Some(key) = key_of(&*self.key, record).ok().flatten() else { return };
        let also = match &self.also {
            None => None,
            // Without such a key it matches nothing.
            Some(also) => match also.left(record) {
                None => return,
                hash => hash,
            },
        };
        let key = A::Value::detach(&key);
        let mut decided = lock(&self.decided);
        let known = decided.0.back().is_some_and(|(last, hash)| {
            *hash == also && matches!((last.view(), key.view()), (Ok(last), Ok(key)) if last == key)
        });
        if !known {
            decided.0.push_back((key, also));
        }
        if decided.0.len() > MOST {
            decided.0.pop_front();
        }
    }
}

struct LateCheck<L, R, B: KeyExpr<R>> {
    key: Arc<B>,
    matching: Matching<B::Value>,
    also: Option<Arc<dyn Also<L, R>>>,
    decided: Shared<B::Value>,
}

/// Where a right key lies: below what matches the left one, among it, or above.
fn place<'a, V: KeyValue>(matching: &Matching<V>, right: &V::View<'a>, left: &V::View<'a>) -> Ordering {
    match matching {
        Matching::Equal | Matching::Lookup => right.cmp(left),
        Matching::Within(interval) => interval.place(right, left),
        Matching::AsOf(_) if right > left => Ordering::Greater,
        Matching::AsOf(Some(reach)) if !reach.reaches(right, left) => Ordering::Less,
        Matching::AsOf(_) => Ordering::Equal,
    }
}

impl<L: 'static, R: 'static, B: KeyExpr<R>> LateCheck<L, R, B> {
    fn place(&self, decided: &Decided<B::Value>, index: usize, record: &R) -> Option<Ordering> {
        let left = decided.0.get(index)?.0.view().ok().flatten()?;
        let right = key_of(&*self.key, record).ok().flatten()?;
        Some(place::<B::Value>(&self.matching, &right, &left))
    }

    fn is_late(&self, decided: &Decided<B::Value>, record: &R) -> bool {
        let hash = match &self.also {
            None => None,
            Some(also) => match also.right(record) {
                None => return false,
                hash => hash,
            },
        };
        // Left keys go up: first those that lie below the right one, then those that match it.
        let (mut low, mut high) = (0, decided.0.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.place(decided, middle, record) == Some(Ordering::Greater) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low..decided.0.len())
            .take_while(|index| self.place(decided, *index, record) == Some(Ordering::Equal))
            .any(|index| self.also.is_none() || decided.0[index].1 == hash)
    }
}

impl<L: 'static, R: 'static, B: KeyExpr<R>> RoleCheck<R> for LateCheck<L, R, B> {
    fn first_bad(&self, records: &[R], _: &mut dyn FnMut(usize)) -> Option<(usize, BadCause)> {
        let decided = lock(&self.decided);
        if decided.0.is_empty() {
            return None;
        }
        let index = records.iter().position(|record| self.is_late(&decided, record))?;
        let key = key_of(&*self.key, &records[index]).ok().flatten();
        let key = key.map(|key| format!("{key:?}")).unwrap_or_default();
        Some((index, BadCause::Late { expression: describe::<R, B>(&self.key), key }))
    }

    fn accept(&mut self, records: &[R]) {
        // No later record matches what lies below this one.
        let Some(last) = records.iter().rfind(|record| matches!(key_of(&*self.key, record), Ok(Some(_))))
        else {
            return;
        };
        let mut decided = lock(&self.decided);
        while !decided.0.is_empty() && self.place(&decided, 0, last) == Some(Ordering::Greater) {
            decided.0.pop_front();
        }
    }

    fn text(&self, record: &R) -> String {
        match key_of(&*self.key, record) {
            Ok(Some(key)) => format!("`{}` = {key:?}", describe::<R, B>(&self.key)),
            _ => format!("`{}`", describe::<R, B>(&self.key)),
        }
    }
}
