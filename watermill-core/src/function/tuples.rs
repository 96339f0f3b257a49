//! The arities: one implementation of each function trait for every number of parameters, by macro.

use super::master::Master;
use super::param::{Param, ParamNeeds, ParamSpec, Params, Slot};

/// What a function's type says: its first parameter, the other ones, its result. No bounds here, so that a function that is
/// wrong in one place is reported for that place and not as "no function".
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::function::Shape;
///
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// fn first_parameter<F: Shape<Marker>, Marker>(_: F) -> &'static str {
///     std::any::type_name::<F::First>()
/// }
///
/// assert!(first_parameter(|_: &Reading, _: Inject<f64>| ()).ends_with("Reading"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function for a mill",
    label = "not a function for a mill",
    note = "give a `fn` or a closure with 1 to 12 parameters, each with its type written out: `|flight: &Flight| ..`",
    note = "an `async fn` goes into `Mill::new_async`, a closure that changes what it captured into `Mill::per_lane`"
)]
pub trait Shape<Marker> {
    /// The first parameter, with a `'static` lifetime standing for any.
    type First;
    /// The other parameters, as a tuple.
    type Rest;
    /// What it returns.
    type Output;
}

/// A function that changes nothing of its own: `Fn`, not `FnMut`. Asked for beside [`Call`], so that a closure that is not gets a
/// message that says where it belongs.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// // It changes what it shares with others, not what it captured: that is `Fn`.
/// static WARM: AtomicU64 = AtomicU64::new(0);
/// let count = |reading: &Reading| {
///     WARM.fetch_add(u64::from(reading.celsius > 20.0), Ordering::Relaxed);
/// };
/// let broker = MemoryBroker::new().read([19.0, 21.0].map(|celsius| Reading { celsius }).into());
/// Mill::new(count).run_blocking(broker)?;
/// assert_eq!(WARM.load(Ordering::Relaxed), 1);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`Mill::new` cannot call a closure that changes what it captured, or gives it away",
    label = "this closure is not `Fn`",
    note = "one that changes what it captured (`FnMut`) goes into `Mill::per_lane(|| closure)`, which makes one for each lane",
    note = "to change something shared by all calls, inject it: an atomic or a `Mutex`, taken as `Inject<T>`"
)]
pub trait Unchanging<Marker>: Shape<Marker> {}

/// A function that can be called with arguments of any lifetime, from several threads.
///
/// With the bounds of [`Mill::new`](crate::Mill::new), a function can be taken and wrapped by one of your own:
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use watermill::function::{Call, Master, Outcome, Params, Shape};
///
/// /// The mill that all jobs here start from.
/// fn job<F, Marker, M>(function: F) -> Mill<M>
/// where
///     F: Shape<Marker> + Call<Marker>,
///     F::First: Master<Record = M>,
///     F::Rest: Params,
///     F::Output: Outcome,
///     M: StreamRecord,
///     Marker: 'static,
/// {
///     Mill::new(function).on_bad::<M>(OnBad::Skip).progress(false)
/// }
///
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
///
/// let broker = MemoryBroker::new().read(vec![Reading { celsius: 20.0 }]);
/// assert_eq!(job(|_: &Reading| ()).run_blocking(broker)?.calls, 1);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that `Mill::new` can call",
    label = "not a function that `Mill::new` can call",
    note = "give a `fn` or a closure with 1 to 12 parameters, each with its type written out: `|flight: &Flight| ..`",
    note = "an `async fn` goes into `Mill::new_async`",
    note = "a closure that changes what it captured (`FnMut`) goes into `Mill::per_lane`"
)]
pub trait Call<Marker>:
    Unchanging<Marker> + Shape<Marker, First: Master, Rest: Params> + Send + Sync + 'static
{
    #[doc(hidden)]
    fn call(
        &self,
        master: &<Self::First as Master>::Slot,
        slots: &mut <Self::Rest as Params>::Slots,
    ) -> Self::Output;
}

/// As [`Call`], for a closure of one lane, which may change what it captured.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Reading { celsius: f64 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Record { celsius: f64 }
///
/// /// Each reading that is warmer than all before it.
/// fn records() -> impl FnMut(&Reading) -> Option<Record> {
///     let mut warmest = f64::NEG_INFINITY;
///     move |reading| {
///         let warmer = reading.celsius > warmest;
///         warmest = warmest.max(reading.celsius);
///         warmer.then_some(Record { celsius: reading.celsius })
///     }
/// }
///
/// let found = Collected::<Record>::new();
/// let readings = [20.0, 18.0, 22.0].map(|celsius| Reading { celsius });
/// Mill::per_lane(records).run_blocking(MemoryBroker::new().read(Vec::from(readings)).write(&found))?;
/// assert_eq!(found.take(), [20.0, 22.0].map(|celsius| Record { celsius }));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called with borrowed arguments",
    note = "`Mill::per_lane` takes a closure that returns the lane's function: `Mill::per_lane(|| {{ let mut seen = 0; move |flight: &Flight| .. }})`"
)]
pub trait CallMut<Marker>: Shape<Marker, First: Master, Rest: Params> + 'static {
    #[doc(hidden)]
    fn call_mut(
        &mut self,
        master: &<Self::First as Master>::Slot,
        slots: &mut <Self::Rest as Params>::Slots,
    ) -> Self::Output;
}

/// As [`Call`], for an `async fn`.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// use std::time::Duration;
///
/// #[derive(StreamRecord)]
/// struct Order { id: u32 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Priced { id: u32, cents: u64 }
///
/// async fn price(order: &Order) -> Priced {
///     // In place of a question to another service.
///     tokio::time::sleep(Duration::from_millis(1)).await;
///     Priced { id: order.id, cents: 20 }
/// }
///
/// let priced = Collected::<Priced>::new();
/// Mill::new_async(price).run_blocking(MemoryBroker::new().read(vec![Order { id: 1 }]).write(&priced))?;
/// assert_eq!(priced.take(), [Priced { id: 1, cents: 20 }]);
/// # Ok::<(), watermill::RunError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `async fn` that a mill can call",
    label = "not an `async fn` that a mill can call",
    note = "`Mill::new_async` takes an `async fn` or an async closure with 1 to 12 parameters, each with its type written out, that is `AsyncFn + Send + Sync + 'static`",
    note = "a function that is not `async` goes into `Mill::new`"
)]
pub trait AsyncCall<Marker>: Shape<Marker, First: Master, Rest: Params> + Send + Sync + 'static {
    #[doc(hidden)]
    fn call_async(
        &self,
        master: &<Self::First as Master>::Slot,
        slots: &mut <Self::Rest as Params>::Slots,
    ) -> impl Future<Output = Self::Output>;
}

/// The marker of async functions, which keeps their [`Shape`] apart from that of the others.
#[doc(hidden)]
pub struct Async<Marker>(std::marker::PhantomData<Marker>);

macro_rules! arity {
    ($($P:ident $slot:ident $index:tt),*) => {
        impl<F, P0, $($P,)* O> Shape<fn(P0, $($P,)*) -> O> for F
        where
            F: FnMut(P0, $($P,)*) -> O,
        {
            type First = P0;
            type Rest = ($($P,)*);
            type Output = O;
        }

        #[diagnostic::do_not_recommend]
        impl<F, P0, $($P,)* O> Unchanging<fn(P0, $($P,)*) -> O> for F
        where
            F: Fn(P0, $($P,)*) -> O,
        {
        }

        impl<F, P0, $($P,)* O> Call<fn(P0, $($P,)*) -> O> for F
        where
            F: Fn(P0, $($P,)*) -> O + for<'w> Fn(P0::Item<'w>, $($P::Item<'w>,)*) -> O + Send + Sync + 'static,
            P0: Master,
            $($P: Param,)*
        {
            #[inline]
            fn call(&self, master: &P0::Slot, slots: &mut ($($P::Slot,)*)) -> O {
                let ($($slot,)*) = slots;
                self(P0::item(master), $($P::item($slot),)*)
            }
        }

        impl<F, P0, $($P,)* O> CallMut<fn(P0, $($P,)*) -> O> for F
        where
            F: FnMut(P0, $($P,)*) -> O + for<'w> FnMut(P0::Item<'w>, $($P::Item<'w>,)*) -> O + 'static,
            P0: Master,
            $($P: Param,)*
        {
            #[inline]
            fn call_mut(&mut self, master: &P0::Slot, slots: &mut ($($P::Slot,)*)) -> O {
                let ($($slot,)*) = slots;
                self(P0::item(master), $($P::item($slot),)*)
            }
        }

        impl<F, P0, $($P,)* O> Shape<Async<fn(P0, $($P,)*) -> O>> for F
        where
            F: AsyncFn(P0, $($P,)*) -> O,
        {
            type First = P0;
            type Rest = ($($P,)*);
            type Output = O;
        }

        impl<F, P0, $($P,)* O> AsyncCall<Async<fn(P0, $($P,)*) -> O>> for F
        where
            F: AsyncFn(P0, $($P,)*) -> O
                + for<'w> AsyncFn(P0::Item<'w>, $($P::Item<'w>,)*) -> O
                + Send + Sync + 'static,
            P0: Master,
            $($P: Param,)*
        {
            async fn call_async(&self, master: &P0::Slot, slots: &mut ($($P::Slot,)*)) -> O {
                let ($($slot,)*) = slots;
                self(P0::item(master), $($P::item($slot),)*).await
            }
        }

        #[allow(unused_variables, clippy::unused_unit)]
        impl<$($P: Param,)*> Params for ($($P,)*) {
            type Slots = ($($P::Slot,)*);

            fn specs() -> Vec<ParamSpec> {
                vec![$($P::spec(),)*]
            }

            fn slots(values: &ParamNeeds<'_>) -> Option<Self::Slots> {
                Some(($($P::slot(&values.of($index))?,)*))
            }

            fn slot(slots: &mut Self::Slots, index: usize) -> Option<&mut dyn Slot> {
                let ($($slot,)*) = slots;
                match index {
                    $($index => Some($slot),)*
                    _ => None,
                }
            }
        }
    };
}

arity!();
arity!(P1 p1 0);
arity!(P1 p1 0, P2 p2 1);
arity!(P1 p1 0, P2 p2 1, P3 p3 2);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3, P5 p5 4);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3, P5 p5 4, P6 p6 5);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3, P5 p5 4, P6 p6 5, P7 p7 6);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3, P5 p5 4, P6 p6 5, P7 p7 6, P8 p8 7);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3, P5 p5 4, P6 p6 5, P7 p7 6, P8 p8 7, P9 p9 8);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3, P5 p5 4, P6 p6 5, P7 p7 6, P8 p8 7, P9 p9 8, P10 p10 9);
arity!(P1 p1 0, P2 p2 1, P3 p3 2, P4 p4 3, P5 p5 4, P6 p6 5, P7 p7 6, P8 p8 7, P9 p9 8, P10 p10 9, P11 p11 10);
