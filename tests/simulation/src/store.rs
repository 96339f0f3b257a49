//! What outlives a crash.

use std::sync::Mutex;

use watermill::broker::Checkpoint;

use crate::lock;

/// A committed result, whatever its type.
pub type Line = Vec<u32>;

/// What has been committed so far.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    /// The results of each output, in the order in which the outputs were declared.
    pub lines: Vec<Vec<Line>>,
    /// What the last commit recorded.
    pub checkpoint: Option<Checkpoint>,
    /// How many commits there were.
    pub commits: u64,
}

/// Says what is wrong with a commit, if anything is.
pub type Judge = dyn Fn(&Durable) -> Result<(), String> + Send + Sync;

/// The durable part of a simulated storage.
pub struct Store {
    state: Mutex<State>,
    judge: Box<Judge>,
}

#[derive(Default)]
struct State {
    durable: Durable,
    /// The owner of the lane; what an earlier one commits is refused.
    epoch: u64,
    violation: Option<String>,
    trace: Vec<String>,
    committing: bool,
}

impl Store {
    /// An empty store of so many outputs. Every commit is judged.
    pub fn new(
        outputs: usize,
        judge: impl Fn(&Durable) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let durable = Durable { lines: vec![Vec::new(); outputs], ..Durable::default() };
        Self { state: Mutex::new(State { durable, ..State::default() }), judge: Box::new(judge) }
    }

    /// A new owner; earlier ones can commit nothing any more.
    pub fn revoke(&self) -> u64 {
        let mut state = lock(&self.state);
        state.epoch += 1;
        state.epoch
    }

    /// Whether `epoch` is still the owner.
    #[must_use]
    pub fn owned_by(&self, epoch: u64) -> bool {
        lock(&self.state).epoch == epoch
    }

    /// Makes results and a checkpoint durable in one step.
    pub fn commit(&self, written: &mut [Vec<Line>], checkpoint: &Checkpoint) {
        let mut state = lock(&self.state);
        let before = state.durable.clone();
        for (lines, more) in state.durable.lines.iter_mut().zip(written) {
            lines.append(more);
        }
        state.durable.checkpoint = Some(checkpoint.clone());
        state.durable.commits += 1;
        let judged = follows(&before, &state.durable).and_then(|()| (self.judge)(&state.durable));
        if let Err(violation) = judged {
            state.violation.get_or_insert(violation);
        }
    }

    /// A commit has begun, or is over.
    pub fn committing(&self, begun: bool) {
        lock(&self.state).committing = begun;
    }

    /// How many commits there may be when none is begun any more.
    #[must_use]
    pub fn begun(&self) -> u64 {
        let state = lock(&self.state);
        state.durable.commits + u64::from(state.committing)
    }

    /// What has been committed.
    #[must_use]
    pub fn durable(&self) -> Durable {
        lock(&self.state).durable.clone()
    }

    /// The first commit that was wrong, and why.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        lock(&self.state).violation.clone()
    }

    /// Something else that is wrong.
    pub fn complain(&self, violation: String) {
        lock(&self.state).violation.get_or_insert(violation);
    }

    /// Adds a line to what is printed of a failing seed.
    pub fn log(&self, line: impl FnOnce() -> String) {
        lock(&self.state).trace.push(line());
    }

    /// All that has happened.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        lock(&self.state).trace.clone()
    }
}

/// Positions never go back, an output ends once, and nothing follows its end.
fn follows(before: &Durable, after: &Durable) -> Result<(), String> {
    let (Some(old), Some(new)) = (&before.checkpoint, &after.checkpoint) else { return Ok(()) };
    if old.finished {
        return Err("a commit behind the last one".to_owned());
    }
    for (input, (old, new)) in old.positions.iter().zip(&new.positions).enumerate() {
        // Without a mark at its end, a stream may go on later.
        if new.next < old.next || (old.marked && !new.marked) {
            return Err(format!("input {input} goes back, from {old:?} to {new:?}"));
        }
    }
    for (output, (old, new)) in old.ended_outputs.iter().zip(&new.ended_outputs).enumerate() {
        if *old && !*new {
            return Err(format!("output {output} has ended, and goes on"));
        }
        if *old && before.lines[output] != after.lines[output] {
            return Err(format!("output {output} was written to behind its end"));
        }
    }
    Ok(())
}
