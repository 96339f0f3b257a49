//! Whose a lane is: how a broker takes one back while it is walked.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use tokio::sync::Notify;

/// Whether a lane is still this process's to walk. The broker keeps one copy, and the engine looks at another: from
/// [`Session::ownership`](super::Session::ownership).
///
/// ```
/// use watermill_core::broker::{Owned, Ownership};
///
/// let of_the_broker = Ownership::new();
/// let of_the_engine = of_the_broker.clone();
/// // The group gives the partition to another process: what is done is committed, and the walk ends.
/// of_the_broker.revoke();
/// assert_eq!(of_the_engine.state(), Owned::Revoked);
/// // It took too long: another process walks it by now, and nothing may be committed any more.
/// of_the_broker.lose();
/// assert_eq!(of_the_engine.state(), Owned::Lost);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Ownership(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: AtomicU8,
    wake: Notify,
}

/// What has become of a lane: [`Ownership::state`].
///
/// ```
/// use watermill_core::broker::{Owned, Ownership};
///
/// assert_eq!(Ownership::new().state(), Owned::Mine);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owned {
    /// It is walked here.
    Mine,
    /// It goes elsewhere as soon as what was done is committed.
    Revoked,
    /// It has gone elsewhere.
    Lost,
}

impl Ownership {
    /// A lane that was just given to this process.
    ///
    /// ```
    /// # use watermill_core::broker::{Owned, Ownership};
    /// assert_eq!(Ownership::new().state(), Owned::Mine);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lane back: the engine commits what is done, and ends its walk. Calls under way are finished first.
    ///
    /// ```
    /// # use watermill_core::broker::{Owned, Ownership};
    /// let ownership = Ownership::new();
    /// ownership.revoke();
    /// assert_eq!(ownership.state(), Owned::Revoked);
    /// ```
    pub fn revoke(&self) {
        self.become_at_least(Owned::Revoked);
    }

    /// The lane is another process's already: the engine ends its walk, and commits nothing.
    ///
    /// ```
    /// # use watermill_core::broker::{Owned, Ownership};
    /// let ownership = Ownership::new();
    /// ownership.lose();
    /// // What is lost stays lost.
    /// ownership.revoke();
    /// assert_eq!(ownership.state(), Owned::Lost);
    /// ```
    pub fn lose(&self) {
        self.become_at_least(Owned::Lost);
    }

    /// Whose it is.
    ///
    /// ```
    /// # use watermill_core::broker::{Owned, Ownership};
    /// assert!(Ownership::new().state() < Owned::Revoked);
    /// ```
    #[must_use]
    pub fn state(&self) -> Owned {
        match self.0.state.load(Ordering::Acquire) {
            0 => Owned::Mine,
            1 => Owned::Revoked,
            _ => Owned::Lost,
        }
    }

    /// Whether both are of the same lane, given at the same time.
    ///
    /// ```
    /// # use watermill_core::broker::Ownership;
    /// let ownership = Ownership::new();
    /// assert!(ownership.is_same(&ownership.clone()) && !ownership.is_same(&Ownership::new()));
    /// ```
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn become_at_least(&self, state: Owned) {
        self.0.state.fetch_max(state as u8, Ordering::AcqRel);
        self.0.wake.notify_waiters();
    }

    /// Looked at between any two calls.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) != Owned::Mine as u8
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state() == Owned::Lost
    }

    /// Waits until it is taken.
    pub(crate) async fn taken(&self) {
        let mut woken = pin!(self.0.wake.notified());
        // Registered before the look, so that what comes between the two is not missed.
        woken.as_mut().enable();
        if !self.is_taken() {
            woken.await;
        }
    }

    /// Waits until it is taken, or `other` is done.
    pub(crate) async fn taken_or(&self, other: impl Future<Output = ()>) {
        let (mut taken, mut other) = (pin!(self.taken()), pin!(other));
        poll_fn(|context| match taken.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => other.as_mut().poll(context),
        })
        .await;
    }
}
