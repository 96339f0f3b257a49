//! Joins: what a user builds with [`JoinWith`].

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use crate::broker::feed::{MakeFeed, make_feed};
use crate::engine::{
    Also, AlsoKeys, AnyDecided, AnyEdge, BothAlso, Bounds, Keep, KeyCheck, MakeNode, Matching, RoleCheck,
    Rule, Tolerance, describe, make_node,
};
use crate::join_keys::{KeyPair, Keys};
use crate::key::{KeyExpr, KeyOffset, KeyValue, SameKey};
use crate::mistake::{Mistake, bound_or, within_call};
use crate::record::{RecordType, StreamRecord};

/// A join of the stream `R` to the stream `L`, by keys of type `V`.
///
/// A join has two independent sides. *How rows match*: equal keys ([`new`](JoinWith::new)), the latest right
/// record at or before the left one ([`as_of`](JoinWith::as_of)), an interval ([`within`](JoinWith::within)), or a table
/// ([`lookup`](JoinWith::lookup)). *What is kept* of the left records: those with a match (inner, the default), all of them
/// ([`left`](JoinWith::left)), those with a match without looking at it ([`exists`](JoinWith::exists)), those
/// without one ([`unmatched`](JoinWith::unmatched)).
///
/// Keys must never go down in the stream they are read from; equal keys are normal, and match many-to-many.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::JoinWith;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
///
/// #[derive(StreamRecord)]
/// struct Reading { time: i64, robot: u32, value: f64 }
/// #[derive(StreamRecord)]
/// struct Location { time: i64, robot: u32, x: f64 }
///
/// // The latest location of the same robot, not older than 30 seconds.
/// let join = JoinWith::new(Reading::fields().time, Location::fields().time)
///     .as_of()
///     .and(Reading::fields().robot, Location::fields().robot)
///     .tolerance(30);
/// ```
pub struct JoinWith<L, R, V: KeyValue> {
    keys: Arc<dyn KeyPair<L, R, V>>,
    matching: Matching<V>,
    tolerance: bool,
    also: Option<Arc<dyn Also<L, R>>>,
    also_text: Vec<String>,
    also_checks: Vec<(MakeCheck<L>, MakeCheck<R>)>,
    match_text: String,
    unique: bool,
    on_idle: Option<Duration>,
    keep: Keep,
    from: Option<Arc<str>>,
    children: Vec<Arc<JoinSpec>>,
    mistakes: Vec<Mistake>,
}

type MakeCheck<T> = Arc<dyn Fn() -> Box<dyn RoleCheck<T>> + Send + Sync>;

impl<L: StreamRecord, R: StreamRecord, V: KeyValue> JoinWith<L, R, V> {
    /// Joins every right record whose key equals that of the left one.
    ///
    /// The two keys must be of the same type; which streams are joined follows from the keys.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time + 10, R::fields().time);
    /// ```
    pub fn new<A, B>(left_key: A, right_key: B) -> Self
    where
        A: KeyExpr<L, Value = V>,
        B: KeyExpr<R>,
        B::Value: SameKey<V>,
    {
        Self::with(left_key, B::Value::same(right_key), Matching::Equal, "=")
    }

    /// Joins every right record whose key equals that of the left one, in a small table that need not be sorted.
    ///
    /// The right stream is loaded whole before the first call, within the mill's memory budget, so it must be finite.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::lookup(L::fields().robot, R::fields().robot);
    /// ```
    pub fn lookup<A, B>(left_key: A, right_key: B) -> Self
    where
        A: KeyExpr<L, Value = V>,
        B: KeyExpr<R>,
        B::Value: SameKey<V>,
    {
        Self::with(left_key, B::Value::same(right_key), Matching::Lookup, "looked up by")
    }

    fn with<A, B>(left_key: A, right_key: B, matching: Matching<V>, text: &str) -> Self
    where
        A: KeyExpr<L, Value = V>,
        B: KeyExpr<R, Value = V>,
    {
        Self {
            keys: Arc::new(Keys { left: Arc::new(left_key), right: Arc::new(right_key), types: PhantomData }),
            matching,
            tolerance: false,
            also: None,
            also_text: Vec::new(),
            also_checks: Vec::new(),
            match_text: text.to_owned(),
            unique: false,
            on_idle: None,
            keep: Keep::Inner,
            from: None,
            children: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// Joins the latest right record whose key is at or before that of the left one.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).as_of();
    /// ```
    #[must_use]
    pub fn as_of(mut self) -> Self {
        self.change_match(".as_of()");
        self.matching = Matching::AsOf(None);
        self.match_text = "as of".to_owned();
        self
    }

    /// Joins the right records whose keys lie in `range` around the left key: `.within(-5..=5)` joins those from
    /// `left - 5` to `left + 5`, both included.
    ///
    /// Both bounds are needed, since what may still match has to be kept; a range that contains nothing is a
    /// [`BuildError`](crate::BuildError).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).within(-5..=5);
    /// ```
    #[must_use]
    pub fn within<D>(mut self, range: impl RangeBounds<D>) -> Self
    where
        V: KeyOffset<D>,
        D: Clone + PartialOrd + fmt::Debug + Send + Sync + 'static,
    {
        let (lower, upper) = (range.start_bound().cloned(), range.end_bound().cloned());
        let call = within_call(&lower, &upper);
        self.change_match(&call);
        self.match_text = match (&lower, &upper) {
            (Bound::Included(low), Bound::Included(high)) => format!("within {low:?}..={high:?} of"),
            (Bound::Included(low), Bound::Excluded(high)) => format!("within {low:?}..{high:?} of"),
            _ => "within".to_owned(),
        };
        match (&lower, &upper) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => {
                self.mistakes.push(Mistake::new(
                    format!(
                        "`{call}` needs a lower and an upper bound, since what may still match has to be kept"
                    ),
                    format!(
                        "call `.within({}..={})`",
                        bound_or(&lower, "lowest"),
                        bound_or(&upper, "highest")
                    ),
                ));
            }
            (Bound::Included(low), Bound::Included(high)) if low <= high => {}
            (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high))
                if low.partial_cmp(high).is_none_or(std::cmp::Ordering::is_ge) =>
            {
                let fix = if low.partial_cmp(high).is_some() {
                    format!("call `{}`", within_call(&Bound::Included(high), &Bound::Included(low)))
                } else {
                    "call `.within(..)` with bounds that are numbers".to_owned()
                };
                self.mistakes
                    .push(Mistake::new(format!("`{call}` is an empty range, which matches nothing"), fix));
            }
            _ => {}
        }
        self.matching = Matching::Within(Box::new(Bounds { lower, upper }));
        self
    }

    /// For [`as_of`](JoinWith::as_of): the right key is at most `reach` before the left one.
    ///
    /// A negative reach is a [`BuildError`](crate::BuildError). Required beside [`and`](JoinWith::and): one right record is then kept for each key, and the tolerance bounds for how long.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).as_of().tolerance(30);
    /// ```
    #[must_use]
    pub fn tolerance<D>(mut self, reach: D) -> Self
    where
        V: KeyOffset<D>,
        D: Clone + Default + PartialOrd + fmt::Debug + Send + Sync + 'static,
    {
        if D::default().partial_cmp(&reach).is_none_or(std::cmp::Ordering::is_gt) {
            self.mistakes.push(Mistake::new(
                format!("`.tolerance({reach:?})` matches nothing: it must not be negative"),
                format!(
                    "call `.tolerance(..)` with how far back the match may lie: `.tolerance({:?})` for equal keys only, or with more",
                    D::default()
                ),
            ));
        }
        if let Matching::AsOf(_) = self.matching {
            self.match_text = format!("as of, at most {reach:?} before,");
            self.matching = Matching::AsOf(Some(Box::new(Tolerance(reach))));
            self.tolerance = true;
        } else {
            let fix = match &self.matching {
                Matching::Equal => format!("call `.as_of()` before it: `.as_of().tolerance({reach:?})`"),
                _ => format!("leave out `.tolerance({reach:?})`"),
            };
            let problem =
                format!("`.tolerance({reach:?})` belongs to an as-of join, and this one is {}", self.kind());
            self.mistakes.push(Mistake::new(problem, fix));
        }
        self
    }

    /// Asks for one more equality, of keys that need no order: a robot's id beside the time. May be called several times.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time)
    ///     .and(L::fields().robot, R::fields().robot);
    /// ```
    #[must_use]
    pub fn and<A, B>(mut self, left_key: A, right_key: B) -> Self
    where
        A: KeyExpr<L>,
        B: KeyExpr<R>,
        B::Value: SameKey<A::Value>,
    {
        let right_key = B::Value::same(right_key);
        self.also_text.push(format!("{} = {}", describe::<L, A>(&left_key), describe::<R, _>(&right_key)));
        let (left, right) = (Arc::new(left_key), Arc::new(right_key));
        let also: Arc<dyn Also<L, R>> =
            Arc::new(AlsoKeys { left: Arc::clone(&left), right: Arc::clone(&right), types: PhantomData });
        self.also = Some(match self.also.take() {
            None => also,
            Some(first) => Arc::new(BothAlso(first, also)),
        });
        self.also_checks.push((
            Arc::new(move || Box::new(KeyCheck::new(Arc::clone(&left), Rule::Valid))),
            Arc::new(move || Box::new(KeyCheck::new(Arc::clone(&right), Rule::Valid))),
        ));
        self
    }

    /// Promises that no key comes twice in the right stream; with [`and`](JoinWith::and), that its keys do not come twice together. A
    /// group is then complete with its first record, so nothing waits for the one behind it. A key that does come twice is a
    /// bad record: found as it is read, or, in a table, when it matches; then it stops the run, whatever
    /// [`Mill::on_bad`](crate::Mill::on_bad) says.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).unique();
    /// ```
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Goes on without the right stream when nothing has come from it for so long while a left record waits for it: the record's group is what is
    /// there. Without this a quiet right stream makes the join wait, as more that matches may come.
    ///
    /// A right record that comes later, and matches a left record that was decided without it, is late: a [bad record](crate::BadCause::Late), with which is done what
    /// [`Mill::on_bad`](crate::Mill::on_bad) says. By the mill's clock, so what is late may differ between runs over the same input. Not for lookups.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// use std::time::Duration;
    /// use watermill::prelude::*;
    /// use watermill::testing::TestMill;
    /// # use watermill_derive::StreamRecord;
    /// #[derive(StreamRecord)]
    /// struct Reading { time: i64 }
    /// #[derive(StreamRecord)]
    /// struct Door { time: i64 }
    ///
    /// let join = JoinWith::new(Reading::fields().time, Door::fields().time).left().on_idle(Duration::from_secs(10));
    /// let mill = Mill::new(|_: &Reading, _: &Joined<Reading, Door>| ()).join(join).on_bad::<Door>(OnBad::Skip);
    /// let mut test = TestMill::new(mill)?;
    /// test.feed(Reading { time: 1 });
    /// test.run()?;
    /// test.advance(Duration::from_secs(10));
    /// test.run()?;
    /// assert_eq!(test.input::<Reading>().map(|readings| readings.matched), Some(1));
    ///
    /// test.feed_all([Door { time: 1 }, Door { time: 2 }]);
    /// test.feed(Reading { time: 3 });
    /// test.run()?;
    /// assert_eq!(test.input::<Door>().map(|doors| doors.skipped), Some(1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn on_idle(mut self, silence: Duration) -> Self {
        if silence.is_zero() {
            self.mistakes.push(Mistake::new(
                "`.on_idle(0ns)` would never wait for the right stream",
                "give it more time, or leave it out",
            ));
        }
        self.on_idle = Some(silence);
        self
    }

    /// Keeps every left record; the group of one without a match is empty.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).left();
    /// ```
    #[must_use]
    pub fn left(mut self) -> Self {
        self.change_keep(Keep::Left);
        self
    }

    /// Keeps the left records that have a match. The function needs no argument for it.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).exists();
    /// ```
    #[must_use]
    pub fn exists(mut self) -> Self {
        self.change_keep(Keep::Exists);
        self
    }

    /// Keeps the left records that have no match. The function needs no argument for it.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).unmatched();
    /// ```
    #[must_use]
    pub fn unmatched(mut self) -> Self {
        self.change_keep(Keep::Unmatched);
        self
    }

    /// Reads the right stream from the one that was declared under this name (`.read_as::<R>(name, ..)`), for records that
    /// are read from several streams.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time).from("left wheel");
    /// ```
    #[must_use]
    pub fn from(mut self, name: &str) -> Self {
        self.from = Some(Arc::from(name));
        self
    }

    /// Joins another stream to the right one: deeper trees.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct L { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct R { time: i64, robot: u32 }
    /// # #[derive(StreamRecord)] struct S { robot: u32 }
    /// let join = JoinWith::new(L::fields().time, R::fields().time)
    ///     .join(JoinWith::new(R::fields().robot, S::fields().robot));
    /// ```
    #[must_use]
    pub fn join<S: StreamRecord, W: KeyValue>(mut self, join: JoinWith<R, S, W>) -> Self {
        self.children.push(Arc::new(join.into_spec()));
        self
    }

    /// How it matches, as a call.
    fn kind(&self) -> &str {
        match &self.matching {
            Matching::Equal => "made by `JoinWith::new(..)` alone",
            Matching::AsOf(_) => "`.as_of()` already",
            Matching::Within(_) => "`.within(..)` already",
            Matching::Lookup => "made by `JoinWith::lookup(..)`",
        }
    }

    fn change_match(&mut self, call: &str) {
        let fix = match &self.matching {
            Matching::Equal => return,
            Matching::Lookup => {
                format!("leave out `{call}`, or call `JoinWith::new(..)` instead of `JoinWith::lookup(..)`")
            }
            Matching::AsOf(_) if call == ".as_of()" => "leave out the second `.as_of()`".to_owned(),
            Matching::AsOf(_) => format!("leave out `.as_of()` or `{call}`"),
            Matching::Within(_) => format!("leave out `.within(..)` or `{call}`"),
        };
        self.mistakes
            .push(Mistake::new(format!("`{call}` was called on a join that is {}", self.kind()), fix));
    }

    fn change_keep(&mut self, to: Keep) {
        if self.keep != Keep::Inner && self.keep != to {
            let calls = format!("`.{}()` or `.{to}()`", self.keep);
            self.mistakes.push(Mistake::new(
                format!("the join is declared {} and {to}, but it can be only one", self.keep),
                format!("leave out {calls}"),
            ));
        }
        self.keep = to;
    }

    pub(crate) fn into_spec(mut self) -> JoinSpec {
        if matches!(self.matching, Matching::AsOf(_)) && self.also.is_some() && !self.tolerance {
            self.mistakes.push(Mistake::new(
                "an as-of join with `.and(..)` needs a tolerance, to bound what it keeps",
                "call `.tolerance(..)` behind `.as_of()`, with how far before the left key the right one may lie at most",
            ));
        }
        if matches!(self.matching, Matching::Lookup) && self.on_idle.is_some() {
            self.mistakes.push(Mistake::new(
                "a lookup reads the whole table before the first call, and cannot go on without it",
                "leave out `.on_idle(..)`",
            ));
        }
        let (left_key, right_key) = self.keys.texts();
        JoinSpec {
            left: RecordType::of::<L>(),
            right: RecordType::of::<R>(),
            from: self.from.clone(),
            keep: self.keep,
            text: JoinText {
                left_key,
                right_key,
                matching: self.match_text.clone(),
                also: self.also_text.clone(),
                unique: self.unique,
                on_idle: self.on_idle,
            },
            mistakes: std::mem::take(&mut self.mistakes),
            children: std::mem::take(&mut self.children),
            make_node: make_node::<R>,
            make_feed: make_feed::<R>,
            typed: Box::new(TypedJoin(self)),
        }
    }
}

/// A join without its types, as the plan sees it.
pub(crate) struct JoinSpec {
    pub(crate) left: RecordType,
    pub(crate) right: RecordType,
    pub(crate) from: Option<Arc<str>>,
    pub(crate) keep: Keep,
    pub(crate) text: JoinText,
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) children: Vec<Arc<JoinSpec>>,
    pub(crate) make_node: MakeNode,
    pub(crate) make_feed: MakeFeed,
    pub(crate) typed: Box<dyn AnyJoin>,
}

/// What `explain()` shows of a join.
#[derive(Debug, Clone)]
pub(crate) struct JoinText {
    pub(crate) left_key: String,
    pub(crate) right_key: String,
    pub(crate) matching: String,
    pub(crate) also: Vec<String>,
    pub(crate) unique: bool,
    pub(crate) on_idle: Option<Duration>,
}

/// For a join that goes on without a silent right stream: after how long, what remembers its left records, and what finds late right
/// ones, a `Box<dyn RoleCheck<R>>`.
pub(crate) type Late = (Duration, Box<dyn AnyDecided>, Box<dyn Any + Send>);

/// What a lane needs of a join.
pub(crate) trait AnyJoin: Send + Sync {
    fn edge(&self, filtered: bool) -> Box<dyn AnyEdge>;
    fn late(&self) -> Option<Late>;
    /// The checks of the left stream in this join; each a `Box<dyn RoleCheck<L>>`.
    fn left_checks(&self) -> Vec<Box<dyn Any + Send>>;
    /// The checks of the right stream; each a `Box<dyn RoleCheck<R>>`.
    fn right_checks(&self) -> Vec<Box<dyn Any + Send>>;
    /// The orders that this join asks of its left and of its right stream; a lookup asks for none.
    fn orders(&self) -> (Option<String>, Option<String>);
}

struct TypedJoin<L, R, V: KeyValue>(JoinWith<L, R, V>);

impl<L: StreamRecord, R: StreamRecord, V: KeyValue> AnyJoin for TypedJoin<L, R, V> {
    fn orders(&self) -> (Option<String>, Option<String>) {
        let rule = if matches!(self.0.matching, Matching::Lookup) { Rule::Valid } else { Rule::Ordered };
        (self.0.keys.left_check(rule).order(), self.0.keys.right_check(rule).order())
    }

    fn edge(&self, filtered: bool) -> Box<dyn AnyEdge> {
        let also = self.0.also.as_ref().map(Arc::clone);
        self.0.keys.edge(self.0.matching.copy(), self.0.unique, also, filtered)
    }

    fn late(&self) -> Option<Late> {
        let also = self.0.also.as_ref().map(Arc::clone);
        let (decided, check) = self.0.keys.late(self.0.matching.copy(), also);
        Some((self.0.on_idle?, decided, Box::new(check)))
    }

    fn left_checks(&self) -> Vec<Box<dyn Any + Send>> {
        let rule = if matches!(self.0.matching, Matching::Lookup) { Rule::Valid } else { Rule::Ordered };
        let mut checks: Vec<Box<dyn Any + Send>> = vec![Box::new(self.0.keys.left_check(rule))];
        checks.extend(self.0.also_checks.iter().map(|(left, _)| Box::new(left()) as Box<dyn Any + Send>));
        checks
    }

    fn right_checks(&self) -> Vec<Box<dyn Any + Send>> {
        let rule = match self.0.matching {
            Matching::Lookup => Rule::Valid,
            _ if self.0.unique && self.0.also.is_none() => Rule::Unique,
            _ => Rule::Ordered,
        };
        let mut checks: Vec<Box<dyn Any + Send>> = vec![Box::new(self.0.keys.right_check(rule))];
        checks.extend(self.0.also_checks.iter().map(|(_, right)| Box::new(right()) as Box<dyn Any + Send>));
        if let (Some(also), true) = (&self.0.also, self.0.unique && rule == Rule::Ordered) {
            checks.push(Box::new(self.0.keys.pair_check(Arc::clone(also))));
        }
        checks
    }
}
