//! A typed sink: results become documents, which wait in the lane's outbox.

use std::sync::{Arc, Mutex, PoisonError};

use bson::{Bson, RawDocument, RawDocumentBuf};
use serde::Serialize;
use watermill_core::broker::{BoxFuture, Refused, Sink};
use watermill_core::error::{BoxError, BrokerError};
use watermill_core::record::StreamRecord;

use crate::failure::{Told, failure};
use crate::outbox::{Outbox, Write};
use crate::result_collection::Placement;

/// A document holds no more, and an update needs a little beside it.
const MOST_BYTES: usize = (16 << 20) - 1024;

/// What a sink needs to know beside what results become.
pub(crate) struct SinkSettings {
    /// The place of its output among those of the lane.
    pub(crate) output: usize,
    pub(crate) collection: String,
    pub(crate) leave_out: bool,
    pub(crate) outbox: Arc<Mutex<Outbox>>,
}

/// Writes results of type `R` to one collection.
pub(crate) struct MongoSink<R> {
    settings: SinkSettings,
    placement: Placement<R>,
    /// The number of the next result.
    number: u64,
    refused: Vec<Refused>,
}

impl<R: StreamRecord + Serialize> MongoSink<R> {
    pub(crate) fn new(settings: SinkSettings, placement: Placement<R>) -> Self {
        Self { settings, placement, number: 0, refused: Vec::new() }
    }

    fn write_of(&self, result: &R, outbox: &Outbox) -> Result<Write, BoxError> {
        let document = bson::serialize_to_raw_document_buf(result)?;
        let write = match &self.placement {
            Placement::Insert => match document.get("_id")? {
                // A run that was killed may have written it: without transactions it is written over.
                Some(_) if outbox.numbers(self.settings.output) => {
                    Write::Replace(crate::outbox::id_of(&document), document)
                }
                Some(_) => Write::Insert(document),
                None => {
                    Write::Insert(with_id(Bson::ObjectId(outbox.next_id(self.settings.output)), &document)?)
                }
            },
            Placement::Replace(key) => {
                let key = key(result)?;
                Write::Replace(key.clone(), with_id(key, &without_id(&document)?)?)
            }
            Placement::Upsert(key) => Write::Set(key(result)?, without_id(&document)?),
        };
        let (Write::Insert(document) | Write::Replace(_, document) | Write::Set(_, document)) = &write;
        let bytes = document.as_bytes().len();
        if bytes > MOST_BYTES {
            let text = format!(
                "it takes {bytes} bytes, more than the 16 MiB of a document; write less, or leave such results out by `on_refused`"
            );
            return Err(Told(text).into());
        }
        Ok(write)
    }
}

/// The document with `id` before its fields.
fn with_id(id: Bson, document: &RawDocument) -> Result<RawDocumentBuf, BoxError> {
    let mut first = RawDocumentBuf::new();
    first.append(bson::raw::cstr!("_id"), bson::RawBson::try_from(id)?);
    let (mut bytes, fields) = (first.into_bytes(), document.as_bytes());
    // Both begin with their length and end with a zero.
    bytes.pop();
    bytes.extend_from_slice(&fields[4..]);
    let length = u32::try_from(bytes.len())?.to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    Ok(RawDocumentBuf::from_bytes(bytes)?)
}

/// The document without its own `_id`: another one takes its place.
fn without_id(document: &RawDocumentBuf) -> Result<RawDocumentBuf, BoxError> {
    if document.get("_id")?.is_none() {
        return Ok(document.clone());
    }
    let mut rest = RawDocumentBuf::new();
    for field in document {
        let (name, value) = field?;
        if name.as_str() != "_id" {
            rest.append(name, value);
        }
    }
    Ok(rest)
}

impl<R: StreamRecord + Serialize> Sink<R> for MongoSink<R> {
    fn write(&mut self, results: Vec<R>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let outbox = Arc::clone(&self.settings.outbox);
        let mut outbox = outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Ok(());
        for result in &results {
            match self.write_of(result, &outbox) {
                Ok(write) => outbox.put(self.settings.output, write),
                Err(error) if self.settings.leave_out => {
                    self.refused.push(Refused { number: self.number, error });
                }
                Err(error) => {
                    let location =
                        format!("result {} to collection `{}`", self.number, self.settings.collection);
                    done = Err(failure("write", location, error));
                    break;
                }
            }
            self.number += 1;
        }
        Box::pin(std::future::ready(done))
    }

    fn refused(&mut self) -> BoxFuture<'_, Result<Vec<Refused>, BrokerError>> {
        Box::pin(std::future::ready(Ok(std::mem::take(&mut self.refused))))
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    #[test]
    fn an_id_is_put_before_the_fields() {
        let with = with_id(Bson::String("a".to_owned()), &raw(&doc! { "x": 1, "y": [2] })).unwrap();
        assert_eq!(Document::try_from(&*with).unwrap(), doc! { "_id": "a", "x": 1, "y": [2] });
        let alone = with_id(Bson::Int32(3), &raw(&doc! {})).unwrap();
        assert_eq!(Document::try_from(&*alone).unwrap(), doc! { "_id": 3 });
    }

    #[test]
    fn an_id_of_its_own_gives_way_to_the_key() {
        let without = without_id(&raw(&doc! { "x": 1, "_id": 7, "y": 2 })).unwrap();
        assert_eq!(Document::try_from(&*without).unwrap(), doc! { "x": 1, "y": 2 });
    }
}
