//! What stands in a line, one for each master of a window: the masters, their groups, their places.

use std::ops::Range;

/// A line that windows can share, or be picked from.
pub(crate) trait Lined {
    /// These are what the function sees.
    fn show(&mut self, shown: Range<usize>);
    /// Puts them into this order, and drops those that are not in it.
    fn arrange(&mut self, order: &[usize]);
    /// Drops so many from the front.
    fn drop_front(&mut self, count: usize);
}

/// Puts `all` into the order of these indexes, each of which comes once at most, and drops the others.
pub(crate) fn arrange<T>(all: &mut Vec<T>, order: &[usize]) {
    let mut taken: Vec<Option<T>> = all.drain(..).map(Some).collect();
    all.extend(order.iter().filter_map(|index| taken.get_mut(*index)?.take()));
}

/// Drops so many from the front of `all`.
pub(crate) fn drop_front<T>(all: &mut Vec<T>, count: usize) {
    all.drain(..count.min(all.len()));
}
