//! What becomes of a batch: its records are let in, up to the first bad one or without the bad ones.

use super::keyed::{Unwound, catching};
use super::keyless::Keyless;
use super::node::Node;
use crate::broker::{Batch, Fault, InputEnd, LastRecord, Places, Position};
use crate::error::{BadCause, BadRecord, RecordPlace, RunError};
use crate::policy::OnBad;
use crate::record::StreamRecord;

impl<R: StreamRecord> Node<R> {
    /// The first record of `records` that breaks a rule of any role, or whose key panics; which of them have no key, is added to `keyless`.
    pub(super) fn first_bad(&self, records: &[R], keyless: &mut Keyless) -> Option<(usize, Flaw)> {
        let mut first: Option<(usize, Flaw)> = None;
        for (role, check) in self.checks.iter().enumerate() {
            let records = &records[..first.as_ref().map_or(records.len(), |(index, _)| *index)];
            match catching(|| check.first_bad(records, &mut |index| keyless.add(role, index))) {
                Ok(None) => {}
                Ok(Some((index, cause))) => first = Some((index, Flaw::Breaks { role, cause })),
                Err(unwound) => first = Some(panicked(unwound, records)),
            }
        }
        first
    }

    /// Tells the checks that these records are let in; the one whose key panics now, though it did not before.
    pub(super) fn accept(&mut self, records: &[R]) -> Result<(), (usize, Flaw)> {
        for check in &mut self.checks {
            catching(|| check.accept(records)).map_err(|unwound| panicked(unwound, records))?;
        }
        Ok(())
    }

    /// Puts a batch on the tape, up to the first bad record or without the bad ones, as the policy says.
    pub(super) fn admit(&mut self, mut batch: Batch<R>) {
        if let Some(before) = &mut self.before {
            let passed = before.pass_over(&mut batch);
            for (last, place) in passed.lasts {
                self.passed_last(&last, place);
            }
            if self.fault.is_some() {
                return;
            }
            if !passed.done {
                // The stream still goes on where it was left: the tail of a batch before that must not be committed.
                return self.end_with(batch.end);
            }
            self.pass_done();
        }
        let Batch { records, places, faults, end, mut bytes, .. } = batch;
        bytes += places.raw_bytes();
        if self.on_bad == OnBad::DeadLetter {
            self.letters.begin_part(places.part());
        }
        let mut keyless = Keyless::default();
        let bad = self.first_bad(&records, &mut keyless);
        if faults.is_empty() && bad.is_none() {
            match self.accept(&records) {
                Ok(()) => {
                    let tail = places.tail();
                    self.push(records, places, Told { numbers: None, keyless }, bytes, tail);
                }
                Err((index, flaw)) => {
                    self.fault = Some(self.error(flaw, places.place(index), &records[index]));
                }
            }
        } else {
            self.admit_slowly(records, places, faults, bytes, bad);
        }
        if self.fault.is_none() {
            self.end_with(end);
        }
    }

    pub(super) fn end_with(&mut self, end: Option<InputEnd>) {
        if end == Some(InputEnd::Paused) {
            self.paused = true;
        } else if let Some(end) = end {
            self.marked = end == InputEnd::Mark;
            self.tape.set_ended(end);
        }
    }

    pub(super) fn push(&mut self, records: Vec<R>, places: Places, told: Told, bytes: u64, tail: Position) {
        self.read += records.len() as u64;
        self.tape.push(records, places, told, bytes, tail);
    }

    /// Record by record: only batches with something bad in them come here. `bad` is the first one that was found.
    fn admit_slowly(
        &mut self,
        records: Vec<R>,
        all: Places,
        faults: Vec<Fault>,
        bytes: u64,
        bad: Option<(usize, Flaw)>,
    ) {
        // Its key need not panic a second time.
        let mut panics = bad.filter(|(_, flaw)| matches!(flaw, Flaw::Panicked(_)));
        let mut kept = Vec::with_capacity(records.len());
        let mut indexes = Vec::with_capacity(records.len());
        let mut numbers = Vec::with_capacity(records.len());
        let mut keyless = Keyless::default();
        // How many faults stand before the record at hand.
        let mut passed = 0;
        let mut faults = faults.into_iter().peekable();
        let count = records.len();
        let mut stopped_at = None;
        let mut records = records.into_iter().enumerate();
        for index in 0..=count {
            while let Some(fault) = faults.next_if(|fault| fault.before <= index) {
                if fault.recoverable && self.leave_out(&fault.error, &fault.raw, fault.cut) {
                    passed += 1;
                } else {
                    stopped_at = Some((fault.error.place.offset, all.first_number + index as u64 + passed));
                    self.fault = Some(fault.error.into());
                    break;
                }
            }
            if self.fault.is_some() {
                break;
            }
            let Some((_, record)) = records.next() else { break };
            let number = all.first_number + index as u64 + passed;
            let alone = std::slice::from_ref(&record);
            let panics = panics.take_if(|(at, _)| *at == index);
            let mut lacks = Keyless::default();
            let flaw =
                panics.or_else(|| self.first_bad(alone, &mut lacks)).or_else(|| self.accept(alone).err());
            if let Some((_, flaw)) = flaw {
                let place = RecordPlace { number, ..all.place(index) };
                let offset = place.offset;
                match self.error(flaw, place, &record) {
                    RunError::BadRecord(error)
                        if self.leave_out(&error, all.raw(index).unwrap_or_default(), false) =>
                    {
                        continue;
                    }
                    error => self.fault = Some(error),
                }
                stopped_at = Some((offset, number));
                break;
            }
            for role in lacks.roles(0) {
                keyless.add(role, kept.len());
            }
            kept.push(record);
            indexes.push(index);
            numbers.push(number);
        }
        let mut places = all.pick(&indexes);
        let (next, number) = stopped_at.unwrap_or((all.next, all.first_number + count as u64 + passed));
        places.next = next;
        let tail = Position { number, ..places.tail() };
        self.push(kept, places, Told { numbers: Some(numbers), keyless }, bytes, tail);
    }

    /// One of the last records that an earlier run has let in was read again: the next ones are compared with it.
    pub(super) fn passed_last(&mut self, record: &R, place: RecordPlace) {
        let alone = std::slice::from_ref(record);
        if let Err((_, flaw)) = self.accept(alone) {
            self.fault = Some(self.error(flaw, place, record));
            return;
        }
        let mut lacks = Keyless::default();
        // It was good when it was let in.
        drop(self.first_bad(alone, &mut lacks));
        let part = place.origin.part().to_owned();
        // What finds it again has not changed.
        let token = self.before.as_ref().and_then(|before| before.token_of(&part, place.offset));
        let last = LastRecord { part, offset: place.offset, number: place.number, token };
        self.tape.read_again(last, lacks.roles(0).collect());
    }

    /// All that an earlier run has finished was passed.
    pub(super) fn pass_done(&mut self) {
        self.before = None;
        self.tape.all_read_again();
    }

    /// What is told of a record that has this flaw.
    #[cold]
    pub(super) fn error(&self, flaw: Flaw, place: RecordPlace, record: &R) -> RunError {
        let stream = self.stream.to_string();
        match flaw {
            Flaw::Breaks { role, cause } => {
                let text = self.checks.get(role).and_then(|check| catching(|| check.text(record)).ok());
                RunError::from(Box::new(BadRecord { stream, place, key: text, excerpt: None, cause }))
            }
            Flaw::Panicked(unwound) => unwound.into_error(Some((stream, place))),
        }
    }

    /// Leaves a bad record out, if the policy says so; `cut` where `raw` is only its beginning.
    pub(super) fn leave_out(&mut self, error: &BadRecord, raw: &[u8], cut: bool) -> bool {
        if self.on_bad != OnBad::Fail {
            self.late += u64::from(matches!(error.cause, BadCause::Late { .. }));
        }
        let what = match self.on_bad {
            OnBad::Fail => return false,
            OnBad::Skip => {
                self.skipped += 1;
                "bad record skipped"
            }
            OnBad::DeadLetter => {
                self.letters.put(error, raw, cut);
                "bad record put aside"
            }
        };
        let error: &dyn std::error::Error = error;
        tracing::warn!(target: "watermill", stream = %self.stream, error, "{what}");
        true
    }
}

/// What is known of the records of a batch that are put on the tape.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Their numbers, where bad ones stand between them.
    pub(super) numbers: Option<Vec<u64>>,
    pub(super) keyless: Keyless,
}

/// Why a record is not let in.
pub(super) enum Flaw {
    /// It breaks the rule of this role.
    Breaks { role: usize, cause: BadCause },
    /// Its key panics.
    Panicked(Unwound),
}

/// The record of `records` whose key panicked. A panic of anything else is not for us.
#[cold]
pub(super) fn panicked<R>(unwound: Unwound, records: &[R]) -> (usize, Flaw) {
    match unwound.index_in(records) {
        Some(index) => (index, Flaw::Panicked(unwound)),
        None => unwound.resume(),
    }
}
