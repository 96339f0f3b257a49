//! Results that come later, from elsewhere.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::out::{Out, PortSpec};
use super::param::{Injected, OutRef, Param, ParamKind, ParamSpec, Slot};
use crate::error::BoxError;
use crate::record::StreamRecord;

/// A promise to save the results of this call later, from any thread or task. Taken by value, as `Ack<R>`.
///
/// A function that hands its work elsewhere gives the `Ack` along with it. The call is finished when the results are
/// [saved](Ack::save). Results leave in the order of the masters, and no commit passes a call that is not finished, so nothing
/// is lost when the program dies with work outstanding: a restart makes those calls again. How many may be outstanding is
/// bounded by [`Mill::in_flight`](crate::Mill::in_flight); the end of the stream waits for all of them.
///
/// An `Ack` that is dropped unused is a failure of the call, not a success, and so is [`fail`](Ack::fail): what is done then says
/// [`Mill::on_error`](crate::Mill::on_error).
///
/// ```
/// # extern crate watermill_core as watermill;
/// use watermill::prelude::*;
/// # use watermill_derive::StreamRecord;
/// #[derive(StreamRecord)]
/// struct Picture { id: u64 }
/// #[derive(StreamRecord, Debug, PartialEq)]
/// struct Label { picture: u64 }
///
/// fn label(picture: &Picture, ack: Ack<Label>) {
///     let id = picture.id;
///     std::thread::spawn(move || {
///         // The work of a thread of its own, or of a service far away.
///         ack.save([Label { picture: id }])
///     });
/// }
///
/// let labels = Collected::<Label>::new();
/// let pictures = (0..100).map(|id| Picture { id }).collect();
/// Mill::new(label).run_blocking(MemoryBroker::new().read::<Picture>(pictures).write(&labels))?;
/// // In the order of the pictures, whichever thread was first.
/// assert!(labels.take().into_iter().eq((0..100).map(|picture| Label { picture })));
/// # Ok::<(), watermill::RunError>(())
/// ```
pub struct Ack<R> {
    /// `None` once it was used.
    shared: Option<Arc<Shared<R>>>,
}

struct Shared<R> {
    state: Mutex<State<R>>,
    ticket: Ticket,
}

enum State<R> {
    Open,
    Saved(Vec<R>),
    Failed(BoxError),
    /// The run does not wait for it any more.
    Closed,
}

/// Which call an [`Ack`] belongs to, and where it tells that it was used.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) call: u64,
    pub(crate) attempt: u32,
    pub(crate) used: mpsc::UnboundedSender<(u64, u32)>,
}

/// The run does not wait for this [`Ack`] any more: it has stopped or failed, has lost its lane, or has given the call up after a
/// timeout. Nothing was saved; a restart makes the call again.
///
/// ```
/// use watermill_core::function::AckError;
///
/// fn log(outcome: Result<(), AckError>) -> String {
///     outcome.map_or_else(|error| error.to_string(), |()| "saved".to_owned())
/// }
/// assert_eq!(log(Ok(())), "saved");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the run does not wait for this result any more: it has stopped, or has given the call up; nothing was saved"
)]
pub struct AckError;

#[derive(Debug, thiserror::Error)]
#[error("its `Ack` was dropped without `save`")]
struct Dropped;

impl<R> Shared<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, to: State<R>) -> Result<(), AckError> {
        {
            let mut state = self.lock();
            if !matches!(*state, State::Open) {
                return Err(AckError);
            }
            *state = to;
        }
        // The run may be gone; then nobody waits.
        let _ = self.ticket.used.send((self.ticket.call, self.ticket.attempt));
        Ok(())
    }
}

impl<R> Ack<R> {
    /// Saves the results of the call, any number, none included.
    ///
    /// # Errors
    /// [`AckError`]: the run does not wait for them any more.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Picture { id: u64 }
    /// # #[derive(StreamRecord)] struct Label { picture: u64 }
    /// // Nothing was found in this picture: that is no failure.
    /// fn label(_: &Picture, ack: Ack<Label>) -> Result<(), AckError> {
    ///     ack.save([])
    /// }
    /// # use watermill::function::AckError;
    ///
    /// let labels = Collected::<Label>::new();
    /// let broker = MemoryBroker::new().read(vec![Picture { id: 1 }]).write(&labels);
    /// assert_eq!(Mill::new(label).run_blocking(broker)?.results, 0);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    pub fn save(mut self, results: impl IntoIterator<Item = R>) -> Result<(), AckError> {
        let results = results.into_iter().collect();
        self.shared.take().map_or(Err(AckError), |shared| shared.settle(State::Saved(results)))
    }

    /// The work failed; the call has failed with it.
    ///
    /// # Errors
    /// [`AckError`]: the run does not wait for it any more.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Picture { id: u64 }
    /// # #[derive(StreamRecord)] struct Label { picture: u64 }
    /// fn label(_: &Picture, ack: Ack<Label>) {
    ///     std::thread::spawn(move || ack.fail("the model is not loaded"));
    /// }
    ///
    /// let labels = Collected::<Label>::new();
    /// let broker = MemoryBroker::new().read(vec![Picture { id: 1 }]).write(&labels);
    /// let error = Mill::new(label).run_blocking(broker).unwrap_err();
    /// assert!(format!("{error:?}").ends_with("caused by: the model is not loaded"));
    /// ```
    pub fn fail(mut self, error: impl Into<BoxError>) -> Result<(), AckError> {
        self.shared.take().map_or(Err(AckError), |shared| shared.settle(State::Failed(error.into())))
    }

    /// Whether the run has stopped waiting for it, so that the work can be left.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)] struct Picture { id: u64 }
    /// # #[derive(StreamRecord)] struct Label { picture: u64 }
    /// fn label(_: &Picture, ack: Ack<Label>) {
    ///     std::thread::spawn(move || {
    ///         if !ack.is_closed() {
    ///             // .. long work ..
    ///             let _ = ack.save([]);
    ///         }
    ///     });
    /// }
    ///
    /// let labels = Collected::<Label>::new();
    /// let broker = MemoryBroker::new().read(vec![Picture { id: 1 }]).write(&labels);
    /// assert_eq!(Mill::new(label).run_blocking(broker)?.calls, 1);
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| matches!(*shared.lock(), State::Closed))
    }
}

impl<R> Drop for Ack<R> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            // Whether anybody waits for it does not matter here.
            let _ = shared.settle(State::Failed(Dropped.into()));
        }
    }
}

impl<R> fmt::Debug for Ack<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The lane's end of an [`Ack`].
#[doc(hidden)]
pub struct AckSlot<R> {
    out: Out<R>,
    shared: Option<Arc<Shared<R>>>,
}

impl<R> AckSlot<R> {
    fn close(&mut self) {
        if let Some(shared) = self.shared.take() {
            let mut state = shared.lock();
            if matches!(*state, State::Open) {
                *state = State::Closed;
            }
        }
    }
}

impl<R> Drop for AckSlot<R> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<R: StreamRecord> Param for Ack<R> {
    type Item<'w> = Ack<R>;
    type Slot = AckSlot<R>;

    fn spec() -> ParamSpec {
        ParamSpec { kind: ParamKind::Ack(PortSpec::of::<R>()), text: format!("Ack<{}>", R::NAME) }
    }

    fn slot(_: &Injected<'_>) -> Option<AckSlot<R>> {
        Some(AckSlot { out: Out::new(), shared: None })
    }

    fn item(slot: &mut AckSlot<R>) -> Ack<R> {
        slot.out.begin();
        Ack { shared: slot.shared.clone() }
    }
}

impl<R: StreamRecord> Slot for AckSlot<R> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn as_out(&mut self) -> Option<OutRef<'_>> {
        Some(OutRef(&mut self.out))
    }

    fn as_ack(&mut self) -> Option<AckRef<'_>> {
        Some(AckRef(self))
    }
}

/// An [`AckSlot`] whose type the engine does not know.
#[doc(hidden)]
pub struct AckRef<'a>(pub(crate) &'a mut dyn AnyAck);

/// What the engine does with the lane's end of an [`Ack`].
pub(crate) trait AnyAck {
    /// Makes the `Ack` of the next attempt. That of an earlier one is closed.
    fn arm(&mut self, ticket: Ticket);
    /// `None` while it was not used; its results stand in the `Out` afterwards.
    fn settled(&mut self) -> Option<Result<(), BoxError>>;
    /// Nobody waits for it any more.
    fn close(&mut self);
}

impl<R: StreamRecord> AnyAck for AckSlot<R> {
    fn arm(&mut self, ticket: Ticket) {
        self.close();
        self.shared = Some(Arc::new(Shared { state: Mutex::new(State::Open), ticket }));
    }

    fn settled(&mut self) -> Option<Result<(), BoxError>> {
        let Some(shared) = &self.shared else { return Some(Ok(())) };
        let state = {
            let mut state = shared.lock();
            if let State::Open = *state {
                return None;
            }
            std::mem::replace(&mut *state, State::Closed)
        };
        self.shared = None;
        match state {
            State::Saved(results) => {
                self.out.extend(results);
                Some(Ok(()))
            }
            State::Failed(error) => Some(Err(error)),
            State::Open | State::Closed => Some(Err(Dropped.into())),
        }
    }

    fn close(&mut self) {
        Self::close(self);
    }
}
