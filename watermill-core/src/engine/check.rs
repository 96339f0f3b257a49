//! Checking keys as records are read: every record in every role it plays.
//!
//! A stream plays the right side of its own join and the left side of the joins below it. In each of these roles its keys
//! must exist (no NaN, no overflow) and never go down; what breaks the rule is a bad record, found before the walk sees it.

use std::fmt;
use std::sync::Arc;

use crate::error::BadCause;
use crate::key::{KeyExpr, KeyValue};

/// One role of a stream of `R`.
pub(crate) trait RoleCheck<R>: Send {
    /// The index of the first record that breaks the role's rules, given all that was accepted before.
    fn first_bad(&self, records: &[R]) -> Option<(usize, BadCause)>;
    /// These records are let in: the next ones are compared with the last of them.
    fn accept(&mut self, records: &[R]);
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
    fn first_bad(&self, records: &[R]) -> Option<(usize, BadCause)> {
        let mut previous = self.last.as_ref().and_then(|last| last.view().ok().flatten());
        for (index, record) in records.iter().enumerate() {
            let key = match self.key.key(record) {
                Ok(Some(key)) => key,
                Ok(None) => continue,
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
        let last = records.iter().rev().find_map(|record| self.key.key(record).ok().flatten());
        if let Some(key) = last {
            let owned = E::Value::detach(&key);
            self.last = Some(owned);
        }
    }

    fn text(&self, record: &R) -> String {
        match self.key.key(record) {
            Ok(Some(key)) => format!("`{}` = {key:?}", self.expression()),
            _ => format!("`{}`", self.expression()),
        }
    }
}
