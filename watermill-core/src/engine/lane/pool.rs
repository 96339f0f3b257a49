//! The threads that make calls for a lane.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use tokio::runtime::Handle;

use super::meter::{Stopwatch, Took};
use crate::clock::Clock;
use crate::error::RunError;
use crate::function::{CallResult, Called, Stage};

/// A call to be made.
struct Job {
    call: u64,
    attempt: u32,
    stage: Box<dyn Stage + Send>,
}

/// What a worker tells the lane.
pub(super) enum Told {
    /// The call has begun on this worker; only told where calls have a time limit.
    Begun {
        call: u64,
        attempt: u32,
        worker: usize,
    },
    Done {
        call: u64,
        attempt: u32,
        stage: Box<dyn Stage + Send>,
        result: CallResult,
        took: Took,
    },
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// With so many jobs left, the lane should bring more.
    few: usize,
}

struct Queue {
    jobs: VecDeque<Job>,
    /// What the lane has not heard yet.
    told: VecDeque<Told>,
    /// Wakes the lane.
    lane: Option<Waker>,
    /// How many workers wait for a job.
    idle: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` when there will be none.
    fn take(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.idle += 1;
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    /// Tells the lane something. It is woken at once only when it is `urgent`, or when the workers will soon have nothing to do: waking
    /// it for each call would cost more than many a call.
    fn tell(&self, told: Told, urgent: bool) {
        let mut queue = self.lock();
        queue.told.push_back(told);
        if (urgent || queue.jobs.len() <= self.few)
            && let Some(lane) = queue.lane.take()
        {
            drop(queue);
            lane.wake();
        }
    }
}

/// Threads that make calls, and the way back. How many jobs there are is bounded by the lane, which owns their stages.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    timed: bool,
    clock: Arc<dyn Clock>,
}

struct Worker {
    thread: JoinHandle<()>,
    /// It is not waited for any more, and ends with its call.
    given_up: Arc<AtomicBool>,
}

impl Pool {
    /// Starts `workers` threads for up to `room` calls, which tell of the beginning of each call when `timed`.
    pub(super) fn new(
        workers: usize,
        room: usize,
        timed: bool,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, RunError> {
        let queue = Queue {
            jobs: VecDeque::with_capacity(room),
            told: VecDeque::with_capacity(room),
            lane: None,
            idle: 0,
            closed: false,
        };
        let few = (room / 4).max(workers);
        let shared = Arc::new(Shared { queue: Mutex::new(queue), ready: Condvar::new(), few });
        let mut pool = Self { shared, workers: Vec::with_capacity(workers), timed, clock: Arc::clone(clock) };
        for _ in 0..workers {
            pool.start()?;
        }
        Ok(pool)
    }

    fn start(&mut self) -> Result<(), RunError> {
        let (shared, timed, clock) = (Arc::clone(&self.shared), self.timed, Arc::clone(&self.clock));
        let worker = self.workers.len();
        let given_up = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&given_up);
        // Functions may want to spawn on the runtime that the mill was started in.
        let runtime = Handle::try_current().ok();
        let work = move || {
            let _context = runtime.as_ref().map(Handle::enter);
            while let Some(Job { call, attempt, mut stage }) = shared.take() {
                if timed {
                    shared.tell(Told::Begun { call, attempt, worker }, true);
                }
                let watch = Stopwatch::start(&*clock);
                let result = match stage.call() {
                    Called::Done(result) => result,
                    Called::Pending(_) => Err("an async function was given to a worker thread".into()),
                };
                let took = watch.stop(&*clock);
                let urgent = timed || result.is_err();
                shared.tell(Told::Done { call, attempt, stage, result, took }, urgent);
                if gone.load(Ordering::Acquire) {
                    return;
                }
            }
        };
        let name = format!("watermill-worker-{worker}");
        let thread =
            std::thread::Builder::new().name(name).spawn(work).map_err(|cause| RunError::Runtime {
                what: "a worker thread could not be started".to_owned(),
                cause: Box::new(cause),
            })?;
        self.workers.push(Worker { thread, given_up });
        Ok(())
    }

    pub(super) fn submit(&self, call: u64, attempt: u32, stage: Box<dyn Stage + Send>) {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(Job { call, attempt, stage });
        if queue.idle > 0 {
            drop(queue);
            self.shared.ready.notify_one();
        }
    }

    /// What the workers have told already.
    pub(super) fn told(&self) -> Option<Told> {
        self.shared.lock().told.pop_front()
    }

    /// What the workers have to tell.
    pub(super) fn poll_told(&self, context: &Context<'_>) -> Poll<Told> {
        let mut queue = self.shared.lock();
        match queue.told.pop_front() {
            Some(told) => Poll::Ready(told),
            None => {
                queue.lane = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Waits no longer for this worker, and puts another in its place.
    pub(super) fn replace(&mut self, worker: usize) -> Result<(), RunError> {
        if let Some(worker) = self.workers.get(worker) {
            worker.given_up.store(true, Ordering::Release);
        }
        self.start()
    }
}

impl Drop for Pool {
    /// Ends the threads: calls under way are finished first, those that wait are not made.
    fn drop(&mut self) {
        {
            let mut queue = self.shared.lock();
            queue.closed = true;
            queue.jobs.clear();
        }
        self.shared.ready.notify_all();
        for worker in self.workers.drain(..) {
            if !worker.given_up.load(Ordering::Acquire) {
                // Calls guard themselves, so a worker does not panic.
                let _ = worker.thread.join();
            }
        }
    }
}
