//! The erased function: what the engine holds of it.
//!
//! A [`Stage`] is a function with the slots of one call. The engine fills the slots of a call, then makes the call; it
//! never knows the types of the arguments.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::master::{Master, MasterSlot};
use super::out::{AnyOut, Out, PortSpec};
use super::outcome::{Control, Outcome};
use super::param::{ParamNeeds, ParamSpec, Params, Slot};
use super::tuples::{AsyncCall, Call, CallMut};
use crate::error::BoxError;
use crate::misuse::{Misuse, short_name};

/// What a call came to.
pub(crate) type CallResult = Result<Control, BoxError>;

/// A call that was made, or one that is under way.
pub(crate) enum Called<'a> {
    Done(CallResult),
    Pending(Pin<Box<dyn Future<Output = CallResult> + 'a>>),
}

/// A function with the slots of one call.
pub(crate) trait Stage {
    /// `Single<M>` or `Masters<M>`.
    fn master(&mut self) -> &mut dyn Any;
    /// Goes to the master at `position` of its stream, if it is in the batch that the slot holds.
    fn aim(&mut self, position: u64) -> bool;
    /// The slot of the parameter at `index`, counted behind the master.
    fn param(&mut self, index: usize) -> Option<&mut dyn Slot>;
    /// The results that the function returned.
    fn returned(&mut self) -> &mut dyn AnyOut;
    /// The masters of a window are complete: tells every `Joined` where they stand.
    fn place_masters(&mut self);
    /// Makes the calls for the masters from `position` of their stream on, each with its run of the records that `slot` shows (a
    /// parameter, and which part of it), as far as all of them are in the batches that the slots hold. Returns how many
    /// calls were made, and what the last one came to: it is the first that did not simply go on, or behind which so many results wait.
    /// None for async functions.
    fn call_many(
        &mut self,
        position: u64,
        slot: (usize, usize),
        runs: &[(u64, u64)],
        most_results: usize,
    ) -> (usize, CallResult);
    /// Calls the function with what the slots hold.
    fn call(&mut self) -> Called<'_>;
}

/// What kind of function it is: how it can be put to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Shared by any number of threads.
    Shared,
    /// One lane's own.
    PerLane,
    /// Asynchronous.
    Async,
}

/// A stage that may leave its thread, or one that may not.
pub(crate) enum AnyStage {
    Shared(Box<dyn Stage + Send>),
    Own(Box<dyn Stage>),
}

impl AnyStage {
    pub(crate) fn get(&mut self) -> &mut dyn Stage {
        match self {
            Self::Shared(stage) => &mut **stage,
            Self::Own(stage) => &mut **stage,
        }
    }
}

/// A function that can be put on any number of lanes.
pub(crate) trait AnyFunction: Send + Sync {
    fn name(&self) -> &str;
    fn windowed(&self) -> bool;
    fn params(&self) -> Vec<ParamSpec>;
    /// The stream of what it returns.
    fn returns(&self) -> Option<PortSpec>;
    /// The function with slots for one lane; `None` when something is missing that the plan should have checked.
    fn stage(&self, needs: &ParamNeeds<'_>) -> Option<AnyStage>;
    fn kind(&self) -> Kind;
}

/// The slots of one call.
struct Frame<P: Master, Q: Params, O: Outcome> {
    master: P::Slot,
    slots: Q::Slots,
    returned: Out<O::Record>,
}

impl<P: Master, Q: Params, O: Outcome> Frame<P, Q, O> {
    fn new(needs: &ParamNeeds<'_>) -> Option<Self> {
        Some(Self { master: P::Slot::new(), slots: Q::slots(needs)?, returned: Out::new() })
    }
}

/// What a kind of function adds to its frame: how it is called.
trait Caller<P: Master, Q: Params, O: Outcome> {
    /// Whether a call is done when it returns.
    const SYNC: bool = true;

    fn call<'a>(&'a mut self, frame: &'a mut Frame<P, Q, O>) -> Called<'a>;
}

struct Staged<C, P: Master, Q: Params, O: Outcome> {
    caller: C,
    frame: Frame<P, Q, O>,
}

impl<C: Caller<P, Q, O>, P: Master, Q: Params, O: Outcome> Stage for Staged<C, P, Q, O> {
    fn master(&mut self) -> &mut dyn Any {
        &mut self.frame.master
    }

    fn aim(&mut self, position: u64) -> bool {
        self.frame.master.aim(position)
    }

    fn param(&mut self, index: usize) -> Option<&mut dyn Slot> {
        Q::slot(&mut self.frame.slots, index)
    }

    fn returned(&mut self) -> &mut dyn AnyOut {
        &mut self.frame.returned
    }

    fn place_masters(&mut self) {
        let mut index = 0;
        while let Some(slot) = Q::slot(&mut self.frame.slots, index) {
            slot.place_masters(&self.frame.master);
            index += 1;
        }
    }

    fn call_many(
        &mut self,
        position: u64,
        slot: (usize, usize),
        runs: &[(u64, u64)],
        most_results: usize,
    ) -> (usize, CallResult) {
        let (param, part) = slot;
        if !C::SYNC {
            return (0, Ok(Control::Go));
        }
        for (made, &(low, high)) in runs.iter().enumerate() {
            let left = position + made as u64;
            let aimed = self.frame.master.aim(left)
                && Q::slot(&mut self.frame.slots, param).is_some_and(|slot| slot.aim(part, left, low, high));
            if !aimed {
                return (made, Ok(Control::Go));
            }
            self.frame.returned.begin();
            let result = match self.caller.call(&mut self.frame) {
                Called::Done(result) => result,
                Called::Pending(_) => return (made, Ok(Control::Go)),
            };
            if !matches!(result, Ok(Control::Go)) || AnyOut::len(&self.frame.returned) >= most_results {
                return (made + 1, result);
            }
        }
        (runs.len(), Ok(Control::Go))
    }

    fn call(&mut self) -> Called<'_> {
        self.frame.returned.begin();
        self.caller.call(&mut self.frame)
    }
}

struct Shared<F, Marker>(Arc<F>, PhantomData<fn() -> Marker>);

impl<F, Marker> Caller<F::First, F::Rest, F::Output> for Shared<F, Marker>
where
    F: Call<Marker>,
    F::Output: Outcome,
{
    #[inline]
    fn call<'a>(&'a mut self, frame: &'a mut Frame<F::First, F::Rest, F::Output>) -> Called<'a> {
        Called::Done(guarded(|| self.0.call(&frame.master, &mut frame.slots).deliver(&mut frame.returned)))
    }
}

struct Own<F, Marker>(F, PhantomData<fn() -> Marker>);

impl<F, Marker> Caller<F::First, F::Rest, F::Output> for Own<F, Marker>
where
    F: CallMut<Marker>,
    F::Output: Outcome,
{
    #[inline]
    fn call<'a>(&'a mut self, frame: &'a mut Frame<F::First, F::Rest, F::Output>) -> Called<'a> {
        Called::Done(guarded(|| {
            self.0.call_mut(&frame.master, &mut frame.slots).deliver(&mut frame.returned)
        }))
    }
}

struct Later<F, Marker>(Arc<F>, PhantomData<fn() -> Marker>);

impl<F, Marker> Caller<F::First, F::Rest, F::Output> for Later<F, Marker>
where
    F: AsyncCall<Marker>,
    F::Output: Outcome,
{
    const SYNC: bool = false;

    fn call<'a>(&'a mut self, frame: &'a mut Frame<F::First, F::Rest, F::Output>) -> Called<'a> {
        Called::Pending(Box::pin(async move {
            let mut future = Box::pin(self.0.call_async(&frame.master, &mut frame.slots));
            let outcome = std::future::poll_fn(|context| {
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
                    Err(payload) => Poll::Ready(Err(panicked(payload))),
                }
            })
            .await;
            drop(future);
            outcome?.deliver(&mut frame.returned)
        }))
    }
}

/// Runs a call and turns a panic into an error of the function.
#[inline]
fn guarded(call: impl FnOnce() -> CallResult) -> CallResult {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| Err(panicked(payload)))
}

/// A panic of the user's function.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {0}")]
struct Panicked(String);

#[cold]
pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> BoxError {
    let payload = match payload.downcast::<Misuse>() {
        Ok(misuse) => return misuse,
        Err(other) => other,
    };
    let text = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => match other.downcast::<&'static str>() {
            Ok(text) => (*text).to_owned(),
            Err(_) => "with a payload that is no text".to_owned(),
        },
    };
    Panicked(text).into()
}

/// What messages call a function: its name, or where the mill of a closure is made.
#[track_caller]
fn name_of<F>() -> String {
    match short_name::<F>() {
        "{{closure}}" => {
            let place = std::panic::Location::caller();
            format!("closure at {}:{}", place.file(), place.line())
        }
        name => name.to_owned(),
    }
}

/// What all kinds of functions have in common, from their type alone.
macro_rules! described {
    () => {
        fn name(&self) -> &str {
            &self.name
        }

        fn windowed(&self) -> bool {
            F::First::WINDOWED
        }

        fn params(&self) -> Vec<ParamSpec> {
            F::Rest::specs()
        }

        fn returns(&self) -> Option<PortSpec> {
            <F::Output as Outcome>::WRITES.then(PortSpec::of::<<F::Output as Outcome>::Record>)
        }
    };
}

/// A function shared by all lanes.
pub(crate) struct SyncFunction<F, Marker> {
    function: Arc<F>,
    name: String,
    marker: PhantomData<fn() -> Marker>,
}

impl<F, Marker> SyncFunction<F, Marker> {
    #[track_caller]
    pub(crate) fn new(function: F) -> Self {
        Self { function: Arc::new(function), name: name_of::<F>(), marker: PhantomData }
    }
}

impl<F, Marker: 'static> AnyFunction for SyncFunction<F, Marker>
where
    F: Call<Marker>,
    F::Output: Outcome,
{
    described!();

    fn stage(&self, needs: &ParamNeeds<'_>) -> Option<AnyStage> {
        let frame = Frame::<F::First, F::Rest, F::Output>::new(needs)?;
        let caller = Shared(Arc::clone(&self.function), PhantomData);
        Some(AnyStage::Shared(Box::new(Staged { caller, frame })))
    }

    fn kind(&self) -> Kind {
        Kind::Shared
    }
}

/// A function that each lane has made for itself.
pub(crate) struct LaneFunction<G, F, Marker> {
    make: G,
    name: String,
    marker: PhantomData<fn() -> (F, Marker)>,
}

impl<G, F, Marker> LaneFunction<G, F, Marker> {
    #[track_caller]
    pub(crate) fn new(make: G) -> Self {
        Self { make, name: name_of::<F>(), marker: PhantomData }
    }
}

impl<G, F, Marker: 'static> AnyFunction for LaneFunction<G, F, Marker>
where
    G: Fn() -> F + Send + Sync,
    F: CallMut<Marker>,
    F::Output: Outcome,
{
    described!();

    fn stage(&self, needs: &ParamNeeds<'_>) -> Option<AnyStage> {
        let frame = Frame::<F::First, F::Rest, F::Output>::new(needs)?;
        Some(AnyStage::Own(Box::new(Staged { caller: Own((self.make)(), PhantomData), frame })))
    }

    fn kind(&self) -> Kind {
        Kind::PerLane
    }
}

/// An `async fn` shared by all lanes.
pub(crate) struct AsyncFunction<F, Marker> {
    function: Arc<F>,
    name: String,
    marker: PhantomData<fn() -> Marker>,
}

impl<F, Marker> AsyncFunction<F, Marker> {
    #[track_caller]
    pub(crate) fn new(function: F) -> Self {
        Self { function: Arc::new(function), name: name_of::<F>(), marker: PhantomData }
    }
}

impl<F, Marker: 'static> AnyFunction for AsyncFunction<F, Marker>
where
    F: AsyncCall<Marker>,
    F::Output: Outcome,
{
    described!();

    fn stage(&self, needs: &ParamNeeds<'_>) -> Option<AnyStage> {
        let frame = Frame::<F::First, F::Rest, F::Output>::new(needs)?;
        let caller = Later(Arc::clone(&self.function), PhantomData);
        Some(AnyStage::Own(Box::new(Staged { caller, frame })))
    }

    fn kind(&self) -> Kind {
        Kind::Async
    }
}
