//! The first parameter: the master.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

use crate::lined::{Lined, arrange, drop_front};
use crate::record::StreamRecord;

/// A first parameter: `&M` for one master at a time, `&[M]` for a window of them.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// fn one(reading: &Reading) {
///     assert!(reading.celsius < 100.0);
/// }
///
/// fn window(readings: &[Reading]) {
///     assert!(readings.iter().all(|reading| reading.celsius < 100.0));
/// }
///
/// let broker = || MemoryBroker::new().read([20.0, 21.0, 22.0].map(|celsius| Reading { celsius }).into());
/// assert_eq!(Mill::new(one).run_blocking(broker())?.calls, 3);
/// assert_eq!(Mill::new(window).window(Window::count(2)).run_blocking(broker())?.calls, 2);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the master of a mill's function",
    label = "the first parameter is the master: `&M`, or `&[M]` for a window, where `M` is a stream record",
    note = "take the record by reference, and add `#[derive(StreamRecord)]` to its struct"
)]
pub trait Master: 'static {
    /// The record type of the master stream.
    type Record: StreamRecord;
    /// The parameter as the function gets it.
    type Item<'w>;
    /// What holds the masters of a call.
    #[doc(hidden)]
    type Slot: MasterSlot<Self::Record>;
    /// Whether the function takes a window.
    #[doc(hidden)]
    const WINDOWED: bool;

    #[doc(hidden)]
    fn item(slot: &Self::Slot) -> Self::Item<'_>;
}

/// What holds the masters of a call.
#[doc(hidden)]
pub trait MasterSlot<M>: Any + Send {
    /// An empty slot.
    fn new() -> Self;
    /// The masters as a slice.
    fn slice(&self) -> &[M];
    /// Goes to the master at `position` of its stream, if it is in the batch at hand.
    fn aim(&mut self, _position: u64) -> bool {
        false
    }
}

/// One master, inside the batch it came in.
#[doc(hidden)]
pub struct Single<M> {
    batch: Arc<Vec<M>>,
    index: usize,
    /// The position in its stream of the first record of the batch.
    first: u64,
}

impl<M> Single<M> {
    /// Goes to the master at `position` of its stream, which is at `index` of `batch`.
    pub(crate) fn set(&mut self, batch: &Arc<Vec<M>>, index: usize, position: u64) {
        if !Arc::ptr_eq(&self.batch, batch) {
            self.batch = Arc::clone(batch);
        }
        (self.index, self.first) = (index, position - index as u64);
    }
}

impl<M: Send + Sync + 'static> MasterSlot<M> for Single<M> {
    fn new() -> Self {
        Self { batch: Arc::new(Vec::new()), index: 0, first: 0 }
    }

    fn slice(&self) -> &[M] {
        self.batch.get(self.index..=self.index).unwrap_or(&[])
    }

    #[inline]
    fn aim(&mut self, position: u64) -> bool {
        match position.checked_sub(self.first) {
            Some(index) if index < self.batch.len() as u64 => {
                self.index = index as usize;
                true
            }
            _ => false,
        }
    }
}

/// The masters of a window, and perhaps others around them.
#[doc(hidden)]
pub struct Masters<M> {
    all: Vec<M>,
    /// Those that the function sees.
    shown: Range<usize>,
}

impl<M> Masters<M> {
    /// Adds one that the function sees.
    pub(crate) fn push(&mut self, master: M) {
        self.all.push(master);
        self.shown.end = self.all.len();
    }

    /// Adds some, all of which the function sees.
    pub(crate) fn extend(&mut self, masters: impl Iterator<Item = M>) {
        self.all.extend(masters);
        self.shown.end = self.all.len();
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.shown = 0..0;
    }

    /// All of them, shown or not.
    pub(crate) fn all(&self) -> &[M] {
        &self.all
    }

    /// How many stand before those that the function sees.
    pub(crate) fn before(&self) -> usize {
        self.shown.start
    }

    fn shown(&self) -> &[M] {
        self.all.get(self.shown.clone()).unwrap_or(&[])
    }
}

impl<M> Lined for Masters<M> {
    fn show(&mut self, shown: Range<usize>) {
        self.shown = shown;
    }

    fn arrange(&mut self, order: &[usize]) {
        arrange(&mut self.all, order);
    }

    fn drop_front(&mut self, count: usize) {
        drop_front(&mut self.all, count);
    }
}

impl<M: Send + Sync + 'static> MasterSlot<M> for Masters<M> {
    fn new() -> Self {
        Self { all: Vec::new(), shown: 0..0 }
    }

    fn slice(&self) -> &[M] {
        self.shown()
    }
}

impl<M: StreamRecord> Master for &'static M {
    type Record = M;
    type Item<'w> = &'w M;
    type Slot = Single<M>;
    const WINDOWED: bool = false;

    // The engine sets the slot before every call.
    fn item(slot: &Single<M>) -> &M {
        &slot.batch[slot.index]
    }
}

impl<M: StreamRecord> Master for &'static [M] {
    type Record = M;
    type Item<'w> = &'w [M];
    type Slot = Masters<M>;
    const WINDOWED: bool = true;

    fn item(slot: &Masters<M>) -> &[M] {
        slot.shown()
    }
}
