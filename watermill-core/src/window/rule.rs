//! What the walk asks of a window: when it begins and when it closes.

use std::any::Any;
use std::sync::Arc;
use std::time::SystemTime;

use super::emitter::AnyEmitter;
use super::{CloseReason, WindowInfo};
use crate::engine::{RoleCheck, Tape, key_of};
use crate::key::{KeyExpr, KeyValue};
use crate::record::StreamRecord;

/// The master that may come into the window next.
#[derive(Clone, Copy)]
pub(crate) struct Coming<'a> {
    /// A `Tape<M>`.
    pub(crate) tape: &'a dyn Any,
    pub(crate) position: u64,
    /// When it came in.
    pub(crate) arrived: SystemTime,
}

impl<'a> Coming<'a> {
    /// Its record.
    pub(crate) fn record<M: 'static>(&self) -> Option<&'a M> {
        self.tape.downcast_ref::<Tape<M>>()?.get(self.position)
    }
}

/// What becomes of the master that is coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It comes into the open window, or opens one.
    Takes,
    /// The open window closes before it: then it is asked for again. Without an open window, an empty one closes.
    Closes(CloseReason),
    /// It is in no window.
    Passes,
}

/// A kind of window, as the user has declared it.
pub(crate) trait WindowRule<M>: Send + Sync {
    fn open(&self) -> OpenWindow;
    fn check(&self) -> Option<Box<dyn RoleCheck<M>>>;
}

/// The state of the windows of one lane.
pub(crate) enum OpenWindow {
    /// Windows of which each master is in one.
    Apart(Box<dyn AnyWindow>),
    /// Windows that overlap.
    Sliding(Box<dyn AnySliding>),
    /// Windows that the user's own code makes.
    Custom(Box<dyn AnyEmitter>),
}

/// Windows of which each master is in one, on one lane. `count` is how many masters are in the open one; 0 when none is open.
pub(crate) trait AnyWindow: Send {
    /// What becomes of the next master. When it takes it, the master comes in.
    fn before(&mut self, coming: Coming<'_>, count: usize) -> Entry;
    /// How many masters that come in together with the last one it takes without being asked about each.
    fn takes_more(&self, _count: usize) -> usize {
        0
    }
    /// Why the window closes now that it holds so many, if it does.
    fn after(&mut self, _count: usize) -> Option<CloseReason> {
        None
    }
    /// Why it closes now, though no master has come, if it does.
    fn due(&mut self, _now: SystemTime, _count: usize) -> Option<CloseReason> {
        None
    }
    /// When [`AnyWindow::due`] has to be asked at the latest.
    fn deadline(&self, _count: usize) -> Option<SystemTime> {
        None
    }
    /// Whether it wants to know when masters came in.
    fn by_arrival(&self) -> bool {
        false
    }
    /// The run begins.
    fn begin(&mut self, _now: SystemTime) {}
    /// Sets the bounds of the window that closes.
    fn tell(&self, _info: &mut WindowInfo) {}
    /// What cannot be read again by a restart.
    fn state(&self) -> Option<String> {
        None
    }
    /// Goes on behind a commit with this state.
    fn resume(&mut self, _state: &str) {}
}

/// Windows that overlap, on one lane. They are numbered; the numbers of the first and the last window of a master never go down.
pub(crate) trait AnySliding: Send {
    /// The first and the last window that the next master is in, if it is in any.
    fn windows(&mut self, coming: Coming<'_>) -> Option<(i128, i128)>;
    /// When this window closes by itself, if it does.
    fn ends(&self, number: i128) -> Option<SystemTime>;
    /// Whether empty windows are called too.
    fn empty(&self) -> bool;
    fn by_arrival(&self) -> bool;
    /// Sets the bounds of this window.
    fn tell(&self, number: i128, info: &mut WindowInfo);
}

/// The time of a master: what windows of time go by.
pub(crate) trait Times: Send + 'static {
    type Key: KeyValue;

    /// Whether it is that of arrival.
    const ARRIVAL: bool;

    /// The time of a master; `None` when it has none.
    fn time<'a>(&'a self, coming: &Coming<'a>) -> Option<<Self::Key as KeyValue>::View<'a>>;

    /// A bound of a window as a time of the clock.
    fn on_clock(_bound: &dyn Any) -> Option<SystemTime> {
        None
    }
}

/// By event time: a key of the master.
pub(crate) struct ByEvent<M, E> {
    key: Arc<E>,
    master: std::marker::PhantomData<fn(&M)>,
}

impl<M, E> ByEvent<M, E> {
    pub(crate) fn new(key: Arc<E>) -> Self {
        Self { key, master: std::marker::PhantomData }
    }
}

impl<M: StreamRecord, E: KeyExpr<M>> Times for ByEvent<M, E> {
    type Key = E::Value;

    const ARRIVAL: bool = false;

    fn time<'a>(&'a self, coming: &Coming<'a>) -> Option<<E::Value as KeyValue>::View<'a>> {
        key_of(&*self.key, coming.record::<M>()?).ok().flatten()
    }
}

/// By the time of arrival.
pub(crate) struct ByArrival;

impl Times for ByArrival {
    type Key = SystemTime;

    const ARRIVAL: bool = true;

    fn time<'a>(&'a self, coming: &Coming<'a>) -> Option<SystemTime> {
        Some(coming.arrived)
    }

    fn on_clock(bound: &dyn Any) -> Option<SystemTime> {
        bound.downcast_ref().copied()
    }
}
