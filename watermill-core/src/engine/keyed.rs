//! Computing keys, which is where the user's code runs inside the engine: closures and `.map(f)` can panic.
//!
//! A panic unwinds to whoever reads a batch ([`super::node`]) or drives a walk ([`super::lane`]); on its way [`key_of`] notes at which
//! record that was. Only a panic costs anything: nothing is noted for a key that was computed.

use std::any::Any;
use std::cell::Cell;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::check::describe;
use super::walk::Walk;
use crate::error::{RecordPlace, RunError};
use crate::function::panicked;
use crate::key::{KeyExpr, KeyFault, KeyValue};

thread_local! {
    /// Where the panic that is unwinding on this thread came from. Whoever catches it takes this.
    static PANICKED_AT: Cell<Option<KeyAt>> = const { Cell::new(None) };
}

/// A key of a record.
struct KeyAt {
    /// Where the record stands in memory. Only ever compared, never followed.
    address: usize,
    expression: String,
}

/// What came out of the user's code.
pub(crate) struct Unwound {
    at: Option<KeyAt>,
    payload: Box<dyn Any + Send>,
}

/// The key of `record`.
#[inline]
pub(crate) fn key_of<'a, R, E: KeyExpr<R>>(
    key: &'a E,
    record: &'a R,
) -> Result<Option<<E::Value as KeyValue>::View<'a>>, KeyFault> {
    let noted = Noted { key, record };
    let result = key.key(record);
    mem::forget(noted);
    result
}

/// Notes its key and record when it is dropped, which a panic alone does.
struct Noted<'a, R, E: KeyExpr<R>> {
    key: &'a E,
    record: &'a R,
}

impl<R, E: KeyExpr<R>> Drop for Noted<'_, R, E> {
    #[cold]
    fn drop(&mut self) {
        let address = std::ptr::from_ref(self.record).addr();
        let at = KeyAt { address, expression: describe::<R, E>(self.key) };
        // Fails only where the thread is at its end.
        let _ = PANICKED_AT.try_with(|noted| noted.set(Some(at)));
    }
}

/// Runs what computes keys.
#[inline]
pub(crate) fn catching<T>(work: impl FnOnce() -> T) -> Result<T, Unwound> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload| Unwound { at: PANICKED_AT.try_with(Cell::take).ok().flatten(), payload })
}

impl Unwound {
    /// Which of `records` it was; `None` when it was none of their keys that panicked.
    pub(crate) fn index_in<R>(&self, records: &[R]) -> Option<usize> {
        let ahead = self.at.as_ref()?.address.checked_sub(records.as_ptr().addr())?;
        let index = ahead / size_of::<R>().max(1);
        (index < records.len()).then_some(index)
    }

    /// Where the record stands in memory whose key panicked.
    pub(crate) fn address(&self) -> Option<usize> {
        self.at.as_ref().map(|at| at.address)
    }

    /// The error: of this record, where that is known.
    #[cold]
    pub(crate) fn into_error(self, record: Option<(String, RecordPlace)>) -> RunError {
        let cause = panicked(self.payload);
        match (record, self.at) {
            (Some((stream, place)), Some(KeyAt { expression, .. })) => {
                RunError::KeyPanicked { stream, place, expression, excerpt: None, cause }
            }
            _ => RunError::Runtime {
                what: "a window rule, the order of a key's type, or a source or sink of the broker panicked"
                    .to_owned(),
                cause,
            },
        }
    }

    /// Goes on unwinding, for somebody else to catch.
    #[cold]
    pub(crate) fn resume(self) -> ! {
        let Self { at, payload } = self;
        let _ = PANICKED_AT.try_with(|noted| noted.set(at));
        std::panic::resume_unwind(payload)
    }
}

impl Walk {
    /// What is told of a panic that came out of the walk.
    #[cold]
    pub(crate) fn panicked(&self, unwound: Unwound) -> RunError {
        let found = unwound.address().and_then(|address| {
            self.nodes.iter().find_map(|node| Some((node, node.node.place_of_address(address)?)))
        });
        let record = found.as_ref().map(|(node, place)| (node.stream.clone(), place.clone()));
        let mut error = unwound.into_error(record);
        if let (RunError::KeyPanicked { excerpt, .. }, Some((node, place))) = (&mut error, &found) {
            *excerpt = node.node.excerpt(place);
        }
        error
    }
}
