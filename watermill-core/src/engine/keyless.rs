//! Records without a key: `None` has no place in the order of a stream, so the next key is compared with the last one before it. Where a run is
//! taken up, that may stand before the last record: [`Behind`] knows the last key of every role.

use std::sync::Arc;

use crate::broker::{LastRecord, Position};

/// Which records of a batch have no key, for each role whose keys have an order.
#[derive(Debug, Default, Clone)]
pub(super) struct Keyless(Vec<(usize, Vec<(usize, usize)>)>);

impl Keyless {
    /// The record at `index` has no key in `role`; those of a role come in their order.
    pub(super) fn add(&mut self, role: usize, index: usize) {
        let at = self.0.iter().position(|(known, _)| *known == role).unwrap_or_else(|| {
            self.0.push((role, Vec::new()));
            self.0.len() - 1
        });
        match self.0[at].1.last_mut() {
            Some((_, to)) if *to == index => *to += 1,
            _ => self.0[at].1.push((index, index + 1)),
        }
    }

    /// The roles in which the record at `index` has no key.
    pub(super) fn roles(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().filter(move |(_, runs)| run_of(runs, index).is_some()).map(|(role, _)| *role)
    }

    /// The last record before `index` that has a key in `role`.
    pub(super) fn last_before(&self, role: usize, index: usize) -> Option<usize> {
        let before = index.checked_sub(1)?;
        let runs = self.0.iter().find(|(known, _)| *known == role);
        match runs.and_then(|(_, runs)| run_of(runs, before)) {
            Some((from, _)) => from.checked_sub(1),
            None => Some(before),
        }
    }
}

fn run_of(runs: &[(usize, usize)], index: usize) -> Option<(usize, usize)> {
    runs.get(runs.partition_point(|(_, to)| *to <= index)).copied().filter(|(from, _)| *from <= index)
}

/// A record with which keys may be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The role whose last key it has; `None` of one that an earlier run has left, until it is read again.
    pub(super) role: Option<usize>,
    /// Those that stand before others in the stream have less.
    pub(super) order: i64,
    pub(super) record: LastRecord,
}

/// The last records before some place of a stream: with which the keys of the next ones are compared.
#[derive(Debug, Clone, Default)]
pub(super) struct Behind {
    /// The last one of all.
    last: Option<(i64, LastRecord)>,
    /// The roles in which it has no key.
    lacks: Vec<usize>,
    /// The last ones with a key in these roles, in the order of the stream.
    earlier: Vec<Known>,
}

impl Behind {
    /// As an earlier run has left it; `None` when it has read nothing.
    pub(super) fn left(from: &Position) -> Option<Arc<Self>> {
        let known = |(index, last): (usize, &LastRecord)| {
            let order = i64::MIN.saturating_add_unsigned(index as u64);
            Known { role: None, order, record: last.clone() }
        };
        let earlier: Vec<_> = from.lasts().enumerate().map(known).collect();
        (!earlier.is_empty()).then(|| Arc::new(Self { earlier, ..Self::default() }))
    }

    /// Behind `last`, which has no key in the roles `lacks`; `find` says what came before it in a role.
    pub(super) fn new(
        order: i64,
        last: LastRecord,
        lacks: Vec<usize>,
        find: impl Fn(usize) -> Vec<Known>,
    ) -> Self {
        let mut earlier: Vec<Known> = lacks.iter().flat_map(|role| find(*role)).collect();
        earlier.sort_by_key(|known| (known.order, known.role));
        earlier.dedup();
        Self { last: Some((order, last)), lacks, earlier }
    }

    /// The last record that has a key in `role`, or those of which one may be it.
    pub(super) fn in_role(&self, role: usize) -> Vec<Known> {
        if let Some((order, last)) = self.last.as_ref().filter(|_| !self.lacks.contains(&role)) {
            return vec![Known { role: Some(role), order: *order, record: last.clone() }];
        }
        let of = |wanted: Option<usize>| -> Vec<Known> {
            self.earlier.iter().filter(|known| known.role == wanted).cloned().collect()
        };
        let known = of(Some(role));
        if known.is_empty() { of(None) } else { known }
    }

    /// A record that an earlier run has left was read again, and has no key in the roles `lacks`.
    pub(super) fn read_again(&self, last: LastRecord, lacks: Vec<usize>) -> Self {
        let is_it = |known: &Known| {
            known.role.is_none() && known.record.part == last.part && known.record.offset == last.offset
        };
        let order = self.earlier.iter().find(|known| is_it(known)).map_or(i64::MIN, |known| known.order);
        // Others that are left are read after it.
        let rest = self.earlier.iter().filter(|known| known.role.is_none() && !is_it(known)).cloned();
        let rest: Vec<Known> = rest.collect();
        let mut behind = Self::new(order, last, lacks, |role| {
            self.in_role(role).into_iter().filter(|known| known.role.is_some()).collect()
        });
        behind.earlier.extend(rest);
        behind
    }

    /// No more of what an earlier run has left is read again: a source need not begin there. The last of it may be by the next run.
    pub(super) fn all_read(&mut self) {
        let left = self.earlier.iter().rfind(|known| known.role.is_none()).cloned();
        self.earlier.retain(|known| known.role.is_some());
        if self.last.is_none() {
            self.earlier.extend(left);
        }
    }

    /// Tells a position of them.
    pub(super) fn put(&self, position: &mut Position) {
        let last = self.last.as_ref().map(|(order, last)| (*order, last));
        let mut lasts: Vec<_> =
            self.earlier.iter().map(|known| (known.order, &known.record)).chain(last).collect();
        lasts.sort_by_key(|(order, _)| *order);
        position.set_lasts(lasts.into_iter().map(|(_, last)| last.clone()).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_key_stands_before_a_run_of_records_without_one() {
        let mut keyless = Keyless::default();
        for (role, index) in [(1, 0), (1, 3), (1, 4), (2, 4)] {
            keyless.add(role, index);
        }
        let last = |role| (0..=6).map(|index| keyless.last_before(role, index)).collect::<Vec<_>>();
        assert_eq!(last(0), [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)]);
        assert_eq!(last(1), [None, None, Some(1), Some(2), Some(2), Some(2), Some(5)]);
        assert_eq!(keyless.roles(4).collect::<Vec<_>>(), [1, 2]);
    }
}
