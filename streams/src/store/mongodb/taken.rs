//! Messages that were read when they were claimed, until they are shown: nobody asks the server for them once more.

use std::collections::BTreeMap;
use std::ops::Range;

use bson::RawDocumentBuf;

/// Half as many bytes as there may be. What is not asked for makes room for what is claimed after it.
const HALF: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Taken {
    /// By stream and number.
    young: BTreeMap<(u64, u64), RawDocumentBuf>,
    bytes: usize,
    old: BTreeMap<(u64, u64), RawDocumentBuf>,
}

impl Taken {
    pub(super) fn add(&mut self, stream: u64, number: u64, message: RawDocumentBuf) {
        self.bytes += message.as_bytes().len();
        self.young.insert((stream, number), message);
        if self.bytes > HALF {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
    }

    /// It is kept no longer.
    pub(super) fn take(&mut self, stream: u64, number: u64) -> Option<RawDocumentBuf> {
        let key = (stream, number);
        let young = self.young.remove(&key);
        self.bytes -= young.as_ref().map_or(0, |message| message.as_bytes().len());
        young.or_else(|| self.old.remove(&key))
    }

    /// These are there no more.
    pub(super) fn forget(&mut self, stream: u64, range: &Range<u64>) {
        let gone = (stream, range.start)..(stream, range.end.max(range.start));
        let keys: Vec<_> =
            self.young.range(gone.clone()).chain(self.old.range(gone)).map(|(key, _)| *key).collect();
        for (stream, number) in keys {
            self.take(stream, number);
        }
    }
}
