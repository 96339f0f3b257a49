//! The parameters behind the master.

use std::any::Any;

use super::ack::AckRef;
use super::inject::{Inject, Injections};
use super::master::{MasterSlot, Masters};
use super::meta::Meta;
use super::out::{AnyOut, Out, PortSpec};
use crate::joined::Joined;
use crate::misuse::short_name;
use crate::record::{RecordType, StreamRecord};
use crate::window::WindowInfo;

/// A parameter behind the master: `&Joined<L, R>`, `&mut Out<R>`, [`Inject<T>`], `&Meta<M>`, `&WindowInfo` or
/// [`Ack<R>`](super::Ack).
///
/// Its types, with lifetimes that stand for any, say what can be asked for:
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::function::Param;
///
/// # #[derive(StreamRecord)] struct Order { id: u32 }
/// # #[derive(StreamRecord)] struct Line { order: u32 }
/// fn can_be_given<P: Param>() {}
///
/// can_be_given::<&Joined<Order, Line>>();
/// can_be_given::<&mut Out<Line>>();
/// can_be_given::<Inject<String>>();
/// can_be_given::<&Meta<Order>>();
/// can_be_given::<&WindowInfo>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no parameter of a mill's function",
    label = "not a parameter",
    note = "behind the master, which is first, come `&Joined<L, R>` (records joined to `L`), `&mut Out<R>` (results), `Inject<T>` (what `.inject(value)` was given), `&Meta<M>`, `&WindowInfo` and `Ack<R>` (results that come later)",
    note = "a second stream is not taken as `&R`: take `&Joined<M, R>`, and join it with `.join(JoinWith::new(..))`"
)]
pub trait Param: 'static {
    /// The parameter as the function gets it.
    type Item<'w>;
    /// What holds its value between calls.
    #[doc(hidden)]
    type Slot: Slot;

    #[doc(hidden)]
    fn spec() -> ParamSpec;

    /// `None` when what it needs was not injected, which the plan has checked before.
    #[doc(hidden)]
    fn slot(needs: &Injected<'_>) -> Option<Self::Slot>;

    #[doc(hidden)]
    fn item(slot: &mut Self::Slot) -> Self::Item<'_>;
}

/// What slots are made from.
#[doc(hidden)]
pub struct Injected<'a> {
    pub(crate) values: &'a Injections,
    /// For the parameter at hand, the names of the streams that its edges read.
    pub(crate) names: &'a [Option<std::sync::Arc<str>>],
}

/// The value of one parameter, as the engine fills it.
#[doc(hidden)]
pub trait Slot: Any + Send {
    #[doc(hidden)]
    fn as_any(&mut self) -> &mut dyn Any;
    /// Points the group of the sole left record, at `left` of its stream, at the right records from `low` to below `high`, if
    /// all of them are in the batches at hand.
    #[doc(hidden)]
    fn aim(&mut self, _part: usize, _left: u64, _low: u64, _high: u64) -> bool {
        false
    }
    /// A window is complete: its masters stand in `masters`, a `Masters<M>`.
    #[doc(hidden)]
    fn place_masters(&mut self, _masters: &dyn Any) {}
    /// The result stream behind it, if it is one.
    #[doc(hidden)]
    fn as_out(&mut self) -> Option<OutRef<'_>> {
        None
    }
    /// The promise of results, if it is one.
    #[doc(hidden)]
    fn as_ack(&mut self) -> Option<AckRef<'_>> {
        None
    }
}

/// A result stream whose type the engine does not know.
#[doc(hidden)]
pub struct OutRef<'a>(pub(crate) &'a mut dyn AnyOut);

/// What a parameter asks of the plan.
#[doc(hidden)]
#[derive(Clone)]
pub struct ParamSpec {
    pub(crate) kind: ParamKind,
    /// The type as the function's author wrote it.
    pub(crate) text: String,
}

#[derive(Clone)]
pub(crate) enum ParamKind {
    Joined { left: RecordType, right: RecordType },
    Out(PortSpec),
    Ack(PortSpec),
    Inject { id: std::any::TypeId },
    Meta { master: RecordType },
    WindowInfo,
}

impl<L: StreamRecord, R: StreamRecord> Param for &'static Joined<L, R> {
    type Item<'w> = &'w Joined<L, R>;
    type Slot = Joined<L, R>;

    fn spec() -> ParamSpec {
        let kind = ParamKind::Joined { left: RecordType::of::<L>(), right: RecordType::of::<R>() };
        ParamSpec { kind, text: format!("&Joined<{}, {}>", L::NAME, R::NAME) }
    }

    fn slot(needs: &Injected<'_>) -> Option<Joined<L, R>> {
        Some(Joined::over(needs.names.to_vec()))
    }

    fn item(slot: &mut Joined<L, R>) -> &Joined<L, R> {
        slot
    }
}

impl<L: StreamRecord, R: StreamRecord> Slot for Joined<L, R> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    #[inline]
    fn aim(&mut self, part: usize, left: u64, low: u64, high: u64) -> bool {
        self.part(part).aim_sole(left, low, high)
    }

    fn place_masters(&mut self, masters: &dyn Any) {
        if let Some(masters) = masters.downcast_ref::<Masters<L>>() {
            self.place_all(masters.slice(), masters.before());
        }
    }
}

impl<R: StreamRecord> Param for &'static mut Out<R> {
    type Item<'w> = &'w mut Out<R>;
    type Slot = Out<R>;

    fn spec() -> ParamSpec {
        ParamSpec { kind: ParamKind::Out(PortSpec::of::<R>()), text: format!("&mut Out<{}>", R::NAME) }
    }

    fn slot(_: &Injected<'_>) -> Option<Out<R>> {
        Some(Out::new())
    }

    fn item(slot: &mut Out<R>) -> &mut Out<R> {
        slot.begin();
        slot
    }
}

impl<R: StreamRecord> Slot for Out<R> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn as_out(&mut self) -> Option<OutRef<'_>> {
        Some(OutRef(self))
    }
}

impl<T: Send + Sync + 'static> Param for Inject<T> {
    type Item<'w> = Inject<T>;
    type Slot = Inject<T>;

    fn spec() -> ParamSpec {
        let kind = ParamKind::Inject { id: std::any::TypeId::of::<T>() };
        ParamSpec { kind, text: format!("Inject<{}>", short_name::<T>()) }
    }

    fn slot(needs: &Injected<'_>) -> Option<Inject<T>> {
        needs.values.get().map(Inject)
    }

    fn item(slot: &mut Inject<T>) -> Inject<T> {
        slot.clone()
    }
}

impl<T: Send + Sync + 'static> Slot for Inject<T> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl<M: StreamRecord> Param for &'static Meta<M> {
    type Item<'w> = &'w Meta<M>;
    type Slot = Meta<M>;

    fn spec() -> ParamSpec {
        let kind = ParamKind::Meta { master: RecordType::of::<M>() };
        ParamSpec { kind, text: format!("&Meta<{}>", M::NAME) }
    }

    fn slot(_: &Injected<'_>) -> Option<Meta<M>> {
        Some(Meta::new())
    }

    fn item(slot: &mut Meta<M>) -> &Meta<M> {
        slot
    }
}

impl<M: StreamRecord> Slot for Meta<M> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Param for &'static WindowInfo {
    type Item<'w> = &'w WindowInfo;
    type Slot = WindowInfo;

    fn spec() -> ParamSpec {
        ParamSpec { kind: ParamKind::WindowInfo, text: "&WindowInfo".to_owned() }
    }

    fn slot(_: &Injected<'_>) -> Option<WindowInfo> {
        Some(WindowInfo::new())
    }

    fn item(slot: &mut WindowInfo) -> &WindowInfo {
        slot
    }
}

impl Slot for WindowInfo {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// All parameters behind the master: a tuple of [`Param`]s.
///
/// Each parameter has a slot of its own, so that the borrows of a call never overlap.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Number { value: u64 }
/// #[derive(StreamRecord)]
/// struct Product { value: u64, offset: u64 }
///
/// // Behind the master in any order.
/// fn times(number: &Number, by: Inject<u64>, out: &mut Out<Product>, meta: &Meta<Number>) {
///     out.push(Product { value: number.value * *by, offset: meta.offset() });
/// }
///
/// let products = Collected::<Product>::new();
/// let broker = MemoryBroker::new().read(vec![Number { value: 2 }]).write(&products);
/// Mill::new(times).inject(3_u64).run_blocking(broker)?;
/// let product = &products.take()[0];
/// assert_eq!((product.value, product.offset), (6, 0));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "the parameters behind the master cannot be given by a mill: `{Self}`",
    note = "behind the master, which is first, come `&Joined<L, R>` (records joined to `L`), `&mut Out<R>` (results), `Inject<T>` (what `.inject(value)` was given), `&Meta<M>`, `&WindowInfo` and `Ack<R>` (results that come later)"
)]
pub trait Params: 'static {
    #[doc(hidden)]
    type Slots: Send + 'static;

    #[doc(hidden)]
    fn specs() -> Vec<ParamSpec>;

    #[doc(hidden)]
    fn slots(values: &ParamNeeds<'_>) -> Option<Self::Slots>;

    #[doc(hidden)]
    fn slot(slots: &mut Self::Slots, index: usize) -> Option<&mut dyn Slot>;
}

/// What the slots of all parameters are made from.
#[doc(hidden)]
pub struct ParamNeeds<'a> {
    pub(crate) values: &'a Injections,
    /// For each parameter the names of the streams that its edges read.
    pub(crate) names: &'a [Vec<Option<std::sync::Arc<str>>>],
}

impl<'a> ParamNeeds<'a> {
    pub(crate) fn of(&self, index: usize) -> Injected<'a> {
        Injected { values: self.values, names: self.names.get(index).map_or(&[], Vec::as_slice) }
    }
}
