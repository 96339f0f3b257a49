//! What must be committed for which position.

use crate::scenario::Scenario;
use crate::shape::{Expected, calls};
use crate::store::{Durable, Line};

/// What a call must leave behind.
#[derive(Debug)]
struct Call {
    expected: Expected,
    seen: Vec<Line>,
    notes: Vec<Line>,
    ends_notes: bool,
    /// It is given up.
    left_out: bool,
    ends: bool,
}

/// All that must come out.
#[derive(Debug)]
pub struct Model {
    calls: Vec<Call>,
}

/// The results of a call.
#[must_use]
pub fn seen(scenario: &Scenario, first: u32, ids: &[u32]) -> Vec<Line> {
    let copies = scenario.scripts[first as usize].results;
    (0..copies).map(|copy| ids.iter().copied().chain([copy]).collect()).collect()
}

/// The results of a call beside.
#[must_use]
pub fn notes(scenario: &Scenario, first: u32) -> Vec<Line> {
    if scenario.notes_end.is_some_and(|end| first >= end) {
        return Vec::new();
    }
    (0..scenario.scripts[first as usize].notes).map(|note| vec![first, note]).collect()
}

impl Model {
    /// What a scenario must lead to, whatever goes wrong.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let mut all = Vec::new();
        for expected in calls(&scenario.data, scenario.join, scenario.windows) {
            let first = expected.masters[0];
            let ends = scenario.end_at.is_some_and(|end| first >= end);
            // `Flow::End` leaves no result; an `Ack` has its own.
            let silent = ends && !scenario.with_last && !scenario.kind.acks();
            all.push(Call {
                seen: if silent { Vec::new() } else { seen(scenario, first, &expected.ids) },
                notes: notes(scenario, first),
                ends_notes: scenario.notes_end.is_some_and(|end| first >= end),
                left_out: scenario.scripts[first as usize].failures == u32::MAX,
                ends,
                expected,
            });
        }
        Self { calls: all }
    }

    /// What is wrong with what has been committed, if anything is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, durable: &Durable) -> Result<(), String> {
        let Some(checkpoint) = &durable.checkpoint else { return Ok(()) };
        let position = checkpoint.positions[0].next;
        let (mut seen, mut notes): (Vec<Line>, Vec<Line>) = (Vec::new(), Vec::new());
        let mut notes_ended = checkpoint.finished;
        for call in &self.calls {
            let masters = &call.expected.masters;
            if !checkpoint.finished {
                if u64::from(masters[0]) >= position {
                    break;
                }
                if masters.iter().any(|master| u64::from(*master) >= position) {
                    return Err(format!("the position {position} is within the window {masters:?}"));
                }
            }
            if call.left_out {
                continue;
            }
            seen.extend(call.seen.iter().cloned());
            notes.extend(call.notes.iter().cloned());
            notes_ended |= call.ends_notes;
            if call.ends {
                if !checkpoint.finished {
                    return Err(format!("the mill has ended at master {}, and goes on", masters[0]));
                }
                break;
            }
        }
        for (name, is, should) in [("Seen", &durable.lines[0], &seen), ("Note", &durable.lines[1], &notes)] {
            if is != should {
                return Err(format!(
                    "at master {position} (finished: {}) the results {name} are\n  {is:?}\ninstead of\n  {should:?}",
                    checkpoint.finished
                ));
            }
        }
        if checkpoint.ended_outputs != [checkpoint.finished, notes_ended] {
            return Err(format!(
                "at master {position} (finished: {}) the outputs have ended as {:?}; the second one has: {notes_ended}",
                checkpoint.finished, checkpoint.ended_outputs
            ));
        }
        Ok(())
    }
}
