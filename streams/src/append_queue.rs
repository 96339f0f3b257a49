//! Appends of many threads: whoever comes while a commit is under way is part of the next one, so that threads share what a commit costs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::oneshot::{self, Receiver, Sender};

use crate::error::StreamsError;
use crate::ledger;
use crate::store::{Append, Texts, writing};
use crate::streams::Inner;

/// The shortest time between two looks for messages that are too old, in milliseconds.
const LOOK_EVERY: u64 = 1000;

/// What is to be appended.
pub(crate) struct Request {
    pub(crate) stream: u64,
    pub(crate) name: Arc<str>,
    pub(crate) texts: Arc<Texts>,
}

/// The numbers that messages were given, where they were, as soon as they are durable.
pub(crate) type Answer = Result<Option<Range<u64>>, StreamsError>;

#[derive(Default)]
pub(crate) struct AppendQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Request, Sender<Answer>)>,
    /// Somebody commits.
    committing: bool,
    /// A thread appends for those who do not wait themselves.
    has_thread: bool,
    closed: bool,
    /// When messages of a stream were last looked at for their age.
    looked: HashMap<u64, i64>,
}

impl AppendQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends, and waits until that is durable.
    pub(crate) fn append(&self, inner: &Inner, request: Request) -> Answer {
        let (reply, mut answer) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push((request, reply));
        loop {
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(gone()),
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            if state.committing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(state);
                self.commit(inner);
                state = self.state();
            }
        }
    }

    /// Appends without waiting: the answer comes when it is durable.
    pub(crate) fn send(&self, inner: &Arc<Inner>, request: Request) -> Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push((request, reply));
        if !state.has_thread {
            let weak = Arc::downgrade(inner);
            let thread =
                std::thread::Builder::new().name("watermill-append".to_owned()).spawn(move || serve(&weak));
            state.has_thread = thread.is_ok();
        }
        let alone = !state.has_thread;
        drop(state);
        self.changed.notify_all();
        if alone {
            // Without a thread it is done here.
            self.commit(inner);
        }
        answer
    }

    /// Commits all that waits, unless somebody does already.
    fn commit(&self, inner: &Inner) {
        let batch = {
            let mut state = self.state();
            if state.committing || state.waiting.is_empty() {
                return;
            }
            state.committing = true;
            std::mem::take(&mut state.waiting)
        };
        let over = Over(self);
        let answers = self.write(inner, &batch);
        for ((_, reply), answer) in batch.into_iter().zip(answers) {
            // Who does not listen any more has its messages all the same.
            let _ = reply.send(answer);
        }
        drop(over);
        inner.hub.tell();
    }

    fn write(&self, inner: &Inner, batch: &[(Request, Sender<Answer>)]) -> Vec<Answer> {
        let now = inner.now();
        if let Some(answers) = self.append_plainly(inner, batch, now) {
            return answers;
        }
        let written = writing(&*inner.store, true, |rows| {
            let mut answers = Vec::with_capacity(batch.len());
            for (request, _) in batch {
                let Some(mut stream) = rows.stream(request.stream)? else {
                    answers.push(Err(inner.missing(&request.name)));
                    continue;
                };
                match ledger::append(rows, &mut stream, &request.texts, now) {
                    Err(error @ StreamsError::Closed { .. }) => answers.push(Err(error)),
                    appended => answers.push(Ok(appended?)),
                }
                if let Some(max_age) = stream.max_age
                    && self.is_due(request.stream, max_age, now)
                {
                    ledger::sweep::old(rows, &mut stream, now)?;
                }
            }
            Ok(answers)
        });
        match written {
            Ok(answers) => answers,
            Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Appends without a transaction, where the store can.
    fn append_plainly(
        &self,
        inner: &Inner,
        batch: &[(Request, Sender<Answer>)],
        now: i64,
    ) -> Option<Vec<Answer>> {
        let requests = batch.iter().map(|(request, _)| request);
        let appends: Vec<Append<'_>> =
            requests.map(|Request { stream, name, texts }| Append { stream: *stream, name, texts }).collect();
        let answers = inner.store.append(now, &appends)?;
        for (append, answer) in appends.iter().zip(&answers) {
            if let Ok(Some(max_age)) = answer
                && self.is_due(append.stream, *max_age, now)
            {
                let swept = inner.writing(|rows| match rows.stream(append.stream)? {
                    Some(mut stream) => ledger::sweep::old(rows, &mut stream, now),
                    None => Ok(0),
                });
                if let Err(error) = swept {
                    // The messages are there; those that are too old leave another time.
                    tracing::warn!(target: "watermill", stream = append.name, error = &error as &dyn std::error::Error, "messages that are too old could not be removed");
                }
            }
        }
        Some(answers.into_iter().map(|answer| answer.map(|_| None)).collect())
    }

    /// Whether messages are to be looked at for their age again.
    fn is_due(&self, stream: u64, max_age: u64, now: i64) -> bool {
        let every = (max_age / 8).max(LOOK_EVERY);
        let mut state = self.state();
        let last = state.looked.entry(stream).or_insert(i64::MIN);
        // The clock may have been set back.
        let due = last.saturating_add_unsigned(every) <= now || *last > now;
        if due {
            *last = now;
        }
        due
    }

    /// Lets go of the thread.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

/// A commit is over, however it has ended.
struct Over<'a>(&'a AppendQueue);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.state().committing = false;
        self.0.changed.notify_all();
    }
}

/// Appends for those who do not wait themselves, as long as the streams are there.
fn serve(weak: &Weak<Inner>) {
    loop {
        let Some(inner) = weak.upgrade() else { return };
        let queue = &inner.queue;
        let mut state = queue.state();
        if state.closed {
            return;
        }
        if state.committing || state.waiting.is_empty() {
            // Not for long: who waits here keeps the streams from being let go of.
            let most = std::time::Duration::from_millis(50);
            state = queue.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        queue.commit(&inner);
    }
}

#[cold]
fn gone() -> StreamsError {
    StreamsError::storage("the store", "append", "the thread that was to do it has panicked")
}
