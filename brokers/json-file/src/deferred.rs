//! Commits that become durable while the run goes on: the disk is waited for by a thread of its own.
//!
//! A commit of files is a sync of what was written and a new state file. The run has to wait for neither: what it writes from then on lies behind the
//! length in that state, and a restart cuts it off. So a commit only fixes what belongs to it, and the next one waits until it is durable; one at
//! most is under way, and they become durable in order.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use watermill_core::error::BrokerError;

use crate::failure::{failure, path_failure};
use crate::fault::fault_point;
use crate::state_file::State;

/// Where the first failure of a sync in the background waits: the system tells of one once.
pub(crate) type SyncFailure = Arc<Mutex<Option<io::Error>>>;

/// What was written to a file, and is not durable yet.
#[derive(Debug)]
pub(crate) struct Unsynced {
    pub(crate) file: File,
    pub(crate) failed: SyncFailure,
}

impl Unsynced {
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What makes a commit durable.
#[derive(Debug)]
pub(crate) struct Durability {
    /// The outputs, each with its path.
    pub(crate) outputs: Vec<(PathBuf, Unsynced)>,
    /// What is recorded, and where.
    pub(crate) state: State,
    pub(crate) path: PathBuf,
}

impl Durability {
    fn bring_about(self) -> Result<(), BrokerError> {
        for (path, output) in &self.outputs {
            output.sync().map_err(|cause| path_failure("write", path, cause))?;
        }
        fault_point!("synced");
        self.state.store(&self.path)
    }
}

/// A commit that becomes durable. Dropped, it is waited for: nobody may open the outputs while something of theirs is still written.
#[derive(Debug)]
pub(crate) struct Deferred {
    result: Option<oneshot::Receiver<Result<(), BrokerError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Deferred {
    pub(crate) fn start(durability: Durability) -> Result<Self, BrokerError> {
        let path = durability.path.clone();
        let (done, result) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("watermill-commit".to_owned())
            .spawn(move || {
                // Who asked may be gone.
                let _ = done.send(durability.bring_about());
            })
            .map_err(|cause| path_failure("commit", &path, cause))?;
        Ok(Self { result: Some(result), thread: Some(thread) })
    }

    /// Waits until the commit is durable.
    pub(crate) async fn wait(mut self) -> Result<(), BrokerError> {
        let Some(result) = self.result.take() else { return Ok(()) };
        result
            .await
            .unwrap_or_else(|_| Err(failure("commit", "the outputs", "the thread of the commit has died")))
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of it has been told by the result that never came.
            let _ = thread.join();
        }
    }
}
