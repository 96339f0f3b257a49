//! What is done when the function fails, or the storage behind a broker.

use std::time::{Duration, SystemTime};

/// What is done when a call of the function fails: by an `Err`, a panic, a [timeout](crate::Mill::timeout), or an
/// [`Ack`](crate::function::Ack) that fails or is dropped.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
/// use watermill::prelude::*;
/// use watermill::{Backoff, OnError};
/// # use watermill_derive::StreamRecord;
/// # #[derive(StreamRecord)]
/// # struct Order { id: u64 }
/// static TRIES: AtomicU32 = AtomicU32::new(0);
///
/// fn book(order: &Order) -> Result<(), String> {
///     // The first two attempts fail.
///     if TRIES.fetch_add(1, Ordering::Relaxed) < 2 { Err("busy".to_owned()) } else { Ok(()) }
/// }
///
/// let report = Mill::new(book)
///     .on_error(OnError::retry(5, Backoff::exponential(Duration::from_millis(1), Duration::from_secs(1))))
///     .run_blocking(MemoryBroker::new().read(vec![Order { id: 1 }]))?;
/// assert_eq!((report.calls, report.retries, report.given_up), (1, 2, 0));
/// # Ok::<(), watermill::RunError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnError {
    retries: u32,
    backoff: Backoff,
    then: Then,
}

/// What is done with a call that fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Stop,
    Skip,
    DeadLetter,
}

impl Default for OnError {
    fn default() -> Self {
        Self::stop()
    }
}

impl OnError {
    /// The run stops with the error, and the position stays: a restart makes the same call. This is the default.
    ///
    /// ```
    /// # use watermill_core::OnError;
    /// assert_eq!(OnError::stop(), OnError::default());
    /// ```
    #[must_use]
    pub fn stop() -> Self {
        Self { retries: 0, backoff: Backoff::fixed(Duration::ZERO), then: Then::Stop }
    }

    /// The call is left out, counted in [`RunReport::given_up`](crate::RunReport::given_up), and logged as a warning.
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill::OnError;
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)]
    /// # struct Order { id: u64 }
    /// let odd = |order: &Order| if order.id % 2 == 1 { Ok(()) } else { Err("even") };
    /// let orders = [1, 2, 3].map(|id| Order { id });
    /// let report = Mill::new(odd)
    ///     .on_error(OnError::skip())
    ///     .run_blocking(MemoryBroker::new().read(orders.into()))?;
    /// assert_eq!((report.calls, report.given_up), (3, 1));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn skip() -> Self {
        Self { then: Then::Skip, ..Self::stop() }
    }

    /// The masters of the call are put aside as [`DeadLetter`](crate::DeadLetter)s of the kind `function`, in the same commit, and the run goes on. It is
    /// counted in [`RunReport::given_up`](crate::RunReport::given_up).
    ///
    /// ```
    /// # extern crate watermill_core as watermill;
    /// # use watermill::prelude::*;
    /// # use watermill::{DeadLetter, OnError};
    /// # use watermill_derive::StreamRecord;
    /// # #[derive(StreamRecord)]
    /// # struct Order { id: u64 }
    /// let odd = |order: &Order| if order.id % 2 == 1 { Ok(()) } else { Err("even") };
    /// let letters = Collected::<DeadLetter>::new();
    /// let orders = [1, 2, 3].map(|id| Order { id });
    /// let broker = MemoryBroker::new().read(orders.into()).write(&letters);
    /// let report = Mill::new(odd).on_error(OnError::dead_letter()).run_blocking(broker)?;
    /// assert_eq!((report.calls, report.given_up), (3, 1));
    /// let letter = &letters.take()[0];
    /// assert_eq!((letter.offset, letter.kind.as_str(), letter.error.as_str()), (1, "function", "even"));
    /// # Ok::<(), watermill::RunError>(())
    /// ```
    #[must_use]
    pub fn dead_letter() -> Self {
        Self { then: Then::DeadLetter, ..Self::stop() }
    }

    /// The call is made again, up to `retries` times, with a pause before each; then the run stops, unless
    /// [`then_skip`](OnError::then_skip) or [`then_dead_letter`](OnError::then_dead_letter) says otherwise. What a failed attempt wrote is dropped.
    ///
    /// A run that is stopped in a pause does not make the call: what was done before it is committed, and the next run makes it again. Where windows overlap, can be
    /// empty, or are those of an emitter, the last commit stands instead, and all since then is done again.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::{Backoff, OnError};
    /// let patient = OnError::retry(5, Backoff::exponential(Duration::from_millis(100), Duration::from_secs(10)));
    /// assert_ne!(patient, OnError::retry(5, Backoff::fixed(Duration::from_millis(100))));
    /// ```
    #[must_use]
    pub fn retry(retries: u32, backoff: Backoff) -> Self {
        Self { retries, backoff, then: Then::Stop }
    }

    /// A call that fails to the end is left out.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::{Backoff, OnError};
    /// let patient = OnError::retry(3, Backoff::fixed(Duration::from_secs(1))).then_skip();
    /// assert_ne!(patient, OnError::skip());
    /// ```
    #[must_use]
    pub fn then_skip(self) -> Self {
        Self { then: Then::Skip, ..self }
    }

    /// The masters of a call that fails to the end are put aside as [`DeadLetter`](crate::DeadLetter)s of the kind `function`, and the run goes on. A
    /// window that fails leaves a letter for each of its masters; where windows overlap, a master may leave several.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::{Backoff, OnError};
    /// let patient = OnError::retry(3, Backoff::fixed(Duration::from_secs(1))).then_dead_letter();
    /// assert_ne!(patient, OnError::dead_letter());
    /// ```
    #[must_use]
    pub fn then_dead_letter(self) -> Self {
        Self { then: Then::DeadLetter, ..self }
    }

    pub(crate) fn retries(&self) -> u32 {
        self.retries
    }

    pub(crate) fn then(&self) -> Then {
        self.then
    }

    /// The pause before the attempt that follows `failed` failed ones, or `None` when there are no more.
    pub(crate) fn pause(&self, failed: u32, now: SystemTime) -> Option<Duration> {
        (failed <= self.retries).then(|| self.backoff.pause(failed, now))
    }
}

/// How long to wait before another attempt.
///
/// The pause before each attempt is drawn at random between half of its length and all of it (jitter), so that those who failed
/// together do not come back together.
///
/// ```
/// use std::time::Duration;
/// use watermill_core::Backoff;
///
/// // 100 ms, 200 ms, 400 ms, .. at most 10 s.
/// let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(10));
/// assert_ne!(backoff, Backoff::fixed(Duration::from_millis(100)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// Pauses that begin with `first` and double each time, up to `most`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::Backoff;
    /// let second = Duration::from_secs(1);
    /// assert_eq!(Backoff::exponential(second, second), Backoff::fixed(second));
    /// ```
    #[must_use]
    pub fn exponential(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// The same pause before each attempt.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use watermill_core::{Backoff, OnError};
    /// let twice_more = OnError::retry(2, Backoff::fixed(Duration::from_millis(250)));
    /// assert_ne!(twice_more, OnError::stop());
    /// ```
    #[must_use]
    pub fn fixed(pause: Duration) -> Self {
        Self { first: pause, most: pause }
    }

    /// The pause after `failed` failures, the first being 1. The time is what chance is drawn from, so that a simulated clock repeats it.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use watermill_core::Backoff;
    /// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(3));
    /// let third = backoff.pause(3, SystemTime::now());
    /// assert!(third > Duration::from_secs(1) && third <= Duration::from_secs(3));
    /// ```
    #[must_use]
    pub fn pause(&self, failed: u32, now: SystemTime) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
        let full = doubled.min(self.most.max(self.first));
        let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        // The mixing step of SplitMix64.
        let mut mixed = nanos.wrapping_add(u64::from(failed)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        full / 2 + (full / 2).mul_f64(((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
