//! Messages that wait, as far as this process knows: to find them may cost a server as much as there are, so more are looked for than are wanted. Whether they still wait is seen when they are claimed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bson::oid::ObjectId;

/// So many are looked for.
pub(super) const MANY: usize = 32_768;

/// So long no more are looked for than are wanted, after others have taken some.
const SHY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// By stream, in order.
    known: HashMap<u64, Vec<ObjectId>>,
    shy: Option<Instant>,
}

impl Candidates {
    /// The first of them, if they are so many.
    pub(super) fn first(&self, stream: u64, count: usize) -> Option<Vec<ObjectId>> {
        self.known.get(&stream)?.get(..count).filter(|ids| !ids.is_empty()).map(<[ObjectId]>::to_vec)
    }

    /// Whether to look for many.
    pub(super) fn is_bold(&self) -> bool {
        self.shy.is_none_or(|since| since.elapsed() > SHY)
    }

    pub(super) fn put(&mut self, stream: u64, ids: Vec<ObjectId>) {
        self.known.insert(stream, ids);
    }

    /// Those up to this one were claimed here.
    pub(super) fn claimed(&mut self, stream: u64, last: ObjectId) {
        if let Some(ids) = self.known.get_mut(&stream) {
            let behind = ids.partition_point(|id| *id <= last);
            ids.drain(..behind);
        }
    }

    /// A transaction came to nothing: what is known may not be so any more.
    pub(super) fn forget(&mut self, others: bool) {
        self.known.clear();
        if others {
            self.shy = Some(Instant::now());
        }
    }
}
