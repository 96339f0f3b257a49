//! Places in storages that do not number their records: a count says in which order they came, and a token finds them again.

use std::fmt::Debug;
use std::sync::Arc;

/// What finds the entries of one batch again, in a storage that does not number them: a key, or a token of the server's.
///
/// Made into text only for the few entries at which a commit falls, so nothing is allocated for the others.
///
/// ```
/// use std::sync::Arc;
/// use watermill_core::broker::{CountedOffsets, Offsets, Origin, Places, Tokens};
///
/// /// The keys of a batch, and the one that was read before it.
/// #[derive(Debug)]
/// struct Keys { before: String, keys: Vec<String> }
///
/// impl Tokens for Keys {
///     fn before(&self, entry: usize) -> Option<String> {
///         Some(if entry == 0 { self.before.clone() } else { self.keys[entry - 1].clone() })
///     }
///
///     fn of(&self, entry: usize) -> Option<String> {
///         Some(self.keys[entry].clone())
///     }
/// }
///
/// let keys = Keys { before: "c".to_owned(), keys: vec!["f".to_owned(), "k".to_owned(), "m".to_owned()] };
/// // Of the three entries the second is no record; 40 came before them.
/// let places = Places {
///     origin: Arc::new(Origin::Collection { name: "words".to_owned() }),
///     offsets: Offsets::Counted(CountedOffsets::new(40, vec![0, 2], Arc::new(keys))),
///     ..Places::memory(40, 3)
/// };
/// assert_eq!((places.offset(1), places.position(1).token.as_deref()), (42, Some("k")));
/// assert_eq!((places.tail().next, places.tail().token.as_deref()), (43, Some("m")));
/// ```
pub trait Tokens: Debug + Send + Sync {
    /// From where reading goes on with `entry`: behind the one before it. One more than there are is behind the last. `None` where that is
    /// the beginning of the stream.
    fn before(&self, entry: usize) -> Option<String>;

    /// What finds `entry` itself.
    fn of(&self, entry: usize) -> Option<String>;
}

/// The places of the records of one batch, by [`Tokens`].
///
/// ```
/// # use std::sync::Arc;
/// # use watermill_core::broker::{CountedOffsets, Offsets, Tokens};
/// # #[derive(Debug)]
/// # struct Keys;
/// # impl Tokens for Keys {
/// #     fn before(&self, _: usize) -> Option<String> { None }
/// #     fn of(&self, _: usize) -> Option<String> { None }
/// # }
/// // The first and the third of the entries are records.
/// let offsets = CountedOffsets::new(100, vec![0, 2], Arc::new(Keys));
/// assert_eq!(Offsets::Counted(offsets).get(1), Some(102));
/// ```
#[derive(Debug, Clone)]
pub struct CountedOffsets {
    first: u64,
    entries: Vec<u32>,
    tokens: Arc<dyn Tokens>,
}

impl CountedOffsets {
    /// Records that are these `entries` of a batch, of which the first is the `first` of the stream.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watermill_core::broker::{CountedOffsets, Tokens};
    /// # #[derive(Debug)]
    /// # struct Keys;
    /// # impl Tokens for Keys {
    /// #     fn before(&self, _: usize) -> Option<String> { None }
    /// #     fn of(&self, _: usize) -> Option<String> { None }
    /// # }
    /// let offsets = CountedOffsets::new(100, vec![0, 1, 2], Arc::new(Keys));
    /// ```
    #[must_use]
    pub fn new(first: u64, entries: Vec<u32>, tokens: Arc<dyn Tokens>) -> Self {
        Self { first, entries, tokens }
    }

    pub(super) fn get(&self, index: usize) -> Option<u64> {
        Some(self.first + u64::from(*self.entries.get(index)?))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn token_at(&self, offset: u64) -> Option<String> {
        self.tokens.before(usize::try_from(offset.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn record_token(&self, index: usize) -> Option<String> {
        self.tokens.of(*self.entries.get(index)? as usize)
    }

    pub(super) fn pick(&self, indexes: &[usize]) -> Self {
        let entries = indexes.iter().filter_map(|index| self.entries.get(*index).copied()).collect();
        Self { first: self.first, entries, tokens: Arc::clone(&self.tokens) }
    }

    pub(super) fn skip(&mut self, records: usize) {
        self.entries.drain(..records.min(self.entries.len()));
    }
}
