//! Commits: all outputs of a run become durable, and get their names, in one step.

use watermill_core::broker::{BoxFuture, Checkpoint, Committer};
use watermill_core::error::BrokerError;

use crate::failure::failure;
use crate::partial_file::PartialFile;
use crate::sink::{CommitStep, Writer};

/// Commits the outputs of a run.
pub(crate) struct FileCommitter {
    outputs: Vec<CommittedOutput>,
    mark_eos: bool,
    finished: bool,
}

/// One output as commits see it.
pub(crate) struct CommittedOutput {
    pub(crate) writer: Box<dyn Writer>,
    /// The hidden file, unless the output is written as it goes.
    pub(crate) partial: Option<PartialFile>,
    /// How long the file was at the last commit: what a state file records, and a restart cuts it back to.
    pub(crate) committed: u64,
}

impl FileCommitter {
    pub(crate) fn new(outputs: Vec<CommittedOutput>, mark_eos: bool) -> Self {
        Self { outputs, mark_eos, finished: false }
    }

    async fn commit_all(&mut self, checkpoint: &Checkpoint) -> Result<(), BrokerError> {
        if self.finished {
            return Err(failure("commit", "the outputs", "the run is finished already"));
        }
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let ended = checkpoint.ended_outputs.get(index).copied().unwrap_or(false);
            let step = CommitStep { mark: self.mark_eos && ended, finish: checkpoint.finished };
            output.committed = output.writer.commit(step).await?;
        }
        if checkpoint.finished {
            // Nothing gets its name before everything is complete.
            for partial in self.outputs.iter_mut().filter_map(|output| output.partial.as_mut()) {
                partial.publish()?;
            }
            self.finished = true;
        }
        let lengths: Vec<u64> = self.outputs.iter().map(|output| output.committed).collect();
        tracing::debug!(target: "watermill", ?lengths, finished = checkpoint.finished, "outputs committed");
        Ok(())
    }
}

impl Committer for FileCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.commit_all(checkpoint))
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut result = Ok(());
            for partial in self.outputs.iter_mut().filter_map(|output| output.partial.as_mut()) {
                // All of them are tried; the first failure is told.
                result = result.and(partial.discard());
            }
            result
        })
    }
}
