//! Records that come slightly out of order, sorted back before their keys are checked.
//!
//! The last few records wait, in the order of their keys; whenever more than that have come, the first one of them is let in. So a
//! record is in its place if no more than so many that were before it in the storage have greater keys. Which record is let in
//! next depends on nothing but the records themselves: not on batches, and not on where a run was taken up, since what
//! was let in and finished before then has the lowest keys, and the same records wait without it.
//!
//! A position cannot be one offset then: a [`ReadLog`] knows which records behind the first unfinished one are finished.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use super::admit::{Flaw, Told, panicked};
use super::bookmark::Bookmark;
use super::keyed::catching;
use super::keyless::Keyless;
use super::node::Node;
use super::read_log::ReadLog;
use super::resume::Part;
use crate::broker::{Batch, Fault, Places, Position};
use crate::error::{RecordPlace, RunError};
use crate::policy::OnBad;
use crate::record::StreamRecord;

/// A record that was read and not let in.
struct Waiting<R> {
    record: R,
    places: Arc<Places>,
    index: usize,
    number: u64,
    /// As the log calls it.
    serial: u64,
    bytes: u64,
    /// In which roles it has no key.
    keyless: Keyless,
}

/// What sorts a stream.
pub(super) struct Reorder<R> {
    /// How many records wait.
    within: usize,
    /// Which of the checks says the order; without one, records are let in as they come.
    role: Option<usize>,
    /// In the order of their keys.
    waiting: VecDeque<Waiting<R>>,
    /// Let in, and not on the tape yet.
    ready: Vec<Waiting<R>>,
    pub(super) log: ReadLog,
}

impl<R> Reorder<R> {
    /// `None` for streams that are read as they come.
    pub(super) fn new(within: usize, role: Option<usize>, from: Option<&Position>) -> Option<Self> {
        if within == 0 && from.is_none_or(|from| from.finished.is_empty()) {
            return None;
        }
        Some(Self { within, role, waiting: VecDeque::new(), ready: Vec::new(), log: ReadLog::new(from) })
    }

    /// How many records wait.
    pub(super) fn held(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// How much memory they take, about.
    pub(super) fn bytes(&self) -> u64 {
        let of = |item: &Waiting<R>| item.bytes + size_of::<Waiting<R>>() as u64;
        self.waiting.iter().map(of).sum()
    }
}

impl<R: StreamRecord> Node<R> {
    /// Where a restart goes on; `bookmark` is what the tape alone says.
    pub(super) fn resumable(&self, at: u64, bookmark: Bookmark) -> Bookmark {
        match &self.reorder {
            Some(reorder) => {
                let sorted = Some(Arc::new(reorder.log.position(at, bookmark.position())));
                Bookmark { sorted, ..bookmark }
            }
            None => bookmark,
        }
    }

    /// Takes a batch in, and lets in what is in its place.
    pub(super) fn sort_in(&mut self, batch: Batch<R>) {
        if let Some(mut reorder) = self.reorder.take() {
            self.sort_in_with(&mut reorder, batch);
            self.reorder = Some(reorder);
        }
    }

    fn sort_in_with(&mut self, reorder: &mut Reorder<R>, batch: Batch<R>) {
        let Batch { records, places, faults, end, bytes, .. } = batch;
        let count = records.len() + faults.len();
        let each = (bytes + places.raw_bytes()) / (records.len().max(1) as u64);
        let part = self.before.as_mut().map_or(Part::Beyond, |before| before.begin_part(places.part()));
        let tail = match part {
            // The stream still goes on where it was left.
            Part::Finished => self.tape.tail().clone(),
            Part::FinishedTo(next) if places.next < next => self.tape.tail().clone(),
            _ => Position { number: places.first_number + count as u64, ..places.tail() },
        };
        if self.on_bad == OnBad::DeadLetter {
            self.letters.begin_part(places.part());
        }
        reorder.log.begin_part(places.part());
        let places = Arc::new(places);
        let mut faults = faults.into_iter().peekable();
        let mut records = records.into_iter();
        let mut index = 0;
        for number in places.first_number..places.first_number + count as u64 {
            let fault = faults.next_if(|fault| fault.before <= index);
            let offset =
                fault.as_ref().map_or_else(|| places.offset(index), |fault| fault.error.place.offset);
            let finished = match part {
                Part::Finished => true,
                Part::FinishedTo(next) if offset < next => true,
                _ => reorder.log.was_finished(offset, number),
            };
            match fault {
                Some(fault) if !finished => {
                    self.fault_in(reorder, fault, number, places.token_at(offset));
                }
                Some(_) => {}
                None => {
                    let Some(record) = records.next() else { break };
                    let at = index;
                    index += 1;
                    if finished {
                        self.passed_over(&record, places.place(at));
                    } else {
                        let serial = reorder.log.add(offset, number, places.token_at(offset));
                        let places = Arc::clone(&places);
                        let item = Waiting {
                            record,
                            places,
                            index: at,
                            number,
                            serial,
                            bytes: each,
                            keyless: Keyless::default(),
                        };
                        self.sort_one(reorder, item);
                    }
                }
            }
            if self.fault.is_some() {
                break;
            }
        }
        if self.fault.is_none() {
            reorder.log.read_to(places.next);
            if end.is_some() {
                while self.fault.is_none()
                    && let Some(first) = reorder.waiting.pop_front()
                {
                    self.let_in(reorder, first);
                }
            }
        }
        self.put_on_tape(reorder, tail);
        let may_be_past = !reorder.log.has_ahead() && part != Part::Finished;
        if may_be_past && self.before.as_ref().is_some_and(|before| before.is_past(&places)) {
            self.pass_done();
        }
        if self.fault.is_none() {
            self.end_with(end);
        }
    }

    /// Lets in all that waits, since nothing more comes; says whether there was something.
    pub(super) fn let_all_in(&mut self) -> bool {
        let Some(mut reorder) = self.reorder.take() else { return false };
        let waited = reorder.held() > 0;
        while self.fault.is_none()
            && let Some(first) = reorder.waiting.pop_front()
        {
            self.let_in(&mut reorder, first);
        }
        let tail = self.tape.tail().clone();
        self.put_on_tape(&mut reorder, tail);
        self.reorder = Some(reorder);
        waited
    }

    /// An earlier run has finished this record; its keys may be what the next ones are compared with. Unfinished ones may stand before it, but
    /// no more than wait anyway: they waited when it was let in.
    fn passed_over(&mut self, record: &R, place: RecordPlace) {
        if self.before.as_ref().is_some_and(|before| before.is_last(place.origin.part(), place.offset)) {
            self.passed_last(record, place);
        }
    }

    fn fault_in(&mut self, reorder: &mut Reorder<R>, fault: Fault, number: u64, token: Option<String>) {
        let serial = reorder.log.add(fault.error.place.offset, number, token);
        if fault.recoverable && self.leave_out(&fault.error, &fault.raw, fault.cut) {
            self.finished(reorder, serial);
        } else {
            self.fault = Some(fault.error.into());
        }
    }

    /// What is called `serial` was left out; what was let in before it is not finished earlier.
    fn finished(&self, reorder: &mut Reorder<R>, serial: u64) {
        reorder.log.finishes(serial, self.tape.end() + reorder.ready.len() as u64);
    }

    /// Puts a record among those that wait, and lets the first of them in when there are too many.
    fn sort_one(&mut self, reorder: &mut Reorder<R>, item: Waiting<R>) {
        match self.place_among(reorder, &item.record) {
            Ok(Some(at)) => reorder.waiting.insert(at, item),
            Ok(None) => return self.let_in(reorder, item),
            Err(flaw) => return self.is_bad(reorder, item, flaw),
        }
        if reorder.waiting.len() > reorder.within
            && let Some(first) = reorder.waiting.pop_front()
        {
            self.let_in(reorder, first);
        }
    }

    /// The place of a record among those that wait; `None` for one without a key: it has no place in the order, and goes ahead.
    fn place_among(&self, reorder: &Reorder<R>, record: &R) -> Result<Option<usize>, Flaw> {
        let Some((role, check)) = reorder.role.and_then(|role| Some((role, self.checks.get(role)?))) else {
            return Ok(None);
        };
        let alone = std::slice::from_ref(record);
        let found = catching(|| {
            if let Some((_, cause)) = check.first_bad(alone, &mut |_| ()) {
                return Err(Flaw::Breaks { role, cause });
            }
            if check.compare(record, record).is_none() {
                return Ok(None);
            }
            let behind = |other: &Waiting<R>| check.compare(&other.record, record) != Some(Ordering::Greater);
            Ok(Some(reorder.waiting.partition_point(behind)))
        });
        found.unwrap_or_else(|unwound| Err(panicked(unwound, alone).1))
    }

    fn let_in(&mut self, reorder: &mut Reorder<R>, mut item: Waiting<R>) {
        let alone = std::slice::from_ref(&item.record);
        match self.first_bad(alone, &mut item.keyless).or_else(|| self.accept(alone).err()) {
            Some((_, flaw)) => self.is_bad(reorder, item, flaw),
            None => {
                reorder.log.finishes(item.serial, self.tape.end() + reorder.ready.len() as u64 + 1);
                reorder.ready.push(item);
            }
        }
    }

    #[cold]
    fn is_bad(&mut self, reorder: &mut Reorder<R>, item: Waiting<R>, flaw: Flaw) {
        let Waiting { record, places, index, number, serial, .. } = item;
        let place = RecordPlace { number, ..places.place(index) };
        match self.error(flaw, place, &record) {
            RunError::BadRecord(error)
                if self.leave_out(&error, places.raw(index).unwrap_or_default(), false) =>
            {
                self.finished(reorder, serial);
            }
            error => self.fault = Some(error),
        }
    }

    /// Puts what was let in on the tape: a segment for each run of records from one batch.
    fn put_on_tape(&mut self, reorder: &mut Reorder<R>, tail: Position) {
        let mut ready = std::mem::take(&mut reorder.ready).into_iter().peekable();
        while let Some(first) = ready.next() {
            let places = first.places;
            let (mut records, mut indexes) = (vec![first.record], vec![first.index]);
            let (mut numbers, mut bytes) = (vec![first.number], first.bytes);
            let mut keyless = first.keyless;
            while let Some(item) = ready.next_if(|item| Arc::ptr_eq(&item.places, &places)) {
                for role in item.keyless.roles(0) {
                    keyless.add(role, records.len());
                }
                records.push(item.record);
                indexes.push(item.index);
                numbers.push(item.number);
                bytes += item.bytes;
            }
            let told = Told { numbers: Some(numbers), keyless };
            self.push(records, places.pick(&indexes), told, bytes, tail.clone());
        }
        self.tape.set_tail(tail);
    }
}
