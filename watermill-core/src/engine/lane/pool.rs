//! The threads that make calls for a lane.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

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
    },
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

struct Queue {
    jobs: VecDeque<Job>,
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
            queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Threads that make calls, and the way back. How many jobs there are is bounded by the lane, which owns their stages.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    tell: mpsc::UnboundedSender<Told>,
    told: mpsc::UnboundedReceiver<Told>,
    timed: bool,
}

struct Worker {
    thread: JoinHandle<()>,
    /// It is not waited for any more, and ends with its call.
    given_up: Arc<AtomicBool>,
}

impl Pool {
    /// Starts `workers` threads, which tell of the beginning of each call when `timed`.
    pub(super) fn new(workers: usize, timed: bool) -> Result<Self, RunError> {
        let queue = Queue { jobs: VecDeque::new(), closed: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), ready: Condvar::new() });
        let (tell, told) = mpsc::unbounded_channel();
        let mut pool = Self { shared, workers: Vec::with_capacity(workers), tell, told, timed };
        for _ in 0..workers {
            pool.start()?;
        }
        Ok(pool)
    }

    fn start(&mut self) -> Result<(), RunError> {
        let (shared, tell, timed) = (Arc::clone(&self.shared), self.tell.clone(), self.timed);
        let worker = self.workers.len();
        let given_up = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&given_up);
        // Functions may want to spawn on the runtime that the mill was started in.
        let runtime = Handle::try_current().ok();
        let work = move || {
            let _context = runtime.as_ref().map(Handle::enter);
            while let Some(Job { call, attempt, mut stage }) = shared.take() {
                if timed {
                    let _ = tell.send(Told::Begun { call, attempt, worker });
                }
                let result = match stage.call() {
                    Called::Done(result) => result,
                    Called::Pending(_) => Err("an async function was given to a worker thread".into()),
                };
                // When the lane is gone, nobody wants it.
                let sent = tell.send(Told::Done { call, attempt, stage, result });
                if sent.is_err() || gone.load(Ordering::Acquire) {
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
        self.shared.lock().jobs.push_back(Job { call, attempt, stage });
        self.shared.ready.notify_one();
    }

    /// What the workers have to tell.
    pub(super) fn told(&mut self) -> &mut mpsc::UnboundedReceiver<Told> {
        &mut self.told
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
