//! What must be committed for which position.
//!
//! Mostly it is one thing. Where windows overlap, or can be empty, several calls may be made while the position stays: then it is what some number of calls gives. Where
//! time has a say (windows by arrival, joins that do not wait), it is what some division of the masters into windows gives, or some part of
//! each group.

use watermill::OnBad;
use watermill::broker::Checkpoint;

use crate::scenario::{Scenario, Then};
use crate::shape::{Expected, calls, matching};
use crate::store::{Durable, Line};

/// What a call must leave behind.
#[derive(Debug, Clone)]
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
    scenario: Scenario,
    calls: Vec<Call>,
}

/// What so many calls must have left.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    seen: Vec<Line>,
    notes: Vec<Line>,
    /// The masters of calls that were given up.
    given_up: Vec<u32>,
    notes_ended: bool,
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

impl Call {
    fn new(scenario: &Scenario, expected: Expected) -> Self {
        let first = expected.first();
        let ends = scenario.end_at.is_some_and(|end| first >= end);
        // `Flow::End` leaves no result; an `Ack` has its own.
        let silent = ends && !scenario.with_last && !scenario.kind.acks();
        Self {
            seen: if silent { Vec::new() } else { seen(scenario, first, &expected.ids) },
            notes: notes(scenario, first),
            ends_notes: scenario.notes_end.is_some_and(|end| first >= end),
            left_out: scenario.scripts[first as usize].failures == u32::MAX,
            ends,
            expected,
        }
    }
}

impl Outcome {
    /// After one more call; true when it ends the mill.
    fn add(&mut self, call: &Call, then: Then) -> bool {
        if call.left_out {
            if then == Then::DeadLetter {
                self.given_up.extend(&call.expected.masters);
            }
            return false;
        }
        self.seen.extend(call.seen.iter().cloned());
        self.notes.extend(call.notes.iter().cloned());
        self.notes_ended |= call.ends_notes;
        call.ends
    }
}

impl Model {
    /// What a scenario must lead to, whatever goes wrong.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let all = calls(&scenario.data, scenario.join, scenario.windows);
        let calls = all.into_iter().map(|expected| Call::new(scenario, expected)).collect();
        Self { scenario: scenario.clone(), calls }
    }

    /// What is wrong with what has been committed, if anything is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, durable: &Durable) -> Result<(), String> {
        let Some(checkpoint) = &durable.checkpoint else { return Ok(()) };
        let given_up = self.judge_letters(durable, checkpoint)?;
        let found = Outcome {
            seen: durable.lines[0].clone(),
            notes: durable.lines[1].clone(),
            given_up,
            notes_ended: checkpoint.ended_outputs[1],
        };
        if checkpoint.ended_outputs[0] != checkpoint.finished {
            return Err(format!("the results have ended: {:?}", checkpoint.ended_outputs));
        }
        if checkpoint.ended_outputs.get(2).is_some_and(|ended| *ended != checkpoint.finished) {
            return Err(format!("the letters have ended: {:?}", checkpoint.ended_outputs));
        }
        let position = checkpoint.positions[0].next;
        let scenario = &self.scenario;
        let mut expected = if scenario.windows.by_arrival() {
            self.as_divided(position, checkpoint.finished, &found.seen)?
        } else if scenario.on_idle.is_some() {
            self.as_parted(position, checkpoint.finished, &found.seen)?
        } else if scenario.windows.has_state() {
            return self.judge_some(position, checkpoint.finished, found);
        } else {
            self.exactly(position, checkpoint.finished)?
        };
        expected.notes_ended |= checkpoint.finished;
        if found == expected {
            return Ok(());
        }
        let finished = checkpoint.finished;
        Err(format!(
            "at master {position} (finished: {finished}) there is\n  {found:?}\ninstead of\n  {expected:?}"
        ))
    }

    /// What must be there at this position.
    fn exactly(&self, position: u64, finished: bool) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        for call in &self.calls {
            let masters = &call.expected.masters;
            if !finished {
                if u64::from(masters[0]) >= position {
                    break;
                }
                if masters.iter().any(|master| u64::from(*master) >= position) {
                    return Err(format!("the position {position} is within the window {masters:?}"));
                }
            }
            if outcome.add(call, self.scenario.then) {
                goes_on(finished, masters[0])?;
                break;
            }
        }
        Ok(outcome)
    }

    /// Whether it is what some number of calls gives, and the others can be made yet.
    fn judge_some(&self, position: u64, finished: bool, found: Outcome) -> Result<(), String> {
        let mut outcome = Outcome::default();
        let mut ended = false;
        for made in 0..=self.calls.len() {
            let left = if ended { &[] } else { &self.calls[made..] };
            let can_be_made = left
                .iter()
                .flat_map(|call| &call.expected.masters)
                .all(|master| u64::from(*master) >= position);
            let is_all = left.is_empty();
            if can_be_made && (is_all || !finished) {
                let notes_ended = outcome.notes_ended;
                outcome.notes_ended |= finished;
                if found == outcome {
                    return if ended { goes_on(finished, 0) } else { Ok(()) };
                }
                outcome.notes_ended = notes_ended;
            }
            match self.calls.get(made) {
                Some(call) if !ended => ended = outcome.add(call, self.scenario.then),
                _ => break,
            }
        }
        Err(format!(
            "at master {position} (finished: {finished}) there is\n  {found:?}\nwhich no number of these calls gives:\n  {:?}",
            self.calls.iter().map(|call| &call.expected).collect::<Vec<_>>()
        ))
    }

    /// What windows must have left whose masters are side by side, as the results say which.
    fn as_divided(&self, position: u64, finished: bool, seen: &[Line]) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let masters: Vec<u32> = self.scenario.data.good_a().map(|a| a.id).collect();
        let mut rest = masters.as_slice();
        while outcome.seen.len() < seen.len() {
            let line = &seen[outcome.seen.len()];
            let count = line.len() - 1;
            let Some(window) = rest.get(..count).filter(|window| **window == line[..count] && count > 0)
            else {
                return Err(format!("{line:?} are not the masters behind those before, {rest:?}"));
            };
            rest = &rest[count..];
            let expected = Expected { masters: window.to_vec(), ids: window.to_vec() };
            if outcome.add(&Call::new(&self.scenario, expected), self.scenario.then) {
                goes_on(finished, window[0])?;
                return Ok(outcome);
            }
        }
        match rest.first() {
            Some(next) if finished || u64::from(*next) < position => Err(format!("{next} is in no window")),
            _ if masters[..masters.len() - rest.len()]
                .last()
                .is_some_and(|last| u64::from(*last) >= position) =>
            {
                Err(format!("the position {position} is before the end of the last window"))
            }
            _ => Ok(outcome),
        }
    }

    /// What calls must have left that saw a part of what they match, as the results say which part.
    fn as_parted(&self, position: u64, finished: bool, seen: &[Line]) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let data = &self.scenario.data;
        for a in data.good_a().filter(|a| finished || u64::from(a.id) < position) {
            let mut expected = Expected { masters: vec![a.id], ids: vec![a.id] };
            if let Some(line) = seen.get(outcome.seen.len()).filter(|line| line[0] == a.id) {
                let part = &line[1..line.len() - 1];
                let mut all = matching(a, data, self.scenario.join).into_iter();
                if !part.iter().all(|id| all.any(|other| other == *id)) {
                    return Err(format!("{part:?} is no part of what {a:?} matches"));
                }
                expected.ids.extend(part);
            }
            if outcome.add(&Call::new(&self.scenario, expected), self.scenario.then) {
                goes_on(finished, a.id)?;
                break;
            }
        }
        Ok(outcome)
    }

    /// The letters of bad records are those before each position, once each; returns the masters of calls that were given up.
    fn judge_letters(&self, durable: &Durable, checkpoint: &Checkpoint) -> Result<Vec<u32>, String> {
        let lines = &durable.lines[2];
        let of = |stream: usize, kind: u32| -> Vec<u32> {
            lines
                .iter()
                .filter(|line| line[0] == stream as u32 && line[1] == kind)
                .map(|line| line[2])
                .collect()
        };
        let mut known = 0;
        for (stream, position) in checkpoint.positions.iter().enumerate() {
            let (bad, late) = (of(stream, 0), of(stream, 1));
            let wanted = self.scenario.on_bad == OnBad::DeadLetter;
            let expected: Vec<u32> = (0..self.scenario.data.bad[stream].len() as u32)
                .filter(|id| {
                    wanted && u64::from(*id) < position.next && self.scenario.data.bad[stream][*id as usize]
                })
                .collect();
            if bad != expected {
                return Err(format!(
                    "stream {stream} at {}: letters of {bad:?} instead of {expected:?}",
                    position.next
                ));
            }
            let may_be_late = wanted && self.scenario.on_idle.is_some() && stream == 1;
            let behind = late.iter().any(|id| u64::from(*id) >= position.next);
            if !late.is_sorted_by(|one, next| one < next) || behind || (!may_be_late && !late.is_empty()) {
                return Err(format!("stream {stream} at {}: late letters of {late:?}", position.next));
            }
            known += bad.len() + late.len();
        }
        let given_up = of(0, 2);
        if known + given_up.len() != lines.len() {
            return Err(format!("there are other letters: {lines:?}"));
        }
        Ok(given_up)
    }
}

fn goes_on(finished: bool, first: u32) -> Result<(), String> {
    if finished { Ok(()) } else { Err(format!("the mill has ended at master {first}, and goes on")) }
}
