//! What a lane has written since its last commit: documents that wait, in memory, for the transaction that makes them visible.

use bson::oid::ObjectId;
use bson::{Bson, RawArrayBuf, RawDocument, RawDocumentBuf, rawdoc};

use crate::result_ids::ResultIds;

/// A command holds so many bytes of documents, at most, unless one alone has more: a message of the protocol holds 48 MB, a document 16 MiB.
const COMMAND: usize = 8 << 20;

/// And so many documents.
const COMMAND_DOCUMENTS: usize = 10_000;

/// What becomes of one result.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// A new document.
    Insert(RawDocumentBuf),
    /// The document with this `_id`, whatever it was.
    Replace(Bson, RawDocumentBuf),
    /// These fields of the document with this `_id`.
    Set(Bson, RawDocumentBuf),
}

impl Write {
    fn bytes(&self) -> usize {
        let (Self::Insert(document) | Self::Replace(_, document) | Self::Set(_, document)) = self;
        document.as_bytes().len()
    }
}

/// What one output has to write.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) collection: String,
    pub(crate) writes: Vec<Write>,
    /// How many results there were in all, those that wait included.
    pub(crate) written: u64,
    /// Those that were committed.
    pub(crate) committed: u64,
    /// Where results are numbered by their `_id`s.
    pub(crate) ids: Option<ResultIds>,
}

/// What all outputs of a lane have to write.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) outputs: Vec<Pending>,
    pub(crate) bytes: usize,
}

/// So many documents are committed early: servers hold what a transaction has written in their cache, and refuse one that does not fit.
const MOST_WAITING: usize = 5000;

impl Outbox {
    /// Whether a commit should come soon.
    pub(crate) fn is_full(&self, most_bytes: usize) -> bool {
        self.bytes >= most_bytes
            || self.outputs.iter().map(|pending| pending.writes.len()).sum::<usize>() >= MOST_WAITING
    }

    pub(crate) fn put(&mut self, output: usize, write: Write) {
        self.bytes += write.bytes();
        if let Some(pending) = self.outputs.get_mut(output) {
            pending.writes.push(write);
            pending.written += 1;
        }
    }

    /// Whether results of `output` are numbered by their `_id`s.
    pub(crate) fn numbers(&self, output: usize) -> bool {
        self.outputs.get(output).is_some_and(|pending| pending.ids.is_some())
    }

    /// The `_id` of the next result of `output`.
    pub(crate) fn next_id(&self, output: usize) -> ObjectId {
        match self.outputs.get(output) {
            Some(Pending { ids: Some(ids), written, .. }) => ids.of(*written),
            _ => ObjectId::new(),
        }
    }

    /// Drops what was not committed.
    pub(crate) fn clear(&mut self) {
        for pending in &mut self.outputs {
            pending.writes.clear();
            pending.written = pending.committed;
        }
        self.bytes = 0;
    }
}

/// How inserts are made: `insert` fails where the `_id` is taken, which is told; without transactions what may have been written before is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserting {
    Plain,
    Over,
}

/// The commands that make `writes` to `collection`, in their order.
pub(crate) fn commands(collection: &str, writes: &[Write], inserting: Inserting) -> Vec<RawDocumentBuf> {
    let mut commands = Vec::new();
    let mut rest = writes;
    while let Some(first) = rest.first() {
        let is_insert = |write: &Write| matches!(write, Write::Insert(_)) && inserting == Inserting::Plain;
        let kind = is_insert(first);
        let mut bytes = 0;
        let count = rest
            .iter()
            .take(COMMAND_DOCUMENTS)
            .take_while(|write| {
                let fits = bytes == 0 || bytes + write.bytes() <= COMMAND;
                bytes += write.bytes();
                fits && is_insert(write) == kind
            })
            .count();
        let (now, later) = rest.split_at(count.max(1));
        commands.push(if kind { insert(collection, now) } else { update(collection, now) });
        rest = later;
    }
    commands
}

fn insert(collection: &str, writes: &[Write]) -> RawDocumentBuf {
    let mut documents = RawArrayBuf::new();
    for write in writes {
        if let Write::Insert(document) = write {
            documents.push(document);
        }
    }
    rawdoc! { "insert": collection, "documents": documents, "ordered": true }
}

fn update(collection: &str, writes: &[Write]) -> RawDocumentBuf {
    let mut updates = RawArrayBuf::new();
    for write in writes {
        let one = match write {
            Write::Insert(document) => one_update(&id_of(document), document),
            Write::Replace(id, document) => one_update(id, document),
            Write::Set(id, fields) => one_update(id, &rawdoc! { "$set": fields.clone() }),
        };
        updates.push(one);
    }
    rawdoc! { "update": collection, "updates": updates, "ordered": true }
}

fn one_update(id: &Bson, update: &RawDocumentBuf) -> RawDocumentBuf {
    let mut query = RawDocumentBuf::new();
    // What cannot be a value of BSON never came this far.
    if let Ok(id) = bson::RawBson::try_from(id.clone()) {
        query.append(bson::raw::cstr!("_id"), id);
    }
    rawdoc! { "q": query, "u": update.clone(), "upsert": true }
}

/// The `_id` of a document that has one.
pub(crate) fn id_of(document: &RawDocument) -> Bson {
    crate::place::value_at(document, "_id")
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn inserted(bytes: usize) -> Write {
        Write::Insert(RawDocumentBuf::try_from(&doc! { "_id": 1, "x": "x".repeat(bytes) }).unwrap())
    }

    #[test]
    fn commands_are_of_one_kind_and_no_larger_than_they_may_be() {
        let set = Write::Set(Bson::Int32(1), RawDocumentBuf::try_from(&doc! { "x": 1 }).unwrap());
        let writes = [inserted(1), inserted(1), set.clone(), inserted(1)];
        assert_eq!(commands("c", &writes, Inserting::Plain).len(), 3);
        assert_eq!(commands("c", &writes, Inserting::Over).len(), 1);
        let large = vec![inserted(3 << 20); 5];
        assert_eq!(commands("c", &large, Inserting::Plain).len(), 3);
        // One that is too large for company goes alone.
        let huge = vec![inserted(10 << 20); 2];
        assert_eq!(commands("c", &huge, Inserting::Plain).len(), 2);
        assert_eq!(commands("c", &vec![inserted(1); 25_000], Inserting::Plain).len(), 3);
        assert_eq!(commands("c", &[], Inserting::Plain).len(), 0);
    }
}
