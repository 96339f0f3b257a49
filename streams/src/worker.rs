//! A thread that talks to the store for a run, so that the run's own thread never waits for a disk.

use std::sync::mpsc::{Sender, channel};

use tokio::sync::oneshot;

use crate::error::StreamsError;

type Work = Box<dyn FnOnce() + Send>;

/// The thread. It ends with the last clone of this.
#[derive(Clone)]
pub(crate) struct Worker {
    send: Sender<Work>,
}

impl Worker {
    pub(crate) fn start() -> Result<Self, StreamsError> {
        let (send, receive) = channel::<Work>();
        let work = move || receive.into_iter().for_each(|work| work());
        let started = std::thread::Builder::new().name("watermill-streams".to_owned()).spawn(work);
        started.map_err(|cause| StreamsError::storage("the thread of a run", "start", cause))?;
        Ok(Self { send })
    }

    /// Has the thread do something. It is done even if nobody waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StreamsError> + Send + 'static,
    ) -> Result<T, StreamsError> {
        let gone = || StreamsError::storage("the thread of a run", "work", "it has panicked");
        let (reply, answer) = oneshot::channel();
        let work = move || {
            // Who does not listen any more has been stopped.
            let _ = reply.send(work());
        };
        self.send.send(Box::new(work)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
