//! Taking up where an earlier run stopped.

use std::path::{Path, PathBuf};

use watermill_core::broker::Checkpoint;
use watermill_core::error::BrokerError;

use crate::committer::KnownInput;
use crate::failure::{failure, path_failure};
use crate::fault::fault_point;
use crate::output_text::Committed;
use crate::partial_file::{PartialFile, hidden_beside};
use crate::state_file::{LaneRecord, OutputState, State, remove};

/// What an earlier run left.
pub(crate) struct Resumed {
    /// What of each output stays.
    pub(crate) outputs: Vec<Committed>,
    pub(crate) checkpoint: Checkpoint,
    /// For each of several lanes.
    pub(crate) lanes: Vec<LaneRecord>,
}

/// Where the state of these outputs is recorded; `None` when one of them cannot be cut back, or there are none.
pub(crate) fn state_path(outputs: &[Option<PartialFile>]) -> Option<PathBuf> {
    let mut targets = Vec::with_capacity(outputs.len());
    for partial in outputs {
        targets.push(partial.as_ref()?.target());
    }
    hidden_beside(targets.first()?, "state")
}

/// Finds what an earlier run has committed, and makes sure that it can be taken up. `letters` where the last output is that of dead letters.
pub(crate) fn take_up(
    path: &Path,
    mill: &str,
    inputs: &[KnownInput],
    outputs: &mut [Option<PartialFile>],
    letters: bool,
    start_over: bool,
    several_lanes: bool,
) -> Result<Option<Resumed>, BrokerError> {
    // Until it is known that there is no state, nothing in the outputs is ours to remove.
    let state = if start_over {
        // A line that is half appended would stay half.
        if let Ok(Some(state)) = State::load(path) {
            complete_appended(&state, outputs)?;
        }
        None
    } else {
        State::load(path)?
    };
    let Some(state) = state else {
        remove(path)?;
        outputs.iter_mut().flatten().for_each(PartialFile::own);
        return Ok(None);
    };
    let refused = |cause: String| {
        let cause = format!("{cause}; to begin again, use `start_over()` or remove `{}`", path.display());
        failure("go on from", format_args!("`{}`", path.display()), cause)
    };
    if state.lanes.is_empty() == several_lanes {
        let cause = "the number of lanes has changed since that run: the topic that it reads had another number of partitions, or it read something else";
        return Err(refused(cause.to_owned()));
    }
    let all_inputs = || {
        let lanes = state.lanes.iter().map(|lane| lane.inputs.as_slice());
        std::iter::once(state.inputs.as_slice()).filter(|_| !several_lanes).chain(lanes)
    };
    for own in all_inputs() {
        let streams: Vec<&str> = own.iter().map(|input| input.stream.as_str()).collect();
        if !streams.iter().copied().eq(inputs.iter().map(|input| input.stream.as_str())) {
            return Err(refused(format!("it was left by another mill, which reads {}", streams.join(", "))));
        }
    }
    let named =
        |partial: &PartialFile| partial.target().file_name().map(|name| name.to_string_lossy().into_owned());
    let names: Vec<_> = outputs.iter().flatten().map(named).collect();
    let recorded = state.outputs.iter().map(|output| Some(output.name.clone()));
    // A run that stopped at a bad record may be taken up with a place for such.
    let added = usize::from(letters && names.len() == state.outputs.len() + 1);
    if !recorded.eq(names[..names.len() - added].iter().cloned()) {
        return Err(refused("it was left by another mill, which writes other files".to_owned()));
    }
    if state.mill != mill {
        let cause = format!(
            "its joins or its window have changed since that run; it was `{}`, and is `{}`",
            state.mill.trim().replace('\n', " / "),
            mill.trim().replace('\n', " / ")
        );
        return Err(refused(cause));
    }
    let how = |output: &OutputState| output.piece.is_some();
    let now = outputs.iter().flatten().map(|partial| partial.appended.is_some()).take(state.outputs.len());
    if !now.eq(state.outputs.iter().map(how)) {
        return Err(refused(
            "it was left by a mill that wrote its outputs another way (`append()`)".to_owned(),
        ));
    }
    complete_appended(&state, outputs)?.map_or(Ok(()), |cause| Err(refused(cause)))?;
    if state.finished {
        check_finished(&state, outputs)?.map_or(Ok(()), |cause| Err(refused(cause)))?;
        return finish(path, &state, outputs).map(Some);
    }
    for (input, known) in all_inputs().flat_map(|own| own.iter().zip(inputs)) {
        if let Some(followed) = &known.followed {
            if !followed.take_up(input)? {
                return Err(refused(followed.lost()));
            }
            continue;
        }
        let Some(seen) = &input.seen else { continue };
        let part = &input.position.part;
        if !part.is_empty() && !known.files.iter().any(|file| file.is_called(part)) {
            return Err(refused(format!("the last run stopped in `{part}`, which is not there any more")));
        }
        // Files that were read may be cleared away, but what is still there must be what was read.
        if let Some((name, _)) = known.before(part).iter().find(|file| !input.before.contains(file)) {
            return Err(refused(format!(
                "the file `{name}` stands before `{part}` in the stream `{}`, and the run has not read it, or not as it is now",
                input.stream
            )));
        }
        let file =
            known.files.iter().find(|file| file.is_called(&input.position.part)).or(known.files.first());
        let Some(file) = file.and_then(|file| file.path.as_deref()) else { continue };
        let difference = seen.difference(file).map_err(|cause| path_failure("read", file, cause))?;
        if let Some(difference) = difference {
            return Err(refused(format!(
                "the input `{}` is not the one the run was reading: {difference}",
                file.display()
            )));
        }
    }
    for (output, partial) in state.outputs.iter().zip(outputs.iter().flatten()) {
        let length = partial.length()?;
        if length < output.length && output.piece.is_none() {
            return Err(refused(format!(
                "the hidden output of `{}` has {length} bytes, fewer than the {} that were committed",
                partial.target().display(),
                output.length
            )));
        }
    }
    tracing::info!(target: "watermill", state = %path.display(), "going on where an earlier run stopped");
    let mut resumed = resumed(&state);
    resumed.outputs.resize_with(names.len(), Committed::default);
    resumed.checkpoint.ended_outputs.resize(names.len(), false);
    Ok(Some(resumed))
}

fn resumed(state: &State) -> Resumed {
    let mut checkpoint = Checkpoint::default();
    checkpoint.finished = state.finished;
    checkpoint.positions = state.inputs.iter().map(|input| input.position.clone()).collect();
    checkpoint.ended_outputs = state.outputs.iter().map(|output| output.ended).collect();
    checkpoint.window = state.window.clone();
    let kept = |output: &OutputState| Committed {
        // What was appended is not in the hidden file any more.
        length: if output.piece.is_some() { 0 } else { output.length },
        elements: output.elements,
        marked: output.marked,
    };
    Resumed { outputs: state.outputs.iter().map(kept).collect(), checkpoint, lanes: state.lanes.clone() }
}

/// Appends what was committed and may not have been appended yet; returns why that cannot be.
fn complete_appended(
    state: &State,
    outputs: &mut [Option<PartialFile>],
) -> Result<Option<String>, BrokerError> {
    for (output, partial) in state.outputs.iter().zip(outputs.iter_mut().flatten()) {
        let same = partial.target().file_name().is_some_and(|name| name.to_string_lossy() == output.name);
        if let (true, Some(piece), Some(appended)) = (same, output.piece, partial.appended.as_mut())
            && let Some(cause) = appended.complete(piece, output.length)?
        {
            return Ok(Some(cause));
        }
    }
    Ok(None)
}

/// Why the outputs are not what a finished run has left, if they are not: each is complete, hidden or under its name.
fn check_finished(state: &State, outputs: &[Option<PartialFile>]) -> Result<Option<String>, BrokerError> {
    for (output, partial) in state.outputs.iter().zip(outputs.iter().flatten()) {
        if output.piece.is_some() {
            continue;
        }
        let length = partial.length()?;
        let published = || std::fs::metadata(partial.target()).is_ok_and(|meta| meta.len() == output.length);
        if length != output.length && (length > 0 || !published()) {
            return Ok(Some(format!(
                "the hidden output of `{}` has {length} bytes, not the {} of the complete one",
                partial.target().display(),
                output.length
            )));
        }
    }
    Ok(None)
}

/// The earlier run had written everything, but not given every file its name.
fn finish(path: &Path, state: &State, outputs: &mut [Option<PartialFile>]) -> Result<Resumed, BrokerError> {
    for (output, partial) in state.outputs.iter().zip(outputs.iter_mut().flatten()) {
        // Opening the hidden file has made an empty one, if it had its name already.
        if output.piece.is_none() && partial.length()? == output.length {
            fault_point!("publish");
            partial.publish()?;
            fault_point!("published");
        } else {
            partial.remove()?;
        }
    }
    if state.outputs.iter().all(|output| output.piece.is_none()) {
        fault_point!("remove-state");
        remove(path)?;
        fault_point!("state-removed");
    }
    Ok(resumed(state))
}
