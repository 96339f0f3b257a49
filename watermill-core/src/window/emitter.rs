//! Windows of the user's own: an emitter looks at all that is buffered, and chooses.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Window;
use super::rule::{OpenWindow, WindowRule};
use crate::engine::RoleCheck;
use crate::function::Masters;
use crate::misuse::short_name;
use crate::record::StreamRecord;

/// Makes windows of its own. It sees all masters that are buffered, whenever one has come in, when it has asked to be woken, and at the end of the
/// stream; it says which of them are the next window, in which order, and which are dropped. The others are kept.
///
/// An emitter that has taken a window is asked again, as there may be another one, until it takes nothing. What it keeps is not finished: a restart reads
/// it again, and nothing that was taken or dropped is delivered a second time. What the emitter itself remembers is not kept over a restart: it is made anew, and is not
/// asked before all is buffered again that was.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// use watermill::window::{Buffer, Emit, WindowEmitter};
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Bid { cents: u64 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Top { cents: Vec<u64> }
///
/// /// The two highest of every four; the others stay in the race.
/// struct Highest;
///
/// impl WindowEmitter<Bid> for Highest {
///     fn emit(&mut self, bids: Buffer<'_, Bid>) -> Emit {
///         if bids.len() < 4 {
///             return Emit::nothing();
///         }
///         let mut order: Vec<usize> = (0..bids.len()).collect();
///         order.sort_by_key(|at| std::cmp::Reverse(bids[*at].cents));
///         Emit::take(order.into_iter().take(2))
///     }
/// }
///
/// let tops = Collected::<Top>::new();
/// let bids = [3, 9, 5, 7, 1, 8].map(|cents| Bid { cents });
/// Mill::new(|bids: &[Bid]| Top { cents: bids.iter().map(|bid| bid.cents).collect() })
///     .window(Window::emitter(|| Highest))
///     .run_blocking(MemoryBroker::new().read(bids.into()).write(&tops))?;
/// // What is kept at the end of the stream is the last window.
/// assert_eq!(tops.take(), [vec![9, 7], vec![8, 5], vec![3, 1]].map(|cents| Top { cents }));
/// # Ok::<(), watermill::RunError>(())
/// ```
pub trait WindowEmitter<M>: Send + 'static {
    /// Looks at what is buffered, and says what becomes of it.
    fn emit(&mut self, buffer: Buffer<'_, M>) -> Emit;
}

/// Why an emitter is asked.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::window::{Buffer, Emit, Wake};
///
/// fn all_at_the_end<M>(buffer: &Buffer<'_, M>) -> Emit {
///     if buffer.why() == Wake::EndOfStream { Emit::take(0..buffer.len()) } else { Emit::nothing() }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wake {
    /// A master has come in.
    Arrived,
    /// The time has come at which the emitter asked to be woken.
    Time,
    /// There are no more masters.
    EndOfStream,
}

/// All masters that are buffered, in the order in which they came in: a slice of them, and when each came in.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::time::Duration;
/// use watermill::window::{Buffer, Emit};
///
/// /// Takes what has waited for a minute.
/// fn waited<M>(buffer: &Buffer<'_, M>) -> Emit {
///     let minute = Duration::from_secs(60);
///     let old = |at: &usize| buffer.arrived(*at).is_some_and(|arrived| arrived + minute <= buffer.now());
///     Emit::take((0..buffer.len()).take_while(old)).wake_after(minute)
/// }
/// ```
pub struct Buffer<'a, M> {
    masters: &'a [M],
    arrived: &'a dyn Fn(usize) -> Option<SystemTime>,
    now: SystemTime,
    why: Wake,
}

impl<M> Buffer<'_, M> {
    /// When the master at `index` came in, by the mill's clock. After a restart, when it came in again.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::window::Buffer;
    /// fn oldest<M>(buffer: &Buffer<'_, M>) -> Option<std::time::SystemTime> {
    ///     buffer.arrived(0)
    /// }
    /// ```
    #[must_use]
    pub fn arrived(&self, index: usize) -> Option<SystemTime> {
        (self.arrived)(index)
    }

    /// The time by the mill's clock.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::window::{Buffer, Emit};
    /// fn within_this_second<M>(buffer: &Buffer<'_, M>) -> Emit {
    ///     Emit::nothing().wake_at(buffer.now() + std::time::Duration::from_secs(1))
    /// }
    /// ```
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.now
    }

    /// Why the emitter is asked.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::window::{Buffer, Wake};
    /// fn is_over<M>(buffer: &Buffer<'_, M>) -> bool {
    ///     buffer.why() == Wake::EndOfStream
    /// }
    /// ```
    #[must_use]
    pub fn why(&self) -> Wake {
        self.why
    }
}

impl<M> Deref for Buffer<'_, M> {
    type Target = [M];

    fn deref(&self) -> &[M] {
        self.masters
    }
}

/// What becomes of the masters that are buffered, by their indexes. Those that are not named are kept.
///
/// An index that is not there, or comes twice, fails the run.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::time::Duration;
/// use watermill::window::Emit;
///
/// // Of four masters: the last two are a window, the later one first. The first one is dropped, the second kept.
/// let emit = Emit::take([3, 2]).and_drop([0]).wake_after(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Emit {
    pub(crate) take: Vec<usize>,
    pub(crate) drop: Vec<usize>,
    pub(crate) drop_rest: bool,
    pub(crate) wake: Option<WakeUp>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum WakeUp {
    At(SystemTime),
    After(Duration),
}

impl Emit {
    /// All are kept.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::window::{Buffer, Emit};
    /// fn hundreds<M>(buffer: &Buffer<'_, M>) -> Emit {
    ///     if buffer.len() < 100 { Emit::nothing() } else { Emit::take(0..100) }
    /// }
    /// ```
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// These are the next window, in this order. None at all is the same as [`nothing`](Emit::nothing).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::window::{Buffer, Emit};
    /// fn latest_first<M>(buffer: &Buffer<'_, M>) -> Emit {
    ///     Emit::take((0..buffer.len()).rev())
    /// }
    /// ```
    #[must_use]
    pub fn take(masters: impl IntoIterator<Item = usize>) -> Self {
        Self { take: masters.into_iter().collect(), ..Self::default() }
    }

    /// These are dropped: they are in no window, and count as unmatched.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::window::{Buffer, Emit};
    /// fn without_the_first<M>(buffer: &Buffer<'_, M>) -> Emit {
    ///     Emit::take(1..buffer.len()).and_drop([0])
    /// }
    /// ```
    #[must_use]
    pub fn and_drop(mut self, masters: impl IntoIterator<Item = usize>) -> Self {
        self.drop.extend(masters);
        self
    }

    /// All that are not taken are dropped. At the end of the stream they would otherwise be the last window.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::window::{Buffer, Emit, Wake};
    /// fn pairs<M>(buffer: &Buffer<'_, M>) -> Emit {
    ///     match buffer.why() {
    ///         Wake::EndOfStream => Emit::nothing().and_drop_rest(),
    ///         _ if buffer.len() == 2 => Emit::take([0, 1]),
    ///         _ => Emit::nothing(),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn and_drop_rest(mut self) -> Self {
        self.drop_rest = true;
        self
    }

    /// The emitter is asked again after so much silence. Any other question before comes instead; each answer replaces what was asked before.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::window::{Buffer, Emit, Wake};
    /// fn when_quiet<M>(buffer: &Buffer<'_, M>) -> Emit {
    ///     match buffer.why() {
    ///         Wake::Time => Emit::take(0..buffer.len()),
    ///         _ => Emit::nothing().wake_after(Duration::from_secs(5)),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn wake_after(mut self, silence: Duration) -> Self {
        self.wake = Some(WakeUp::After(silence));
        self
    }

    /// The emitter is asked again at this time of the mill's clock, if nothing comes before. A time that has passed is of no consequence.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use std::time::Duration;
    /// # use watermill::window::{Buffer, Emit};
    /// fn a_minute_after_the_first<M>(buffer: &Buffer<'_, M>) -> Emit {
    ///     match buffer.arrived(0).map(|arrived| arrived + Duration::from_secs(60)) {
    ///         Some(until) if until <= buffer.now() => Emit::take(0..buffer.len()),
    ///         Some(until) => Emit::nothing().wake_at(until),
    ///         None => Emit::nothing(),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn wake_at(mut self, time: SystemTime) -> Self {
        self.wake = Some(WakeUp::At(time));
        self
    }
}

/// An emitter whose type the walk does not know.
pub(crate) trait AnyEmitter: Send {
    /// `masters` is a `Masters<M>`.
    fn emit(
        &mut self,
        masters: &dyn Any,
        arrived: &dyn Fn(usize) -> Option<SystemTime>,
        now: SystemTime,
        why: Wake,
    ) -> Emit;
}

struct Emitter<M, E>(E, PhantomData<fn(&M)>);

impl<M: StreamRecord, E: WindowEmitter<M>> AnyEmitter for Emitter<M, E> {
    fn emit(
        &mut self,
        masters: &dyn Any,
        arrived: &dyn Fn(usize) -> Option<SystemTime>,
        now: SystemTime,
        why: Wake,
    ) -> Emit {
        let masters = masters.downcast_ref::<Masters<M>>().map_or(&[][..], Masters::all);
        self.0.emit(Buffer { masters, arrived, now, why })
    }
}

impl<M: StreamRecord> Window<M> {
    /// Windows of your own: see [`WindowEmitter`]. Each lane makes an emitter of its own. They work over joins too; what is joined to a master goes with
    /// it.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill::window::{Buffer, Emit, WindowEmitter};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Reading { celsius: f64 }
    /// # struct Pairs;
    /// # impl WindowEmitter<Reading> for Pairs {
    /// #     fn emit(&mut self, buffer: Buffer<'_, Reading>) -> Emit {
    /// #         if buffer.len() < 2 { Emit::nothing() } else { Emit::take([1, 0]) }
    /// #     }
    /// # }
    /// let mill = Mill::new(|readings: &[Reading]| ()).window(Window::emitter(|| Pairs));
    /// assert!(mill.explain()?.ends_with("Reading (master, window of Pairs)\n"));
    /// # Ok::<(), watermill::BuildError>(())
    /// ```
    #[must_use]
    pub fn emitter<E: WindowEmitter<M>>(make: impl Fn() -> E + Send + Sync + 'static) -> Self {
        let text = format!("window of {}", short_name::<E>());
        let mut window = Self::of(Arc::new(Custom(make, PhantomData)), text);
        window.shared = true;
        window
    }
}

struct Custom<F, E>(F, PhantomData<fn() -> E>);

impl<M, F, E> WindowRule<M> for Custom<F, E>
where
    M: StreamRecord,
    F: Fn() -> E + Send + Sync,
    E: WindowEmitter<M>,
{
    fn open(&self) -> OpenWindow {
        OpenWindow::Custom(Box::new(Emitter::<M, E>((self.0)(), PhantomData)))
    }

    fn check(&self) -> Option<Box<dyn RoleCheck<M>>> {
        None
    }
}
