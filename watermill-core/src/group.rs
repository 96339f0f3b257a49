//! Groups: the records that match one record.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use crate::misuse::{misuse, short_name};

/// The records of `R` that match one record on the left of a join, in stream order.
///
/// A group borrows nothing and copies nothing: it points into the batches the records came in, and a group that
/// straddles batches is still one group. Indexing costs O(1), or O(log n) over the batches it straddles.
///
/// Indexing beyond the end panics, as it does for slices; inside a mill that is an error of the function.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Order { id: u32 }
/// #[derive(StreamRecord)]
/// struct Line { order: u32, cents: u64 }
///
/// fn total(order: &Order, lines: &Joined<Order, Line>) {
///     let group: &Group<Line> = &lines[order];
///     assert_eq!(group.len(), 2);
///     assert_eq!(group.iter().map(|line| line.cents).sum::<u64>(), 50);
///     assert_eq!(group[0].cents, 20);
///     assert_eq!(group.last().map(|line| line.cents), Some(30));
/// }
///
/// let broker = MemoryBroker::new()
///     .read(vec![Order { id: 1 }])
///     .read(vec![Line { order: 1, cents: 20 }, Line { order: 1, cents: 30 }]);
/// Mill::new(total).join(JoinWith::new(Order::fields().id, Line::fields().order)).run_blocking(broker)?;
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Group<R> {
    kind: Kind,
    len: usize,
    /// For `Kind::Run`: the batch, and the index of the first record in it. The empty group has no batch.
    batch: Option<Arc<Vec<R>>>,
    start: usize,
    /// For the other kinds. It stays when the group becomes a run again, empty: what it has allocated is used the next time.
    many: Option<Box<Many<R>>>,
}

/// How the records of a group stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Side by side in one batch.
    Run,
    /// Side by side in each of several batches.
    Runs,
    /// One by one.
    Picked,
}

/// Records that do not stand side by side in one batch.
struct Many<R> {
    /// One for each batch.
    runs: Vec<Run<R>>,
    /// The batches of single records.
    batches: Vec<Arc<Vec<R>>>,
    /// For each single record the index of its batch in the list above, and its index in that batch.
    picked: Vec<(u32, u32)>,
}

impl<R> Many<R> {
    /// Forgets all records, keeping its memory.
    fn clear(&mut self) {
        self.runs.clear();
        self.batches.clear();
        self.picked.clear();
    }
}

struct Run<R> {
    batch: Arc<Vec<R>>,
    start: usize,
    /// How many records of the group stand before and in this run.
    end: usize,
}

impl<R> Group<R> {
    /// How many records match.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
    /// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// fn check(order: &Order, lines: &Joined<Order, Line>) {
    ///     assert_eq!(lines[order].len(), 2);
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none matches. In a `.left()` join that is how an unmatched record looks.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord)] struct Line { order: u32 }
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(vec![Line { order: 2 }]);
    /// let mill = Mill::new(|order: &Order, lines: &Joined<Order, Line>| assert!(lines[order].is_empty()))
    ///     .join(JoinWith::new(Order::fields().id, Line::fields().order).left());
    /// assert_eq!(mill.run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The record at `index`, in stream order.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
    /// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// fn check(order: &Order, lines: &Joined<Order, Line>) {
    ///     assert_eq!(lines[order].get(1).map(|line| line.cents), Some(30));
    ///     assert!(lines[order].get(2).is_none());
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&R> {
        if index >= self.len {
            return None;
        }
        if self.kind == Kind::Run {
            return self.batch.as_ref()?.get(self.start + index);
        }
        let many = self.many.as_ref()?;
        if self.kind == Kind::Runs {
            let at = many.runs.partition_point(|run| run.end <= index);
            let before = if at == 0 { 0 } else { many.runs.get(at - 1)?.end };
            let run = many.runs.get(at)?;
            run.batch.get(run.start + (index - before))
        } else {
            let (batch, place) = *many.picked.get(index)?;
            many.batches.get(batch as usize)?.get(place as usize)
        }
    }

    /// The first record.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
    /// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// fn check(order: &Order, lines: &Joined<Order, Line>) {
    ///     assert_eq!(lines[order].first().map(|line| line.cents), Some(20));
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn first(&self) -> Option<&R> {
        self.get(0)
    }

    /// The last record.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
    /// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// fn check(order: &Order, lines: &Joined<Order, Line>) {
    ///     assert_eq!(lines[order].last().map(|line| line.cents), Some(30));
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn last(&self) -> Option<&R> {
        self.get(self.len.checked_sub(1)?)
    }

    /// The records in stream order.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
    /// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// fn check(order: &Order, lines: &Joined<Order, Line>) {
    ///     assert_eq!(lines[order].iter().map(|line| line.cents).max(), Some(30));
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn iter(&self) -> GroupIter<'_, R> {
        GroupIter { group: self, slice: Default::default(), next: 0 }
    }

    /// The records as one slice, when they stand in one batch side by side.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Order { id: u32 }
    /// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
    /// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
    /// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
    /// fn check(order: &Order, lines: &Joined<Order, Line>) {
    ///     let dear = |lines: &[Line]| lines.partition_point(|line| line.cents < 25);
    ///     assert_eq!(lines[order].as_slice().map(dear), Some(1));
    /// }
    /// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
    /// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn as_slice(&self) -> Option<&[R]> {
        match (self.kind, &self.batch) {
            (Kind::Run, Some(batch)) => batch.get(self.start..self.start + self.len),
            (Kind::Run, None) => Some(&[]),
            _ => None,
        }
    }

    /// The longest contiguous run from `index` on.
    fn run_from(&self, index: usize) -> &[R] {
        if index >= self.len {
            return &[];
        }
        let slice = match (self.kind, &self.batch, &self.many) {
            (Kind::Run, Some(batch), _) => batch.get(self.start + index..self.start + self.len),
            (Kind::Runs, _, Some(many)) => {
                let at = many.runs.partition_point(|run| run.end <= index);
                let before = if at == 0 { 0 } else { many.runs[at - 1].end };
                many.runs.get(at).and_then(|run| {
                    run.batch.get(run.start + (index - before)..run.start + (run.end - before))
                })
            }
            _ => self.get(index).map(std::slice::from_ref),
        };
        slice.unwrap_or(&[])
    }

    pub(crate) const fn empty() -> Self {
        Self { kind: Kind::Run, len: 0, batch: None, start: 0, many: None }
    }

    /// Makes it the empty group. It holds on to its batches, since it will most likely be pointed at them again.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Makes it the empty group, and lets go of all batches, but keeps its memory.
    pub(crate) fn release(&mut self) {
        (self.kind, self.len, self.batch) = (Kind::Run, 0, None);
        if let Some(many) = &mut self.many {
            many.clear();
        }
    }

    /// Points the group at one run. Touches no reference count while the batch stays the same.
    pub(crate) fn set_run(&mut self, source: &Arc<Vec<R>>, from: usize, len: usize) {
        if !self.batch.as_ref().is_some_and(|batch| Arc::ptr_eq(batch, source)) {
            self.release();
            self.batch = Some(Arc::clone(source));
        }
        (self.start, self.len) = (from, len);
    }

    /// Points the group at another run of the same batch, if it is there.
    #[inline]
    pub(crate) fn move_run(&mut self, from: u64, len: u64) -> bool {
        match &self.batch {
            Some(batch) if from + len <= batch.len() as u64 => {
                (self.start, self.len) = (from as usize, len as usize);
                true
            }
            _ => false,
        }
    }

    /// Its records, to be set one by one or run by run.
    fn many(&mut self, kind: Kind) -> &mut Many<R> {
        self.release();
        self.kind = kind;
        self.many.get_or_insert_with(|| {
            Box::new(Many { runs: Vec::new(), batches: Vec::new(), picked: Vec::new() })
        })
    }

    /// Points the group at several runs, each a batch with its first index and length.
    pub(crate) fn set_runs<'a>(&mut self, source: impl Iterator<Item = (&'a Arc<Vec<R>>, usize, usize)>)
    where
        R: 'a,
    {
        let mut end = 0;
        let runs = source.map(|(batch, start, len)| {
            end += len;
            Run { batch: Arc::clone(batch), start, end }
        });
        self.many(Kind::Runs).runs.extend(runs);
        self.len = end;
    }

    /// Points the group at single records.
    pub(crate) fn set_picked<'a>(&mut self, source: impl Iterator<Item = (&'a Arc<Vec<R>>, usize)>)
    where
        R: 'a,
    {
        let Many { batches, picked, .. } = self.many(Kind::Picked);
        for (batch, index) in source {
            let known = batches.last().is_some_and(|last| Arc::ptr_eq(last, batch));
            if !known {
                batches.push(Arc::clone(batch));
            }
            picked.push(((batches.len() - 1) as u32, index as u32));
        }
        self.len = picked.len();
    }
}

impl<R> Index<usize> for Group<R> {
    type Output = R;

    #[track_caller]
    fn index(&self, index: usize) -> &R {
        match self.get(index) {
            Some(record) => record,
            None => misuse(format!(
                "the group has {} records of `{}`, and record {index} was asked for: use `get` or `first`, or an inner join",
                self.len,
                short_name::<R>()
            )),
        }
    }
}

impl<'a, R> IntoIterator for &'a Group<R> {
    type Item = &'a R;
    type IntoIter = GroupIter<'a, R>;

    fn into_iter(self) -> GroupIter<'a, R> {
        self.iter()
    }
}

impl<R: fmt::Debug> fmt::Debug for Group<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// The records of a [`Group`] in stream order.
///
/// ```
/// # extern crate watermill_core as watermill;
/// # use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)] struct Order { id: u32 }
/// # #[derive(StreamRecord, Debug)] struct Line { order: u32, cents: u64 }
/// # let lines = [20, 30].map(|cents| Line { order: 1, cents });
/// # let broker = MemoryBroker::new().read(vec![Order { id: 1 }]).read(Vec::from(lines));
/// fn check(order: &Order, lines: &Joined<Order, Line>) {
///     let mut rest = lines[order].iter();
///     assert_eq!(rest.next().map(|line| line.cents), Some(20));
///     assert_eq!(rest.len(), 1);
/// }
/// # let join = JoinWith::new(Order::fields().id, Line::fields().order);
/// # assert_eq!(Mill::new(check).join(join).run_blocking(broker)?.calls, 1);
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct GroupIter<'a, R> {
    group: &'a Group<R>,
    /// What is left of the run the iterator is in.
    slice: std::slice::Iter<'a, R>,
    /// The index in the group of the first record behind `slice`.
    next: usize,
}

impl<'a, R> Iterator for GroupIter<'a, R> {
    type Item = &'a R;

    fn next(&mut self) -> Option<&'a R> {
        if let Some(record) = self.slice.next() {
            return Some(record);
        }
        let run = self.group.run_from(self.next);
        self.next += run.len();
        self.slice = run.iter();
        self.slice.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.group.len - self.next + self.slice.len();
        (left, Some(left))
    }
}

impl<R> ExactSizeIterator for GroupIter<'_, R> {}

impl<R> std::iter::FusedIterator for GroupIter<'_, R> {}
