//! Checking keys as records are read: every record in every role it plays.
//!
//! A stream plays the right side of its own join and the left side of the joins below it. In each of these roles its keys
//! must exist (no NaN, no overflow) and never go down; what breaks the rule is a bad record, found before the walk sees it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::keyed::key_of;
use super::matching::Also;
use crate::error::BadCause;
use crate::key::{KeyExpr, KeyValue, written};

/// One role of a stream of `R`.
pub(crate) trait RoleCheck<R>: Send {
    /// The index of the first record that breaks the role's rules, given all that was accepted before. Those before it that have no place in the
    /// role's order are told.
    fn first_bad(&self, records: &[R], keyless: &mut dyn FnMut(usize)) -> Option<(usize, BadCause)>;
    /// These records are let in: the next ones are compared with the last of them.
    fn accept(&mut self, records: &[R]);
    /// The text of the key by whose order the role goes, if it goes by one; without what does not matter to the order.
    fn order(&self) -> Option<String> {
        None
    }
    /// How two records stand to each other in that order; `None` when one of them has no key.
    fn compare(&self, _left: &R, _right: &R) -> Option<Ordering> {
        None
    }
    /// The key of `record`, for messages.
    fn text(&self, record: &R) -> String;
}

/// What a role asks of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// That they can be computed.
    Valid,
    /// Also that they never go down.
    Ordered,
    /// Also that none comes twice.
    Unique,
}

/// The check of one key expression.
pub(crate) struct KeyCheck<R, E: KeyExpr<R>> {
    key: Arc<E>,
    rule: Rule,
    last: Option<E::Value>,
}

impl<R: 'static, E: KeyExpr<R>> KeyCheck<R, E> {
    pub(crate) fn new(key: Arc<E>, rule: Rule) -> Self {
        Self { key, rule, last: None }
    }

    fn expression(&self) -> String {
        describe::<R, E>(&self.key)
    }
}

/// The text of a key expression.
pub(crate) fn describe<R, E: KeyExpr<R>>(key: &E) -> String {
    struct Shown<'a, R, E>(&'a E, std::marker::PhantomData<fn(&R)>);
    impl<R, E: KeyExpr<R>> fmt::Display for Shown<'_, R, E> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.describe(f)
        }
    }
    Shown(key, std::marker::PhantomData).to_string()
}

impl<R: 'static, E: KeyExpr<R>> RoleCheck<R> for KeyCheck<R, E> {
    fn first_bad(&self, records: &[R], keyless: &mut dyn FnMut(usize)) -> Option<(usize, BadCause)> {
        let mut previous = self.last.as_ref().and_then(|last| last.view().ok().flatten());
        for (index, record) in records.iter().enumerate() {
            let key = match key_of(&*self.key, record) {
                Ok(Some(key)) => key,
                Ok(None) => {
                    if self.rule != Rule::Valid {
                        keyless(index);
                    }
                    continue;
                }
                Err(fault) => return Some((index, BadCause::Key { expression: self.expression(), fault })),
            };
            if self.rule == Rule::Valid {
                continue;
            }
            if let Some(previous) = &previous {
                if key < *previous {
                    return Some((
                        index,
                        BadCause::KeyWentDown {
                            expression: self.expression(),
                            previous: format!("{previous:?}"),
                            key: format!("{key:?}"),
                        },
                    ));
                }
                if self.rule == Rule::Unique && key == *previous {
                    return Some((
                        index,
                        BadCause::KeyNotUnique { expression: self.expression(), key: format!("{key:?}") },
                    ));
                }
            }
            previous = Some(key);
        }
        None
    }

    fn accept(&mut self, records: &[R]) {
        if self.rule == Rule::Valid {
            return;
        }
        let last = records.iter().rev().find_map(|record| key_of(&*self.key, record).ok().flatten());
        if let Some(key) = last {
            let owned = E::Value::detach(&key);
            self.last = Some(owned);
        }
    }

    fn order(&self) -> Option<String> {
        (self.rule != Rule::Valid).then(|| written(|f| self.key.order(f)).to_string())
    }

    fn compare(&self, left: &R, right: &R) -> Option<Ordering> {
        let (left, right) = (key_of(&*self.key, left).ok()??, key_of(&*self.key, right).ok()??);
        Some(left.cmp(&right))
    }

    fn text(&self, record: &R) -> String {
        match key_of(&*self.key, record) {
            Ok(Some(key)) => format!("`{}` = {key:?}", self.expression()),
            _ => format!("`{}`", self.expression()),
        }
    }
}

/// The check of `.unique()` beside `.and(..)`: that no key comes twice together with the same other keys.
///
/// The other keys are told apart by their hash of 64 bits, among the records of one key: that two different ones are taken for
/// the same is less likely than an error of the machine.
pub(crate) struct PairCheck<L, R, E: KeyExpr<R>> {
    key: Arc<E>,
    also: Arc<dyn Also<L, R>>,
    last: Option<E::Value>,
    /// The hashes of the other keys that came with `last`.
    seen: HashSet<u64>,
}

impl<L, R: 'static, E: KeyExpr<R>> PairCheck<L, R, E> {
    pub(crate) fn new(key: Arc<E>, also: Arc<dyn Also<L, R>>) -> Self {
        Self { key, also, last: None, seen: HashSet::new() }
    }

    /// Goes through `records` behind those that were seen; stops at the first whose keys came before.
    fn go<'a>(
        &'a self,
        records: &'a [R],
        seen: &mut HashSet<u64>,
        mut bad: impl FnMut(usize),
    ) -> Option<<E::Value as KeyValue>::View<'a>> {
        let mut last = self.last.as_ref().and_then(|last| last.view().ok().flatten());
        for (index, record) in records.iter().enumerate() {
            let Ok(Some(key)) = key_of(&*self.key, record) else { continue };
            if last.as_ref() != Some(&key) {
                seen.clear();
            }
            last = Some(key);
            if self.also.right(record).is_some_and(|hash| !seen.insert(hash)) {
                bad(index);
                break;
            }
        }
        last
    }
}

impl<L: 'static, R: 'static, E: KeyExpr<R>> RoleCheck<R> for PairCheck<L, R, E> {
    fn first_bad(&self, records: &[R], _: &mut dyn FnMut(usize)) -> Option<(usize, BadCause)> {
        let mut found = None;
        let last = self.go(records, &mut self.seen.clone(), |index| found = Some(index));
        let key = last.map(|key| format!("{key:?}")).unwrap_or_default();
        found.map(|index| (index, BadCause::KeyNotUnique { expression: describe::<R, E>(&self.key), key }))
    }

    fn accept(&mut self, records: &[R]) {
        let mut seen = std::mem::take(&mut self.seen);
        let last = self.go(records, &mut seen, |_| {}).map(|key| E::Value::detach(&key));
        (self.seen, self.last) = (seen, last);
    }

    fn text(&self, record: &R) -> String {
        match key_of(&*self.key, record) {
            Ok(Some(key)) => format!("`{}` = {key:?}", describe::<R, E>(&self.key)),
            _ => format!("`{}`", describe::<R, E>(&self.key)),
        }
    }
}
