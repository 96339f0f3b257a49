//! The keys of a join, with their types behind a trait: what turns them into edges and checks.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::engine::{
    Also, AnyDecided, AnyEdge, Edge, KeyCheck, Matching, PairCheck, RoleCheck, Rule, describe, late,
};
use crate::key::{KeyExpr, KeyValue};
use crate::record::StreamRecord;

/// Two key expressions of one type; only [`Keys`] knows which.
pub(crate) trait KeyPair<L, R, V: KeyValue>: Send + Sync {
    fn edge(
        &self,
        matching: Matching<V>,
        unique: bool,
        also: Option<Arc<dyn Also<L, R>>>,
        filtered: bool,
    ) -> Box<dyn AnyEdge>;
    fn left_check(&self, rule: Rule) -> Box<dyn RoleCheck<L>>;
    fn right_check(&self, rule: Rule) -> Box<dyn RoleCheck<R>>;
    fn pair_check(&self, also: Arc<dyn Also<L, R>>) -> Box<dyn RoleCheck<R>>;
    /// What remembers the left records that are decided without the right stream, and what finds right ones that come late.
    fn late(
        &self,
        matching: Matching<V>,
        also: Option<Arc<dyn Also<L, R>>>,
    ) -> (Box<dyn AnyDecided>, Box<dyn RoleCheck<R>>);
    fn texts(&self) -> (String, String);
}

pub(crate) struct Keys<L, R, A, B> {
    pub(crate) left: Arc<A>,
    pub(crate) right: Arc<B>,
    pub(crate) types: PhantomData<fn(&L, &R)>,
}

impl<L, R, A, B> KeyPair<L, R, A::Value> for Keys<L, R, A, B>
where
    L: StreamRecord,
    R: StreamRecord,
    A: KeyExpr<L>,
    B: KeyExpr<R, Value = A::Value>,
{
    fn edge(
        &self,
        matching: Matching<A::Value>,
        unique: bool,
        also: Option<Arc<dyn Also<L, R>>>,
        filtered: bool,
    ) -> Box<dyn AnyEdge> {
        let (left, right) = (Arc::clone(&self.left), Arc::clone(&self.right));
        Box::new(Edge::new(left, right, matching, unique, also, filtered))
    }

    fn left_check(&self, rule: Rule) -> Box<dyn RoleCheck<L>> {
        Box::new(KeyCheck::new(Arc::clone(&self.left), rule))
    }

    fn right_check(&self, rule: Rule) -> Box<dyn RoleCheck<R>> {
        Box::new(KeyCheck::new(Arc::clone(&self.right), rule))
    }

    fn pair_check(&self, also: Arc<dyn Also<L, R>>) -> Box<dyn RoleCheck<R>> {
        Box::new(PairCheck::new(Arc::clone(&self.right), also))
    }

    fn late(
        &self,
        matching: Matching<A::Value>,
        also: Option<Arc<dyn Also<L, R>>>,
    ) -> (Box<dyn AnyDecided>, Box<dyn RoleCheck<R>>) {
        late(Arc::clone(&self.left), Arc::clone(&self.right), matching, also)
    }

    fn texts(&self) -> (String, String) {
        (describe::<L, A>(&self.left), describe::<R, B>(&self.right))
    }
}
