//! Time, as a mill sees it: injected, so that tests and simulations never sleep.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;

use crate::broker::BoxFuture;

/// What a mill takes for time: windows by arrival, idle inputs, commits, retries and timeouts go by it.
///
/// The default is [`SystemClock`]. [`ManualClock`] stands still until it is moved.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::time::{Duration, SystemTime};
/// use watermill::clock::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let before = clock.now();
/// assert!(clock.now() >= before);
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The time. It never goes back.
    fn now(&self) -> SystemTime;

    /// Waits until [`now`](Clock::now) is `until` or later.
    fn sleep_until(&self, until: SystemTime) -> BoxFuture<'static, ()>;
}

/// The time of the machine, as it was when the clock was made, and from there on as time passes: setting the machine's
/// time does not move it.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::time::SystemTime;
/// use watermill::clock::{Clock, SystemClock};
///
/// assert!(SystemClock::new().now() > SystemTime::UNIX_EPOCH);
/// ```
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
    at_start: SystemTime,
}

impl SystemClock {
    /// A clock that shows the machine's time.
    ///
    /// ```
    /// # use watermill_core::clock::{Clock, SystemClock};
    /// let clock = SystemClock::new();
    /// assert!(clock.now() <= clock.now());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), at_start: SystemTime::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        self.at_start + self.start.elapsed()
    }

    fn sleep_until(&self, until: SystemTime) -> BoxFuture<'static, ()> {
        let left = until.duration_since(self.now()).unwrap_or_default();
        if left.is_zero() {
            // It has come already; others are let go on all the same.
            return Box::pin(tokio::task::yield_now());
        }
        // The runtime that the mill was started in may have no timers.
        let _timers = timers().map(Handle::enter);
        // Timers tick in milliseconds; one more makes sure that the time has come.
        Box::pin(tokio::time::sleep(left + Duration::from_millis(1)))
    }
}

/// A runtime that does nothing but keep timers, on a thread of its own; `None` when it cannot be started.
fn timers() -> Option<&'static Handle> {
    static TIMERS: OnceLock<Option<Handle>> = OnceLock::new();
    TIMERS
        .get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
            let handle = runtime.handle().clone();
            let keep = move || runtime.block_on(std::future::pending::<()>());
            std::thread::Builder::new().name("watermill-timers".to_owned()).spawn(keep).ok()?;
            Some(handle)
        })
        .as_ref()
}

/// A clock that stands still until it is moved.
///
/// ```
/// # extern crate watermill_core as watermill;
/// use std::time::{Duration, SystemTime};
/// use watermill::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(90));
/// ```
pub struct ManualClock {
    state: Arc<Mutex<Manual>>,
}

struct Manual {
    now: SystemTime,
    /// Who sleeps, and until when.
    sleepers: Vec<(SystemTime, Waker)>,
}

impl Manual {
    /// Takes one sleeper off the list, if the clock has not woken it already.
    fn forget(&mut self, (until, waker): &(SystemTime, Waker)) {
        let same = |(at, other): &(SystemTime, Waker)| at == until && other.will_wake(waker);
        if let Some(at) = self.sleepers.iter().position(same) {
            self.sleepers.swap_remove(at);
        }
    }
}

impl ManualClock {
    /// A clock that shows `now`.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use watermill_core::clock::{Clock, ManualClock};
    /// assert_eq!(ManualClock::new(SystemTime::UNIX_EPOCH).now(), SystemTime::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self { state: Arc::new(Mutex::new(Manual { now, sleepers: Vec::new() })) }
    }

    /// Moves the time on, and wakes who has slept long enough.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use watermill_core::clock::{Clock, ManualClock};
    /// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    /// let shared = clock.clone();
    /// shared.advance(Duration::from_secs(1));
    /// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    /// ```
    pub fn advance(&self, by: Duration) {
        let mut state = lock(&self.state);
        state.now += by;
        let now = state.now;
        for (_, waker) in state.sleepers.extract_if(.., |(until, _)| *until <= now) {
            waker.wake();
        }
    }

    /// The earliest time that somebody sleeps until: where a simulation moves the clock to when nothing else happens.
    ///
    /// ```
    /// # use std::time::{Duration, SystemTime};
    /// # use watermill_core::clock::{Clock, ManualClock};
    /// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
    /// // Nobody sleeps.
    /// assert_eq!(clock.next_wake(), None);
    /// ```
    #[must_use]
    pub fn next_wake(&self) -> Option<SystemTime> {
        lock(&self.state).sleepers.iter().map(|(until, _)| *until).min()
    }
}

impl Clone for ManualClock {
    /// The same clock: moving one moves the other.
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        lock(&self.state).now
    }

    fn sleep_until(&self, until: SystemTime) -> BoxFuture<'static, ()> {
        let state = Arc::clone(&self.state);
        let mut sleeper = Sleeper { state, registered: None };
        Box::pin(std::future::poll_fn(move |context| {
            let mut state = lock(&sleeper.state);
            if let Some(registered) = sleeper.registered.take() {
                state.forget(&registered);
            }
            if state.now >= until {
                return Poll::Ready(());
            }
            state.sleepers.push((until, context.waker().clone()));
            drop(state);
            sleeper.registered = Some((until, context.waker().clone()));
            Poll::Pending
        }))
    }
}

/// A sleep under way; it leaves no waker behind.
struct Sleeper {
    state: Arc<Mutex<Manual>>,
    registered: Option<(SystemTime, Waker)>,
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(registered) = self.registered.take() {
            lock(&self.state).forget(&registered);
        }
    }
}

fn lock(state: &Mutex<Manual>) -> MutexGuard<'_, Manual> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
