//! A stream in the join tree: its source, its tape, and the checks of its roles.

use std::any::Any;
use std::sync::Arc;

use super::bookmark::Bookmark;
use super::check::RoleCheck;
use super::leak::check_batch;
use super::letters::Letters;
use super::reorder::Reorder;
use super::resume::Before;
use super::tape::Tape;
use super::trace::{Kept, Positions};
use crate::broker::{AnySource, BoxFuture, InputEnd, Origin, Position, Source};
use crate::clock::Clock;
use crate::error::{RecordPlace, RunError};
use crate::function::{Masters, Meta, RecordMeta, Single};
use crate::letter::DeadLetter;
use crate::lined::Lined;
use crate::policy::OnBad;
use crate::record::StreamRecord;

/// What loading a batch came to, for the accounting.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Loaded {
    pub(crate) progress: u64,
    /// How many records came, bad ones included.
    pub(crate) records: usize,
    /// How many bytes they take, as far as the source tells.
    pub(crate) bytes: u64,
}

/// The accounting of a stream, apart from what the walk knows.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    /// Records let in.
    pub(crate) read: u64,
    /// Bad records left out.
    pub(crate) skipped: u64,
    /// Of the bad ones, those that came when a join had gone on without them.
    pub(crate) late: u64,
    /// Bad records put aside for good.
    pub(crate) dead_lettered: u64,
    /// Records that wait to be sorted back.
    pub(crate) held: u64,
    /// Bad records put aside whose letters are not durable.
    pub(crate) letters: u64,
    /// How many bytes the letters hold that were not taken.
    pub(crate) letter_bytes: u64,
}

impl Counts {
    /// All records that came, bad ones included.
    pub(crate) fn records(&self) -> u64 {
        self.read + self.skipped + self.dead_lettered + self.letters + self.held
    }
}

/// A stream whose type the walk does not know.
pub(crate) trait AnyNode: Send {
    /// The `Tape<R>`.
    fn tape(&self) -> &dyn Any;
    /// The position behind the last record that was read.
    fn end(&self) -> u64;
    /// The stream has ended; there is nothing behind [`AnyNode::end`].
    fn ended(&self) -> bool;
    /// The stream ended with its mark.
    fn marked(&self) -> bool;
    /// The stream has no more for this run, though it has not ended.
    fn paused(&self) -> bool;
    /// How many records came, those that wait to be sorted back included: it changes with every record.
    fn heard(&self) -> u64;
    /// Lets in what waits to be sorted back; says whether there was something.
    fn let_all_in(&mut self) -> bool;
    /// The stream is taken to have ended behind what was read.
    fn end_here(&mut self);
    /// Reads a batch. Dropping the future loses nothing.
    fn load(&mut self) -> BoxFuture<'_, Result<Loaded, RunError>>;
    /// A bad record, or one whose key panics, stands behind the last one on the tape, so nothing more is read.
    fn is_broken(&self) -> bool;
    /// What is wrong with the record that the walk has reached.
    fn take_fault(&mut self) -> Option<RunError>;
    /// Lets go of the batches before `position`; those that an open window holds on to are counted.
    fn release(&mut self, position: u64, window_open: bool);
    /// Lets go of the batches between the two positions.
    fn release_between(&mut self, from: u64, to: u64);
    /// The open window has closed.
    fn take_back(&mut self);
    /// Of the masters that windows hold, `kept` of `all` are left.
    fn take_back_part(&mut self, kept: usize, all: usize);
    /// Where the record at `position` stands, to be remembered.
    fn bookmark(&self, position: u64) -> Bookmark;
    /// Where the record at `position` stood, for a checkpoint.
    fn storage_position(&self, position: u64) -> Position;
    /// Where it stood.
    fn place(&self, position: u64) -> RecordPlace;
    /// Where the record stood that is at this address in memory, if it is on the tape.
    fn place_of_address(&self, address: usize) -> Option<RecordPlace>;
    /// The start of the text of the record that stood there, where that can be read again.
    fn excerpt(&self, place: &RecordPlace) -> Option<String>;
    /// Where it stood, for messages.
    fn place_text(&self, position: u64) -> String;
    /// The memory held by the tape, in bytes.
    fn bytes(&self) -> u64;
    fn counts(&self) -> Counts;
    /// Takes the letters of the records that a restart at `position` would pass over.
    fn take_letters(&mut self, position: &Position) -> Vec<DeadLetter>;
    /// Those that were taken are durable.
    fn letters_committed(&mut self);
    /// The size of the whole stream, where it is known.
    fn size(&self) -> Option<u64>;
    /// How much of it is still to be read, where that is known.
    #[cfg(feature = "metrics")]
    fn lag(&self) -> Option<crate::broker::Lag>;
    /// The stream, by its record type and name.
    fn stream(&self) -> Arc<str>;
    /// The batches that hold these records.
    fn keep(&self, positions: &Positions) -> Vec<Kept>;
    /// Points a `Single<R>` at the record.
    fn put_single(&self, slot: &mut dyn Any, position: u64);
    /// Moves the record into a `Masters<R>`.
    fn move_into(&mut self, slot: &mut dyn Any, position: u64);
    /// Moves the records from `position` on into a `Masters<R>`, `count` of them or as many as their batch has. Says how many.
    fn move_many_into(&mut self, slot: &mut dyn Any, position: u64, count: usize) -> usize;
    /// Empties a `Masters<R>`.
    fn clear_window(&self, slot: &mut dyn Any);
    /// Where the record came from, with its bytes where they are kept, and its number.
    fn record_meta(&self, position: u64) -> Option<(RecordMeta, u64)>;
    /// A `Masters<R>` or a `Meta<R>` as what stands in a line.
    fn lined<'s>(&self, slot: &'s mut dyn Any) -> Option<&'s mut dyn Lined>;
    /// Adds the record's place to a `Meta<R>`, emptied first on request.
    fn push_meta(&self, slot: &mut dyn Any, position: u64, clear: bool);
    /// Empties a `Meta<R>`.
    fn clear_meta(&self, slot: &mut dyn Any);
}

/// What a stream is made from, apart from its type.
pub(crate) struct NodeParts {
    pub(crate) stream: Arc<str>,
    pub(crate) source: AnySource,
    /// Each a `Box<dyn RoleCheck<R>>`.
    pub(crate) checks: Vec<Box<dyn Any + Send>>,
    /// The records leave one by one, into windows.
    pub(crate) leaving: bool,
    pub(crate) on_bad: OnBad,
    /// How many records late one may be and is sorted back.
    pub(crate) within: usize,
    /// The function's name and the clock, for dead letters.
    pub(crate) function: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where an earlier run has left it.
    pub(crate) from: Option<Position>,
}

/// Makes a stream of the right type; `None` when a part is of another type, which the plan rules out.
pub(crate) type MakeNode = fn(NodeParts) -> Option<Box<dyn AnyNode>>;

pub(crate) fn make_node<R: StreamRecord>(parts: NodeParts) -> Option<Box<dyn AnyNode>> {
    let checks = parts
        .checks
        .into_iter()
        .map(|check| check.downcast::<Box<dyn RoleCheck<R>>>().ok().map(|check| *check))
        .collect::<Option<Vec<_>>>()?;
    let role = checks.iter().position(|check| check.order().is_some());
    Some(Box::new(Node {
        stream: parts.stream,
        source: parts.source.typed::<R>()?,
        reorder: Reorder::new(parts.within, role, parts.from.as_ref()),
        before: parts.from.as_ref().and_then(Before::new),
        tape: Tape::new(parts.leaving, parts.from.unwrap_or_default()),
        checks,
        on_bad: parts.on_bad,
        letters: Letters::new(parts.function, parts.clock),
        fault: None,
        read: 0,
        skipped: 0,
        late: 0,
        marked: false,
        paused: false,
    }))
}

/// A stream of `R`; what becomes of a batch is in `admit` and `reorder`.
pub(super) struct Node<R> {
    pub(super) stream: Arc<str>,
    pub(super) source: Box<dyn Source<R>>,
    pub(super) tape: Tape<R>,
    /// What lies before this position was finished by an earlier run; `None` once that was passed.
    pub(super) before: Option<Before>,
    /// Sorts records back.
    pub(super) reorder: Option<Reorder<R>>,
    pub(super) checks: Vec<Box<dyn RoleCheck<R>>>,
    pub(super) on_bad: OnBad,
    pub(super) letters: Letters,
    pub(super) fault: Option<RunError>,
    pub(super) read: u64,
    pub(super) skipped: u64,
    pub(super) late: u64,
    pub(super) marked: bool,
    /// There is no more for this run.
    pub(super) paused: bool,
}

impl<R: StreamRecord> AnyNode for Node<R> {
    fn tape(&self) -> &dyn Any {
        &self.tape
    }

    fn end(&self) -> u64 {
        self.tape.end()
    }

    fn ended(&self) -> bool {
        self.tape.ended().is_some()
    }

    fn marked(&self) -> bool {
        self.marked
    }

    fn paused(&self) -> bool {
        self.paused
    }

    fn heard(&self) -> u64 {
        self.tape.end() + self.reorder.as_ref().map_or(0, Reorder::held)
    }

    fn let_all_in(&mut self) -> bool {
        Node::let_all_in(self)
    }

    fn end_here(&mut self) {
        self.let_all_in();
        if self.fault.is_none() {
            self.tape.set_ended(InputEnd::Exhausted);
        }
    }

    fn load(&mut self) -> BoxFuture<'_, Result<Loaded, RunError>> {
        Box::pin(async move {
            let batch = self.source.next().await?;
            let records = batch.records.len() + batch.faults.len();
            let loaded = Loaded { progress: batch.progress, records, bytes: batch.bytes };
            let (all_new, place) = (self.before.is_none(), batch.places.place(0));
            let before = self.counts().records();
            if self.reorder.is_some() {
                self.sort_in(batch);
            } else {
                self.admit(batch);
            }
            if all_new && self.fault.is_none() {
                let known = self.counts().records() - before;
                check_batch(&self.stream, records as u64, known, place)?;
            }
            Ok(loaded)
        })
    }

    fn is_broken(&self) -> bool {
        self.fault.is_some()
    }

    fn take_fault(&mut self) -> Option<RunError> {
        let mut fault = self.fault.take()?;
        // It was decoded, so its text is gone.
        match &mut fault {
            RunError::BadRecord(bad) if bad.key.is_some() && bad.excerpt.is_none() => {
                bad.excerpt = self.source.excerpt(&bad.place);
            }
            RunError::KeyPanicked { place, excerpt, .. } => *excerpt = self.source.excerpt(place),
            _ => {}
        }
        Some(fault)
    }

    fn release(&mut self, position: u64, window_open: bool) {
        self.tape.release(position, window_open);
        if let Some(reorder) = &mut self.reorder {
            reorder.log.release(position);
        }
    }

    fn release_between(&mut self, from: u64, to: u64) {
        self.tape.release_between(from, to);
    }

    fn take_back(&mut self) {
        self.tape.take_back();
    }

    fn take_back_part(&mut self, kept: usize, all: usize) {
        self.tape.take_back_part(kept as u64, all.max(1) as u64);
    }

    fn bookmark(&self, position: u64) -> Bookmark {
        self.resumable(position, self.tape.bookmark(position))
    }

    fn storage_position(&self, position: u64) -> Position {
        self.bookmark(position).position()
    }

    fn place(&self, position: u64) -> RecordPlace {
        match self.tape.places(position) {
            Some((places, index)) => {
                let place = places.place(index);
                RecordPlace { number: self.tape.number(position).unwrap_or(place.number), ..place }
            }
            None => RecordPlace { origin: Arc::new(Origin::Memory), offset: position, number: position },
        }
    }

    fn place_of_address(&self, address: usize) -> Option<RecordPlace> {
        self.tape.find_address(address).map(|position| self.place(position))
    }

    fn excerpt(&self, place: &RecordPlace) -> Option<String> {
        self.source.excerpt(place)
    }

    fn place_text(&self, position: u64) -> String {
        format!("`{}`, {}", self.stream, self.place(position))
    }

    fn bytes(&self) -> u64 {
        self.tape.bytes() + self.letters.bytes() + self.reorder.as_ref().map_or(0, Reorder::bytes)
    }

    fn counts(&self) -> Counts {
        let (dead_lettered, letters) = self.letters.counts();
        let letter_bytes = self.letters.bytes();
        let held = self.reorder.as_ref().map_or(0, Reorder::held);
        let (read, skipped, late) = (self.read, self.skipped, self.late);
        Counts { read, skipped, late, dead_lettered, held, letters, letter_bytes }
    }

    fn take_letters(&mut self, position: &Position) -> Vec<DeadLetter> {
        self.letters.take(position)
    }

    fn letters_committed(&mut self) {
        self.letters.committed();
    }

    fn size(&self) -> Option<u64> {
        self.source.size()
    }

    #[cfg(feature = "metrics")]
    fn lag(&self) -> Option<crate::broker::Lag> {
        self.source.lag()
    }

    fn stream(&self) -> Arc<str> {
        Arc::clone(&self.stream)
    }

    fn keep(&self, positions: &Positions) -> Vec<Kept> {
        self.tape.keep(positions)
    }

    fn put_single(&self, slot: &mut dyn Any, position: u64) {
        if let Some(slot) = slot.downcast_mut::<Single<R>>()
            && let Some((batch, index)) = self.tape.shared(position)
        {
            slot.set(batch, index, position);
        }
    }

    fn move_into(&mut self, slot: &mut dyn Any, position: u64) {
        if let Some(window) = slot.downcast_mut::<Masters<R>>()
            && let Some(record) = self.tape.take(position)
        {
            window.push(record);
        }
    }

    fn move_many_into(&mut self, slot: &mut dyn Any, position: u64, count: usize) -> usize {
        let Some(window) = slot.downcast_mut::<Masters<R>>() else { return 0 };
        let before = window.all().len();
        window.extend(self.tape.take_many(position, count));
        window.all().len() - before
    }

    fn clear_window(&self, slot: &mut dyn Any) {
        if let Some(window) = slot.downcast_mut::<Masters<R>>() {
            window.clear();
        }
    }

    fn record_meta(&self, position: u64) -> Option<(RecordMeta, u64)> {
        let (places, index) = self.tape.places(position)?;
        Some((RecordMeta::new(Arc::clone(places), index), self.place(position).number))
    }

    fn lined<'s>(&self, slot: &'s mut dyn Any) -> Option<&'s mut dyn Lined> {
        if slot.is::<Meta<R>>() {
            return slot.downcast_mut::<Meta<R>>().map(|meta| meta as &mut dyn Lined);
        }
        slot.downcast_mut::<Masters<R>>().map(|masters| masters as &mut dyn Lined)
    }

    fn push_meta(&self, slot: &mut dyn Any, position: u64, clear: bool) {
        let Some(meta) = slot.downcast_mut::<Meta<R>>() else { return };
        if clear {
            meta.clear();
            meta.set_stream(&self.stream);
        }
        if let Some((places, index)) = self.tape.places(position) {
            meta.push(RecordMeta::new(Arc::clone(places), index));
        }
    }

    fn clear_meta(&self, slot: &mut dyn Any) {
        if let Some(meta) = slot.downcast_mut::<Meta<R>>() {
            meta.clear();
        }
    }
}
