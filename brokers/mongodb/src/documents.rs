//! The documents of one batch: from bytes to records, and where each of them is found again.

use std::fmt;
use std::sync::Arc;

use bson::{Bson, Document, RawBsonRef, RawDocument};
use serde::de::DeserializeOwned;
use watermill_core::broker::{
    Batch, CountedOffsets, Fault, Headers, InputEnd, Offsets, Origin, Places, RawRecords, Tokens,
};
use watermill_core::error::{BadCause, BadRecord, RecordPlace};
use watermill_core::record::StreamRecord;

use crate::source::{Delivery, Show};

/// So many documents are a batch, at most.
pub(crate) const BATCH: usize = 2000;

/// A batch ends when its documents are so many bytes.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// So deep documents may be nested, as MongoDB's manual says.
const DEEPEST: usize = 100;

/// And so deep its servers let them be: deeper ones are not told whole, since making text of them takes a call a level.
const TOLD_DEEPEST: usize = 200;

/// The beginning of a document is shown in errors up to this length.
const SHOWN: usize = 200;

/// What finds the documents of one kind of reading again.
pub(crate) trait Finder: fmt::Debug + Send + Sync + 'static {
    /// What is noted of each beside its bytes.
    type Note: fmt::Debug + Send + Sync;

    /// From where reading goes on behind it.
    fn behind(&self, document: &RawDocument, note: &Self::Note) -> String;

    /// What finds it itself; `before` is what the one before it has for [`behind`](Self::behind).
    fn itself(&self, document: &RawDocument, note: &Self::Note, before: Option<String>) -> Option<String>;
}

/// Documents one behind the other.
#[derive(Debug)]
pub(crate) struct Documents<F: Finder> {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    notes: Vec<F::Note>,
    finder: Arc<F>,
    /// From where the first of them was read on.
    before: Option<String>,
    /// From where reading goes on behind the last of them, where that is not told by itself.
    then: Option<String>,
}

impl<F: Finder> Documents<F> {
    pub(crate) fn new(finder: Arc<F>, before: Option<String>) -> Self {
        Self { bytes: Vec::new(), starts: Vec::new(), notes: Vec::new(), finder, before, then: None }
    }

    /// Reading goes on there behind the last of them: more was looked at than they are.
    pub(crate) fn then(self, then: Option<String>) -> Self {
        Self { then, ..self }
    }

    pub(crate) fn push(&mut self, document: &RawDocument, note: F::Note) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(document.as_bytes());
        self.notes.push(note);
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= BATCH || self.bytes.len() >= BATCH_BYTES
    }

    /// The document of this number within the batch.
    pub(crate) fn get(&self, entry: usize) -> Option<&RawDocument> {
        let start = *self.starts.get(entry)?;
        let end = self.starts.get(entry + 1).copied().unwrap_or(self.bytes.len());
        RawDocument::from_bytes(self.bytes.get(start..end)?).ok()
    }
}

impl<F: Finder> Tokens for Documents<F> {
    fn before(&self, entry: usize) -> Option<String> {
        if entry == self.len() && self.then.is_some() {
            return self.then.clone();
        }
        let Some(last) = entry.checked_sub(1) else { return self.before.clone() };
        Some(self.finder.behind(self.get(last)?, self.notes.get(last)?))
    }

    fn of(&self, entry: usize) -> Option<String> {
        self.finder.itself(self.get(entry)?, self.notes.get(entry)?, self.before(entry))
    }
}

/// What is needed to make records of documents.
#[derive(Debug, Clone)]
pub(crate) struct Decoding {
    pub(crate) stream: String,
    pub(crate) origin: Arc<Origin>,
    pub(crate) keep_raw: bool,
}

/// When a document changed, and how: of change streams alone.
pub(crate) struct Told {
    pub(crate) milliseconds: i64,
    pub(crate) operation: &'static str,
}

impl Decoding {
    /// Makes a batch of documents, of which the first is the `first`th of the stream. Reading goes on behind it with the `next`th.
    pub(crate) fn deliver<R, F>(
        &self,
        documents: Documents<F>,
        first: u64,
        next: u64,
        told: &[Told],
        end: Option<InputEnd>,
    ) -> Delivery<R>
    where
        R: StreamRecord + DeserializeOwned,
        F: Finder,
    {
        let count = documents.len();
        let mut records = Vec::with_capacity(count);
        let mut entries = Vec::with_capacity(count);
        let mut faults = Vec::new();
        let mut raw = self.keep_raw.then(|| (Vec::new(), Vec::new()));
        let mut timestamps = Vec::new();
        let mut headers: Vec<Headers> = Vec::new();
        for entry in 0..count {
            let Some(document) = documents.get(entry) else { continue };
            match decode::<R>(document) {
                Ok(record) => {
                    records.push(record);
                    entries.push(u32::try_from(entry).unwrap_or(u32::MAX));
                    if let Some((buffer, ranges)) = &mut raw {
                        let from = buffer.len();
                        buffer.extend_from_slice(text(document).as_bytes());
                        ranges.push(from..buffer.len());
                    }
                    if let Some(told) = told.get(entry) {
                        timestamps.push(told.milliseconds);
                        headers.push(vec![("operation".to_owned(), told.operation.as_bytes().to_vec())]);
                    }
                }
                Err(cause) => faults.push(self.fault(document, first + entry as u64, records.len(), cause)),
            }
        }
        let bytes = documents.bytes.len() as u64;
        let documents = Arc::new(documents);
        let shown = Arc::clone(&documents);
        let show: Show = Arc::new(move |offset| {
            let entry = usize::try_from(offset.checked_sub(first)?).ok()?;
            shown.get(entry).map(excerpt)
        });
        let with_times = !told.is_empty();
        let places = Places {
            origin: Arc::clone(&self.origin),
            offsets: Offsets::Counted(CountedOffsets::new(first, entries, documents)),
            next,
            first_number: first,
            timestamps: with_times.then_some(timestamps),
            headers: with_times.then_some(headers),
            raw: raw.map(|(buffer, ranges)| RawRecords::new(Arc::new(buffer), ranges)),
        };
        let mut batch = Batch::new(records, places);
        batch.faults = faults;
        // The documents stay beside the records, for positions.
        batch.bytes = 2 * bytes;
        batch.progress = count as u64;
        batch.end = end;
        Delivery { batch, show }
    }

    #[cold]
    fn fault(&self, document: &RawDocument, offset: u64, before: usize, cause: BadCause) -> Fault {
        let place = RecordPlace { origin: Arc::clone(&self.origin), offset, number: offset };
        let excerpt = Some(excerpt(document));
        let error = Box::new(BadRecord { stream: self.stream.clone(), place, key: None, excerpt, cause });
        let raw = if self.keep_raw { text(document).into_bytes() } else { Vec::new() };
        Fault { before, error, raw, cut: false, recoverable: true }
    }
}

/// A record, or what is wrong with the document, by the path of the field.
fn decode<R: DeserializeOwned>(document: &RawDocument) -> Result<R, BadCause> {
    let bytes = document.as_bytes();
    // So deep a document takes more bytes than that.
    if bytes.len() > DEEPEST * 8 && !is_shallow(document, DEEPEST) {
        return Err(BadCause::TooDeep { limit: DEEPEST });
    }
    bson::deserialize_from_slice(bytes).map_err(|error| {
        // Once more, with an eye on the path.
        let Ok(value) = Document::try_from(document) else { return BadCause::Syntax(Box::new(error)) };
        let again: Result<R, _> =
            serde_path_to_error::deserialize(bson::Deserializer::new(Bson::Document(value)));
        match again {
            Ok(_) => BadCause::Shape(Box::new(error)),
            Err(at) => {
                BadCause::Shape(Box::new(AtPath { path: at.path().to_string(), error: at.into_inner() }))
            }
        }
    })
}

/// What is wrong with a field.
#[derive(Debug, thiserror::Error)]
#[error("field `{path}`: {}", .error.message.clone().unwrap_or_else(|| .error.kind.to_string()))]
struct AtPath {
    path: String,
    error: bson::error::Error,
}

/// Whether values are nested no deeper than `levels`.
fn is_shallow(document: &RawDocument, levels: usize) -> bool {
    document.iter().flatten().all(|(_, value)| is_shallow_value(value, levels))
}

fn is_shallow_value(value: RawBsonRef<'_>, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (RawBsonRef::Document(_) | RawBsonRef::Array(_), None) => false,
        (RawBsonRef::Document(below), Some(levels)) => is_shallow(below, levels),
        (RawBsonRef::Array(below), Some(levels)) => {
            below.into_iter().flatten().all(|value| is_shallow_value(value, levels))
        }
        _ => true,
    }
}

/// A document as relaxed extended JSON, as dead letters have it.
pub(crate) fn text(document: &RawDocument) -> String {
    if !is_shallow(document, TOLD_DEEPEST) {
        return format!("{{\"_id\":{}}}", crate::place::value_at(document, "_id").into_relaxed_extjson());
    }
    match Document::try_from(document) {
        Ok(document) => Bson::Document(document).into_relaxed_extjson().to_string(),
        Err(_) => String::new(),
    }
}

/// The start of a document, its `_id` first, on one line.
pub(crate) fn excerpt(document: &RawDocument) -> String {
    let text = text(document);
    let Some((cut, _)) = text.char_indices().nth(SHOWN) else { return text };
    format!("{}..", &text[..cut])
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Reading {
        at: At,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct At {
        x: Vec<f64>,
    }

    fn told(document: Document) -> String {
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        let cause = decode::<Reading>(&raw).unwrap_err();
        let source = std::error::Error::source(&cause).map(ToString::to_string).unwrap_or_default();
        format!("{}: {source}", cause.kind())
    }

    #[test]
    fn errors_name_the_path_of_the_field() {
        assert!(told(doc! { "at": { "x": [1.0, "far"] } }).starts_with("shape: field `at.x[1]`: "));
        assert!(told(doc! { "at": {} }).contains("missing field `x`"));
        assert!(told(doc! {}).contains("missing field `at`"));
    }

    #[test]
    fn documents_that_are_nested_too_deep_are_refused() {
        let mut deep = doc! { "x": 1 };
        for _ in 0..150 {
            deep = doc! { "below": deep };
        }
        assert!(told(doc! { "at": { "x": [1.0] }, "rest": deep }).starts_with("too_deep"));
    }
}
