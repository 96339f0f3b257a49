//! Commits: all outputs of a run become durable, together with the positions of its inputs, and get their names in the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use watermill_core::broker::{BoxFuture, Checkpoint, Committer, Position};
use watermill_core::error::BrokerError;

use crate::appended::{Appended, Piece};
use crate::deferred::{Deferred, Durability};
use crate::failure::{failure, path_failure};
use crate::fault::fault_point;
use crate::followed_input::FollowedInput;
use crate::location::InputFile;
use crate::output_text::Committed;
use crate::partial_file::PartialFile;
use crate::sink::{CommitStep, Writer};
use crate::state_file::{InputState, LaneRecord, OutputState, Seen, State, remove};

/// Commits the outputs of a run.
pub(crate) struct FileCommitter {
    pub(crate) outputs: Vec<CommittedOutput>,
    /// All inputs of the mill, in the order of its positions.
    pub(crate) inputs: Vec<KnownInput>,
    /// As [`Job::mill`](watermill_core::broker::Job::mill).
    pub(crate) mill: String,
    /// Where the state is recorded; `None` where the outputs cannot be taken up again.
    pub(crate) state: Option<PathBuf>,
    /// There is a state, of this run or of the one that it goes on with.
    pub(crate) recorded: bool,
    /// The last commit, while it is not durable.
    pub(crate) under_way: Option<Deferred>,
    pub(crate) mark_eos: bool,
    pub(crate) finished: bool,
    /// What each of several lanes has committed, where there are several.
    pub(crate) lanes: Vec<LaneRecord>,
}

/// One output as commits see it.
pub(crate) struct CommittedOutput {
    pub(crate) writer: Box<dyn Writer>,
    /// The hidden file, unless the output is written as it goes.
    pub(crate) partial: Option<PartialFile>,
}

impl CommittedOutput {
    fn appended(&self) -> Option<&Appended> {
        self.partial.as_ref()?.appended.as_ref()
    }
}

/// One input of the mill.
pub(crate) struct KnownInput {
    pub(crate) stream: String,
    /// Its files, when this broker reads it.
    pub(crate) files: Arc<[InputFile]>,
    /// For a file that is followed.
    pub(crate) followed: Option<Arc<FollowedInput>>,
}

impl KnownInput {
    /// What a restart has to know of this input.
    fn state(&self, position: &Position) -> Result<InputState, BrokerError> {
        if let Some(followed) = &self.followed {
            let (seen, followed) = followed.state(position)?.unzip();
            let before = Vec::new();
            return Ok(InputState {
                stream: self.stream.clone(),
                position: position.clone(),
                seen,
                followed,
                before,
            });
        }
        let file = self.files.iter().find(|file| file.is_called(&position.part)).or(self.files.first());
        let seen = match file.and_then(|file| file.path.as_deref().filter(|_| file.length.is_some())) {
            Some(path) => Some(look(path, position)?),
            None => None,
        };
        let before = self.before(&position.part);
        let position = position.clone();
        Ok(InputState { stream: self.stream.clone(), position, seen, followed: None, before })
    }

    /// The files that stand before `part` in the stream, with their lengths.
    pub(crate) fn before(&self, part: &str) -> Vec<(String, u64)> {
        let before = self.files.iter().take_while(|file| !part.is_empty() && !file.is_called(part));
        before.map(|file| (file.part().to_owned(), file.length.unwrap_or_default())).collect()
    }
}

fn look(path: &Path, position: &Position) -> Result<Seen, BrokerError> {
    Seen::of_input(path, position.next).map_err(|cause| path_failure("read", path, cause))
}

impl FileCommitter {
    pub(crate) async fn commit_all(&mut self, checkpoint: &Checkpoint) -> Result<(), BrokerError> {
        if self.finished {
            return Err(failure("commit", "the outputs", "the run is finished already"));
        }
        self.settle_last().await?;
        fault_point!("flush");
        let mut committed = Vec::with_capacity(self.outputs.len());
        let mut unsynced = Vec::new();
        let appends = self.outputs.iter().any(|output| output.appended().is_some());
        let later = !checkpoint.finished && self.can_be_late();
        for (index, output) in self.outputs.iter_mut().enumerate() {
            if index > 0 {
                fault_point!("between-flushes");
            }
            let ended = checkpoint.ended_outputs.get(index).copied().unwrap_or(false);
            let step = CommitStep { mark: self.mark_eos && ended, finish: checkpoint.finished, later };
            let (text, rest) = output.writer.commit(step).await?;
            committed.push(text);
            if let (Some(partial), Some(rest)) = (&output.partial, rest) {
                unsynced.push((partial.target().to_owned(), rest));
            }
        }
        tracing::debug!(target: "watermill", ?committed, finished = checkpoint.finished, "outputs committed");
        fault_point!("flushed");
        if let (true, Some(path)) = (later, self.state.clone()) {
            let state = self.state(checkpoint, &committed, &[])?;
            let durability = Durability { outputs: unsynced, state, path };
            self.under_way = Some(Deferred::start(durability)?);
            return Ok(());
        }
        // One rename is one step; everything else takes a state to be one.
        let mut pieces = Vec::with_capacity(self.outputs.len());
        for (output, committed) in self.outputs.iter().zip(&committed) {
            let piece = output.appended().map(|appended| appended.next_piece(committed.length));
            pieces.push(piece.transpose()?);
        }
        if !checkpoint.finished || self.recorded || self.outputs.len() > 1 || appends {
            self.record(checkpoint, &committed, &pieces)?;
        }
        for ((output, committed), piece) in self.outputs.iter_mut().zip(&committed).zip(pieces) {
            let appended = output.partial.as_mut().and_then(|partial| partial.appended.as_mut());
            if let (Some(appended), Some(piece)) = (appended, piece)
                && committed.length > 0
            {
                appended.append(piece, committed.length, 0)?;
            }
        }
        if checkpoint.finished {
            // Nothing gets its name before everything is complete.
            for partial in self.outputs.iter_mut().filter_map(|output| output.partial.as_mut()) {
                fault_point!("publish");
                partial.publish()?;
                fault_point!("published");
            }
            self.finished = true;
            // What was appended would be appended once more by a run that does not know of this one.
            if self.recorded
                && !appends
                && let Some(state) = &self.state
            {
                fault_point!("remove-state");
                remove(state)?;
                fault_point!("state-removed");
            }
        }
        Ok(())
    }

    /// What a restart has to know of the inputs at `positions`.
    pub(crate) fn input_states(&self, positions: &[Position]) -> Result<Vec<InputState>, BrokerError> {
        self.inputs.iter().zip(positions).map(|(input, position)| input.state(position)).collect()
    }

    fn record(
        &mut self,
        checkpoint: &Checkpoint,
        committed: &[Committed],
        pieces: &[Option<Piece>],
    ) -> Result<(), BrokerError> {
        let Some(path) = &self.state else { return Ok(()) };
        self.state(checkpoint, committed, pieces)?.store(path)?;
        self.recorded = true;
        Ok(())
    }

    /// What a restart has to know.
    fn state(
        &self,
        checkpoint: &Checkpoint,
        committed: &[Committed],
        pieces: &[Option<Piece>],
    ) -> Result<State, BrokerError> {
        let inputs = self.input_states(&checkpoint.positions)?;
        let outputs =
            self.outputs.iter().zip(committed).enumerate().filter_map(|(index, (output, committed))| {
                let name = output.partial.as_ref()?.target().file_name()?.to_string_lossy().into_owned();
                let Committed { length, elements, marked } = *committed;
                let ended = checkpoint.ended_outputs.get(index).copied().unwrap_or(false);
                let piece = pieces.get(index).copied().flatten();
                Some(OutputState { name, length, elements, ended, marked, piece })
            });
        let mut state = State::new(checkpoint.finished, self.mill.clone(), inputs, outputs.collect());
        state.window = checkpoint.window.clone();
        state.lanes.clone_from(&self.lanes);
        Ok(state)
    }

    /// Whether a commit may become durable behind the back of the run. Not where somebody waits for what was appended, and not that of a lane.
    fn can_be_late(&self) -> bool {
        self.state.is_some()
            && self.lanes.is_empty()
            && self.outputs.iter().all(|output| output.partial.is_some() && output.appended().is_none())
    }

    /// Waits until the last commit is durable.
    async fn settle_last(&mut self) -> Result<(), BrokerError> {
        if let Some(under_way) = self.under_way.take() {
            under_way.wait().await?;
            self.recorded = true;
        }
        Ok(())
    }
}

impl Committer for FileCommitter {
    fn commit<'a>(&'a mut self, checkpoint: &'a Checkpoint) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.commit_all(checkpoint))
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(self.settle_last())
    }

    fn abort(&mut self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let mut result = self.settle_last().await;
            for output in &mut self.outputs {
                output.writer.stop().await;
            }
            for partial in self.outputs.iter_mut().filter_map(|output| output.partial.as_mut()) {
                if self.recorded {
                    partial.keep();
                } else {
                    // All of them are tried; the first failure is told.
                    result = result.and(partial.discard());
                }
            }
            result
        })
    }
}

impl Drop for FileCommitter {
    fn drop(&mut self) {
        // Whether it became durable is for the next run to find out.
        self.recorded |= self.under_way.take().is_some();
        // What was committed stays for the run that goes on with it.
        if self.recorded && !self.finished {
            for partial in self.outputs.iter_mut().filter_map(|output| output.partial.as_mut()) {
                partial.keep();
            }
        }
    }
}
